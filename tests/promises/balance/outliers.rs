//! Those that do worse than the others are left out for a while.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Error;
use stonework::balance::{Balancer, BalancerSettings, OutlierSettings};
use stonework::base::EndpointReason::{ConsecutiveFailures, FailureShare, SuccessRate};
use stonework::base::EndpointState::{Ejected, Ready};
use stonework::base::{ClassifyGrpc, EndpointId, Fitness, Ratio, Rng};
use stonework::testing::Recorder;
use stonework::timeout::TimeoutLayer;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::kit::{AtPeer, Does, OK, Peers, changes, plain, state};
use crate::support::{SECOND, request};

const FAILS: Does = Does::Answer(500, std::time::Duration::ZERO);

/// Only this one is there to be called, by its key.
async fn call<S>(service: &mut S, peers: &Peers, name: &str, does: Does)
where
    S: Service<Request<crate::support::Content>>,
{
    peers.tell(name, does);
    let _ = service.ready().await.ok().expect("always").call(request(Method::GET)).await;
}

/// All calls go to "a" as long as that is ready: it is heavier than all others.
fn heavy(peers: &Peers, others: usize, outliers: OutlierSettings, events: &Recorder) -> Balancer<AtPeer> {
    use stonework::balance::{Member, Pick};
    let names: Vec<String> = (0..others).map(|other| format!("other-{other}")).collect();
    let members =
        names.iter().map(|name| Member::new(name.as_str())).chain([Member::new("a").weight(u32::MAX)]);
    let settings = plain().pick(Pick::LeastLoaded).outliers(outliers);
    let builder = peers.balancer().members(members).settings(settings).observer(events.clone());
    builder.rng(Rng::seeded(3)).build().unwrap()
}

/// As Envoy's own test of it does: "BasicFlow5xx" of its outlier detection.
#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_and_it_is_left_out_for_30_seconds_and_for_longer_the_next_time() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = heavy(&peers, 3, OutlierSettings::new(), &events);
    let mut service = balancer.service();
    let start = Instant::now();
    for does in [FAILS, OK, FAILS, FAILS, FAILS, FAILS] {
        call(&mut service, &peers, "a", does).await;
        assert_eq!(state(&balancer, "a"), Ready);
    }
    call(&mut service, &peers, "a", FAILS).await;
    assert_eq!(state(&balancer, "a"), Ejected);
    assert_eq!(changes(&events, "a").last(), Some(&(Ejected, ConsecutiveFailures)));
    let calls = peers.calls("a");
    for _ in 0..100 {
        call(&mut service, &peers, "a", FAILS).await;
    }
    assert_eq!(peers.calls("a"), calls, "nobody calls it");

    // Up to a tenth is added by chance.
    for (millis, expected) in [(9_999, Ejected), (29_999, Ejected), (33_001, Ready)] {
        sleep_until(start + SECOND * millis / 1_000).await;
        assert_eq!(state(&balancer, "a"), expected, "after {millis} ms");
    }
    sleep_until(start + 40 * SECOND).await;
    for _ in 0..4 {
        call(&mut service, &peers, "a", FAILS).await;
    }
    assert_eq!(state(&balancer, "a"), Ready);
    call(&mut service, &peers, "a", FAILS).await;
    for (seconds, expected) in [(40, Ejected), (99, Ejected), (107, Ready)] {
        sleep_until(start + seconds * SECOND).await;
        assert_eq!(state(&balancer, "a"), expected, "the second time in a row: after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_every_other_call_for_an_hour_is_never_left_out_for_failures_in_a_row() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = heavy(&peers, 3, OutlierSettings::new(), &events);
    let mut service = balancer.service();
    for at in 0..3_600 {
        call(&mut service, &peers, "a", if at % 2 == 0 { FAILS } else { OK }).await;
        sleep(SECOND).await;
    }
    assert_eq!((changes(&events, "a").len(), peers.calls("a") > 3_000), (1, true), "it became ready, once");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_found_to_be_well_is_back_at_once() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = heavy(&peers, 3, OutlierSettings::new(), &events);
    let mut service = balancer.service();
    for _ in 0..5 {
        call(&mut service, &peers, "a", FAILS).await;
    }
    assert_eq!(state(&balancer, "a"), Ejected);
    balancer.found(&"a".into(), Fitness::Fit);
    assert_eq!(state(&balancer, "a"), Ready);
    for _ in 0..4 {
        call(&mut service, &peers, "a", FAILS).await;
    }
    assert_eq!(state(&balancer, "a"), Ready, "what was counted before does not count");
}

#[tokio::test(start_paused = true)]
async fn never_more_are_left_out_than_their_share_and_a_single_one_never() {
    for (endpoints, share, most) in [
        (1, 50, 0),
        (1, 100, 0),
        (2, 50, 1),
        (3, 50, 1),
        (3, 10, 1),
        (4, 50, 2),
        (10, 50, 5),
        (10, 10, 1),
        (5, 100, 5),
    ] {
        let peers = Peers::default();
        let names: Vec<String> = (0..endpoints).map(|at| format!("{at}")).collect();
        let outliers = OutlierSettings::new().max_ejected(Ratio::percent(share));
        let settings = plain().outliers(outliers);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let balancer = peers.named(&names).settings(settings).build().unwrap();
        names.iter().for_each(|name| peers.tell(name, FAILS));
        let mut service = balancer.service();
        for _ in 0..500 {
            call(&mut service, &peers, "0", FAILS).await;
            let ejected = names.iter().filter(|name| state(&balancer, name) == Ejected).count();
            assert!(ejected <= most, "{ejected} of {endpoints} at {share} %");
        }
        let ejected = names.iter().filter(|name| state(&balancer, name) == Ejected).count();
        assert_eq!(ejected, most, "of {endpoints} at {share} %");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_worse_than_the_others_is_left_out_at_the_end_of_the_interval() {
    let names = ["a", "b", "c", "d", "e"];
    for (percent, why) in [(60, SuccessRate), (10, SuccessRate)] {
        let (peers, events) = (Peers::default(), Recorder::new());
        // Failures in a row are another matter, and so is who is faster.
        let outliers = OutlierSettings::new().without_consecutive_failures();
        let settings = plain().pick(stonework::balance::Pick::WeightedRoundRobin).outliers(outliers);
        let balancer = peers.named(&names).settings(settings).observer(events.clone()).build().unwrap();
        let mut service = balancer.service();
        for at in 0..1_000 {
            let good = at / 5 % 10 < percent / 10;
            call(&mut service, &peers, "e", if good { OK } else { FAILS }).await;
            assert_eq!(state(&balancer, "e"), Ready, "the interval has not ended");
            sleep(SECOND / 105).await;
        }
        sleep(SECOND).await;
        call(&mut service, &peers, "a", OK).await;
        assert_eq!(changes(&events, "e").last(), Some(&(Ejected, why)), "{percent} % went well");
        assert!(names[..4].iter().all(|name| state(&balancer, name) == Ready));
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_whose_calls_nearly_all_fail_is_left_out_also_if_few_others_do_well() {
    let names = ["a", "b", "c", "d", "e"];
    let (peers, events) = (Peers::default(), Recorder::new());
    let outliers = OutlierSettings::new().without_consecutive_failures();
    let settings = plain().pick(stonework::balance::Pick::WeightedRoundRobin).outliers(outliers);
    let balancer = peers.named(&names).settings(settings).observer(events.clone()).build().unwrap();
    ["a", "b", "c"].iter().for_each(|name| peers.tell(name, FAILS));
    let mut service = balancer.service();
    for _ in 0..500 {
        call(&mut service, &peers, "d", OK).await;
    }
    sleep(10 * SECOND).await;
    call(&mut service, &peers, "d", OK).await;
    let left_out =
        names.iter().filter(|name| changes(&events, name).contains(&(Ejected, FailureShare))).count();
    assert_eq!(left_out, 2, "half of five at the most");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_has_failed_when_the_deadline_has_passed_and_not_when_its_caller_went_away() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = heavy(&peers, 3, OutlierSettings::new(), &events);
    for _ in 0..20 {
        timeout(SECOND, call(&mut balancer.service(), &peers, "a", Does::Hang)).await.unwrap_err();
    }
    assert_eq!(state(&balancer, "a"), Ready);
    let mut limited = TimeoutLayer::new(SECOND).layer(balancer.service());
    for _ in 0..5 {
        call(&mut limited, &peers, "a", Does::Hang).await;
    }
    assert_eq!(state(&balancer, "a"), Ejected);
}

#[tokio::test(start_paused = true)]
async fn overload_leaves_nobody_out() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = heavy(&peers, 3, OutlierSettings::new(), &events);
    let mut service = balancer.service();
    for _ in 0..100 {
        call(&mut service, &peers, "a", Does::Answer(429, SECOND / 100)).await;
    }
    assert_eq!(state(&balancer, "a"), Ready);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failure() {
    use http_body_util::StreamBody;
    let broken = tower::service_fn(|_: Request<()>| async {
        let broken = futures_util::stream::iter([Err::<http_body::Frame<bytes::Bytes>, _>("gone")]);
        Ok::<_, std::convert::Infallible>(http::Response::new(StreamBody::new(broken)))
    });
    let balancer = Balancer::builder(move |_| broken)
        .members(["a", "b"])
        .settings(BalancerSettings::new())
        .build()
        .unwrap();
    for _ in 0..20 {
        use http_body_util::BodyExt;
        let answer = balancer.service().oneshot(Request::new(())).await.unwrap();
        answer.into_body().collect().await.unwrap_err();
    }
    let left_out = balancer.stats().endpoints().iter().filter(|one| one.state() == Ejected).count();
    assert_eq!(left_out, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_only_the_trailers_tell_counts_as_one() {
    let make = |id: &EndpointId| {
        let status = HeaderValue::from_static(if id.as_str() == "a" { "14" } else { "0" });
        service_fn(move |_: Request<()>| {
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.clone())]);
            let frames = [Frame::data(Bytes::from_static(b"message")), Frame::trailers(trailers)];
            let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Error>)));
            std::future::ready(Ok::<_, Error>(Response::new(body)))
        })
    };
    let settings = plain().outliers(OutlierSettings::new());
    let builder = Balancer::builder(make).members(["a", "b", "c"]).settings(settings);
    let balancer = builder.rng(Rng::seeded(1)).build().unwrap();
    let mut service = balancer.service().classify(ClassifyGrpc);
    for _ in 0..30 {
        let answer = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!([state(&balancer, "a"), state(&balancer, "b")], [Ejected, Ready]);
}

/// As where packets to it are dropped, and attempts are allowed less time than a connection. What limits the connection knows first that
/// nothing was sent.
#[tokio::test(start_paused = true)]
async fn one_that_nobody_connects_to_in_time_is_as_slow_as_that_and_then_left_out() {
    use stonework::balance::Pick;
    use stonework::base::{Delivery, Elapsed, Kind, Phase};
    for (phase, pick, lost) in [
        (Phase::Connect, Pick::PeakEwma, 1),
        (Phase::Tls, Pick::LeastLoaded, 5),
        (Phase::Pool, Pick::LeastLoaded, 9),
    ] {
        let connect = move |id: &EndpointId| {
            let is_away = id.as_str() == "b";
            service_fn(move |request: Request<()>| async move {
                sleep(if is_away { SECOND } else { SECOND / 100 }).await;
                let late = || Error::from(Elapsed::new(phase, SECOND)).with_delivery(Delivery::NotSent);
                if is_away { Err(late().with_request(request)) } else { Ok(Response::new(String::new())) }
            })
        };
        let settings = plain().pick(pick).outliers(OutlierSettings::new());
        let builder = Balancer::builder(connect).members(["a", "b"]).settings(settings).rng(Rng::seeded(1));
        let balancer = builder.build().unwrap();
        let service = TimeoutLayer::new(SECOND).layer(balancer.service());
        let mut late = 0;
        for _ in 0..60 {
            if let Err(error) = service.clone().oneshot(Request::new(())).await {
                assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::NotSent));
                late += 1;
            }
            sleep(SECOND / 10).await;
        }
        // Whoever had nothing free says nothing about the endpoint.
        let is_out = pick == Pick::LeastLoaded && phase != Phase::Pool;
        let state = balancer.stats().endpoints()[1].state();
        assert_eq!(state, if is_out { Ejected } else { Ready }, "{phase:?}");
        assert!(if lost > 5 { late >= lost } else { late == lost }, "{phase:?}: {late}");
    }
}
