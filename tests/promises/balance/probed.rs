//! A balancer that hears from probes how its endpoints are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use stonework::balance::Balancer;
use stonework::base::EndpointReason::{Connected, FoundFit, FoundUnfit, TimeOver};
use stonework::base::EndpointState::{Connecting, Ejected, Ready};
use stonework::base::{EndpointId, Rng};
use stonework::health::{Prober, probe_fn};
use stonework::testing::Recorder;
use tokio::time::sleep;

use super::kit::{AtPeer, Peers, ask, changes, plain, state};
use crate::support::SECOND;

/// A prober of the endpoints of a balancer, and those that are not well.
fn probe(balancer: &Balancer<AtPeer>) -> (Prober, Arc<Mutex<BTreeSet<String>>>) {
    let unwell = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let (looks, told) = (Arc::clone(&unwell), balancer.clone());
    let probe = probe_fn(move |endpoint: EndpointId| {
        std::future::ready(!looks.lock().unwrap().contains(endpoint.as_str()))
    });
    let prober = Prober::builder(probe).rng(Rng::seeded(1));
    let prober = prober.on_change(move |endpoint, fitness| told.found(endpoint, fitness)).build().unwrap();
    prober.set(balancer.stats().endpoints().iter().map(|endpoint| endpoint.id().clone()));
    (prober, unwell)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_its_probes_gets_no_calls_until_it_passes_them() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let builder = peers.named(&["a", "b", "c"]).settings(plain()).observer(events.clone());
    let balancer = builder.build().unwrap();
    let (prober, unwell) = probe(&balancer);
    assert!(prober.wait_first(SECOND).await);
    let calls = async || {
        for _ in 0..100 {
            ask(&balancer.service()).await.unwrap();
        }
        peers.calls("b")
    };
    assert!(calls().await > 0);
    unwell.lock().unwrap().insert("b".to_owned());
    sleep(35 * SECOND).await;
    assert_eq!(state(&balancer, "b"), Ejected, "three failures, ten seconds apart");
    let before = peers.calls("b");
    assert_eq!(calls().await, before);
    unwell.lock().unwrap().clear();
    sleep(25 * SECOND).await;
    assert_eq!(state(&balancer, "b"), Ready, "two successes");
    assert!(calls().await > before);
    assert_eq!(changes(&events, "b"), [(Ready, Connected), (Ejected, FoundUnfit), (Ready, FoundFit)]);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_probes_any_more_nobody_is_left_out_for_ever() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let builder = peers.named(&["a", "b"]).settings(plain()).observer(events.clone());
    let balancer = builder.build().unwrap();
    let (prober, unwell) = probe(&balancer);
    unwell.lock().unwrap().insert("b".to_owned());
    sleep(SECOND).await;
    assert_eq!(state(&balancer, "b"), Ejected, "the first result counts");
    drop(prober);
    sleep(SECOND).await;
    assert_eq!(state(&balancer, "b"), Ready);
    let seen = changes(&events, "b");
    assert_eq!(seen[1..], [(Ejected, FoundUnfit), (Connecting, TimeOver), (Ready, Connected)]);
}

#[tokio::test(start_paused = true)]
async fn four_endpoints_that_serve_and_fail_all_their_probes_go_on_serving() {
    let peers = Peers::default();
    let names = ["a", "b", "c", "d"];
    let balancer = peers.named(&names).settings(plain()).build().unwrap();
    let (prober, unwell) = probe(&balancer);
    unwell.lock().unwrap().extend(names.map(str::to_owned));
    assert!(prober.wait_first(SECOND).await);
    assert!(names.iter().all(|name| state(&balancer, name) == Ejected));
    for _ in 0..100 {
        ask(&balancer.service()).await.unwrap();
    }
    assert!(peers.all_calls().iter().all(|calls| *calls > 0));
}
