//! Vegas: as many as keep a short queue. Pure. After TCP Vegas (Brakmo, O'Malley and Peterson, SIGCOMM 1994).

use super::rule::{Seen, Usual};

/// Fewer timeouts than this are no reason to aim lower.
const FEW_TIMEOUTS: f64 = 0.02;

/// The numbers of the rule, which depend on the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vegas {
    /// With a shorter queue than this it grows.
    pub(super) alpha: fn(f64) -> f64,
    /// With a longer queue than this it shrinks.
    pub(super) beta: fn(f64) -> f64,
    /// With no longer queue than this it grows by as much as `beta`.
    pub(super) threshold: fn(f64) -> f64,
    pub(super) less: fn(f64) -> f64,
    pub(super) smoothing: f64,
}

fn step(limit: f64) -> f64 {
    limit.log10().max(1.0)
}

impl Vegas {
    pub(super) const fn new() -> Self {
        Self {
            alpha: |limit| 3.0 * step(limit),
            beta: |limit| 6.0 * step(limit),
            threshold: step,
            less: |limit| limit - step(limit),
            smoothing: 1.0,
        }
    }

    pub(super) fn next(&self, limit: f64, seen: &Seen, usual: &Usual) -> f64 {
        let queue = seen.latency.map(|latency| (limit * (1.0 - usual.latency / latency)).ceil());
        let next = match queue {
            _ if seen.timed_out - usual.timed_out > FEW_TIMEOUTS => (self.less)(limit),
            None => (self.less)(limit),
            Some(queue) if queue <= (self.threshold)(limit) => limit + (self.beta)(limit),
            Some(queue) if queue < (self.alpha)(limit) => limit + step(limit),
            Some(queue) if queue > (self.beta)(limit) => (self.less)(limit),
            Some(_) => limit,
        };
        limit + self.smoothing * (next - limit)
    }
}
