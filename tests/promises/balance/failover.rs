//! What came back unsent goes to another.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::channel::Channel;
use stonework::Error;
use stonework::balance::{AllUnhealthy, BalancerSettings};
use stonework::base::{Backoff, BudgetSettings, Delivery, Elapsed, EndpointState, Event, Kind, Phase, Ratio};
use stonework::retry::RetryLayer;
use stonework::testing::Recorder;
use stonework::timeout::TimeoutLayer;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::kit::{Does, OK, Peers, ask, failovers, from, plain, state};
use crate::support::{SECOND, polled, request, timed};

#[tokio::test(start_paused = true)]
async fn any_request_goes_to_another_endpoint_with_its_body_if_the_first_cannot_be_reached() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let builder = peers.named(&["a", "b"]).settings(plain()).observer(events.clone());
    let service = builder.build().unwrap().service();
    peers.tell("a", Does::Refuse);
    for _ in 0..20 {
        // A body that nobody could send a second time, and a method that nobody may.
        let (_sender, body) = Channel::<Bytes>::new(1);
        let answer = service.clone().oneshot(Request::post("/").body(body).unwrap()).await.unwrap();
        assert_eq!(from(&answer), "b");
    }
    assert_eq!(failovers(&events), 1, "then it is known");
}

#[tokio::test(start_paused = true)]
async fn it_is_no_retry_and_costs_no_budget() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = peers.named(&["a", "b", "c"]).settings(plain()).build().unwrap();
    ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Refuse));
    let none = BudgetSettings::default().reserve(0).floor_per_second(0).ratio(Ratio::ZERO);
    let retry = RetryLayer::new().budget(stonework::base::Budget::new(none)).observer(events.clone());
    let service = retry.layer(balancer.service());
    for _ in 0..20 {
        service.clone().oneshot(request(Method::POST)).await.unwrap();
    }
    let retried = |event: &Event| matches!(event, Event::RetryScheduled { .. } | Event::RetrySkipped { .. });
    assert!(!events.events().iter().any(retried));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_sent_goes_nowhere_else() {
    let peers = Peers::default();
    let service = peers.named(&["a", "b"]).settings(plain()).build().unwrap().service();
    ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Break));
    let error = ask(&service).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Transport, Delivery::Unknown));
    assert_eq!(peers.all_calls().iter().sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_so_many_others_and_no_more_and_each_only_once() {
    for (settings, tries) in
        [(plain(), 4), (plain().failovers(1), 2), (plain().failovers(0), 1), (plain().failovers(99), 8)]
    {
        let (peers, events) = (Peers::default(), Recorder::new());
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let balancer = peers.named(&names).settings(settings).observer(events.clone()).build().unwrap();
        names.iter().for_each(|name| peers.tell(name, Does::Refuse));
        let mut error = ask(&balancer.service()).await.unwrap_err();
        assert_eq!((error.kind(), failovers(&events)), (Kind::Connect, tries - 1));
        let left = names.iter().filter(|name| state(&balancer, name) == EndpointState::Backoff).count();
        assert_eq!(left, tries, "each of them once");
        assert!(error.take_request::<Request<crate::support::Content>>().is_some(), "it is handed back");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_is_wrong_everywhere() {
    let invalid = service_fn(|request: Request<()>| async {
        Err::<Response<String>, _>(Error::new(Kind::Invalid, "no host").with_request(request))
    });
    let events = Recorder::new();
    let builder = stonework::balance::Balancer::builder(move |_| invalid).members(["a", "b"]);
    let balancer = builder.observer(events.clone()).build().unwrap();
    let error = balancer.service().oneshot(Request::new(())).await.unwrap_err();
    assert_eq!((error.kind(), failovers(&events)), (Kind::Invalid, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_for_a_reason_of_its_own_is_passed_over_and_stays() {
    use stonework::breaker::{Breaker, BreakerService};
    let (peers, breakers) = (Peers::default(), [Breaker::default(), Breaker::default()]);
    let guarded = breakers.clone();
    let ok = service_fn(|_: Request<()>| async { Ok::<_, Error>(Response::new(String::new())) });
    let builder = stonework::balance::Balancer::builder(move |id| {
        BreakerService::new(ok, guarded[usize::from(id.as_str() == "b")].clone())
    });
    let balancer = builder.members(["a", "b"]).settings(plain()).build().unwrap();
    breakers[0].force_open();
    for _ in 0..20 {
        balancer.service().plain().oneshot(Request::new(())).await.unwrap();
    }
    assert_eq!(state(&balancer, "a"), EndpointState::Ready);
    breakers[1].force_open();
    let error = balancer.service().plain().oneshot(Request::new(())).await.unwrap_err();
    assert!(error.is_circuit_open(), "and of the last one its reason is told");
    drop(peers);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_to_become_ready_is_left_alone_for_a_while_and_another_is_called() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain()).build().unwrap();
    peers.tell("a", Does::Broken);
    for _ in 0..20 {
        assert_eq!(ask(&balancer.service()).await.unwrap(), "b");
    }
    assert_eq!(state(&balancer, "a"), EndpointState::Backoff);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_after_the_deadline() {
    for (limit, others) in [(2 * SECOND, 0), (3 * SECOND, 1)] {
        let events = Recorder::new();
        let slow = service_fn(|request: Request<()>| async {
            sleep(2 * SECOND).await;
            Err::<Response<String>, _>(Error::new(Kind::Connect, "no way").with_request(request))
        });
        let builder = stonework::balance::Balancer::builder(move |_| slow).members(["a", "b", "c"]);
        let balancer = builder.observer(events.clone()).build().unwrap();
        let service = TimeoutLayer::new(limit).layer(balancer.service());
        let (answer, took) = timed(service.oneshot(Request::new(()))).await;
        let expected = if others == 0 { Kind::Connect } else { Kind::Timeout };
        assert_eq!(answer.unwrap_err().kind(), expected);
        assert_eq!((took, failovers(&events)), (limit, others));
    }
}

#[tokio::test(start_paused = true)]
async fn where_one_of_two_busy_endpoints_fails_the_other_one_keeps_the_call() {
    for broken in [0, 1] {
        let peers = Peers::default();
        let balancer = peers.named(&["a", "b"]).settings(plain().failovers(0)).build().unwrap();
        let names = ["a", "b"];
        names.iter().for_each(|name| peers.tell(name, Does::Busy));
        let service = balancer.service();
        let mut call = Box::pin(ask(&service));
        assert!(polled(&mut call).await.is_pending());
        peers.tell(names[broken], Does::Broken);
        assert!(polled(&mut call).await.is_pending(), "no other may be asked, and none need be");
        assert_eq!(state(&balancer, names[broken]), EndpointState::Backoff);
        peers.tell(names[1 - broken], OK);
        assert_eq!(call.await.unwrap(), names[1 - broken]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_one_of_two_busy_endpoints_fails_a_third_one_is_asked_in_its_place() {
    for broken in [0, 1] {
        let (peers, events) = (Peers::default(), Recorder::new());
        let names = ["a", "b", "c"];
        let builder = peers.named(&names).settings(plain().failovers(1)).observer(events.clone());
        let balancer = builder.build().unwrap();
        names.iter().for_each(|name| peers.tell(name, Does::Busy));
        let service = balancer.service();
        let mut call = Box::pin(ask(&service));
        assert!(polled(&mut call).await.is_pending());
        let stats = balancer.stats();
        let (asked, others): (Vec<_>, Vec<_>) = stats.endpoints().iter().partition(|one| one.in_flight() > 0);
        let [third] = others[..] else { panic!("{stats:?}") };
        peers.tell(third.id().as_str(), OK);
        peers.tell(asked[broken].id().as_str(), Does::Broken);
        assert_eq!((call.await.unwrap().as_str(), failovers(&events)), (third.id().as_str(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_busy_endpoint_until_the_deadline_comes_back_unsent() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain()).build().unwrap();
    let service = TimeoutLayer::new(SECOND).layer(balancer.service());
    let under_way = || balancer.stats().endpoints().iter().map(|one| one.in_flight()).sum::<u64>();
    for frees_at_the_end in [false, true] {
        ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Busy));
        let told = peers.clone();
        let freed = tokio::spawn(async move {
            sleep(SECOND).await;
            told.tell("a", if frees_at_the_end { OK } else { Does::Busy });
        });
        let (answer, took) = timed(service.clone().oneshot(request(Method::POST))).await;
        let mut error = answer.unwrap_err();
        assert_eq!((error.kind(), error.delivery(), took), (Kind::Timeout, Delivery::NotSent, SECOND));
        assert_eq!(error.cause::<Elapsed>().map(Elapsed::phase), Some(Phase::Readiness));
        assert!(error.take_request::<Request<crate::support::Content>>().is_some());
        freed.await.unwrap();
        assert_eq!((peers.all_calls(), under_way()), (vec![0, 0], 0), "and none was begun");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_of_a_retry_avoids_the_endpoints_that_were_tried() {
    let peers = Peers::default();
    // Of those that have nothing to do it takes any, however they did.
    let settings = plain().pick(stonework::balance::Pick::LeastLoaded);
    let balancer = peers.named(&["a", "b", "c", "d"]).settings(settings).build().unwrap();
    ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Answer(500, SECOND / 100)));
    let quick = Backoff::constant(SECOND / 1_000).unwrap();
    let retry = RetryLayer::from(stonework::retry::RetrySettings::new().backoff(quick)).without_budget();
    let service = retry.layer(balancer.service());
    for _ in 0..200 {
        let before = [peers.calls("a"), peers.calls("b")];
        let answer = service.clone().oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(answer.status(), 200, "at the third of three attempts, if not before");
        assert!(peers.calls("a") <= before[0] + 1 && peers.calls("b") <= before[1] + 1);
    }
    assert!(peers.calls("a") > 0 || peers.calls("b") > 0);

    // With nobody else, it is better to try the same one than none.
    balancer.set(["a"]);
    let before = peers.calls("a");
    let answer = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((answer.status().as_u16(), peers.calls("a") - before), (500, 3));
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_plain_operation_avoids_them_too() {
    let peers = Peers::default();
    let settings = plain().pick(stonework::balance::Pick::LeastLoaded);
    let balancer = peers.named(&["a", "b"]).settings(settings).build().unwrap();
    peers.tell("a", Does::Break);
    for _ in 0..50 {
        let before = peers.calls("a");
        let service = balancer.service();
        let op = || {
            let service = service.clone();
            async move { ask(&service).await }
        };
        let answer = stonework::retry::retry(op, stonework::retry::Policy::new().attempts(2)).await;
        assert_eq!(answer.expect("the second attempt goes elsewhere"), "b");
        assert!(peers.calls("a") <= before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_could_take_comes_back() {
    let peers = Peers::default();
    let balancer =
        peers.named(&[]).settings(BalancerSettings::new().without_wait_for_endpoint()).build().unwrap();
    let mut error = ask(&balancer.service()).await.unwrap_err();
    assert!(error.take_request::<Request<crate::support::Content>>().is_some());
    assert!(error.cause::<AllUnhealthy>().is_none());
    balancer.set(["a"]);
    peers.tell("a", OK);
    ask(&balancer.service()).await.unwrap();
}
