//! A way over for those who leave the `backoff` crate.

use std::fmt;
use std::time::Duration;

use super::{Delays, Rng, Schedule};

/// Lets whatever the `backoff` crate can describe serve as a [`Schedule`].
///
/// The closure is called once for each call that is retried, since a `backoff::backoff::Backoff` carries the state of one
/// call. Its delays and its end are taken as they are: its own random numbers and its own clock decide, so a seeded
/// [`Rng`] and a paused test clock do not govern it.
///
/// The crate is **unmaintained** (RUSTSEC-2025-0012) and always brings `instant`, which is unmaintained too
/// (RUSTSEC-2024-0384). This type is for moving code over step by step; new code wants [`Backoff`](super::Backoff).
///
/// ```
/// use std::time::Duration;
/// use backoff::ExponentialBackoffBuilder;
/// use stonework::base::{Delays, FromBackoff, Rng, Schedule};
///
/// let schedule = FromBackoff::new(|| {
///     ExponentialBackoffBuilder::new()
///         .with_initial_interval(Duration::from_millis(10))
///         .with_randomization_factor(0.0)
///         .with_max_elapsed_time(None)
///         .build()
/// });
/// assert_eq!(schedule.start().next(&Rng::from_entropy()), Some(Duration::from_millis(10)));
/// ```
#[derive(Clone)]
pub struct FromBackoff<F> {
    make: F,
}

impl<F, B> FromBackoff<F>
where
    F: Fn() -> B + Send + Sync,
    B: ::backoff::backoff::Backoff + Send + 'static,
{
    /// A schedule that begins each call with what `make` returns.
    pub fn new(make: F) -> Self {
        Self { make }
    }
}

impl<F> fmt::Debug for FromBackoff<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromBackoff").finish_non_exhaustive()
    }
}

impl<F, B> Schedule for FromBackoff<F>
where
    F: Fn() -> B + Send + Sync,
    B: ::backoff::backoff::Backoff + Send + 'static,
{
    fn start(&self) -> Box<dyn Delays> {
        Box::new(Foreign((self.make)()))
    }
}

struct Foreign<B>(B);

impl<B: ::backoff::backoff::Backoff + Send> Delays for Foreign<B> {
    fn next(&mut self, _: &Rng) -> Option<Duration> {
        self.0.next_backoff()
    }
}

#[cfg(test)]
mod tests {
    use ::backoff::backoff::{Backoff, Constant, Stop};

    use super::*;

    /// Gives one delay, then gives up.
    struct Once(Option<Duration>);

    impl Backoff for Once {
        fn next_backoff(&mut self) -> Option<Duration> {
            self.0.take()
        }
    }

    #[test]
    fn every_call_begins_a_foreign_backoff_of_its_own() {
        let schedule = FromBackoff::new(|| Once(Some(Duration::from_secs(1))));
        let rng = Rng::seeded(1);
        for _ in 0..2 {
            let mut delays = schedule.start();
            assert_eq!(delays.next(&rng), Some(Duration::from_secs(1)));
            assert_eq!(delays.next(&rng), None);
        }
    }

    #[test]
    fn a_foreign_stop_gives_up_and_a_constant_goes_on() {
        assert_eq!(FromBackoff::new(|| Stop {}).start().next(&Rng::seeded(1)), None);
        let schedule = FromBackoff::new(|| Constant::new(Duration::from_millis(5)));
        assert_eq!(schedule.start().next(&Rng::seeded(1)), Some(Duration::from_millis(5)));
    }
}
