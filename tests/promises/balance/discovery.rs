//! Which endpoints there are.

use stonework::balance::{BalancerSettings, Discover, Member, watch};
use stonework::base::{BoxError, Error, Event, Kind};
use stonework::testing::Recorder;
use tokio::time::sleep;

use super::kit::{Does, Peers, ask, plain};
use crate::support::{SECOND, timed};

/// A list, an error or nothing, one each second.
struct Script(Vec<Result<Vec<&'static str>, Kind>>);

impl Discover for Script {
    async fn next(&mut self) -> Option<Result<Vec<Member>, BoxError>> {
        sleep(SECOND).await;
        let next = if self.0.is_empty() { return None } else { self.0.remove(0) };
        let list = next.map(|list| list.into_iter().map(Member::from).collect());
        Some(list.map_err(|kind| Error::new(kind, "the registry is away").into()))
    }
}

#[tokio::test(start_paused = true)]
async fn under_load_the_set_changes_with_no_call_lost() {
    let peers = Peers::default();
    for name in ["a", "b", "c"] {
        peers.tell(name, Does::Answer(200, SECOND / 5));
    }
    let script = Script(vec![Ok(vec!["a", "b"]), Ok(vec!["b", "c"])]);
    let balancer = peers.balancer().discover(script).settings(plain()).build().unwrap();
    let service = balancer.service();
    let mut calls = Vec::new();
    for _ in 0..300 {
        let service = service.clone();
        calls.push(tokio::spawn(async move { ask(&service).await }));
        sleep(SECOND / 100).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let seen = peers.all_calls();
    assert!(seen.iter().all(|calls| *calls > 30), "{seen:?}");
    let (before, in_time) = (peers.calls("a"), ask(&service).await.unwrap());
    assert!(peers.calls("a") == before && in_time != "a");
    let ids: Vec<_> = balancer.stats().endpoints().iter().map(|one| one.id().to_string()).collect();
    assert_eq!(ids, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_is_kept_while_there_is_none_or_nothing_in_it() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let script = Script(vec![Ok(vec!["a"]), Err(Kind::Connect), Ok(vec![])]);
    let balancer = peers.balancer().discover(script).observer(events.clone()).build().unwrap();
    let (answer, took) = timed(ask(&balancer.service())).await;
    assert_eq!((answer.unwrap().as_str(), took), ("a", SECOND), "it waits for the first list");
    for _ in 0..5 {
        sleep(SECOND).await;
        assert_eq!(ask(&balancer.service()).await.unwrap(), "a");
    }
    let failed = |event: &Event| match event {
        Event::DiscoveryFailed { kind, .. } => Some(*kind),
        _ => None,
    };
    let kinds: Vec<_> = events.events().iter().filter_map(failed).collect();
    assert_eq!(kinds, [Kind::Connect, Kind::Other]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_sent_is_heard_of_and_of_several_at_once_the_last() {
    let peers = Peers::default();
    let (sender, members) = watch();
    let settings = BalancerSettings::new();
    let balancer = peers.balancer().members(["given"]).discover(members).settings(settings).build().unwrap();
    assert_eq!(ask(&balancer.service()).await.unwrap(), "given", "until the first list comes");
    sender.send(["a".into()]);
    sender.send(["b".into()]);
    tokio::task::yield_now().await;
    assert_eq!(ask(&balancer.service()).await.unwrap(), "b");
    sender.send([]);
    drop(sender);
    tokio::task::yield_now().await;
    assert_eq!(ask(&balancer.service()).await.unwrap(), "b");
}
