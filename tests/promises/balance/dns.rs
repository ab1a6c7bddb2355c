//! A balancer whose endpoints are the addresses of a name.

use stonework::balance::{BalancerSettings, Pick};
use stonework::base::{Event, Kind};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep};

use super::kit::{Does, OK, Peers, ask, plain};
use crate::connect::discovery::{Says, Script, follow};
use crate::support::SECOND;

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const C: &str = "10.0.0.3:80";

fn found(last: &[u8]) -> Says {
    Says::Found(last.to_vec(), 5)
}

#[tokio::test(start_paused = true)]
async fn under_load_new_addresses_are_used_within_one_interval_and_old_ones_end_their_calls() {
    let (peers, script) = (Peers::default(), Script::new(found(&[1, 2])));
    // Long enough to be under way when its address goes.
    peers.tell(A, Does::Answer(200, 3 * SECOND));
    // By turns, so that the slow one gets its share.
    let settings = plain().pick(Pick::WeightedRoundRobin);
    let balancer = peers.balancer().discover(follow(&script)).settings(settings).build().unwrap();
    let service = balancer.service();
    let call = || {
        let service = service.clone();
        tokio::spawn(async move { (ask(&service).await.expect("no call is lost"), Instant::now()) })
    };
    let mut calls = Vec::new();
    for _ in 0..600 {
        calls.push(call());
        sleep(SECOND / 100).await;
    }
    script.says(found(&[2, 3]));
    let changed = Instant::now();
    let (mut to_a, mut first_to_c) = (Vec::new(), None);
    for _ in 0..1_200 {
        calls.push(call());
        sleep(SECOND / 100).await;
        to_a.push(peers.calls(A));
        if peers.calls(C) > 0 {
            first_to_c.get_or_insert_with(|| changed.elapsed());
        }
    }
    let first_to_c = first_to_c.expect("the new address is used");
    assert!(first_to_c <= 5 * SECOND + SECOND / 2, "{first_to_c:?}");
    assert!(to_a[0] > 100, "the old one had calls");
    assert!(to_a[600..].iter().all(|calls| *calls == to_a[600]), "and gets no more");
    let mut last_from_a = changed;
    for call in calls {
        let (from, at) = call.await.unwrap();
        if from == A {
            last_from_a = last_from_a.max(at);
        }
    }
    let overlap = last_from_a - (changed + first_to_c);
    assert!(overlap > 2 * SECOND, "calls went on there after the change: {overlap:?}");
    assert!(peers.calls(B) > 100 && peers.calls(C) > 100);
    let ids: Vec<_> = balancer.stats().endpoints().iter().map(|one| one.id().to_string()).collect();
    assert_eq!(ids, [B, C]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_keeps_its_last_addresses_and_somebody_is_told() {
    let (peers, script, events) = (Peers::default(), Script::new(found(&[1])), Recorder::new());
    let builder = peers.balancer().discover(follow(&script)).observer(events.clone());
    let balancer = builder.settings(plain()).build().unwrap();
    assert_eq!(ask(&balancer.service()).await.unwrap(), A);
    for says in [Says::NoSuchName, found(&[]), Says::Nothing, Says::Panic] {
        script.says(says);
        for _ in 0..40 {
            sleep(SECOND).await;
            assert_eq!(ask(&balancer.service()).await.unwrap(), A);
        }
    }
    let failed = |event: &&Event| matches!(event, Event::DiscoveryFailed { kind: Kind::Connect, .. });
    let failures = events.events().iter().filter(failed).count();
    assert!(failures >= 4, "{failures}");
    script.says(found(&[3]));
    sleep(33 * SECOND).await;
    assert_eq!(ask(&balancer.service()).await.unwrap(), C);
}

#[tokio::test(start_paused = true)]
async fn when_an_endpoint_cannot_be_reached_its_name_is_looked_up_long_before_its_time() {
    let (peers, script) = (Peers::default(), Script::new(Says::Found(vec![1], 300)));
    let discovery = follow(&script);
    let look_again = discovery.look_again();
    let settings: BalancerSettings = plain().wait_for_endpoint(30 * SECOND);
    let builder = peers.balancer().discover(discovery).observer(look_again).settings(settings);
    let balancer = builder.build().unwrap();
    assert_eq!(ask(&balancer.service()).await.unwrap(), A);
    sleep(10 * SECOND).await;
    assert_eq!(script.asked(), 1);
    peers.tell(A, Does::Refuse);
    peers.tell(B, OK);
    script.says(Says::Found(vec![2], 300));
    let _ = ask(&balancer.service()).await;
    sleep(SECOND).await;
    assert_eq!((script.asked(), ask(&balancer.service()).await.unwrap().as_str()), (2, B));
}
