use std::sync::Arc;
use std::time::Duration;

use crate::base::{Delivery, Error, Kind};

/// A request was not sent, since the server has said that it would not take it yet. It stands at the end of the chain of an [`Error`] of
/// kind [`Overload`](Kind::Overload). Example: [`ServerQuotaLayer`](super::ServerQuotaLayer).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's quota {:?} is used up", self.policy().unwrap_or_default())]
pub struct QuotaUsedUp {
    policy: Option<Arc<str>>,
    retry_after: Duration,
}

impl QuotaUsedUp {
    pub(super) const fn new(policy: Option<Arc<str>>, retry_after: Duration) -> Self {
        Self { policy, retry_after }
    }

    /// The name that the server has for it. Nothing, if it has only said when to come back.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// When the request would be sent: those that come back then do so one after another.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

/// Not sent; to be repeated then.
impl From<QuotaUsedUp> for Error {
    fn from(used_up: QuotaUsedUp) -> Self {
        let retry_after = used_up.retry_after;
        Self::new(Kind::Overload, used_up).with_delivery(Delivery::NotSent).with_retry_after(retry_after)
    }
}
