use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::kind::{Delivery, Kind};

/// A rate limit refused a call. It stands at the end of the chain of an [`Error`] of kind [`Overload`](Kind::Overload), and
/// [`Problem`](super::Problem) makes 429 of it.
///
/// ```
/// use stonework::Error;
/// use stonework::base::{Delivery, RateLimited};
/// use stonework::limit::{Quota, RateLimiter};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// let limiter = RateLimiter::named("logins", Quota::per_minute(1))?;
/// limiter.try_take(1).expect("the first");
/// let refused = limiter.try_take(1).unwrap_err();
/// assert_eq!(refused.policy(), "logins");
///
/// let error = Error::from(refused);
/// assert!(error.is_overload() && error.cause::<RateLimited>().is_some());
/// assert_eq!(error.delivery(), Delivery::NotSent);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota of the rate limit {:?} is used up", self.policy())]
pub struct RateLimited {
    /// Nothing, if it was given none.
    policy: Option<Arc<str>>,
    left: u32,
    retry_after: Option<Duration>,
}

impl RateLimited {
    #[cfg(feature = "limit")]
    pub(crate) const fn new(policy: Option<Arc<str>>, left: u32, retry_after: Option<Duration>) -> Self {
        Self { policy, left, retry_after }
    }

    /// The name of the limit; `default`, if it was given none.
    #[must_use]
    pub fn policy(&self) -> &str {
        self.policy.as_deref().unwrap_or("default")
    }

    /// How much was left, which was less than the call costs.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// When it would have been admitted, if nobody else comes in between. Nothing, if it costs more than there ever is.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Not sent; to be retried when there is room, or not at all.
impl From<RateLimited> for Error {
    fn from(limited: RateLimited) -> Self {
        let retry_after = limited.retry_after;
        let error = Self::new(Kind::Overload, limited).with_delivery(Delivery::NotSent);
        match retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error.without_retry(),
        }
    }
}
