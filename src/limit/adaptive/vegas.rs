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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(latency: f64, timed_out: f64) -> Seen {
        Seen { answered: 100.0, latency: Some(latency), error: 1.0, in_flight: 8.0, peak: 8, timed_out }
    }

    #[test]
    fn the_longer_the_queue_the_lower_the_next_limit() {
        let vegas = Vegas { alpha: |_| 3.0, beta: |_| 6.0, threshold: |_| 1.0, ..Vegas::new() };
        // Latency, usually and now; the queue that comes of it, if eight are in flight; and the next limit.
        for (usual, now, queue, next) in [
            (4.0, 4.0, 0, 14.0),
            (7.0, 8.0, 1, 14.0),
            (3.0, 4.0, 2, 9.0),
            (5.0, 8.0, 3, 8.0),
            (1.0, 4.0, 6, 8.0),
            (1.0, 8.0, 7, 7.0),
        ] {
            let usual = Usual { latency: usual, timed_out: 0.0 };
            assert_eq!(vegas.next(8.0, &seen(now, 0.0), &usual), next, "{queue}");
        }
    }

    #[test]
    fn only_more_timeouts_than_usual_are_a_reason_to_aim_lower() {
        for (usually, now, next) in
            [(0.0, 0.02, 112.0), (0.0, 0.03, 98.0), (0.1, 0.11, 112.0), (0.1, 0.13, 98.0)]
        {
            let usual = Usual { latency: 0.1, timed_out: usually };
            assert_eq!(Vegas::new().next(100.0, &seen(0.1, now), &usual), next, "{now} after {usually}");
        }
    }
}
