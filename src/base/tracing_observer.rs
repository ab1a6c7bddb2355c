//! Events as lines of a log.

use super::circuit::CircuitState;
use super::endpoint::{EndpointState, Fitness};
use super::health::HealthState;
use super::observe::{Event, Observer};

/// An [`Observer`] that writes every event to [`tracing`]: attempts at `trace`; a retry, a skipped one, a probe, a fallback, a failover,
/// a refused token or a connection at `debug`; a circuit that opens, a health check that fails, an endpoint that is left out or found not to be well, and a pool that cannot
/// connect at `warn`, and their other changes at `info`.
///
/// ```
/// use stonework::base::TracingObserver;
/// use stonework::retry::RetryLayer;
///
/// let layer = RetryLayer::new().observer(TracingObserver);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn observe(&self, event: &Event) {
        match event {
            Event::AttemptStarted { call, attempt } => {
                tracing::trace!(%call, attempt, "attempt started");
            }
            Event::AttemptEnded { call, attempt, ending, outcome, delivery, elapsed } => {
                tracing::trace!(%call, attempt, ?ending, ?outcome, ?delivery, ?elapsed, "attempt ended");
            }
            Event::RetryScheduled { call, attempt, delay } => {
                tracing::debug!(%call, attempt, ?delay, "retry scheduled");
            }
            Event::RetrySkipped { call, attempt, why } => {
                tracing::debug!(%call, attempt, %why, "retry skipped");
            }
            Event::CircuitChanged { circuit, from, to: CircuitState::Open, why, open_for } => {
                tracing::warn!(%circuit, %from, %why, ?open_for, "circuit opened");
            }
            Event::CircuitChanged { circuit, from, to, why, open_for: _ } => {
                tracing::info!(%circuit, %from, %to, %why, "circuit changed");
            }
            Event::CircuitProbed { circuit, ending } => {
                tracing::debug!(%circuit, ?ending, "circuit probed");
            }
            Event::DiscoveryFailed { balancer, kind } => {
                tracing::warn!(%balancer, kind = kind.name(), "endpoints could not be discovered");
            }
            Event::EndpointChanged { balancer, endpoint, from, to, why } => match to {
                EndpointState::Ejected | EndpointState::Backoff => {
                    tracing::warn!(%balancer, %endpoint, %from, %to, %why, "endpoint left out");
                }
                _ => tracing::info!(%balancer, %endpoint, %from, %to, %why, "endpoint changed"),
            },
            Event::FailedOver { balancer, endpoint, kind } => {
                tracing::debug!(%balancer, %endpoint, kind = kind.name(), "failed over");
            }
            Event::PanicChanged { balancer, tier, begins: true } => {
                tracing::warn!(%balancer, tier, "too few endpoints are ready");
            }
            Event::PanicChanged { balancer, tier, begins: false } => {
                tracing::info!(%balancer, tier, "enough endpoints are ready again");
            }
            Event::HedgeFired { attempt, waited } => tracing::debug!(attempt, ?waited, "hedge fired"),
            Event::HedgeSkipped { why } => tracing::debug!(%why, "hedge skipped"),
            Event::HedgeWon { attempt } => tracing::trace!(attempt, "hedge won"),
            Event::FellBack { kind, delivery } => {
                tracing::debug!(kind = kind.name(), ?delivery, "fell back");
            }
            Event::KeyedReplayed {} => tracing::debug!("keyed request answered as before"),
            Event::KeyedRefused { why } => tracing::debug!(%why, "keyed request refused"),
            // The module tells it itself.
            Event::KeyedLost {} => {}
            Event::PoolClosed { pool, why } => tracing::debug!(%pool, %why, "pool closed one"),
            Event::PoolConnected { pool, took } => tracing::debug!(%pool, ?took, "pool connected"),
            Event::PoolConnectFailed { pool, kind, again_in } => {
                tracing::warn!(%pool, kind = kind.name(), ?again_in, "pool could not connect");
            }
            Event::KeySkipped { why } => tracing::debug!(%why, "a key was left out"),
            Event::KeysNotFetched { from, kind, again_in } => {
                tracing::warn!(%from, kind = kind.name(), ?again_in, "keys could not be fetched");
            }
            Event::KeysReplaced { usable, skipped } => tracing::info!(usable, skipped, "keys replaced"),
            Event::TokenRefused { why, field } => {
                tracing::debug!(%why, field = field.as_deref().unwrap_or_default(), "token refused");
            }
            Event::ConnectionTaken { host, http2, reused, waited } => {
                tracing::trace!(%host, http2, reused, ?waited, "connection taken");
            }
            Event::ConnectionOpened { host, http2, timings, took } => {
                tracing::debug!(%host, http2, ?timings, ?took, "connection opened");
            }
            Event::ConnectFailed { host, kind, timings } => {
                tracing::debug!(%host, kind = kind.name(), ?timings, "connecting failed");
            }
            Event::RequestReplayed { host } => {
                tracing::debug!(%host, "request came back unsent, and goes out again")
            }
            // The server tells these itself: nobody has to ask for it.
            Event::ConnectionClosed { .. }
            | Event::HandlerPanicked { .. }
            | Event::ServerPhaseChanged { .. } => {}
            Event::HealthChanged { check, from, to: HealthState::Fail, output } => {
                tracing::warn!(%check, %from, output = output.as_deref(), "health check failed");
            }
            Event::FitnessChanged { prober, endpoint, from, to: Fitness::Unfit, output } => {
                tracing::warn!(%prober, %endpoint, %from, output = output.as_deref(), "endpoint is not well");
            }
            Event::FitnessChanged { prober, endpoint, from, to, output } => {
                tracing::info!(%prober, %endpoint, %from, %to, output = output.as_deref(), "endpoint probed");
            }
            Event::HealthChanged { check, from, to, output } => {
                tracing::info!(%check, %from, %to, output = output.as_deref(), "health check changed");
            }
        }
    }
}
