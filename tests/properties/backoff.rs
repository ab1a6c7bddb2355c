use std::time::Duration;

use proptest::prelude::*;
use stonework::base::{Backoff, Jitter, Rng, Schedule};

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..20_000).prop_map(Duration::from_millis),
        (0_u64..100).prop_map(Duration::from_nanos),
        (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        Just(Duration::MAX),
    ]
}

fn factors() -> impl Strategy<Value = f64> {
    prop_oneof![1.0..10.0, Just(1.0), Just(f64::MAX), any::<f64>()]
}

fn jitters() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::Decorrelated), Just(Jitter::Equal), Just(Jitter::Full), Just(Jitter::None)]
}

fn retries() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..64, any::<u32>(), Just(u32::MAX)]
}

proptest! {
    #[test]
    fn no_delay_exceeds_the_cap_and_none_panics(
        base in durations(), cap in durations(), factor in factors(), jitter in jitters(),
        retry in retries(), previous in durations(), seed: u64,
    ) {
        let valid = !base.is_zero() && base <= cap;
        let backoff = Backoff::exponential(base, cap);
        prop_assert_eq!(backoff.is_ok(), valid);
        let Ok(backoff) = backoff else { return Ok(()) };
        let grown = backoff.factor(factor);
        prop_assert_eq!(grown.is_ok(), factor.is_finite() && factor >= 1.0);
        let backoff = grown.unwrap_or(backoff).jitter(jitter);
        let rng = Rng::seeded(seed);
        prop_assert_eq!(backoff.jitter(Jitter::None).delay(0, previous, &rng), base);
        prop_assert!(backoff.delay(retry, previous, &rng) <= cap);
        let mut delays = backoff.start();
        for _ in 0..20 {
            prop_assert!(delays.next(&rng).is_some_and(|delay| delay <= cap));
        }
    }

    #[test]
    fn without_jitter_no_delay_is_shorter_than_the_one_before(
        base in 1_u64..5_000, cap in 5_000_u64..100_000, factor in 1.0..5.0, retry in 0_u32..1_000,
    ) {
        let ms = Duration::from_millis;
        let backoff = Backoff::exponential(ms(base), ms(cap)).unwrap();
        let backoff = backoff.factor(factor).unwrap().jitter(Jitter::None);
        let delay = |retry| backoff.delay(retry, Duration::ZERO, &Rng::seeded(0));
        prop_assert_eq!(delay(0), ms(base));
        prop_assert!(delay(retry) <= delay(retry + 1));
    }

    #[test]
    fn the_same_seed_gives_the_same_delays(seed: u64, jitter in jitters()) {
        let delays = || {
            let (mut delays, rng) = (Backoff::default().jitter(jitter).start(), Rng::seeded(seed));
            (0..50).map(|_| delays.next(&rng)).collect::<Vec<_>>()
        };
        prop_assert_eq!(delays(), delays());
    }
}
