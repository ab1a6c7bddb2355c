use std::fmt;

use crate::limit::InvalidConcurrency;
use crate::limit::concurrency::MOST;

/// How a limit finds out by itself how many calls may be in flight. See [`AdaptiveSettings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Algorithm {
    /// The limit is lowered in proportion as calls take more than twice as long as they do without a queue, and raised as long as they do
    /// not. The default: it holds what a service can do at twice and four times as many calls, and refuses next to none at 90 %.
    ///
    /// The rule is Netflix's, of the library `concurrency-limits`, with two differences: latencies are averaged geometrically, so that
    /// a slow call here and there does not look like overload, and what is usual is learnt only when few calls are in flight, so that
    /// an overload that lasts does not become usual.
    #[default]
    Gradient2,
    /// The limit follows the length of the queue that latency tells of, as TCP Vegas does: it keeps the queue shorter, and refuses more. For
    /// services whose calls all take about the same time.
    Vegas,
}

/// A limit that finds out by itself how many calls may be in flight: settings of a
/// [`ConcurrencyLimiter`](crate::limit::ConcurrencyLimiter).
///
/// It compares how long calls take, until the head of their response, with how long they take when few are in flight. While that is about
/// the same, the limit rises; when calls take longer, since they wait for each other somewhere, it falls. It looks as soon as 30 calls have
/// ended, but no more than ten times a second, and no more than once in the time that a call takes, up to a second. While less than half
/// of the limit is in flight, it stays.
///
/// ```
/// use stonework::limit::{Admission, AdaptiveSettings, ConcurrencyLimitLayer};
///
/// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// // No more in flight than the service can do, and the rest in a queue that never gets old.
/// let layer = ConcurrencyLimitLayer::new(AdaptiveSettings::new())?.admission(Admission::Queue).answer();
/// # let _ = layer;
/// # Ok(()) }
/// ```
///
/// | a call that | counts as |
/// |---|---|
/// | is answered, also with 4xx or 501, or with a status of gRPC that is [no failure](crate::base::GrpcStatus::outcome) | a latency |
/// | is answered with 503, 504, `UNAVAILABLE` or `DEADLINE_EXCEEDED`, or fails with a timeout or an overload of the other side | too late |
/// | is given up by its caller after it took longer than is usual | too late |
/// | is given up earlier; is answered with 429, another 5xx or another status of gRPC; fails otherwise | nothing |
///
/// A share of calls that is too late also when few are in flight is usual, up to one half, and does not lower the limit: so one part of
/// a service that hangs does not take the rest with it.
///
/// A call counts until its head, which is as long as it is measured: an event stream that stays open takes nobody's place, and neither does
/// a body that is read slowly.
///
/// *Not for:* services many of whose calls wait for something to happen before they answer (long polls). They look like work, and like slow
/// work when nothing happens; [exempt](crate::limit::ConcurrencyLimitLayer::except) them.
///
/// To learn how long calls take without a queue, the limit dips now and then, if few calls are never in flight by chance: after 4 s, after
/// 12 and every 32, for a few tenths of a second, to three fifths, or as much lower as there is a queue.
///
/// With the feature `serde` it is read from a file, as `"adaptive"` or a table with the fields `algorithm` (`"gradient2"`, `"vegas"`),
/// `initial`, `max` and `min`, in the place of the number of a fixed limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(default, deny_unknown_fields, expecting = "a table of settings for adaptive limits")
)]
#[must_use = "settings do nothing until a limiter is made from them"]
pub struct AdaptiveSettings {
    pub(super) algorithm: Algorithm,
    pub(super) initial: usize,
    pub(super) max: usize,
    pub(super) min: usize,
}

impl AdaptiveSettings {
    /// Between 1 and 1 000 in flight, 20 at first, by [`Algorithm::Gradient2`].
    pub const fn new() -> Self {
        Self { algorithm: Algorithm::Gradient2, initial: 20, max: 1_000, min: 1 }
    }

    /// Find the limit by this rule. Default: [`Algorithm::Gradient2`].
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How many may be in flight at first. It grows by half ten times a second while that is too few. Default: 20.
    pub const fn initial(mut self, calls: usize) -> Self {
        self.initial = calls;
        self
    }

    /// How many may be in flight at most, however fast they are answered. Default: 1 000.
    pub const fn max(mut self, calls: usize) -> Self {
        self.max = calls;
        self
    }

    /// How many may be in flight at least, however slowly they are answered. Default: 1.
    pub const fn min(mut self, calls: usize) -> Self {
        self.min = calls;
        self
    }

    pub(in crate::limit) const fn check(&self) -> Result<(), InvalidConcurrency> {
        match *self {
            Self { min: 0, .. } => Err(InvalidConcurrency::ZeroMin),
            Self { max, .. } if max > MOST => Err(InvalidConcurrency::TooManyMax),
            Self { min, initial, max, .. } if min > initial || initial > max => {
                Err(InvalidConcurrency::OutOfOrder)
            }
            _ => Ok(()),
        }
    }
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// `1 to 1000 at once, as latency allows`.
impl fmt::Display for AdaptiveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} at once, as latency allows", self.min, self.max)
    }
}
