//! How much of its share an endpoint gets that has just come, or come back.

use std::time::Duration;

/// Grows from a little to the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlowStart {
    pub(super) window: Duration,
    /// 1 grows evenly; more grows sooner.
    pub(super) aggression: f64,
    /// The share at first.
    pub(super) least: f64,
}

impl SlowStart {
    /// The share of an endpoint of this age, from [`least`](Self::least) to 1.
    pub(super) fn share(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let time = age.as_secs_f64() / self.window.as_secs_f64();
        time.powf(1.0 / self.aggression).clamp(self.least, 1.0)
    }

    /// The same, compared with the endpoint that has been there for longest. Where all have just come there is nobody else to
    /// send to, and none is to get less than another.
    pub(super) fn relative(&self, age: Duration, oldest: Duration) -> f64 {
        if age >= self.window { 1.0 } else { (self.share(age) / self.share(oldest)).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy documents its slow start.
    #[test]
    fn the_share_grows_as_it_does_elsewhere() {
        for (aggression, age, share) in [
            (1.0, 0, 0.1),
            (1.0, 6, 0.1),
            (1.0, 15, 0.25),
            (1.0, 30, 0.5),
            (1.0, 60, 1.0),
            (1.0, 6000, 1.0),
            (2.0, 15, 0.5),
            (2.0, 60, 1.0),
        ] {
            let slow = SlowStart { window: Duration::from_secs(60), aggression, least: 0.1 };
            let found = slow.share(Duration::from_secs(age));
            assert!((found - share).abs() < 1e-9, "{age} s at {aggression}: {found}");
        }
    }

    #[test]
    fn those_that_came_together_get_as_much_as_each_other() {
        let slow = SlowStart { window: Duration::from_secs(60), aggression: 1.0, least: 0.1 };
        let second = Duration::from_secs(1);
        assert_eq!(slow.relative(second, second), 1.0);
        assert!((slow.relative(15 * second, 30 * second) - 0.5).abs() < 1e-9);
        assert!((slow.relative(second, 100 * second) - 0.1).abs() < 1e-9);
        assert_eq!(slow.relative(60 * second, 61 * second), 1.0);
    }
}
