//! The table that resilience4j's state machine is tested by, on ours.

use std::time::Duration;

use stonework::base::{Backoff, CircuitState, Outcome, Ratio};
use stonework::breaker::{Breaker, BreakerSettings, Permit};
use stonework::testing::Recorder;
use tokio::time::advance;

use crate::support::SECOND;

/// Where a row begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Closed,
    HalfOpen,
}

struct Row {
    what: &'static str,
    from: From,
    /// What is done, one word after the other: `F` a call that fails, `S` one that goes well, `I` one that is to be ignored; `take`
    /// a permit and keep it, `no` be refused one, `give` the oldest back unused, `good` let it go well; `5s` time passes.
    done: &'static str,
    state: CircuitState,
    failure_rate: Option<f64>,
    slow_rate: Option<f64>,
    refused: u64,
}

use CircuitState::{Closed, HalfOpen, Open, Recovering};

const ROWS: &[Row] = &[
    Row {
        what: "below the minimum nothing is judged",
        from: From::Closed,
        done: "F F F S",
        state: Closed,
        failure_rate: None,
        slow_rate: None,
        refused: 0,
    },
    Row {
        what: "with the minimum it opens, and refuses the next call",
        from: From::Closed,
        done: "F F F S S no",
        state: Open,
        failure_rate: Some(0.6),
        slow_rate: Some(0.0),
        refused: 1,
    },
    Row {
        what: "as many probes as there may be, and one for each that is given back",
        from: From::HalfOpen,
        done: "take take take take no give take no",
        state: HalfOpen,
        failure_rate: None,
        slow_rate: None,
        refused: 2,
    },
    Row {
        what: "three of four probes fail",
        from: From::HalfOpen,
        done: "F F S F",
        state: Open,
        failure_rate: Some(0.75),
        slow_rate: Some(0.0),
        refused: 0,
    },
    Row {
        what: "three of four probes are slow",
        from: From::HalfOpen,
        done: "take take take 4s take good good good good",
        state: Open,
        failure_rate: Some(0.0),
        slow_rate: Some(0.75),
        refused: 0,
    },
    Row {
        what: "one of four probes fails: it closes, and begins to count anew",
        from: From::HalfOpen,
        done: "F S S S",
        state: Closed,
        failure_rate: None,
        slow_rate: None,
        refused: 0,
    },
    Row {
        what: "a probe that is ignored gives its place back: one of four fails",
        from: From::HalfOpen,
        done: "S S S I F",
        state: Closed,
        failure_rate: None,
        slow_rate: None,
        refused: 0,
    },
    Row {
        what: "four that are ignored decide nothing, the next four do",
        from: From::HalfOpen,
        done: "I I I I S S S S",
        state: Closed,
        failure_rate: None,
        slow_rate: None,
        refused: 0,
    },
    Row {
        what: "probes that are not over in time open it again",
        from: From::HalfOpen,
        done: "take take take take 10s no",
        state: Open,
        failure_rate: Some(1.0),
        slow_rate: Some(0.0),
        refused: 1,
    },
    // Theirs opens again when no call has come for long enough, or stays half-open for ever. Ours waits, and lets the next call
    // probe at once: nothing has been learned that speaks against it.
    Row {
        what: "nobody comes to probe",
        from: From::HalfOpen,
        done: "3600s S S S S",
        state: Closed,
        failure_rate: None,
        slow_rate: None,
        refused: 0,
    },
    // Theirs lets everybody through when the probes went well. Ours lets as many again, since a call was refused meanwhile.
    Row {
        what: "a crowd waits while the probes go well",
        from: From::HalfOpen,
        done: "take take take take no good good good good",
        state: Recovering,
        failure_rate: Some(0.0),
        slow_rate: Some(0.0),
        refused: 1,
    },
];

#[tokio::test(start_paused = true)]
async fn the_circuit_goes_through_the_states_of_the_published_table() {
    for row in ROWS {
        let recorder = Recorder::new();
        let breaker = breaker().observer(recorder.clone());
        if row.from == From::HalfOpen {
            for _ in 0..5 {
                breaker.try_acquire().unwrap().settle(Outcome::Failure);
            }
            assert!(breaker.try_acquire().is_err());
            advance(5 * SECOND).await;
            // With the next call it is half-open.
            drop(breaker.try_acquire().unwrap());
            assert_eq!(breaker.state(), HalfOpen);
        }
        let before = breaker.stats().refused();
        play(&breaker, row.done).await;
        let stats = breaker.stats();
        let seen = (stats.state(), stats.failure_rate(), stats.slow_rate(), stats.refused() - before);
        assert_eq!(seen, (row.state, row.failure_rate, row.slow_rate, row.refused), "{}", row.what);
        // What theirs refuses as illegal does not exist in ours.
        assert!(!recorder.timeline().contains("closed, now half-open"), "{}", recorder.timeline());
    }
}

fn breaker() -> Breaker {
    let settings = BreakerSettings::new()
        .failure_rate(Ratio::percent(50))
        .slow_calls(4 * SECOND, Ratio::percent(50))
        .probes(4)
        .window(20 * SECOND)
        .min_calls(5)
        .open_time(Backoff::constant(5 * SECOND).expect("more than zero"))
        .probe_timeout(10 * SECOND);
    Breaker::new(settings).expect("valid settings")
}

async fn play(breaker: &Breaker, script: &str) {
    let mut kept: Vec<Permit> = Vec::new();
    for word in script.split(' ') {
        let settle = |outcome| breaker.try_acquire().expect("not refused").settle(outcome);
        match word {
            "F" => settle(Outcome::Failure),
            "S" => settle(Outcome::Success),
            "I" => settle(Outcome::Neutral),
            "take" => kept.push(breaker.try_acquire().expect("not refused")),
            "no" => assert!(breaker.try_acquire().is_err(), "{script}"),
            "give" => drop(kept.remove(0)),
            "good" => kept.remove(0).settle(Outcome::Success),
            time => {
                let seconds: u64 = time.strip_suffix('s').and_then(|n| n.parse().ok()).expect("a word");
                advance(Duration::from_secs(seconds)).await;
            }
        }
    }
}
