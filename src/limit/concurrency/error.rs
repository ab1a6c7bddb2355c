use crate::base::{Delivery, Error, Kind};

/// Too much was in flight. It stands at the end of the chain of an [`Error`] of kind [`Overload`](Kind::Overload).
///
/// ```
/// use std::time::Duration;
/// use stonework::Error;
/// use stonework::base::Delivery;
/// use stonework::limit::{ConcurrencyLimiter, Overloaded};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// let limiter = ConcurrencyLimiter::new(1)?;
/// let permit = limiter.try_acquire();
/// let refused = limiter.acquire(Duration::ZERO).await.unwrap_err();
/// let error = Error::from(refused);
/// assert!(error.is_overload() && error.cause::<Overloaded>().is_some());
/// assert_eq!(error.delivery(), Delivery::NotSent);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} calls were in flight, which is as many as may be")]
pub struct Overloaded {
    limit: usize,
}

impl Overloaded {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// How many may be in flight.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

/// Not sent.
impl From<Overloaded> for Error {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(Kind::Overload, overloaded).with_delivery(Delivery::NotSent)
    }
}
