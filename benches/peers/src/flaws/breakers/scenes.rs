//! What is done to a breaker, whoever made it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, pause, resume, sleep, timeout};

use super::kit::{Ask, Backend, Ended, Guarded, call, polls};
use crate::rows::Broken;

/// When a caller gives up.
const GIVE_UP: Duration = Duration::from_millis(5);
/// What a layer allows, where one limits the time.
pub(crate) const LIMIT: Duration = Duration::from_millis(2);

/// Failures until a call is refused; more than `most` are not made.
pub(crate) async fn failures_until_open(service: &impl Guarded, most: u32) -> Option<u32> {
    for failures in 0..=most {
        if call(service, Ask::Fail).await == Ended::Refused {
            return Some(failures);
        }
    }
    None
}

/// The same after so many successes.
pub(crate) async fn opens_after(service: &impl Guarded, successes: u32, most: u32) -> Option<u32> {
    for _ in 0..successes {
        assert_eq!(call(service, Ask::Succeed).await, Ended::Good);
    }
    failures_until_open(service, most).await
}

/// Opens it by failures.
pub(crate) async fn open(service: &impl Guarded) {
    assert!(failures_until_open(service, 1_000).await.is_some(), "failures open it");
}

/// 300 calls that hang, ten at a time: how many reach the backend. Unless a layer of `service` limits their time, callers give
/// up.
pub(crate) async fn hung(service: &impl Guarded, backend: &Backend) -> u32 {
    for _ in 0..30 {
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let service = service.clone();
            calls.spawn(async move { timeout(GIVE_UP, call(&service, Ask::Hang)).await.is_ok() });
        }
        while calls.join_next().await.is_some() {}
    }
    backend.reached()
}

/// The breaker opens while so many calls are on their way, and is half-open with a probe that waits when these calls
/// end, all in the same way. The probe still waits afterwards.
pub(crate) async fn stale(
    service: &impl Guarded,
    backend: &Backend,
    calls: u32,
    open_time: Duration,
    end: Result<(), Broken>,
) -> JoinHandle<Ended> {
    let mut on_their_way = Vec::new();
    for _ in 0..calls {
        let (tell, told) = oneshot::channel();
        on_their_way.push((tell, spawn(service, Ask::Wait(told))));
    }
    backend.has_reached(calls).await;
    open(service).await;
    sleep(open_time + Duration::from_millis(5)).await;
    let reached = backend.reached();
    let probe = spawn(service, Ask::Hang);
    backend.has_reached(reached + 1).await;
    let ended = if end.is_ok() { Ended::Good } else { Ended::Failed };
    for (tell, call) in on_their_way {
        tell.send(end.clone()).expect("the call is on its way");
        assert_eq!(call.await.expect("no panic"), ended);
    }
    assert!(!probe.is_finished(), "the probe waits");
    probe
}

/// Half-open, and its one probe takes 200 ms: how often a call is polled that waits until it is ready.
pub(crate) async fn waits_for_a_probe(service: &impl Guarded, backend: &Backend, open_time: Duration) -> u32 {
    open_quietly(service).await;
    sleep(open_time + Duration::from_millis(5)).await;
    let reached = backend.reached();
    let probe = spawn(service, Ask::Take(Duration::from_millis(200)));
    backend.has_reached(reached + 1).await;
    // Nobody looks at the system's clock until the probe has ended: so other work on the machine changes nothing.
    pause();
    let polls = polls(service, Ask::Succeed).await;
    assert_eq!(probe.await.expect("no panic"), Ended::Good);
    resume();
    polls
}

/// Opens it by failures, where a call is not refused when it is open, but waits.
async fn open_quietly(service: &impl Guarded) {
    while timeout(GIVE_UP, call(service, Ask::Fail)).await.is_ok() {}
}

fn spawn(service: &impl Guarded, ask: Ask) -> JoinHandle<Ended> {
    let service = service.clone();
    tokio::spawn(async move { call(&service, ask).await })
}

/// The backend is well: calls at a steady pace for so long. Good ones, and refused ones.
pub(crate) async fn paced(service: &impl Guarded, pace: Duration, length: Duration) -> (u32, u32) {
    let (mut good, mut refused) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < length {
        match call(service, Ask::Succeed).await {
            Ended::Good => good += 1,
            Ended::Refused => refused += 1,
            Ended::Failed => unreachable!("the backend is well"),
        }
        sleep(pace).await;
    }
    (good, refused)
}

/// The backend stays down: for how long each opening refuses calls.
pub(crate) async fn open_times(service: &impl Guarded, openings: usize) -> Vec<Duration> {
    open(service).await;
    let (mut times, mut opened) = (Vec::new(), Instant::now());
    while times.len() < openings {
        assert!(opened.elapsed() < Duration::from_secs(2), "it lets a probe through within 2 s");
        sleep(Duration::from_millis(1)).await;
        if call(service, Ask::Fail).await == Ended::Failed {
            times.push(opened.elapsed());
            opened = Instant::now();
        }
    }
    times
}

/// A thousand calls at once to a breaker that is due to be half-open: how many reach the backend before one has ended.
pub(crate) async fn flood(service: &impl Guarded, backend: &Backend, open_time: Duration) -> u32 {
    const CALLS: u32 = 1_000;
    open(service).await;
    sleep(open_time + Duration::from_millis(5)).await;
    let (before, refused) = (backend.reached(), Arc::new(AtomicU32::new(0)));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (service, refused) = (service.clone(), Arc::clone(&refused));
        calls.spawn(async move {
            assert_eq!(call(&service, Ask::Hang).await, Ended::Refused, "the backend never answers");
            refused.fetch_add(1, Ordering::Relaxed);
        });
    }
    for _ in 0..10_000 {
        if backend.reached() - before + refused.load(Ordering::Relaxed) == CALLS {
            return backend.reached() - before;
        }
        yield_now().await;
    }
    panic!("some calls are neither refused nor at the backend");
}

/// Four of five calls fail, and the first of them well: how long, and how many calls, until it opens.
pub(crate) async fn mostly_failing(service: &impl Guarded, most: Duration) -> Option<(Duration, u32)> {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < most {
        let ask = if calls % 5 == 0 { Ask::Succeed } else { Ask::Fail };
        if call(service, ask).await == Ended::Refused {
            return Some((start.elapsed(), calls));
        }
        calls += 1;
        sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Nanoseconds of a call when a window holds so many: the median of small groups of calls.
pub(crate) async fn nanos_at(service: &impl Guarded, held: &[u32]) -> Vec<f64> {
    let (mut made, mut nanos) = (0, Vec::new());
    for held in held {
        while made < *held {
            call(service, Ask::Succeed).await;
            made += 1;
        }
        let mut groups = Vec::new();
        for _ in 0..21 {
            let start = Instant::now();
            for _ in 0..5 {
                call(service, Ask::Succeed).await;
            }
            groups.push(start.elapsed().as_nanos() as f64 / 5.0);
            made += 5;
        }
        groups.sort_by(f64::total_cmp);
        nanos.push(groups[groups.len() / 2]);
    }
    nanos
}

/// Six failures, a time in which nobody calls, four good calls and one failure: what the next comes to.
pub(crate) async fn long_ago(service: &impl Guarded) -> Ended {
    for _ in 0..6 {
        call(service, Ask::Fail).await;
    }
    sleep(Duration::from_millis(300)).await;
    for _ in 0..4 {
        call(service, Ask::Succeed).await;
    }
    call(service, Ask::Fail).await;
    call(service, Ask::Succeed).await
}

/// `1 / 2 / never`.
pub(crate) fn listed(figures: &[Option<u32>]) -> String {
    let mut list = String::new();
    for figure in figures {
        let between = if list.is_empty() { "" } else { " / " };
        let _ = match figure {
            Some(figure) => write!(list, "{between}{figure}"),
            None => write!(list, "{between}never"),
        };
    }
    list
}
