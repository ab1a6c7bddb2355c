use std::fmt;

use metrics::{counter, gauge, histogram};

use crate::base::{Delivery, Ending, Event, Observer, Outcome, ProbeEnding, Skip};

/// An [`Observer`] that counts every event with the [`metrics`](https://docs.rs/metrics) facade: whatever recorder the
/// program has installed receives them.
///
/// | metric | kind | labels | what it counts |
/// |---|---|---|---|
/// | `stonework.attempts` | counter | `outcome`, `delivery` | attempts that ended |
/// | `stonework.attempt.duration` | histogram, in seconds | `outcome` | from the start of an attempt to its response head or error; not of those that were dropped |
/// | `stonework.retries` | counter | | attempts that were scheduled after another |
/// | `stonework.retry.delay` | histogram, in seconds | | how long they were to wait |
/// | `stonework.retries.skipped` | counter | `reason` | failed attempts that were not repeated |
/// | `stonework.hedges` | counter | | attempts that were sent beside or after the first one by a hedge |
/// | `stonework.hedges.won` | counter | | those of them that had the answer |
/// | `stonework.hedges.skipped` | counter | `reason` | those that were not sent, although it was time |
/// | `stonework.circuit.changes` | counter | `circuit`, `to` | changes of state of a circuit |
/// | `stonework.circuit.state` | gauge | `circuit`, `state` | 1 for the state that the circuit is in, 0 for those it has left |
/// | `stonework.circuit.probes` | counter | `circuit`, `ending` | calls that were let through to see whether the service works again |
/// | `stonework.health.changes` | counter | `check`, `to` | changes of what a health check says |
/// | `stonework.health.state` | gauge | `check`, `state` | 1 for what the check says, 0 for what it has said |
/// | `stonework.fallbacks` | counter | `kind` | calls that failed and fell back |
/// | `stonework.endpoint.changes` | counter | `balancer`, `endpoint`, `to` | changes of state of an endpoint |
/// | `stonework.endpoint.state` | gauge | `balancer`, `endpoint`, `state` | 1 for the state that the endpoint is in, 0 for those it has left |
/// | `stonework.balancer.failovers` | counter | `balancer`, `kind` | requests that came back unsent from an endpoint, and went to another |
/// | `stonework.balancer.panic` | gauge | `balancer`, `tier` | 1 while too few endpoints of the tier are ready |
/// | `stonework.balancer.discovery_failures` | counter | `balancer`, `kind` | times that endpoints could not be discovered |
/// | `stonework.connect` | histogram, in seconds | `http` | how long a client took to make a connection, from the name to TLS and the settings of HTTP/2 |
/// | `stonework.connect_failures` | counter | `kind` | connections that a client could not make |
/// | `stonework.connection.wait` | histogram, in seconds | `reused` | how long a request waited for a connection, connecting included |
/// | `stonework.requests.replayed` | counter | | requests that a closed connection gave back unsent, and that went out over another one |
/// | `stonework.keyed.replayed` | counter | | keyed requests that were answered as they were before |
/// | `stonework.keyed.refused` | counter | `why` | keyed requests that were refused, and not done |
/// | `stonework.keyed.lost` | counter | | keyed requests that were taken for lost while they were being done |
/// | `stonework.prober.changes` | counter | `prober`, `endpoint`, `to` | changes of what is known of an endpoint |
/// | `stonework.pool.connect` | histogram, in seconds | `pool` | how long a pool took to make one |
/// | `stonework.pool.connect_failures` | counter | `pool`, `kind` | those that a pool could not make |
/// | `stonework.pool.closed` | counter | `pool`, `why` | those that a pool let go |
/// | `stonework.jwt.refused` | counter | `why` | requests that were refused for their token |
/// | `stonework.jwt.keys` | gauge | | keys that could be used of the set that was fetched last |
/// | `stonework.jwt.keys.skipped` | counter | `why` | keys that were left out of a set |
/// | `stonework.jwt.fetch_failures` | counter | `from`, `kind` | sets of keys that could not be fetched |
/// | `stonework.server.closed` | counter | `why` | connections that a server closed of its own accord |
/// | `stonework.server.panics` | counter | | handlers that panicked |
///
/// `circuit` is the name that the circuit was given, or its key: as many as there are circuits that have changed; `check`, `balancer`, `pool` and `prober` are names that
/// were given, `from` is where keys come from; `endpoint` as many as were ever discovered. Every other label is one of a few fixed words, whatever a peer sends.
///
/// ```
/// use stonework::observe::MetricsObserver;
/// use stonework::retry::RetryLayer;
///
/// let layer = RetryLayer::new().observer(MetricsObserver);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct MetricsObserver;

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event) {
        match event {
            Event::AttemptEnded { ending, outcome, delivery, elapsed, .. } => {
                let outcome = outcome_name(*outcome);
                counter!("stonework.attempts", "outcome" => outcome, "delivery" => delivery_name(*delivery))
                    .increment(1);
                if *ending != Ending::Dropped {
                    histogram!("stonework.attempt.duration", "outcome" => outcome)
                        .record(elapsed.as_secs_f64());
                }
            }
            Event::RetryScheduled { delay, .. } => {
                counter!("stonework.retries").increment(1);
                histogram!("stonework.retry.delay").record(delay.as_secs_f64());
            }
            Event::RetrySkipped { why, .. } => {
                counter!("stonework.retries.skipped", "reason" => skip_name(*why)).increment(1);
            }
            Event::CircuitChanged { circuit, from, to, .. } => {
                let name = || circuit.to_string();
                counter!("stonework.circuit.changes", "circuit" => name(), "to" => to.name()).increment(1);
                // One series a state, of which exactly one is 1.
                gauge!("stonework.circuit.state", "circuit" => name(), "state" => from.name()).set(0.0);
                gauge!("stonework.circuit.state", "circuit" => name(), "state" => to.name()).set(1.0);
            }
            Event::CircuitProbed { circuit, ending } => {
                let ending = probe_name(*ending);
                counter!("stonework.circuit.probes", "circuit" => circuit.to_string(), "ending" => ending)
                    .increment(1);
            }
            Event::HedgeFired { .. } => counter!("stonework.hedges").increment(1),
            Event::HedgeSkipped { why } => {
                counter!("stonework.hedges.skipped", "reason" => skip_name(*why)).increment(1);
            }
            Event::HedgeWon { .. } => counter!("stonework.hedges.won").increment(1),
            Event::FellBack { kind, .. } => {
                counter!("stonework.fallbacks", "kind" => kind.name()).increment(1);
            }
            Event::DiscoveryFailed { balancer, kind } => {
                let balancer = balancer.to_string();
                counter!("stonework.balancer.discovery_failures", "balancer" => balancer, "kind" => kind.name())
                    .increment(1);
            }
            Event::EndpointChanged { balancer, endpoint, from, to, .. } => {
                let names = || (balancer.to_string(), endpoint.to_string());
                let (balancer, endpoint) = names();
                counter!("stonework.endpoint.changes", "balancer" => balancer, "endpoint" => endpoint, "to" => to.name())
                    .increment(1);
                for (state, value) in [(from, 0.0), (to, 1.0)] {
                    let (balancer, endpoint) = names();
                    gauge!("stonework.endpoint.state", "balancer" => balancer, "endpoint" => endpoint, "state" => state.name())
                        .set(value);
                }
            }
            Event::FailedOver { balancer, kind, .. } => {
                let balancer = balancer.to_string();
                counter!("stonework.balancer.failovers", "balancer" => balancer, "kind" => kind.name())
                    .increment(1);
            }
            Event::FitnessChanged { prober, endpoint, to, .. } => {
                let (prober, endpoint) = (prober.to_string(), endpoint.to_string());
                counter!("stonework.prober.changes", "prober" => prober, "endpoint" => endpoint, "to" => to.name())
                    .increment(1);
            }
            Event::PanicChanged { balancer, tier, begins } => {
                let (balancer, tier) = (balancer.to_string(), tier.to_string());
                gauge!("stonework.balancer.panic", "balancer" => balancer, "tier" => tier).set(if *begins {
                    1.0
                } else {
                    0.0
                });
            }
            Event::KeySkipped { why } => {
                counter!("stonework.jwt.keys.skipped", "why" => label(&why)).increment(1);
            }
            Event::KeyedLost {} => counter!("stonework.keyed.lost").increment(1),
            Event::KeyedRefused { why } => {
                counter!("stonework.keyed.refused", "why" => why.name()).increment(1);
            }
            Event::KeyedReplayed {} => counter!("stonework.keyed.replayed").increment(1),
            Event::KeysNotFetched { from, kind, .. } => {
                counter!("stonework.jwt.fetch_failures", "from" => from.to_string(), "kind" => kind.name())
                    .increment(1);
            }
            Event::KeysReplaced { usable, .. } => gauge!("stonework.jwt.keys").set(*usable as f64),
            Event::TokenRefused { why, .. } => {
                counter!("stonework.jwt.refused", "why" => label(&why)).increment(1);
            }
            Event::ConnectionClosed { why } => {
                counter!("stonework.server.closed", "why" => why.name()).increment(1);
            }
            Event::ConnectFailed { kind, .. } => {
                counter!("stonework.connect_failures", "kind" => kind.name()).increment(1);
            }
            Event::ConnectionOpened { http2, took, .. } => {
                histogram!("stonework.connect", "http" => if *http2 { "2" } else { "1" })
                    .record(took.as_secs_f64());
            }
            Event::ConnectionTaken { reused, waited, .. } => {
                let reused = if *reused { "true" } else { "false" };
                histogram!("stonework.connection.wait", "reused" => reused).record(waited.as_secs_f64());
            }
            Event::RequestReplayed { .. } => counter!("stonework.requests.replayed").increment(1),
            Event::HandlerPanicked { .. } => counter!("stonework.server.panics").increment(1),
            Event::HealthChanged { check, from, to, .. } => {
                let name = || check.to_string();
                counter!("stonework.health.changes", "check" => name(), "to" => to.name()).increment(1);
                gauge!("stonework.health.state", "check" => name(), "state" => from.name()).set(0.0);
                gauge!("stonework.health.state", "check" => name(), "state" => to.name()).set(1.0);
            }
            Event::PoolClosed { pool, why } => {
                counter!("stonework.pool.closed", "pool" => pool.to_string(), "why" => why.name())
                    .increment(1);
            }
            Event::PoolConnected { pool, took } => {
                histogram!("stonework.pool.connect", "pool" => pool.to_string()).record(took.as_secs_f64());
            }
            Event::PoolConnectFailed { pool, kind, .. } => {
                let pool = pool.to_string();
                counter!("stonework.pool.connect_failures", "pool" => pool, "kind" => kind.name())
                    .increment(1);
            }
            Event::AttemptStarted { .. } | Event::ServerPhaseChanged { .. } => {}
        }
    }
}

const fn probe_name(ending: ProbeEnding) -> &'static str {
    match ending {
        ProbeEnding::Abandoned => "abandoned",
        ProbeEnding::Failure => "failure",
        ProbeEnding::Slow => "slow",
        ProbeEnding::Success => "success",
        ProbeEnding::TimedOut => "timed_out",
    }
}

/// A variant as labels are written: `UnknownKey` is `unknown_key`.
fn label(variant: &impl fmt::Debug) -> String {
    let mut label = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(letter.to_ascii_lowercase());
    }
    label
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failure => "failure",
        Outcome::Neutral => "neutral",
        Outcome::Overload => "overload",
        Outcome::Success => "success",
    }
}

const fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Answered => "answered",
        Delivery::NotSent => "not_sent",
        Delivery::Refused => "refused",
        Delivery::Unknown => "unknown",
    }
}

const fn skip_name(why: Skip) -> &'static str {
    match why {
        Skip::Attempts => "attempts",
        Skip::Body => "body",
        Skip::Budget => "budget",
        Skip::Deadline => "deadline",
        Skip::Nested => "nested",
        Skip::Never => "never",
        Skip::Pushback => "pushback",
        Skip::RetryAfter => "retry_after",
        Skip::Schedule => "schedule",
        Skip::Unsafe => "unsafe",
    }
}
