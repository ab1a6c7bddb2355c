use std::time::Duration;

use super::settings::LONGEST_KEY;
use crate::base::{Delivery, Error, Kind};
use crate::limit::InvalidQuota;

/// The store of a shared limit did not answer, and [`WhenAway::Refuse`](super::WhenAway::Refuse) says that nothing is admitted then.
/// It stands at the end of the chain of an [`Error`] of kind [`Overload`](Kind::Overload). What the store said is logged where it went
/// away, and not here. Example: [`WhenAway`](super::WhenAway).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of the rate limit does not answer")]
pub struct StoreAway {
    retry_after: Duration,
}

impl StoreAway {
    pub(super) const fn new(retry_after: Duration) -> Self {
        Self { retry_after }
    }

    /// When it is asked again, or the one who asks it at this moment knows.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

/// Not sent; to be retried when the store is asked again.
impl From<StoreAway> for Error {
    fn from(away: StoreAway) -> Self {
        Self::new(Kind::Overload, away).with_delivery(Delivery::NotSent).with_retry_after(away.retry_after)
    }
}

/// The key of a shared limit has more than 512 bytes. It stands at the end of the chain of an [`Error`] of kind
/// [`Invalid`](Kind::Invalid). Whoever has longer ones hashes them.
///
/// ```
/// use stonework::limit::{KeyTooLong, MemoryStore, Quota, SharedRateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::limit::InvalidSharedLimit> {
/// let limiter = SharedRateLimiter::new(MemoryStore::new(), [Quota::per_second(1)])?;
/// let error = limiter.take(&"x".repeat(513), 1).await.unwrap_err();
/// assert!(error.cause::<KeyTooLong>().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of a rate limit has at most {LONGEST_KEY} bytes")]
#[non_exhaustive]
pub struct KeyTooLong;

/// A shared limit that cannot be: told where a limiter is made.
///
/// ```
/// use stonework::limit::{InvalidSharedLimit, MemoryStore, Quota, SharedRateLimiter};
///
/// let quota = Quota::per_second(10).strict();
/// let refused = SharedRateLimiter::new(MemoryStore::new(), [quota]).unwrap_err();
/// assert_eq!(refused, InvalidSharedLimit::Strict);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSharedLimit {
    /// It has no quota, or more than four.
    #[error("a shared limit has one to four quotas, not {number}")]
    #[non_exhaustive]
    HowMany {
        /// How many it was given.
        number: usize,
    },
    /// A quota, or the name, cannot be.
    #[error(transparent)]
    Quota(#[from] InvalidQuota),
    /// One of its quotas is strict: a store keeps a number for each, and not when each call came.
    #[error("`strict` is not possible where a quota is shared")]
    Strict,
    /// Two of its quotas are the same.
    #[error("two of the quotas are the same")]
    Twice,
    /// It is zero, which makes no sense.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
}
