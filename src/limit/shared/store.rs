use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::InvalidSharedLimit;
use crate::base::BoxError;
use crate::limit::Quota;
use crate::limit::rate::Pace;

/// Holds quotas for several limiters, in one process or in many.
///
/// For the author of a store: [`conformance`](super::conformance) checks all that is promised here.
///
/// * **All or none.** `cost` is taken of each of the quotas, or of none of them. It is one step: however many calls there are at
///   once, from however many machines, no two of them are given the same.
/// * **A quota belongs to a key.** What another key took does not count, and neither does what was taken of another
///   [`Refill`] under the same key. One that nobody has taken of is full.
/// * **It is earned steadily**, by the store's own clock: one in each [`interval`](Refill::interval), as long as there are less than
///   [`most`](Refill::most). So over any stretch of time `t` no more than `most + t / interval` is taken. The machines that ask need no
///   common clock.
/// * **A cost of 0** takes nothing and is always answered with [`Taken::All`]: how things stand.
/// * **A refusal** names the quota whose wait is the longest, since whoever comes back then finds enough in all of them. One that
///   never holds as much as is asked for comes before all others.
/// * **What cannot be answered is an error.** It says that the store is away, and nothing of the quota: so a store keeps errors for
///   that. Something may have been taken then.
/// * **Cancellation:** whoever drops the future does not learn whether something was taken.
///
/// ```
/// use stonework::base::BoxError;
/// use stonework::limit::{MemoryStore, QuotaStore, Refill, Taken};
///
/// /// One that says what it is asked.
/// struct Loud(MemoryStore);
///
/// impl QuotaStore for Loud {
///     async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
///         println!("{cost} of {} quotas of {key:?}", quotas.len());
///         self.0.take(key, quotas, cost).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store of quotas",
    note = "`stonework::limit::MemoryStore` is one; so is a type with `impl stonework::limit::QuotaStore`"
)]
pub trait QuotaStore: Send + Sync + 'static {
    /// Take `cost` of each of `quotas` under `key`, or of none. No quota is given twice.
    ///
    /// A [`SharedRateLimiter`](super::SharedRateLimiter) gives one to four quotas, and keys of at most 640 bytes, each of which may be
    /// any character: its own name, a backslash, and what its caller said.
    fn take(
        &self,
        key: &str,
        quotas: &[Refill],
        cost: u32,
    ) -> impl Future<Output = Result<Taken, BoxError>> + Send;
}

impl<S: QuotaStore> QuotaStore for Arc<S> {
    fn take(
        &self,
        key: &str,
        quotas: &[Refill],
        cost: u32,
    ) -> impl Future<Output = Result<Taken, BoxError>> + Send {
        S::take(self, key, quotas, cost)
    }
}

/// What a store has to know of a [`Quota`]: one is earned in each interval, and so many can be saved up. Two that are equal are the same
/// quota.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{Quota, Refill};
///
/// let refill = Refill::of(&Quota::per_minute(600).burst(20))?;
/// assert_eq!(refill.interval(), Duration::from_millis(100));
/// assert_eq!(refill.most(), 20);
/// # Ok::<(), stonework::limit::InvalidSharedLimit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refill {
    interval: u64,
    most: u32,
}

impl Refill {
    /// That of this quota.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedLimit::Strict`] for a [strict](Quota::strict) one, which would have to remember when each came;
    /// [`InvalidSharedLimit::Quota`] for one that cannot be.
    pub fn of(quota: &Quota) -> Result<Self, InvalidSharedLimit> {
        quota.check()?;
        if quota.strict {
            return Err(InvalidSharedLimit::Strict);
        }
        let Pace { interval, whole } = Pace::of(quota);
        Ok(Self { interval, most: u32::try_from(whole / interval).unwrap_or(u32::MAX) })
    }

    /// How long it takes to earn one: in whole nanoseconds, rounded up, so that no more than the quota is earned.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// The most that there ever is. How long it takes to earn all of it is no more than ten years.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    pub(super) const fn pace(&self) -> Pace {
        Pace { interval: self.interval, whole: self.interval.saturating_mul(self.most as u64) }
    }

    /// How it stands when so many nanoseconds of earning are spent.
    pub(super) fn standing(&self, spent: u64) -> Standing {
        Standing { left: self.pace().left(spent, 0), full_in: Duration::from_nanos(spent) }
    }
}

/// `1 in 100ms, up to 20`
impl fmt::Display for Refill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1 in {:?}, up to {}", self.interval(), self.most)
    }
}

/// What a [`QuotaStore`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken of all; how each of them stands now, in the order in which they were asked for.
    All(Vec<Standing>),
    /// One of them had not enough, and nothing was taken of any.
    Nothing(Shortage),
}

/// How one quota stands. Example: [`SharedRateLimiter`](super::SharedRateLimiter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    left: u32,
    full_in: Duration,
}

impl Standing {
    /// With so much left, and full again in so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::limit::{Standing, Taken};
    ///
    /// // What a store answers that has taken one of ten.
    /// let taken = Taken::All(vec![Standing::new(9, Duration::from_millis(100))]);
    /// # let _ = taken;
    /// ```
    #[must_use]
    pub const fn new(left: u32, full_in: Duration) -> Self {
        Self { left, full_in }
    }

    /// How much more could be taken at once.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// When all of it is there again, if nobody takes of it.
    #[must_use]
    pub const fn full_in(&self) -> Duration {
        self.full_in
    }
}

/// Which quota had not enough.
///
/// ```
/// use stonework::limit::{MemoryStore, Quota, QuotaStore, Refill, Taken};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), stonework::base::BoxError> {
/// let quotas = [Refill::of(&Quota::per_hour(1000))?, Refill::of(&Quota::per_second(10))?];
/// let Taken::Nothing(short) = MemoryStore::new().take("key", &quotas, 20).await? else { panic!("20 of 10") };
/// assert_eq!((short.quota(), short.left(), short.retry_after()), (1, 10, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    quota: usize,
    left: u32,
    retry_after: Option<Duration>,
}

impl Shortage {
    /// Of the quota at this place of the list, with so much left, and enough in so long; never, if it costs more than there ever is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::limit::{Shortage, Taken};
    ///
    /// // What a store answers if the first quota has nothing left for the next tenth of a second.
    /// let nothing = Taken::Nothing(Shortage::new(0, 0, Some(Duration::from_millis(100))));
    /// # let _ = nothing;
    /// ```
    #[must_use]
    pub const fn new(quota: usize, left: u32, retry_after: Option<Duration>) -> Self {
        Self { quota, left, retry_after }
    }

    /// Its place in the list that was given.
    #[must_use]
    pub const fn quota(&self) -> usize {
        self.quota
    }

    /// How much was left, which is less than it costs.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// When there is enough, if nobody else comes in between. Nothing, if it costs more than there ever is.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
