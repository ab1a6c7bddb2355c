use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use stonework::base::Rng;

proptest! {
    #[test]
    fn no_stream_returns_a_number_twice(seed: u64) {
        let rng = Rng::seeded(seed);
        let clone = rng.clone();
        let drawn: HashSet<u64> = (0..1_000).flat_map(|_| [rng.next_u64(), clone.next_u64()]).collect();
        prop_assert_eq!(drawn.len(), 2_000);
    }

    #[test]
    fn every_draw_stays_in_its_range(seed: u64, n: u64, secs: u64, nanos in 0_u32..1_000_000_000) {
        let rng = Rng::seeded(seed);
        let most = Duration::new(secs, nanos);
        prop_assert!(rng.below(n) < n.max(1));
        prop_assert!((0.0..1.0).contains(&rng.unit()));
        prop_assert!(rng.duration_below(most) <= most);
        prop_assert!(rng.duration_below(Duration::from_nanos(n)) <= Duration::from_nanos(n));
    }

    #[test]
    fn different_seeds_give_different_streams(one: u64, other: u64) {
        prop_assume!(one != other);
        let (one, other) = (Rng::seeded(one), Rng::seeded(other));
        let drawn: HashSet<u64> = (0..100).flat_map(|_| [one.next_u64(), other.next_u64()]).collect();
        prop_assert!(drawn.len() > 195);
    }
}
