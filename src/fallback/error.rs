use std::error::Error as StdError;
use std::fmt;

use crate::base::Error;

/// The call failed, and the service that was asked in its place failed too.
///
/// Its source is what the call failed with at first. Find it with [`Error::cause`]; the [module](super) says more.
#[derive(Debug)]
pub struct FallbackFailed {
    original: Error,
    backup: Error,
}

impl FallbackFailed {
    /// What the call failed with at first.
    #[must_use]
    pub const fn original(&self) -> &Error {
        &self.original
    }

    /// What the other service failed with.
    #[must_use]
    pub const fn backup(&self) -> &Error {
        &self.backup
    }

    /// The error of the whole call.
    pub(super) fn of(original: Error, backup: Error) -> Error {
        let (kind, retry_after, forbids_retry) =
            (original.kind(), original.retry_after(), original.forbids_retry());
        let delivery = original.delivery().or_further(backup.delivery());
        let attempts = original.attempts().saturating_add(backup.attempts());
        let error = Error::new(kind, Self { original, backup });
        let error = error.with_delivery(delivery).with_attempts(attempts);
        let error = if forbids_retry { error.without_retry() } else { error };
        match retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}

impl fmt::Display for FallbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fallback failed too ({:#})", self.backup)
    }
}

impl StdError for FallbackFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.original)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Delivery, Elapsed, Kind, Phase};

    #[test]
    fn the_error_of_two_is_that_of_the_first_with_what_is_known_of_both() {
        let first = Error::from(Elapsed::new(Phase::Response, Duration::from_secs(1)))
            .with_delivery(Delivery::NotSent)
            .with_attempts(3)
            .with_retry_after(Duration::from_secs(7))
            .without_retry();
        let second = Error::new(Kind::Transport, "reset").with_attempts(2);
        let error = FallbackFailed::of(first, second);
        assert_eq!(error.kind(), Kind::Timeout);
        assert_eq!((error.attempts(), error.delivery()), (5, Delivery::Unknown));
        assert_eq!((error.retry_after(), error.forbids_retry()), (Some(Duration::from_secs(7)), true));
        assert!(error.cause::<Elapsed>().is_some());
        let both = error.cause::<FallbackFailed>().expect("in the chain");
        assert_eq!((both.original().kind(), both.backup().kind()), (Kind::Timeout, Kind::Transport));
        assert_eq!(
            format!("{error:#}"),
            "the call ran out of time: the fallback failed too (the connection failed: reset): \
             the call ran out of time: no answer within 1s"
        );

        let plain = FallbackFailed::of(Error::new(Kind::Connect, "a"), Error::new(Kind::Connect, "b"));
        assert_eq!((plain.retry_after(), plain.forbids_retry()), (None, false));
        assert_eq!((plain.delivery(), plain.attempts()), (Delivery::NotSent, 0));
    }

    #[test]
    fn whichever_may_have_been_received_decides_how_far_the_request_got() {
        use Delivery::{Answered, NotSent, Refused, Unknown};
        for (one, other, both) in [
            (NotSent, NotSent, NotSent),
            (NotSent, Refused, Refused),
            (Refused, Unknown, Unknown),
            (NotSent, Answered, Answered),
            (Answered, Unknown, Unknown),
        ] {
            for (first, second) in [(one, other), (other, one)] {
                let error = |delivery| Error::new(Kind::Connect, "x").with_delivery(delivery);
                assert_eq!(FallbackFailed::of(error(first), error(second)).delivery(), both);
            }
        }
    }
}
