use crate::base::{Delivery, Error, Kind, Ratio};

/// A request was not sent, since the service took too few of those before it. It stands at the end of the chain of an [`Error`] of kind
/// [`Overload`](Kind::Overload). Example: [`AdaptiveThrottle`](super::AdaptiveThrottle).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service takes too few requests: {chance} of them are not sent")]
pub struct Throttled {
    chance: Ratio,
}

impl Throttled {
    pub(super) const fn new(chance: Ratio) -> Self {
        Self { chance }
    }

    /// How large a part of the requests is not sent at the moment.
    #[must_use]
    pub const fn chance(&self) -> Ratio {
        self.chance
    }
}

/// Not sent, and not to be repeated: whoever tries again right away has the same odds, adds to what the throttle counts as asked for, and
/// in a chain of services multiplies it.
impl From<Throttled> for Error {
    fn from(throttled: Throttled) -> Self {
        Self::new(Kind::Overload, throttled).with_delivery(Delivery::NotSent).without_retry()
    }
}

/// A throttle that cannot be: told where one is made, or where its settings are read from a file.
///
/// ```
/// use stonework::limit::{AdaptiveThrottle, ThrottleSettings};
///
/// let error = AdaptiveThrottle::new(ThrottleSettings::new().multiplier(0.5)).unwrap_err();
/// assert_eq!(error.to_string(), "`multiplier` is no number from 1 on: what a service takes would not be sent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidThrottle {
    /// With it, nothing would ever be sent again.
    #[error("`max_rejection` is 100%: a service that recovers would never be found out")]
    All,
    /// With it, a service that takes everything would not get it.
    #[error("`multiplier` is no number from 1 on: what a service takes would not be sent")]
    Multiplier,
    /// It is too short to be counted in.
    #[error("`window` is less than 1s")]
    Window,
}
