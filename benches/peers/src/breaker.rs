//! The rows of the comparison `breaker`: closed breakers over a service that does nothing, and nothing fails.

use std::time::Duration;

use http::Request;
use stonework::base::Ratio;
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

use crate::measure::{Calls, Subject};
use crate::rows::{Content, Kind, NO_HEADERS, NoOp, Row, plain};
use crate::wrapped::{Failsafe, Recloser};

/// So short that it holds the calls of one round at most: tower-resilience looks at all of them for each call.
const WINDOW: Duration = Duration::from_millis(1);
/// So long that no call is slow.
const SLOW: Duration = Duration::from_secs(1);
const HALF: Ratio = Ratio::percent(50);
/// What ours may cost.
const MOST: Kind = Kind::Breaker { nanos: 45 };
/// With two readings of the clock.
const MOST_SLOW: Kind = Kind::Breaker { nanos: 75 };

pub(crate) fn rows(waits: bool) -> Vec<Row> {
    let no_op = NoOp { waits };
    let counted = CircuitBreakerLayer::builder().build().expect("valid settings");
    let timed = CircuitBreakerLayer::builder()
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(WINDOW)
        .build()
        .expect("valid settings");
    vec![
        row("bare", Kind::Bare, no_op),
        row("tower-resilience, window of 100 calls", Kind::Peer, counted.layer(no_op)),
        row("tower-resilience, window of 1 ms", Kind::Peer, timed.layer(no_op)),
        row("failsafe", Kind::Peer, Failsafe::new(no_op, failsafe::Config::new().build())),
        row("recloser", Kind::Peer, Recloser::new(no_op, recloser::Recloser::default())),
        row("stonework", MOST, BreakerLayer::new().layer(no_op)),
        row("stonework, window of 100 calls", MOST, ours(settings().window_of_calls(100)).layer(no_op)),
        row("stonework, slow calls", MOST_SLOW, ours(settings().slow_calls(SLOW, HALF)).layer(no_op)),
    ]
}

fn settings() -> BreakerSettings {
    BreakerSettings::new()
}

fn ours(settings: BreakerSettings) -> BreakerLayer {
    BreakerLayer::from(Breaker::new(settings).expect("valid settings"))
}

/// Clones of the service share one breaker.
fn row<S>(name: &'static str, kind: Kind, service: S) -> Row
where
    S: Service<Request<Content>> + Clone + Send + Sync + 'static,
{
    // The request is made by the thread that uses it, and shares no memory with another's.
    let subject =
        move || -> Box<dyn Subject> { Box::new(Calls::new(service.clone(), plain(), Request::clone)) };
    Row { name, head: NO_HEADERS, kind, peer: None, subject: subject(), shared: Some(Box::new(subject)) }
}
