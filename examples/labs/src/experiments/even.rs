//! Who gets how much. What Finagle's own tests ask of its balancers (`P2CSuite`, `P2CPeakEwmaTest`), with a millisecond for each of their
//! ticks: a hundred endpoints and a hundred thousand calls. Of calls that do not end, each has its part within a ten-thousandth of all;
//! of calls that take equally long, within five; one that has not answered yet is asked once; and one that takes twice as long gets half
//! as much at least, where what was measured is forgotten soon.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use stonework::Error;
use stonework::balance::{Balancer, Pick};
use tokio::time::sleep;
use tower::{Service, ServiceExt, service_fn};

use super::endpoints::{MS, balancer, bare, judge};
use crate::{Bar, Experiment, Figure, Finding, Mean, each_seed, evenly};

const ENDPOINTS: usize = 100;
const CALLS: u64 = 100_000;

pub const EVEN: Experiment = Experiment {
    letter: 'J',
    name: "even",
    title: "who gets how much of 100 000 calls to a hundred endpoints: how far their mean loads are apart",
    published: "Finagle's own tests (`P2CSuite`, `P2CPeakEwmaTest`) ask of its balancers that a hundred thousand calls to a hundred endpoints are \
                spread within a ten-thousandth of all where they do not end, and within five where they take equally long; that one which has not \
                answered yet is asked once; and that one which takes twice as long gets half as much.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say(
        "                                                | mean            | in the worst run | Finagle's bound",
    );
    let mut row = |what: &str, off: &[f64], bound: &str| {
        let mean = Mean::of(off);
        let shown = format!("{mean:.2}");
        finding.say(format_args!("    {what:<43} | {shown:<15} | {:<16.2} | {bound}", mean.most));
        mean
    };
    let endless = row("calls that do not end", &each_seed(seeds, endless), "10");
    let alike = row("calls that take equally long", &each_seed(seeds, alike), "50");
    let slow = row("how often one that does not answer is asked", &each_seed(seeds, one_very_slow), "1");
    let twice = row("part of one that takes twice as long", &each_seed(seeds, one_twice_as_slow), "0.5");
    let every = |mean| Figure::every(mean, 2, "");
    finding.hold("mean loads apart, of calls that do not end", "10", every(endless), Bar::AtMost(10.0));
    finding.hold("mean loads apart, of calls that take equally long", "50", every(alike), Bar::AtMost(50.0));
    let once = Bar::Between(1.0, 1.0);
    finding.hold("times that one is asked which does not answer", "1", every(slow), once);
    let half = Bar::Between(0.45, 0.55);
    finding.hold(
        "part of the others' calls that one gets which takes twice as long",
        "0.5",
        every(twice),
        half,
    );
    finding.words = format!(
        "The balancer keeps to all four: loads are {:.1} and {:.0} apart on average, and who takes twice as long gets {:.2} of what the others get.",
        endless.mean, alike.mean, twice.mean
    );
    finding
}

type Counts = Arc<[AtomicU64]>;

/// Endpoints that take so long, and how often each is called.
fn counted(
    count: usize,
    pick: Pick,
    seed: u64,
    takes: impl Fn(usize) -> Duration + Send + Sync + 'static,
) -> (Balancer<impl Service<(), Response = (), Error = Error, Future: Send> + Clone + Send + Sync>, Counts) {
    let counts: Counts = (0..count).map(|_| AtomicU64::new(0)).collect();
    let all = Arc::clone(&counts);
    let settings = bare(pick).decay(150 * MS);
    let balancer = balancer(count, settings, seed, move |at| {
        let (counts, takes) = (Arc::clone(&all), takes(at));
        service_fn(move |()| {
            counts[at].fetch_add(1, Relaxed);
            async move {
                sleep(takes).await;
                Ok::<_, Error>(())
            }
        })
    });
    (balancer, counts)
}

/// How far the furthest is from the first, by their mean loads: each call finds one more there than the one before it, so that is half of
/// what they have in the end.
fn furthest(counts: &Counts) -> f64 {
    let load = |count: &AtomicU64| count.load(Relaxed) as f64 / 2.0;
    counts.iter().map(|count| (load(count) - load(&counts[0])).abs()).fold(0.0, f64::max)
}

async fn endless(seed: u64) -> f64 {
    let (balancer, counts) = counted(ENDPOINTS, Pick::LeastLoaded, seed, |_| Duration::from_secs(1_000_000));
    let mut service = balancer.service().classify(judge).plain();
    let mut under_way: Vec<Pin<Box<_>>> = Vec::new();
    for _ in 0..CALLS {
        let mut call = Box::pin(service.call(()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        under_way.push(call);
    }
    furthest(&counts)
}

/// One call each millisecond, and what is counted then.
async fn spread(
    count: usize,
    seed: u64,
    takes: impl Fn(usize) -> Duration + Send + Sync + 'static,
) -> Counts {
    let (balancer, counts) = counted(count, Pick::PeakEwma, seed, takes);
    let service = balancer.service().classify(judge).plain();
    let calls = evenly(MS, MS * CALLS as u32, |_| service.clone().oneshot(())).await;
    assert!(calls.iter().all(Result::is_ok), "every call is answered");
    counts
}

async fn alike(seed: u64) -> f64 {
    furthest(&spread(ENDPOINTS, seed, |_| 5 * MS).await)
}

async fn one_very_slow(seed: u64) -> f64 {
    let takes = |at| if at == ENDPOINTS { 2 * MS * CALLS as u32 } else { MS };
    spread(ENDPOINTS + 1, seed, takes).await[ENDPOINTS].load(Relaxed) as f64
}

async fn one_twice_as_slow(seed: u64) -> f64 {
    let takes = |at| if at == ENDPOINTS { 10 * MS } else { 5 * MS };
    let counts = spread(ENDPOINTS + 1, seed, takes).await;
    let slow = counts[ENDPOINTS].load(Relaxed) as f64;
    slow / ((CALLS as f64 - slow) / ENDPOINTS as f64)
}
