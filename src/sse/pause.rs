//! How long to wait before the stream is asked for again.

use std::time::Duration;

use crate::base::Rng;

/// Whatever a server says, it is not asked more often than this.
const LEAST: Duration = Duration::from_millis(100);

/// As long as `told`, and then up to as long again by chance, twice as long after each failure in a row, but no more than `most`.
pub(super) fn pause(told: Duration, failures: u32, most: Duration, rng: &Rng) -> Duration {
    let least = told.max(LEAST);
    let factor = 2_u32.saturating_pow(failures);
    let more = least.saturating_mul(factor).min(most);
    least.saturating_add(rng.duration_below(more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_told_and_more_after_failures_within_bounds() {
        let (rng, ms) = (Rng::seeded(1), Duration::from_millis);
        let most = |told, failures| {
            let pauses = (0..1_000).map(|_| pause(told, failures, ms(3_000), &rng));
            let pauses: Vec<_> = pauses.collect();
            assert!(pauses.iter().all(|pause| *pause >= told));
            pauses.into_iter().max().unwrap()
        };
        assert!(most(ms(500), 0) <= ms(1_000) && most(ms(500), 0) > ms(950));
        assert!(most(ms(500), 1) <= ms(1_500) && most(ms(500), 1) > ms(1_400));
        assert!(most(ms(500), u32::MAX) <= ms(3_500) && most(ms(500), 9) > ms(3_000));
        assert!(pause(Duration::ZERO, 0, ms(3_000), &rng) >= LEAST, "nobody spins");
        assert!(pause(Duration::MAX, u32::MAX, Duration::MAX, &rng) >= ms(1), "nothing overflows");
    }
}
