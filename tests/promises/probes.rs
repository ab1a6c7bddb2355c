//! Probes of endpoints: when they start, what they say, and how they end. All of it on a paused clock.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stonework::Deadline;
use stonework::base::{EndpointId, Event, Fitness, Observer, Rng};
use stonework::health::{InvalidHealth, Prober, ProberBuilder, ProberSettings, Verdict, probe_fn};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep};

use crate::support::{SECOND, timed};

const MS: Duration = Duration::from_millis(1);

/// So many endpoints, from this number on.
fn endpoints(from: u32, count: u32) -> impl Iterator<Item = String> {
    (from..from + count).map(|number| format!("10.0.{}.{}:80", number / 256, number % 256))
}

/// When each probe started, and of which endpoint.
type Starts = Arc<Mutex<Vec<(Instant, EndpointId)>>>;

/// A prober of endpoints that always pass.
fn counting(settings: ProberSettings, seed: u64) -> (Prober, Starts) {
    let starts = Starts::default();
    let seen = Arc::clone(&starts);
    let probe = probe_fn(move |endpoint| {
        seen.lock().unwrap().push((Instant::now(), endpoint));
        ready(true)
    });
    let built = Prober::builder(probe).settings(settings).rng(Rng::seeded(seed)).build();
    (built.unwrap(), starts)
}

/// How many there were in each tenth of a second from `from` on, for so many seconds.
fn by_tenths(starts: &Mutex<Vec<(Instant, EndpointId)>>, from: Instant, seconds: usize) -> Vec<u32> {
    let mut counts = vec![0; seconds * 10];
    for (at, _) in starts.lock().unwrap().iter().filter(|(at, _)| *at >= from) {
        let tenth = (*at - from).as_millis() as usize / 100;
        if let Some(count) = counts.get_mut(tenth) {
            *count += 1;
        }
    }
    counts
}

fn assert_even(counts: &[u32], mean: u32) {
    let (least, most) = (mean * 4 / 5, mean * 6 / 5);
    assert!(counts.iter().all(|count| (least..=most).contains(count)), "{least} to {most}: {counts:?}");
}

fn told(recorder: &Recorder) -> Vec<(String, Fitness, Fitness)> {
    let change = |event: &Event| match event {
        Event::FitnessChanged { endpoint, from, to, .. } => Some((endpoint.to_string(), *from, *to)),
        _ => None,
    };
    recorder.events().iter().filter_map(change).collect()
}

/// One that hangs until it is dropped, and counts how many do.
fn hanging(running: &Arc<AtomicU32>) -> impl Future<Output = bool> + Send + use<> {
    struct Run(Arc<AtomicU32>);
    impl Drop for Run {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    running.fetch_add(1, Ordering::Relaxed);
    let run = Run(Arc::clone(running));
    async move {
        let _run = run;
        pending().await
    }
}

// ───────────────────────────────────────────────────────────────────────────── when probes start

#[tokio::test(start_paused = true)]
async fn probes_of_a_thousand_endpoints_are_spread_evenly_from_the_first_on() {
    for seed in 0..5 {
        let (prober, starts) = counting(ProberSettings::new(), seed);
        prober.set(endpoints(0, 1_000));
        let from = Instant::now();
        sleep(41 * SECOND).await;
        assert_even(&by_tenths(&starts, from, 40), 10);
        let mut of_each: HashMap<EndpointId, Vec<Instant>> = HashMap::new();
        for (at, endpoint) in starts.lock().unwrap().iter() {
            of_each.entry(endpoint.clone()).or_default().push(*at);
        }
        assert_eq!(of_each.len(), 1_000);
        for gap in of_each.values().flat_map(|times| times.windows(2).map(|two| two[1] - two[0])) {
            assert!((9 * SECOND..11 * SECOND).contains(&gap), "{gap:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn probes_stay_spread_when_endpoints_come_and_go_in_numbers() {
    let (prober, starts) = counting(ProberSettings::new(), 1);
    prober.set(endpoints(0, 500));
    sleep(25 * SECOND).await;
    // As many again, together.
    prober.set(endpoints(0, 1_000));
    let from = Instant::now();
    assert!(prober.wait_first(6 * SECOND).await, "half of the interval for half of them");
    sleep(35 * SECOND).await;
    assert_even(&by_tenths(&starts, from, 40), 10);

    // Every second one goes, and those who stay have stood next to them.
    prober.set(endpoints(0, 1_000).enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, id)| id));
    let from = Instant::now();
    sleep(41 * SECOND).await;
    assert_even(&by_tenths(&starts, from, 40), 5);
    assert_eq!(prober.stats().count(Fitness::Fit), 500);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_endpoints_are_probed_as_often_as_ten() {
    let (prober, starts) = counting(ProberSettings::new(), 1);
    prober.set(endpoints(0, 10_000));
    sleep(40 * SECOND).await;
    let probes = starts.lock().unwrap().len();
    assert!((39_000..=41_000).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn no_more_probes_run_at_once_than_may() {
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let probe = probe_fn(move |_| {
        let run = hanging(&now);
        peak.fetch_max(now.load(Ordering::Relaxed), Ordering::Relaxed);
        run
    });
    let settings = ProberSettings::new().max_at_once(16);
    let prober = Prober::builder(probe).settings(settings).build().unwrap();
    prober.set(endpoints(0, 1_000));
    sleep(60 * SECOND).await;
    assert_eq!(most.load(Ordering::Relaxed), 16);
    // Sixteen each two seconds, and nobody is forgotten.
    let probes: u64 = prober.stats().endpoints.iter().map(|endpoint| endpoint.probes).sum();
    assert!((16 * 28..=16 * 30).contains(&probes), "{probes}");
    assert!(prober.wait_first(70 * SECOND).await);
    drop(prober);
    sleep(MS).await;
    assert_eq!(running.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_probes_the_same_endpoints_at_the_same_times() {
    let run = async |seed| {
        let (prober, starts) = counting(ProberSettings::new(), seed);
        prober.set(endpoints(0, 50));
        let begin = Instant::now();
        sleep(30 * SECOND).await;
        let starts = starts.lock().unwrap();
        starts.iter().map(|(at, endpoint)| (*at - begin, endpoint.clone())).collect::<Vec<_>>()
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

// ───────────────────────────────────────────────────────────────────────────── what they say

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_passes_and_fails_by_turns_for_an_hour_never_changes() {
    let turns = Mutex::new(HashMap::<EndpointId, u32>::new());
    let probe = probe_fn(move |endpoint: EndpointId| {
        let mut turns = turns.lock().unwrap();
        // Half of them begin with a failure.
        let start = u32::from(endpoint.as_str().ends_with("1:80"));
        let turn = turns.entry(endpoint).or_insert(start);
        *turn += 1;
        ready(*turn % 2 == 1)
    });
    let recorder = Recorder::new();
    let settings = ProberSettings::new().rise(2).fall(3);
    let prober = Prober::builder(probe).settings(settings).observer(recorder.clone()).build().unwrap();
    prober.set(endpoints(0, 20));
    sleep(3_600 * SECOND).await;
    let stats = prober.stats();
    assert!(stats.endpoints.iter().all(|endpoint| endpoint.probes > 350 && endpoint.failures > 170));
    assert_eq!(
        told(&recorder).len(),
        20,
        "the first result of each, and nothing else: {:?}",
        told(&recorder)
    );
    assert_eq!((stats.count(Fitness::Unfit), stats.count(Fitness::Fit)), (2, 18));
}

#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_and_two_successes_change_it_and_everybody_hears_of_it_in_order() {
    let results = ["+", "-", "-", "+", "-", "-", "-", "+", "-", "+", "+"];
    let (heard, recorder) = (Arc::new(Mutex::new(Vec::new())), Recorder::new());
    let hears = Arc::clone(&heard);
    let next = AtomicU32::new(0);
    let probe = probe_fn(move |_| {
        let turn = next.fetch_add(1, Ordering::Relaxed) as usize;
        ready(if results.get(turn) == Some(&"-") { Err("refused") } else { Ok(()) })
    });
    let prober = Prober::builder(probe)
        .name("orders")
        .observer(recorder.clone())
        .on_change(move |endpoint, fitness| hears.lock().unwrap().push((endpoint.to_string(), fitness)))
        .build()
        .unwrap();
    prober.set(["a:80"]);
    sleep(130 * SECOND).await;
    let (fit, unfit) = (Fitness::Fit, Fitness::Unfit);
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard, [("a:80".to_owned(), fit), ("a:80".to_owned(), unfit), ("a:80".to_owned(), fit)]);
    let changes: Vec<_> = told(&recorder).into_iter().map(|(_, from, to)| (from, to)).collect();
    assert_eq!(changes, [(Fitness::Unknown, fit), (fit, unfit), (unfit, fit)]);
    let events = recorder.events();
    let Event::FitnessChanged { prober: name, output, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!((&**name, output.as_deref()), ("orders", Some("refused")));
    assert_eq!(prober.name(), "orders");
    assert!(recorder.timeline().contains("fit, now unfit: refused"), "{}", recorder.timeline());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_dropped_when_its_time_is_over_and_has_failed() {
    let (running, deadline) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(None)));
    let (runs, seen) = (Arc::clone(&running), Arc::clone(&deadline));
    let probe = probe_fn(move |_| {
        let (run, seen) = (hanging(&runs), Arc::clone(&seen));
        async move {
            *seen.lock().unwrap() = Deadline::current().map(|deadline| deadline.remaining(Instant::now()));
            run.await
        }
    });
    let prober = Prober::builder(probe).build().unwrap();
    prober.set(["a:80"]);
    sleep(SECOND).await;
    assert_eq!(running.load(Ordering::Relaxed), 1);
    assert!(prober.stats().endpoints[0].running);
    assert_eq!(*deadline.lock().unwrap(), Some(2 * SECOND), "clients below know how long they have");
    let (known, took) = timed(prober.wait_first(60 * SECOND)).await;
    assert!(known && took > 950 * MS && took <= 1_100 * MS, "{took:?}");
    assert_eq!((running.load(Ordering::Relaxed), prober.fitness(&"a:80".into())), (0, Fitness::Unfit));
    assert_eq!(prober.stats().endpoints[0].output.as_deref(), Some("no result within 2s"));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_has_failed_and_the_others_go_on() {
    let probe = probe_fn(|endpoint: EndpointId| {
        assert_ne!(endpoint.as_str(), "making", "on purpose");
        async move {
            assert_ne!(endpoint.as_str(), "running", "on purpose");
            Verdict::warn("nearly full")
        }
    });
    let prober = Prober::builder(probe).build().unwrap();
    prober.set(["making", "running", "good"]);
    sleep(60 * SECOND).await;
    for endpoint in prober.stats().endpoints {
        let panics = endpoint.id.as_str().ends_with("ing");
        assert!(endpoint.probes >= 5, "{endpoint:?}");
        assert_eq!(endpoint.failures, if panics { endpoint.probes } else { 0 });
        assert_eq!(endpoint.fitness, if panics { Fitness::Unfit } else { Fitness::Fit });
        assert_eq!(
            endpoint.output.as_deref(),
            Some(if panics { "the probe panicked" } else { "nearly full" })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_of_changes_may_panic() {
    struct Clumsy;
    impl Observer for Clumsy {
        fn observe(&self, _: &Event) {
            panic!("on purpose")
        }
    }
    let probe = probe_fn(|_| ready(true));
    let builder = Prober::builder(probe).on_change(|_, _| panic!("on purpose")).observer(Clumsy);
    let prober = builder.build().unwrap();
    prober.set(endpoints(0, 3));
    assert!(prober.wait_first(SECOND).await);
    sleep(60 * SECOND).await;
    assert!(prober.stats().endpoints.iter().all(|endpoint| endpoint.probes >= 5));
}

// ───────────────────────────────────────────────────────────────────────────── how they end

/// A prober whose probes hang, but for those of endpoints whose name begins with `good`.
fn half(running: &Arc<AtomicU32>, recorder: &Recorder) -> ProberBuilder {
    let running = Arc::clone(running);
    let probe = probe_fn(move |endpoint: EndpointId| {
        let good = endpoint.as_str().starts_with("good");
        let hangs = hanging(&running);
        async move { good || hangs.await }
    });
    Prober::builder(probe).observer(recorder.clone())
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_removed_is_not_waited_for_and_nothing_is_known_of_it() {
    let (running, recorder) = (Arc::new(AtomicU32::new(0)), Recorder::new());
    let prober = half(&running, &recorder).build().unwrap();
    prober.set(["good", "hangs"]);
    sleep(SECOND).await;
    assert_eq!(running.load(Ordering::Relaxed), 1);
    let (unknown, fit) = (Fitness::Unknown, Fitness::Fit);
    assert_eq!(told(&recorder), [("good".to_owned(), unknown, fit)]);

    prober.set(["good"]);
    sleep(MS).await;
    assert_eq!(running.load(Ordering::Relaxed), 0, "its probe is dropped, long before its time is over");
    assert!(timed(prober.wait_first(SECOND)).await == (true, Duration::ZERO));
    sleep(60 * SECOND).await;
    assert_eq!(told(&recorder).len(), 1, "and has no result");
    prober.set([""; 0]);
    sleep(MS).await;
    assert_eq!(told(&recorder).last(), Some(&("good".to_owned(), fit, unknown)));
    assert_eq!((prober.fitness(&"good".into()), prober.stats().endpoints.len()), (unknown, 0));
}

#[tokio::test(start_paused = true)]
async fn the_task_and_its_probes_end_with_the_last_handle_and_nothing_is_known_any_more() {
    let (running, recorder) = (Arc::new(AtomicU32::new(0)), Recorder::new());
    let held = Arc::new(());
    let kept = Arc::clone(&held);
    let prober = half(&running, &recorder).on_change(move |_, _| drop(Arc::clone(&kept))).build().unwrap();
    let other = prober.clone();
    prober.set(["good", "hangs"]);
    sleep(SECOND).await;
    drop(prober);
    sleep(60 * SECOND).await;
    assert_eq!(Arc::strong_count(&held), 2, "there is a handle");
    assert!(other.stats().endpoints.iter().all(|endpoint| endpoint.probes >= 5));
    drop(other);
    sleep(MS).await;
    assert_eq!((Arc::strong_count(&held), running.load(Ordering::Relaxed)), (1, 0));
    let last: Vec<_> = told(&recorder).into_iter().rev().take(2).map(|(id, _, to)| (id, to)).collect();
    assert_eq!(last, [("hangs".to_owned(), Fitness::Unknown), ("good".to_owned(), Fitness::Unknown)]);
}

#[test]
fn when_its_runtime_has_ended_nothing_is_known_and_nobody_waits_for_it() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (one, recorder) = (runtime(), Recorder::new());
    let prober = one.block_on(async {
        let prober = Prober::builder(probe_fn(|_| ready(true))).observer(recorder.clone()).build().unwrap();
        prober.set(["a:80"]);
        assert!(prober.wait_first(SECOND).await);
        prober
    });
    drop(one);
    assert_eq!(told(&recorder).last(), Some(&("a:80".to_owned(), Fitness::Fit, Fitness::Unknown)));
    prober.set(["a:80", "b:80"]);
    assert!(!runtime().block_on(prober.wait_first(SECOND)));
    assert_eq!(prober.fitness(&"a:80".into()), Fitness::Unknown);
}

// ───────────────────────────────────────────────────────────────────────────── the first result

#[tokio::test(start_paused = true)]
async fn the_first_results_come_soon_and_whoever_waits_for_them_waits_until_everybody_was_told() {
    let heard = Arc::new(AtomicU32::new(0));
    let hears = Arc::clone(&heard);
    let prober = Prober::builder(probe_fn(|_| ready(true)))
        .on_change(move |_, _| hears.fetch_add(1, Ordering::Relaxed))
        .build()
        .unwrap();
    assert!(prober.wait_first(Duration::ZERO).await, "there is nobody to wait for");
    sleep(3_600 * SECOND).await;
    prober.set(endpoints(0, 10));
    assert_eq!(prober.stats().count(Fitness::Unknown), 10);
    let (known, took) = timed(prober.wait_first(60 * SECOND)).await;
    assert!(known && took <= 550 * MS, "{took:?}");
    assert_eq!(heard.load(Ordering::Relaxed), 10);

    // Also those that come while somebody waits.
    prober.set(endpoints(0, 15));
    let wait = tokio::spawn({
        let prober = prober.clone();
        async move { prober.wait_first(60 * SECOND).await }
    });
    tokio::task::yield_now().await;
    prober.set(endpoints(0, 20));
    assert!(wait.await.unwrap());
    assert_eq!(heard.load(Ordering::Relaxed), 20);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_first_results_waits_no_longer_than_they_say() {
    let (running, recorder) = (Arc::new(AtomicU32::new(0)), Recorder::new());
    let prober = half(&running, &recorder).build().unwrap();
    prober.set(["good", "hangs"]);
    assert_eq!(timed(prober.wait_first(SECOND)).await, (false, SECOND));
    assert_eq!(prober.fitness(&"good".into()), Fitness::Fit, "what is known is known");
    assert!(prober.wait_first(60 * SECOND).await, "a failure is a result");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let build = |settings| Prober::builder(probe_fn(|_| ready(true))).settings(settings).build();
    let (new, second) = (ProberSettings::new, SECOND);
    let refused = build(new().interval(second).timeout(second)).unwrap_err();
    assert_eq!(refused, InvalidHealth::TimeoutTooLong { timeout: second, interval: second });
    assert_eq!(
        refused.to_string(),
        "`timeout`, 1s, has to be shorter than `interval`, 1s, or a check that hangs runs always"
    );
    assert_eq!(build(new().fall(0)).unwrap_err(), InvalidHealth::Zero { field: "fall" });
    assert!(build(new()).is_ok());
}
