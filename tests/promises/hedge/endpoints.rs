//! To whom the second attempt goes.

use http::Method;
use stonework::balance::BalancerSettings;
use stonework::hedge::HedgeLayer;
use tower::{Layer, ServiceExt};

use super::{MS, fixed};
use crate::balance::kit::{Does, Peers};
use crate::support::{request, timed};

#[tokio::test(start_paused = true)]
async fn the_second_attempt_goes_to_another_endpoint_while_the_first_is_under_way() {
    let peers = Peers::default();
    let names = ["a", "b", "c"];
    for name in names {
        peers.tell(name, Does::Answer(200, 1_000 * MS));
    }
    let balancer = peers.named(&names).settings(BalancerSettings::new()).build().unwrap();
    let service = HedgeLayer::from(fixed().attempts(3).without_budget()).layer(balancer.service());
    for round in 1..=20 {
        let response = service.clone().oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(peers.all_calls(), [round; 3], "each is asked once in each call");
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_hangs_costs_no_more_than_the_delay() {
    let peers = Peers::default();
    peers.tell("a", Does::Hang);
    peers.tell("b", Does::Answer(200, 5 * MS));
    let balancer = peers.named(&["a", "b"]).build().unwrap();
    let service = HedgeLayer::from(fixed().without_budget()).layer(balancer.service());
    for _ in 0..50 {
        let (response, took) = timed(service.clone().oneshot(request(Method::GET))).await;
        assert_eq!(response.unwrap().status(), 200);
        assert!(took <= 105 * MS, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_single_endpoint_it_is_asked_again() {
    let peers = Peers::default();
    peers.tell("a", Does::Answer(200, 150 * MS));
    let balancer = peers.named(&["a"]).build().unwrap();
    let service = HedgeLayer::from(fixed()).layer(balancer.service());
    service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(peers.calls("a"), 2);
}
