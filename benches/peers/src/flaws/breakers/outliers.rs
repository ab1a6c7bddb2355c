//! Who is told that an endpoint is left out, and for how long it is: theirs, and ours.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use stonework::base::{Backoff, CircuitState, Event, Jitter, Observer, Outcome};
use stonework::breaker::{Breaker, BreakerSettings};
use tokio::time::{Instant, sleep};
use tower_resilience_outlier::OutlierDetector;

use crate::flaws::{Found, block_on, block_on_paused};

/// Where this does not end within two seconds, its thread stays behind, and ends with the program.
fn ends(told: impl FnOnce() + Send + 'static) -> bool {
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        told();
        // Nobody listens any more if it took too long.
        let _ = tell.send(());
    });
    ended.recv_timeout(Duration::from_secs(2)).is_ok()
}

fn said(answers: bool) -> &'static str {
    if answers { "yes" } else { "no" }
}

pub(super) fn listener() -> Found {
    let answers = ends(|| {
        let detector = OutlierDetector::new().max_ejection_percent(100);
        let asked = detector.clone();
        let detector = detector.on_ejection(move |name, _| {
            asked.is_ejected(name);
        });
        detector.register("one", 5);
        for _ in 0..5 {
            detector.record_failure("one");
        }
    });
    Found::new(!answers, said(answers))
}

/// Asks the circuit that it hears of, and says what it was told.
struct Asks(mpsc::Sender<CircuitState>, Arc<OnceLock<Breaker>>);

impl Observer for Asks {
    fn observe(&self, event: &Event) {
        let Self(tell, asked) = self;
        if matches!(event, Event::CircuitChanged { .. }) {
            let asked = asked.get().expect("it was made before it changed");
            // Only the first answer counts.
            let _ = tell.send(asked.state());
        }
    }
}

pub(super) fn our_listener() -> Found {
    let (tell, told) = mpsc::channel();
    let answers = ends(move || {
        let asked = Arc::default();
        let breaker =
            Breaker::new(settings()).expect("valid settings").observer(Asks(tell, Arc::clone(&asked)));
        assert!(asked.set(breaker.clone()).is_ok(), "it is set once");
        fail(&breaker);
    });
    let state = told.try_recv();
    Found::new(answers && state == Ok(CircuitState::Open), said(answers))
}

fn settings() -> BreakerSettings {
    let open_time =
        Backoff::exponential(LEFT_OUT, ROUNDS * 100 * LEFT_OUT).expect("valid times").jitter(Jitter::None);
    BreakerSettings::new().window_of_calls(5).min_calls(5).open_time(open_time)
}

/// Until it is open.
fn fail(breaker: &Breaker) {
    while let Ok(call) = breaker.try_acquire() {
        call.settle(Outcome::Failure);
    }
}

const LEFT_OUT: Duration = Duration::from_millis(5);
const ROUNDS: u32 = 8;

/// The first and the last of so many times, after each of which it is well for twice as long. Other work on the machine makes them longer.
async fn rounds(
    mut fails: impl FnMut(),
    is_out: impl Fn() -> bool,
    mut is_well: impl FnMut(),
) -> [Duration; 2] {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        fails();
        assert!(is_out(), "it failed often enough");
        let start = Instant::now();
        while is_out() {
            sleep(Duration::from_millis(1)).await;
        }
        let left_out = start.elapsed();
        times.push(left_out);
        is_well();
        sleep(2 * left_out).await;
    }
    [times[0], times[times.len() - 1]]
}

pub(super) fn growing() -> Found {
    block_on(async {
        let detector = OutlierDetector::new().base_ejection_duration(LEFT_OUT).max_ejection_percent(100);
        detector.register("one", 5);
        let fails = || {
            for _ in 0..5 {
                detector.record_failure("one");
            }
        };
        let is_well = || (0..100).for_each(|_| detector.record_success("one"));
        let [first, last] = rounds(fails, || detector.is_ejected("one"), is_well).await;
        // Twice as long each time.
        Found::new(last >= 128 * LEFT_OUT, format!("{first:.0?}, {last:.0?}"))
    })
}

pub(super) fn ours_growing() -> Found {
    block_on_paused(async {
        let breaker = Breaker::new(settings()).expect("valid settings");
        let is_well = || {
            for _ in 0..100 {
                breaker.try_acquire().expect("it lets good calls through").settle(Outcome::Success);
            }
            assert_eq!(breaker.state(), CircuitState::Closed, "it is well");
        };
        // What is due to be half-open lets a call through; one that says nothing changes nothing.
        let is_out = || breaker.try_acquire().is_err();
        let [first, last] = rounds(|| fail(&breaker), is_out, is_well).await;
        Found::new(last < 3 * LEFT_OUT, format!("{first:.0?}, {last:.0?}"))
    })
}
