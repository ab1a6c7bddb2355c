//! When everything looks dead.

use stonework::balance::{AllUnhealthy, BalancerSettings, NoEndpoints, WhenUnhealthy};
use stonework::base::{Delivery, EndpointState, Event, Fitness, Kind};
use stonework::testing::Recorder;
use stonework::timeout::TimeoutLayer;
use tokio::time::sleep;
use tower::Layer;

use super::kit::{AtPeer, Does, OK, Peers, ask, plain, state};
use crate::support::{SECOND, timed};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn panics(events: &Recorder) -> Vec<bool> {
    let panic = |event: &Event| match event {
        Event::PanicChanged { begins, .. } => Some(*begins),
        _ => None,
    };
    events.events().iter().filter_map(panic).collect()
}

#[tokio::test(start_paused = true)]
async fn when_all_are_found_unfit_and_serve_calls_still_succeed() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = peers.named(&NAMES).settings(plain()).observer(events.clone()).build().unwrap();
    for (unfit, name) in NAMES.iter().enumerate() {
        assert_eq!(panics(&events), if unfit > 2 { vec![true] } else { vec![] }, "{unfit} of 4");
        assert!(balancer.found(&(*name).into(), Fitness::Unfit));
    }
    for _ in 0..100 {
        ask(&balancer.service()).await.unwrap();
    }
    assert!(peers.all_calls().iter().all(|calls| *calls > 5), "{:?}", peers.all_calls());
    balancer.found(&"a".into(), Fitness::Fit);
    balancer.found(&"b".into(), Fitness::Fit);
    assert_eq!(panics(&events), [true, false]);
    let before = peers.calls("c");
    for _ in 0..100 {
        ask(&balancer.service()).await.unwrap();
    }
    assert_eq!(peers.calls("c"), before, "now what is known is believed again");
    assert!(!balancer.found(&"nobody".into(), Fitness::Fit));
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_it_so_is_told_at_once_that_none_is_fit() {
    let peers = Peers::default();
    let settings = plain().when_unhealthy(WhenUnhealthy::FailFast);
    let balancer = peers.named(&NAMES).settings(settings).build().unwrap();
    for (unfit, name) in NAMES.iter().enumerate() {
        // Whoever is left is called, however few they are.
        assert!(ask(&balancer.service()).await.is_ok(), "{unfit} of 4");
        balancer.found(&(*name).into(), Fitness::Unfit);
    }
    let (answer, took) = timed(ask(&balancer.service())).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::NoEndpoint, Delivery::NotSent));
    assert_eq!(error.cause::<AllUnhealthy>().map(AllUnhealthy::endpoints), Some(4));
    assert!(error.cause::<NoEndpoints>().is_none() && took.is_zero());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_be_reached_they_are_tried_all_the_same_unless_that_is_not_wanted() {
    for (when, kind) in
        [(WhenUnhealthy::FailOpen, Kind::Connect), (WhenUnhealthy::FailFast, Kind::NoEndpoint)]
    {
        let peers = Peers::default();
        let balancer = peers.named(&["a", "b"]).settings(plain().when_unhealthy(when)).build().unwrap();
        ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Refuse));
        ask(&balancer.service()).await.unwrap_err();
        assert_eq!(state(&balancer, "a"), EndpointState::Backoff);
        assert_eq!(ask(&balancer.service()).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_panic_nobody_is_sent_to_one_that_cannot_be_reached_while_there_is_another() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b", "c"]).check(AtPeer::connects).settings(plain());
    ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Refuse));
    let balancer = balancer.build().unwrap();
    sleep(SECOND / 100).await;
    balancer.found(&"c".into(), Fitness::Unfit);
    for _ in 0..50 {
        assert_eq!(ask(&balancer.service()).await.unwrap(), "c");
    }
    let stats = balancer.stats();
    assert_eq!(stats.endpoints().iter().map(|one| one.calls()).collect::<Vec<_>>(), [0, 0, 50]);
}

#[tokio::test(start_paused = true)]
async fn with_no_endpoint_at_all_a_call_waits_for_one_and_fails_at_the_end_of_the_wait() {
    let peers = Peers::default();
    let balancer = peers.named(&[]).build().unwrap();
    let (answer, took) = timed(ask(&balancer.service())).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), took), (Kind::NoEndpoint, Delivery::NotSent, 5 * SECOND));
    assert!(error.cause::<NoEndpoints>().is_some() && error.cause::<AllUnhealthy>().is_none());

    let waiting = tokio::spawn({
        let service = balancer.service();
        async move { timed(ask(&service)).await }
    });
    sleep(2 * SECOND).await;
    balancer.set(["a"]);
    let (answer, took) = waiting.await.unwrap();
    assert_eq!((answer.unwrap().as_str(), took), ("a", 2 * SECOND));

    balancer.set(Vec::<&str>::new());
    let limited = TimeoutLayer::new(SECOND).layer(balancer.service());
    let (answer, took) = timed(ask(&limited)).await;
    assert_eq!(
        (answer.unwrap_err().kind(), took),
        (Kind::NoEndpoint, SECOND),
        "never longer than the deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn while_it_is_being_found_out_whether_any_can_be_reached_calls_wait_for_the_first() {
    let peers = Peers::default();
    let builder = peers.named(&["a", "b"]).check(AtPeer::connects);
    ["a", "b"].iter().for_each(|name| peers.tell(name, Does::Hang));
    let settings =
        BalancerSettings::new().wait_for_endpoint(3 * SECOND).when_unhealthy(WhenUnhealthy::FailFast);
    let balancer = builder.settings(settings).build().unwrap();
    let (answer, took) = timed(ask(&balancer.service())).await;
    assert!(answer.unwrap_err().cause::<AllUnhealthy>().is_some());
    assert_eq!(took, 3 * SECOND);
    // The checks are given up after 5 s in all. Then nobody has to wait for them.
    let (answer, took) = timed(ask(&balancer.service())).await;
    assert!(answer.unwrap_err().cause::<AllUnhealthy>().is_some());
    assert_eq!(took, 2 * SECOND);
    peers.tell("b", OK);
    sleep(SECOND).await;
    assert_eq!(ask(&balancer.service()).await.unwrap(), "b");
}
