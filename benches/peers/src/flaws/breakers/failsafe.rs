//! failsafe.

use std::time::Duration;

use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{self, ConsecutiveFailures};
use failsafe::{Config, FailurePolicy, StateMachine};
use tower::timeout::Timeout;

use super::kit::Backend;
use super::scenes;
use crate::flaws::{Found, block_on};
use crate::rows::Broken;
use crate::wrapped::Failsafe;

const OPEN_TIME: Duration = Duration::from_millis(20);

/// Opens after five failures in a row.
fn breaker() -> StateMachine<ConsecutiveFailures<Constant>, ()> {
    Config::new().failure_policy(failure_policy::consecutive_failures(5, constant(OPEN_TIME))).build()
}

pub(super) fn flood() -> Found {
    block_on(async {
        let backend = Backend::default();
        let service = Failsafe::new(backend.clone(), breaker());
        let reached = scenes::flood(&service, &backend, OPEN_TIME).await;
        Found::new(reached == 1_000, reached.to_string())
    })
}

pub(super) fn hang() -> Found {
    block_on(async {
        let backend = Backend::default();
        let reached = scenes::hung(&Failsafe::new(backend.clone(), breaker()), &backend).await;
        // The control: where the time limit is inside, and once open it stays so.
        let policy = failure_policy::consecutive_failures(5, constant(Duration::from_secs(30)));
        let (backend, breaker) = (Backend::default(), Config::new().failure_policy(policy).build());
        let limited = Timeout::new(backend.clone(), scenes::LIMIT);
        let inside = scenes::hung(&Failsafe::new(limited, breaker), &backend).await;
        // Ten calls are on their way when the fifth fails.
        Found::new(reached == 300 && inside <= 10, format!("{reached} (limit inside: {inside})"))
    })
}

pub(super) fn stale() -> Found {
    block_on(async {
        let mut states = Vec::new();
        for end in [Err(Broken), Ok(())] {
            let (backend, breaker) = (Backend::default(), breaker());
            let service = Failsafe::new(backend.clone(), breaker.clone());
            let probe = scenes::stale(&service, &backend, 1, OPEN_TIME, end).await;
            states.push(state(&breaker));
            probe.abort();
        }
        Found::new(
            states == ["open", "closed"],
            format!("it fails: {}; it succeeds: {}; the probe has not ended", states[0], states[1]),
        )
    })
}

/// `Debug` is the only place where a breaker of failsafe's names its state.
fn state<P>(breaker: &StateMachine<P, ()>) -> String {
    let shown = format!("{breaker:?}");
    shown.split('"').nth(1).unwrap_or(&shown).to_owned()
}

pub(super) fn early() -> Found {
    block_on(async {
        let window = Duration::from_secs(1);
        let wait = constant(Duration::from_secs(30));
        // failsafe's own default policy, but for a window of 30 s.
        let policy = failure_policy::success_rate_over_time_window(0.8, 5, window, wait.clone())
            .or_else(failure_policy::consecutive_failures(5, wait));
        let service = Failsafe::new(Backend::default(), Config::new().failure_policy(policy).build());
        match scenes::mostly_failing(&service, Duration::from_millis(2_500)).await {
            Some((after, calls)) => {
                Found::new(after >= window, format!("after {} ms and {calls} calls", after.as_millis()))
            }
            None => Found::new(true, "not within 2.5 s"),
        }
    })
}
