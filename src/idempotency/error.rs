use http::Method;

use crate::base::{Delivery, Error, Kind};

/// Settings that cannot be: told where a layer is made.
///
/// ```
/// use http::Method;
/// use stonework::idempotency::{IdempotencyLayer, IdempotencySettings, InvalidIdempotency, MemoryStore};
///
/// let settings = IdempotencySettings::new().methods([Method::GET]);
/// let refused = IdempotencyLayer::new(MemoryStore::new()).settings(settings).unwrap_err();
/// assert_eq!(refused, InvalidIdempotency::SafeMethod(Method::GET));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIdempotency {
    /// There is no method left for which keys are looked at.
    #[error("`methods` is empty")]
    NoMethod,
    /// Records would be forgotten while the work may still be running.
    #[error("`record` is shorter than `lease`")]
    RecordBeforeLease,
    /// Requests with this method do nothing that could be done twice (RFC 9110, section 9.2.1).
    #[error("`methods` has {0}, which is safe anyway")]
    SafeMethod(Method),
    /// It is zero, which makes no sense.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
}

/// The store of the keys did not answer, and nothing was done. It stands at the end of the chain of an [`Error`] of kind
/// [`Overload`](Kind::Overload). What the store said is logged, and not here. What is done
/// then, [`IdempotencySettings`](super::IdempotencySettings) say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of the idempotency keys does not answer")]
#[non_exhaustive]
pub struct StoreAway;

impl From<StoreAway> for Error {
    fn from(away: StoreAway) -> Self {
        Self::new(Kind::Overload, away).with_delivery(Delivery::NotSent)
    }
}
