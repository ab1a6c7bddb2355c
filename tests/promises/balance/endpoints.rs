//! The lives of endpoints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use stonework::balance::{Found, Inspect};
use stonework::base::EndpointReason::{ConnectFailed, Connected, Removed, TimeOver};
use stonework::base::EndpointState::{Backoff, Connecting, Draining, Ejected, Ready};
use stonework::base::{Backoff as Pause, BoxError, EndpointId, Event, Fitness, Jitter, Observer};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::kit::{AtPeer, Does, OK, Peers, ask, changes, from, plain, state};
use crate::support::{PATIENCE, SECOND, polled, request, timed};

/// Pauses of a second, two, four and so on.
fn pauses() -> Pause {
    Pause::exponential(SECOND, 60 * SECOND).unwrap().jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_gets_calls_again_with_no_call_to_find_that_out() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let builder = peers.named(&["a", "b"]).check(AtPeer::connects).settings(plain().backoff(pauses()));
    peers.tell("b", Does::Refuse);
    let balancer = builder.observer(events.clone()).build().unwrap();
    tokio::task::yield_now().await;
    // Tried after 1, 2, 4 and 8 s, and there is no call.
    sleep(Duration::from_millis(7_500)).await;
    assert_eq!((state(&balancer, "a"), state(&balancer, "b")), (Ready, Backoff));
    assert_eq!(changes(&events, "b").len(), 7, "three times over, and not ready once");
    peers.tell("b", OK);
    sleep(8 * SECOND).await;
    assert_eq!(state(&balancer, "b"), Ready);
    let last = &changes(&events, "b")[7..];
    assert_eq!(last, [(Connecting, TimeOver), (Ready, Connected)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_one_costs_no_call_and_is_never_picked_before_it_can_be_reached() {
    let peers = Peers::default();
    let builder = peers.named(&["a", "b", "c"]).check(AtPeer::connects).settings(plain());
    peers.tell("b", Does::Refuse);
    let balancer = builder.build().unwrap();
    for _ in 0..500 {
        assert_ne!(ask(&balancer.service()).await.unwrap(), "b");
        sleep(SECOND / 10).await;
    }
    let picked = |name: &str| {
        let stats = balancer.stats();
        stats.endpoints().iter().find(|one| one.id().as_str() == name).unwrap().calls()
    };
    assert_eq!((picked("a") + picked("c"), picked("b")), (500, 0));
}

/// Calls that fail one after the other cost a second each, and are forgotten within minutes.
#[tokio::test(start_paused = true)]
async fn one_that_comes_back_gets_its_share_whatever_its_last_calls_have_cost() {
    let peers = Peers::default();
    let builder = peers.named(&["a", "b"]).check(AtPeer::connects).settings(plain().backoff(pauses()));
    let balancer = builder.build().unwrap();
    let answers = Does::Answer(200, Duration::from_millis(10));
    peers.tell("a", answers);
    peers.tell("b", Does::Break);
    let service = balancer.service();
    sleep(SECOND / 10).await;
    while state(&balancer, "b") == Ready {
        let calls = (0..20).map(|_| ask(&service));
        let failed = futures_util::future::join_all(calls).await.iter().any(Result::is_err);
        if failed {
            peers.tell("b", Does::Refuse);
        }
    }
    peers.tell("b", answers);
    sleep(2 * SECOND).await;
    assert_eq!(state(&balancer, "b"), Ready);
    let before = peers.calls("b");
    for _ in 0..100 {
        ask(&service).await.unwrap();
    }
    let share = peers.calls("b") - before;
    assert!((30..=70).contains(&share), "{share} of 100");
}

/// Streams of hours are nothing unusual. None of them tells what calls cost there now.
#[tokio::test(start_paused = true)]
async fn one_that_comes_back_gets_its_share_also_while_an_old_answer_is_still_being_read() {
    let content = tower::service_fn(|_: http::Request<()>| async {
        sleep(SECOND / 100).await;
        Ok::<_, stonework::Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from("content")))
    });
    let builder = stonework::balance::Balancer::builder(move |_| content).members(["b"]).settings(plain());
    let balancer = builder.rng(stonework::base::Rng::seeded(1)).build().unwrap();
    let call = || balancer.service().oneshot(http::Request::new(()));
    let old = call().await.unwrap();
    balancer.set(["a", "b"]);
    let calls = || balancer.stats().endpoints()[1].calls();
    balancer.found(&"b".into(), Fitness::Unfit);
    balancer.found(&"b".into(), Fitness::Fit);
    let before = calls();
    for _ in 0..5 {
        futures_util::future::join_all((0..20).map(|_| call())).await;
    }
    let share = calls() - before;
    assert!((30..=70).contains(&share), "{share} of 100");
    drop(old);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_until_it_answers_and_begin_anew_then() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let builder = peers.named(&["a"]).settings(plain().backoff(pauses()).without_wait_for_endpoint());
    let balancer = builder.observer(events.clone()).build().unwrap();
    peers.tell("a", Does::Refuse);
    for pause in [1, 2, 4] {
        assert!(ask(&balancer.service()).await.unwrap_err().is_connect());
        assert_eq!(state(&balancer, "a"), Backoff);
        sleep(pause * SECOND - SECOND / 100).await;
        assert_eq!(state(&balancer, "a"), Backoff, "for {pause} s");
        sleep(SECOND / 50).await;
        assert_eq!(state(&balancer, "a"), Ready, "nothing says otherwise");
    }
    peers.tell("a", OK);
    ask(&balancer.service()).await.unwrap();
    peers.tell("a", Does::Refuse);
    ask(&balancer.service()).await.unwrap_err();
    sleep(SECOND + SECOND / 50).await;
    assert_eq!(state(&balancer, "a"), Ready);
    assert!(changes(&events, "a").contains(&(Backoff, ConnectFailed)));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_is_a_failure_and_is_made_again() {
    let peers = Peers::default();
    let builder = peers.named(&["a", "b"]).check(AtPeer::connects);
    peers.tell("a", Does::Hang);
    peers.tell("b", Does::Broken);
    let settings = plain().backoff(pauses()).check_timeout(3 * SECOND);
    let balancer = builder.settings(settings).build().unwrap();
    sleep(SECOND / 2).await;
    assert_eq!((state(&balancer, "a"), state(&balancer, "b")), (Connecting, Backoff));
    sleep(3 * SECOND).await;
    assert_eq!(state(&balancer, "a"), Backoff);
    peers.tell("a", OK);
    peers.tell("b", OK);
    sleep(4 * SECOND).await;
    assert_eq!((state(&balancer, "a"), state(&balancer, "b")), (Ready, Ready));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_before_it_has_begun_is_a_failure_too() {
    let (peers, checks) = (Peers::default(), AtomicU32::new(0));
    let check = move |at: AtPeer| {
        assert!(checks.fetch_add(1, Ordering::Relaxed) > 0, "on purpose");
        at.connects()
    };
    let balancer = peers.balancer().members(["a"]).check(check).settings(plain().backoff(pauses()));
    let balancer = balancer.build().unwrap();
    sleep(SECOND / 2).await;
    assert_eq!(state(&balancer, "a"), Backoff);
    sleep(SECOND).await;
    assert_eq!(state(&balancer, "a"), Ready);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_removed_gets_no_call_and_what_is_under_way_there_goes_on() {
    let (peers, events) = (Peers::default(), Recorder::new());
    let balancer = peers.named(&["a"]).observer(events.clone()).build().unwrap();
    peers.tell("a", Does::Answer(200, SECOND));
    let service = balancer.service();
    let under_way = tokio::spawn({
        let service = service.clone();
        async move { ask(&service).await }
    });
    tokio::task::yield_now().await;
    balancer.set(["b"]);
    for _ in 0..20 {
        assert_eq!(ask(&service).await.unwrap(), "b");
    }
    assert_eq!(under_way.await.unwrap().unwrap(), "a");
    assert_eq!(changes(&events, "a").last(), Some(&(Draining, Removed)));
}

#[tokio::test(start_paused = true)]
async fn those_that_stay_keep_what_is_known_of_them_and_take_their_new_weight() {
    use stonework::balance::Member;
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain().backoff(pauses())).build().unwrap();
    peers.tell("a", Does::Refuse);
    while state(&balancer, "a") == Ready {
        ask(&balancer.service()).await.unwrap();
    }
    balancer.set([Member::new("c"), Member::new("a").weight(7), Member::new("a")]);
    let stats = balancer.stats();
    let seen: Vec<_> =
        stats.endpoints().iter().map(|one| (one.id().as_str(), one.weight(), one.state())).collect();
    assert_eq!(seen, [("c", 1, Ready), ("a", 7, Backoff)], "the first of two of one name");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_an_endpoint_is_told_with_its_tier_and_how_long_its_calls_take() {
    use stonework::balance::Member;
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain()).build().unwrap();
    balancer.set([Member::new("a").tier(2), Member::new("b").tier(3)]);
    peers.tell("a", Does::Answer(200, 20 * SECOND / 1_000));
    ask(&balancer.service()).await.unwrap();
    let stats = balancer.stats();
    let told = stats.endpoints().iter().map(|one| (one.tier(), one.calls(), one.latency()));
    let [(2, 1, Some(took)), (3, 0, None)] = told.collect::<Vec<_>>()[..] else { panic!("{stats:?}") };
    assert!(took.abs_diff(20 * SECOND / 1_000) < SECOND / 1_000, "{took:?}");
}

/// Has another one there when "a" is removed, or "b" left out.
#[derive(Clone, Default)]
struct Reserve(Arc<OnceLock<stonework::balance::Balancer<AtPeer>>>);

impl Observer for Reserve {
    fn observe(&self, event: &Event) {
        let Event::EndpointChanged { endpoint, to, .. } = event else { return };
        if matches!((endpoint.as_str(), to), ("a", Draining) | ("b", Ejected)) {
            self.0.get().expect("it is there").set(["reserve"]);
        }
    }
}

#[test]
fn whoever_hears_of_a_change_of_the_list_may_bring_another_one() {
    let (peers, reserve) = (Peers::default(), Reserve::default());
    let balancer = peers.named(&["a"]).observer(reserve.clone()).build().unwrap();
    assert!(reserve.0.set(balancer.clone()).is_ok());
    let (tell, done) = std::sync::mpsc::channel();
    // Whoever waits for itself would wait for ever.
    std::thread::spawn(move || {
        balancer.set(["b"]);
        let stats = balancer.stats();
        let names = stats.endpoints().iter().map(|one| one.id().to_string());
        tell.send(names.collect::<Vec<_>>()).unwrap();
    });
    assert_eq!(done.recv_timeout(PATIENCE).expect("an end"), ["reserve"]);
}

/// Finds at once that all but one are unfit.
struct Strict;

impl Inspect for Strict {
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }

    fn begin(self, found: Found) -> impl Fn(Vec<EndpointId>) + Send + Sync + 'static {
        move |members| {
            for member in members.iter().filter(|member| member.to_string() != "reserve") {
                found.tell(member, Fitness::Unfit);
            }
        }
    }
}

#[test]
fn whoever_hears_at_once_what_an_inspection_has_found_may_bring_another_list() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tell, done) = std::sync::mpsc::channel();
    // Whoever waits for itself would wait for ever.
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        let (peers, reserve) = (Peers::default(), Reserve::default());
        let balancer = peers.named(&["a"]).observer(reserve.clone()).inspect(Strict).build().unwrap();
        assert!(reserve.0.set(balancer.clone()).is_ok());
        balancer.set(["a", "b"]);
        let stats = balancer.stats();
        let names = stats.endpoints().iter().map(|one| one.id().to_string());
        tell.send(names.collect::<Vec<_>>()).unwrap();
    });
    assert_eq!(done.recv_timeout(PATIENCE).expect("an end"), ["reserve"]);
}

/// Panics at what it hears of those that are gone.
struct Panics;

impl Observer for Panics {
    fn observe(&self, event: &Event) {
        assert!(!matches!(event, Event::EndpointChanged { why: Removed, .. }), "on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_at_a_change_of_the_list_keeps_nobody_from_looking_at_it() {
    let peers = Peers::default();
    let balancer =
        peers.named(&["a", "reserve"]).settings(plain()).observer(Panics).inspect(Strict).build().unwrap();
    assert_eq!(state(&balancer, "a"), Ejected);
    assert!(catch_unwind(AssertUnwindSafe(|| balancer.set(["b", "reserve"]))).is_err());
    assert_eq!(state(&balancer, "b"), Ejected);
}

/// tower-rs/tower#856: a balancer that remembers *where* the one that it made ready is sends the call to another one when the
/// set changes in between.
#[tokio::test(start_paused = true)]
async fn the_one_that_became_ready_is_the_one_that_is_called_whatever_comes_and_goes() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b", "c"]).settings(plain()).build().unwrap();
    ["a", "b", "c"].iter().for_each(|name| peers.tell(name, Does::Busy));
    let mut call = Box::pin(balancer.service().oneshot(request(Method::GET)));
    assert!(polled(&mut call).await.is_pending());
    let waits: Vec<_> =
        balancer.stats().endpoints().iter().filter(|one| one.in_flight() > 0).cloned().collect();
    assert_eq!(waits.len(), 2, "for the first of two");
    let chosen = waits[1].id().to_string();
    balancer.set(["x", "y", chosen.as_str()]);
    balancer.set([chosen.as_str(), "y"]);
    peers.tell(&chosen, OK);
    assert_eq!(from(&call.await.unwrap()), chosen);
    assert_eq!(peers.all_calls().iter().sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_busy_is_passed_over_and_of_two_that_are_the_first_to_be_ready_gets_the_call() {
    let peers = Peers::default();
    let balancer = peers.named(&["a", "b"]).settings(plain()).build().unwrap();
    let service = balancer.service();
    peers.tell("a", Does::Busy);
    for _ in 0..20 {
        assert_eq!(ask(&service).await.unwrap(), "b");
    }
    peers.tell("b", Does::Busy);
    for free in ["a", "b"] {
        let mut call = Box::pin(ask(&service));
        assert!(polled(&mut call).await.is_pending());
        peers.tell(free, OK);
        assert_eq!(call.await.unwrap(), free);
        peers.tell(free, Does::Busy);
    }
    let in_flight: u64 = balancer.stats().endpoints().iter().map(|one| one.in_flight()).sum();
    assert_eq!(in_flight, 0, "whoever was not called is free again");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_under_way_until_its_response_body_has_ended() {
    use http_body_util::BodyExt;
    let peers = Peers::default();
    let balancer = peers.named(&["a"]).build().unwrap();
    let answer = balancer.service().oneshot(request(Method::GET)).await.unwrap();
    let in_flight = || balancer.stats().endpoints()[0].in_flight();
    assert_eq!(in_flight(), 0, "a body of nothing");
    drop(answer);
    let with_body = tower::service_fn(|_: http::Request<()>| async {
        Ok::<_, stonework::Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from("content")))
    });
    let balancer = stonework::balance::Balancer::builder(move |_| with_body).members(["a"]).build().unwrap();
    let in_flight = || balancer.stats().endpoints()[0].in_flight();
    let answer = balancer.service().oneshot(http::Request::new(())).await.unwrap();
    assert_eq!(in_flight(), 1);
    answer.into_body().collect().await.unwrap();
    assert_eq!(in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_when_the_last_handle_is_gone() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let peers = Peers::default();
    let (sender, members) = stonework::balance::watch();
    let builder = peers.balancer().check(AtPeer::connects).discover(members).settings(plain());
    let balancer = builder.build().unwrap();
    peers.tell("a", Does::Hang);
    peers.tell("b", Does::Refuse);
    sender.send(["a".into(), "b".into()]);
    sleep(SECOND / 20).await;
    assert_eq!(alive(), before + 4, "one that discovers, two that look after, one that checks");
    drop(balancer);
    sleep(SECOND / 20).await;
    assert_eq!(alive(), before);
}

#[test]
fn it_may_be_built_where_there_is_no_runtime_and_outlives_the_one_that_it_was_used_in() {
    let peers = Peers::default();
    let (sender, members) = stonework::balance::watch();
    let builder = peers.balancer().check(AtPeer::connects).discover(members).settings(plain());
    let balancer = builder.build().unwrap();
    sender.send(["a".into()]);
    let run =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    assert_eq!(run().block_on(ask(&balancer.service())).unwrap(), "a");
    peers.tell("a", Does::Refuse);
    run().block_on(ask(&balancer.service())).unwrap_err();
    peers.tell("a", OK);
    // Its task went with that runtime. Whoever comes next is served all the same, and has it looked after.
    run().block_on(async {
        let (answer, took) = timed(ask(&balancer.service())).await;
        assert_eq!(answer.unwrap(), "a");
        assert!(took < SECOND);
        let start = Instant::now();
        while state(&balancer, "a") != Ready {
            sleep(SECOND / 100).await;
            assert!(start.elapsed() < 10 * SECOND);
        }
    });
}
