//! stonework's breaker, to which the same is done.

use std::time::Duration;

use stonework::Error;
use stonework::base::{Backoff, CircuitState, Jitter, Outcome, Plain, Ratio};
use stonework::breaker::{Breaker, BreakerLayer, BreakerService, BreakerSettings};
use stonework::timeout::TimeoutLayer;
use tower::Layer;

use super::kit::{Ask, Backend, Ended, call};
use super::scenes;
use crate::flaws::{Found, block_on, block_on_paused};
use crate::rows::Broken;

const OPEN_TIME: Duration = Duration::from_millis(20);

/// The defaults, but open for 20 ms.
fn settings() -> BreakerSettings {
    BreakerSettings::new().open_time(Backoff::constant(OPEN_TIME).expect("a valid backoff"))
}

type Judge = fn(Result<&(), &Error>) -> Outcome;
type Service = BreakerService<Backend, Judge, Plain>;

/// An error is a failure, as for the others: there is no response to look at.
const JUDGE: Judge = |result| if result.is_ok() { Outcome::Success } else { Outcome::Failure };

fn over(backend: Backend, settings: BreakerSettings) -> (Service, Breaker) {
    let breaker = Breaker::new(settings).expect("valid settings");
    (BreakerLayer::from(breaker.clone()).plain().classify(JUDGE).layer(backend), breaker)
}

pub(super) fn window() -> Found {
    block_on(async {
        let mut found = Vec::new();
        for successes in [0, 10_000, 100_000] {
            let (service, _) = over(Backend::default(), BreakerSettings::new().window_of_calls(100));
            found.push(scenes::opens_after(&service, successes, 200_000).await);
        }
        Found::new(found == [Some(20), Some(50), Some(50)], scenes::listed(&found))
    })
}

pub(super) fn minimum() -> Found {
    block_on(async {
        let settings = BreakerSettings::new().window_of_calls(100).min_calls(10);
        let (service, _) = over(Backend::default(), settings);
        let found = scenes::opens_after(&service, 0, 1_000).await;
        Found::new(found == Some(10), scenes::listed(&[found]))
    })
}

pub(super) fn hang() -> Found {
    block_on(async {
        let ten = || BreakerSettings::new().window_of_calls(10).min_calls(10);
        let limit = TimeoutLayer::new(scenes::LIMIT).plain();
        let backend = Backend::default();
        let limited = scenes::hung(&limit.layer(over(backend.clone(), ten()).0), &backend).await;
        // Nobody says that these had a limit: they may have lost interest.
        let backend = Backend::default();
        let given_up = scenes::hung(&over(backend.clone(), ten()).0, &backend).await;
        Found::new(limited == 10, format!("{limited} (callers who give up: {given_up})"))
    })
}

pub(super) fn hang_slow() -> Found {
    block_on(async {
        let settings = BreakerSettings::new().window_of_calls(10).min_calls(10);
        let settings = settings.slow_calls(Duration::from_millis(1), Ratio::percent(50));
        let backend = Backend::default();
        let reached = scenes::hung(&over(backend.clone(), settings).0, &backend).await;
        Found::new(reached == 10, reached.to_string())
    })
}

pub(super) fn stale() -> Found {
    block_on(async {
        let mut states = Vec::new();
        for end in [Err(Broken), Ok(())] {
            let backend = Backend::default();
            let (service, breaker) = over(backend.clone(), settings().window_of_calls(10).min_calls(10));
            let probe = scenes::stale(&service, &backend, 2, OPEN_TIME, end).await;
            states.push(breaker.state());
            probe.abort();
        }
        Found::new(
            states == [CircuitState::HalfOpen; 2],
            format!("two fail: {:?}; two succeed: {:?}; the probe has not ended", states[0], states[1]),
        )
    })
}

pub(super) fn wedge() -> Found {
    block_on(async {
        let (service, breaker) =
            over(Backend::default(), settings().window(Duration::from_millis(200)).min_calls(5).probes(3));
        scenes::open(&service).await;
        tokio::time::sleep(OPEN_TIME * 2).await;
        let (good, refused) =
            scenes::paced(&service, Duration::from_millis(150), Duration::from_millis(2_500)).await;
        let state = breaker.state();
        Found::new(
            refused == 0 && state == CircuitState::Closed,
            format!("{good} good, {refused} refused, {state:?}"),
        )
    })
}

pub(super) fn slow_probes() -> Found {
    block_on(async {
        let slow = Duration::from_millis(20);
        let settings = settings().window_of_calls(5).min_calls(5).probes(3);
        let settings = settings.slow_calls(Duration::from_millis(5), Ratio::percent(50));
        let (service, breaker) = over(Backend::default(), settings);
        for _ in 0..5 {
            assert_eq!(call(&service, Ask::Take(slow)).await, Ended::Good);
        }
        let opened = breaker.state();
        tokio::time::sleep(OPEN_TIME * 2).await;
        for _ in 0..3 {
            assert_eq!(call(&service, Ask::Take(slow)).await, Ended::Good);
        }
        let after = breaker.state();
        Found::new(
            opened == CircuitState::Open && after == CircuitState::Open,
            format!("after 5 slow calls {opened:?}, after 3 slow probes {after:?}"),
        )
    })
}

pub(super) fn open_time() -> Found {
    block_on(async {
        let first = Duration::from_millis(30);
        let times = Backoff::exponential(first, Duration::from_secs(2)).expect("a valid backoff");
        let settings = BreakerSettings::new().open_time(times.jitter(Jitter::Equal));
        let (service, _) = over(Backend::default(), settings);
        let times = scenes::open_times(&service, 6).await;
        // The sixth is drawn from 480 to 960 ms.
        let grows = times.last() >= Some(&(first * 16));
        let millis: Vec<_> = times.iter().map(|time| time.as_millis().to_string()).collect();
        Found::new(grows, format!("{} ms", millis.join(", ")))
    })
}

pub(super) fn growth() -> Found {
    block_on(async {
        let (service, _) = over(Backend::default(), BreakerSettings::new());
        let nanos = scenes::nanos_at(&service, &[1_000, 10_000, 30_000]).await;
        Found::new(nanos[2] < 3.0 * nanos[0], format!("{:.0} / {:.0} / {:.0}", nanos[0], nanos[1], nanos[2]))
    })
}

pub(super) fn flood() -> Found {
    block_on(async {
        let backend = Backend::default();
        let (service, _) = over(backend.clone(), settings());
        let reached = scenes::flood(&service, &backend, OPEN_TIME).await;
        Found::new(reached == 1, reached.to_string())
    })
}

pub(super) fn early() -> Found {
    block_on(async {
        let window = Duration::from_secs(1);
        let (service, _) = over(Backend::default(), BreakerSettings::new().window(window));
        match scenes::mostly_failing(&service, Duration::from_millis(2_500)).await {
            Some((after, calls)) => {
                Found::new(calls == 20, format!("after {} ms and {calls} calls", after.as_millis()))
            }
            None => Found::new(false, "not within 2.5 s"),
        }
    })
}

pub(super) fn length() -> Found {
    block_on(async {
        let (service, _) = over(Backend::default(), settings().window_of_calls(100).min_calls(100).probes(2));
        let closed = scenes::failures_until_open(&service, 1_000).await;
        tokio::time::sleep(OPEN_TIME + Duration::from_millis(5)).await;
        let half_open = scenes::failures_until_open(&service, 1_000).await;
        Found::new(
            closed == Some(100) && half_open == Some(2),
            format!("{}, {}", scenes::listed(&[closed]), scenes::listed(&[half_open])),
        )
    })
}

pub(super) fn spin() -> Found {
    block_on(async {
        let backend = Backend::default();
        let breaker = Breaker::new(settings().window_of_calls(5).min_calls(5)).expect("valid settings");
        let layer = BreakerLayer::from(breaker).plain().classify(JUDGE).not_ready_when_open();
        let polls = scenes::waits_for_a_probe(&layer.layer(backend.clone()), &backend, OPEN_TIME).await;
        Found::new(polls < 10, polls.to_string())
    })
}

pub(super) fn paused() -> Found {
    block_on_paused(async {
        let open_time = Backoff::constant(Duration::from_secs(30)).expect("a valid backoff");
        let settings = BreakerSettings::new().open_time(open_time).window_of_calls(5).min_calls(5);
        let (service, _) = over(Backend::default(), settings);
        scenes::open(&service).await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        let ended = call(&service, Ask::Succeed).await;
        Found::new(ended == Ended::Good, format!("{ended:?}"))
    })
}

pub(super) fn old() -> Found {
    block_on(async {
        // It judges as soon as there are as many: of all eleven seven have failed.
        let settings = BreakerSettings::new().window(Duration::from_millis(200)).min_calls(10);
        let (service, _) = over(Backend::default(), settings);
        let ended = scenes::long_ago(&service).await;
        Found::new(ended == Ended::Good, format!("{ended:?}"))
    })
}
