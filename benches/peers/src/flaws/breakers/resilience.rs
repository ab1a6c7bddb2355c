//! tower-resilience-circuitbreaker.

use std::time::Duration;

use tower::Layer;
use tower::timeout::Timeout;
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerConfigBuilder, CircuitBreakerHandle, CircuitBreakerLayer, CircuitState,
    DefaultClassifier, SlidingWindowType,
};
use tower_resilience_timelimiter::TimeLimiterLayer;

use super::kit::{Ask, Backend, Ended, call};
use super::scenes;
use crate::flaws::{Found, block_on, block_on_paused};
use crate::rows::Broken;

const OPEN_TIME: Duration = Duration::from_millis(20);

type Builder = CircuitBreakerConfigBuilder<DefaultClassifier>;
type Service = CircuitBreaker<Backend, DefaultClassifier>;

/// The defaults: a window of 100 calls, 50 %, open for 30 s, 1 probe.
fn builder() -> Builder {
    CircuitBreakerLayer::builder()
}

fn over(backend: Backend, builder: Builder) -> (Service, CircuitBreakerHandle) {
    let (layer, handle) = builder.build_with_handle().expect("valid settings");
    (layer.layer(backend), handle)
}

fn timed(window: Duration) -> Builder {
    builder().sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(window)
}

pub(super) fn window() -> Found {
    block_on(async {
        let mut found = Vec::new();
        for successes in [0, 10_000, 100_000] {
            let (service, _) = over(Backend::default(), builder());
            found.push(scenes::opens_after(&service, successes, 200_000).await);
        }
        Found::new(found == [Some(100), Some(10_000), Some(100_000)], scenes::listed(&found))
    })
}

pub(super) fn minimum() -> Found {
    block_on(async {
        let (service, _) = over(Backend::default(), builder().minimum_number_of_calls(10));
        let found = scenes::opens_after(&service, 0, 1_000).await;
        Found::new(found == Some(100), scenes::listed(&[found]))
    })
}

pub(super) fn hang() -> Found {
    block_on(async {
        let ten = || builder().sliding_window_size(10);
        let limit = TimeLimiterLayer::builder().timeout_duration(scenes::LIMIT).build();
        let backend = Backend::default();
        let (service, handle) = over(backend.clone(), ten());
        let limited = scenes::hung(&limit.layer(service), &backend).await;
        let seen = handle.metrics().await.total_calls;
        let backend = Backend::default();
        let given_up = scenes::hung(&over(backend.clone(), ten()).0, &backend).await;
        // The control: where the limit is inside, calls are seen to fail.
        let (backend, layer) = (Backend::default(), ten().build().expect("valid settings"));
        let service = layer.layer(Timeout::new(backend.clone(), scenes::LIMIT));
        let inside = scenes::hung(&service, &backend).await;
        Found::new(
            (limited, seen, inside) == (300, 0, 10),
            format!(
                "{limited}, {seen} are counted (callers who give up: {given_up}; limit inside: {inside})"
            ),
        )
    })
}

pub(super) fn hang_slow() -> Found {
    block_on(async {
        let backend = Backend::default();
        let settings = builder().sliding_window_size(10).slow_call_rate_threshold(0.5);
        let (service, handle) =
            over(backend.clone(), settings.slow_call_duration_threshold(Duration::from_millis(1)));
        let reached = scenes::hung(&service, &backend).await;
        let seen = handle.metrics().await.total_calls;
        Found::new((reached, seen) == (300, 0), format!("{reached}, {seen} are counted"))
    })
}

pub(super) fn stale() -> Found {
    block_on(async {
        let mut states = Vec::new();
        for end in [Err(Broken), Ok(())] {
            let backend = Backend::default();
            let (service, handle) =
                over(backend.clone(), builder().sliding_window_size(10).wait_duration_in_open(OPEN_TIME));
            let probe = scenes::stale(&service, &backend, 1, OPEN_TIME, end).await;
            states.push(handle.state());
            probe.abort();
        }
        Found::new(
            states == [CircuitState::Open, CircuitState::Closed],
            format!("it fails: {:?}; it succeeds: {:?}; the probe has not ended", states[0], states[1]),
        )
    })
}

pub(super) fn wedge() -> Found {
    block_on(async {
        let fresh = || {
            let settings = timed(Duration::from_millis(200)).minimum_number_of_calls(5);
            over(
                Backend::default(),
                settings.permitted_calls_in_half_open(3).wait_duration_in_open(OPEN_TIME),
            )
        };
        let (service, handle) = fresh();
        scenes::open(&service).await;
        tokio::time::sleep(OPEN_TIME * 2).await;
        let (good, refused) =
            scenes::paced(&service, Duration::from_millis(150), Duration::from_millis(2_500)).await;
        let state = handle.state();
        // The control: three probes well within the window close it.
        let (service, quick) = fresh();
        scenes::open(&service).await;
        tokio::time::sleep(OPEN_TIME * 2).await;
        scenes::paced(&service, Duration::from_millis(1), Duration::from_millis(20)).await;
        let control = quick.state();
        Found::new(
            good == 3 && refused >= 10 && state == CircuitState::HalfOpen && control == CircuitState::Closed,
            format!("{good} good, then {refused} refused, {state:?}; one call each ms: {control:?}"),
        )
    })
}

pub(super) fn slow_probes() -> Found {
    block_on(async {
        let slow = Duration::from_millis(20);
        let settings = builder().sliding_window_size(5).wait_duration_in_open(OPEN_TIME);
        let settings = settings.slow_call_duration_threshold(Duration::from_millis(5));
        let (service, handle) =
            over(Backend::default(), settings.slow_call_rate_threshold(0.5).permitted_calls_in_half_open(3));
        for _ in 0..5 {
            assert_eq!(call(&service, Ask::Take(slow)).await, Ended::Good);
        }
        let opened = handle.state();
        tokio::time::sleep(OPEN_TIME * 2).await;
        for _ in 0..3 {
            assert_eq!(call(&service, Ask::Take(slow)).await, Ended::Good);
        }
        let after = handle.state();
        Found::new(
            opened == CircuitState::Open && after == CircuitState::Closed,
            format!("after 5 slow calls {opened:?}, after 3 slow probes {after:?}"),
        )
    })
}

pub(super) fn open_time() -> Found {
    block_on(async {
        let first = Duration::from_millis(30);
        let (service, _) =
            over(Backend::default(), builder().sliding_window_size(10).wait_duration_in_open(first));
        let times = scenes::open_times(&service, 6).await;
        // What is measured includes the wait for the next call, and whoever else is on the machine.
        let grows = times.last() >= times.first().map(|first| *first * 2).as_ref();
        let millis: Vec<_> = times.iter().map(|time| time.as_millis().to_string()).collect();
        Found::new(!grows, format!("{} ms", millis.join(", ")))
    })
}

pub(super) fn growth() -> Found {
    block_on(async {
        let settings = timed(Duration::from_secs(10)).minimum_number_of_calls(100);
        let (service, _) = over(Backend::default(), settings);
        let nanos = scenes::nanos_at(&service, &[1_000, 10_000, 30_000]).await;
        Found::new(nanos[2] > 5.0 * nanos[0], format!("{:.0} / {:.0} / {:.0}", nanos[0], nanos[1], nanos[2]))
    })
}

pub(super) fn spin() -> Found {
    block_on(async {
        let backend = Backend::default();
        let settings = builder().sliding_window_size(5).wait_duration_in_open(OPEN_TIME).backpressure();
        let (service, _) = over(backend.clone(), settings);
        let polls = scenes::waits_for_a_probe(&service, &backend, OPEN_TIME).await;
        // Each time for a millisecond, which a timer makes two of.
        Found::new(polls > 90, polls.to_string())
    })
}

pub(super) fn paused() -> Found {
    block_on_paused(async {
        let (service, _) = over(Backend::default(), builder().sliding_window_size(5));
        scenes::open(&service).await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        let ended = call(&service, Ask::Succeed).await;
        Found::new(ended == Ended::Refused, format!("{ended:?}"))
    })
}
