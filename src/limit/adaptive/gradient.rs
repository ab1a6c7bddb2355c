//! Gradient2: as many as fit without latency rising much. Pure.

use super::rule::{Seen, Usual};

/// Latency may rise by this factor. The published rule has 1.5, of arithmetic means; geometric ones rise faster with a queue.
const TOLERANCE: f64 = 2.0;
/// How fast the limit follows.
const SMOOTHING: f64 = 0.2;
/// No more is aimed at than this share of the limit less.
const STEEPEST: f64 = 0.5;
/// Growth from window to window, as long as nothing was ever too much.
const FIRST_GROWTH: f64 = 1.5;
/// Fewer timeouts than this are no reason to aim lower.
const FEW_TIMEOUTS: f64 = 0.02;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gradient {
    /// It was too much once.
    has_met_the_limit: bool,
}

impl Gradient {
    pub(super) fn next(&mut self, limit: f64, seen: &Seen, usual: &Usual) -> f64 {
        // A call counts as slower only as far as that is more than chance.
        let slower = seen.latency.map_or(1.0, |latency| (latency / seen.error / usual.latency).max(1.0));
        let mut gradient = TOLERANCE / slower;
        let more_timeouts = seen.timed_out - usual.timed_out;
        if more_timeouts > FEW_TIMEOUTS {
            gradient = gradient.min(1.0 - more_timeouts);
        }
        if gradient < 1.0 {
            self.has_met_the_limit = true;
            return limit + SMOOTHING * limit * (gradient.max(STEEPEST) - 1.0);
        }
        if !self.has_met_the_limit {
            return limit * FIRST_GROWTH;
        }
        limit + SMOOTHING * (limit * (gradient - 1.0) + limit.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Usual = Usual { latency: 0.1, timed_out: 0.0 };

    fn seen(latency: f64, timed_out: f64) -> Seen {
        Seen { answered: 100.0, latency: Some(latency), error: 1.0, in_flight: 100.0, peak: 100, timed_out }
    }

    fn met() -> Gradient {
        Gradient { has_met_the_limit: true }
    }

    #[test]
    fn it_grows_by_half_until_it_was_too_much_once_and_then_with_care() {
        let mut gradient = Gradient::default();
        assert_eq!(gradient.next(100.0, &seen(0.1, 0.0), &USUAL), 150.0);
        assert!(gradient.next(100.0, &seen(0.4, 0.0), &USUAL) < 100.0);
        let next = gradient.next(100.0, &seen(0.1, 0.0), &USUAL);
        assert!((100.0..=130.0).contains(&next), "{next}");
    }

    #[test]
    fn the_slower_the_lower_but_not_by_more_than_a_tenth() {
        let next = |latency| met().next(100.0, &seen(latency, 0.0), &USUAL);
        let all: Vec<_> = [0.05, 0.1, 0.15, 0.199, 0.25, 0.3, 0.4, 1.0, 60.0].map(next).into();
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
        assert!(all[3] > 100.0 && all[4] < 100.0, "{all:?}");
        assert_eq!(all[8], 90.0);
    }

    #[test]
    fn what_may_be_chance_is_no_reason_to_aim_lower() {
        let badly_measured = Seen { error: 1.5, ..seen(0.28, 0.0) };
        assert!(met().next(100.0, &badly_measured, &USUAL) > 100.0);
        assert!(met().next(100.0, &seen(0.28, 0.0), &USUAL) < 100.0);
    }

    #[test]
    fn timeouts_lower_it_by_their_share_unless_they_are_usual() {
        assert!(met().next(100.0, &seen(0.1, 0.01), &USUAL) > 100.0);
        assert_eq!(met().next(100.0, &seen(0.1, 0.25), &USUAL), 95.0);
        let nobody = Seen { answered: 0.0, latency: None, ..seen(0.0, 1.0) };
        assert_eq!(met().next(100.0, &nobody, &USUAL), 90.0);
        assert!(met().next(100.0, &seen(0.1, 0.25), &Usual { timed_out: 0.25, ..USUAL }) > 100.0);
    }

    #[test]
    fn it_grows_by_its_root_and_by_what_latency_leaves_room_for() {
        for (latency, timed_out, expected) in
            [(0.1, 0.0, 122.0), (0.16, 0.0, 107.0), (0.2, 0.0, 102.0), (0.1, 0.02, 122.0)]
        {
            let next = met().next(100.0, &seen(latency, timed_out), &USUAL);
            assert!((next - expected).abs() < 1e-9, "{next} for {latency} {timed_out}");
        }
    }
}
