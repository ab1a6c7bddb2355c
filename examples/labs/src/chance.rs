//! How long things take.

use std::time::Duration;

use stonework::base::Rng;

/// Without memory, of this mean in seconds.
#[must_use]
pub fn exponential(rng: &Rng, mean: f64) -> Duration {
    Duration::from_secs_f64(-mean * (1.0 - rng.unit()).ln())
}

/// A sum of so many of these: the more, the more alike. In seconds, the mean of the sum.
#[must_use]
pub fn gamma(rng: &Rng, parts: u32, mean: f64) -> Duration {
    (0..parts).map(|_| exponential(rng, mean / f64::from(parts))).sum()
}

/// About this mean, in seconds; never less than nothing.
#[must_use]
pub fn normal(rng: &Rng, mean: f64, deviation: f64) -> Duration {
    // Box and Muller, 1958.
    let (radius, angle) = ((-2.0 * (1.0 - rng.unit()).ln()).sqrt(), std::f64::consts::TAU * rng.unit());
    Duration::from_secs_f64((mean + deviation * radius * angle.cos()).max(0.0))
}
