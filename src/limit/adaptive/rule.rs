//! What a rule is told, and which there are. Pure.

use super::gradient::Gradient;
use super::vegas::Vegas;
pub(super) use super::window::Seen;

/// How calls end where there is no queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// In seconds.
    pub(super) latency: f64,
    /// The share that times out even so.
    pub(super) timed_out: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Gradient(Gradient),
    Vegas(Vegas),
}

impl Rule {
    /// The next limit.
    pub(super) fn next(&mut self, limit: f64, seen: &Seen, usual: &Usual) -> f64 {
        if !matters(limit, seen) {
            return limit;
        }
        match self {
            Self::Gradient(gradient) => gradient.next(limit, seen, usual),
            Self::Vegas(vegas) => vegas.next(limit, seen, usual),
        }
    }
}

/// Whether so much is in flight that the limit may limit it. Else nothing is learnt about the limit, and it stays.
pub(super) fn matters(limit: f64, seen: &Seen) -> bool {
    seen.peak as f64 * 2.0 >= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(latency: f64, in_flight: usize) -> Seen {
        let in_all = in_flight as f64;
        Seen {
            answered: 1.0,
            latency: Some(latency),
            error: 1.0,
            in_flight: in_all,
            peak: in_flight,
            timed_out: 0.0,
        }
    }

    /// The cases of the tests of Netflix's `VegasLimit`. The first latency is the least.
    #[test]
    fn vegas_does_what_the_published_cases_say() {
        let fixed = Vegas { alpha: |_| 3.0, beta: |_| 6.0, ..Vegas::new() };
        let halves = |smoothing| Vegas { less: |limit| limit / 2.0, smoothing, ..Vegas::new() };
        type Case = (&'static str, Vegas, f64, &'static [(f64, usize, f64)]);
        let cases: &[Case] = &[
            ("grows without a queue", fixed, 10.0, &[(10.0, 11, 16.0)]),
            ("shrinks with a long one", fixed, 10.0, &[(50.0, 11, 9.0)]),
            ("stays with one between", fixed, 10.0, &[(14.0, 14, 10.0)]),
            (
                "stays while few are in flight",
                Vegas::new(),
                10_000.0,
                &[(10.0, 4_999, 10_000.0), (10.0, 6_000, 10_024.0)],
            ),
            ("shrinks as it is told, smoothed", halves(0.5), 100.0, &[(20.0, 100, 75.0), (20.0, 100, 56.25)]),
            ("and at once", halves(1.0), 100.0, &[(20.0, 100, 50.0), (20.0, 100, 25.0)]),
        ];
        for (name, vegas, first, steps) in cases {
            let (mut rule, mut limit) = (Rule::Vegas(*vegas), *first);
            for (latency, in_flight, next) in *steps {
                limit =
                    rule.next(limit, &seen(*latency, *in_flight), &Usual { latency: 10.0, timed_out: 0.0 });
                assert_eq!(limit, *next, "{name}");
            }
        }
    }

    #[test]
    fn vegas_takes_a_step_back_for_timeouts() {
        let (mut rule, usual) = (Rule::Vegas(Vegas::new()), Usual { latency: 10.0, timed_out: 0.0 });
        let timed_out = Seen { timed_out: 0.5, ..seen(10.0, 100) };
        assert_eq!(rule.next(100.0, &timed_out, &usual), 98.0);
        let nobody = Seen { latency: None, timed_out: 1.0, ..seen(10.0, 100) };
        assert_eq!(rule.next(100.0, &nobody, &usual), 98.0);
    }
}
