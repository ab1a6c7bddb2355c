use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

use crate::base::{BoxError, Error, Kind};

/// The resource changed while it was being read: what comes after the bytes that were delivered no longer belongs to
/// them. Read it again from the start.
///
/// Its source says how the body broke off. Find it with [`Error::cause`]; [`ResumeLayer`](super::ResumeLayer) says more.
#[derive(Debug)]
pub struct Changed {
    delivered: u64,
    broken: BoxError,
}

impl Changed {
    pub(super) const fn new(delivered: u64, broken: BoxError) -> Self {
        Self { delivered, broken }
    }

    /// How many bytes of the old representation were delivered.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the resource changed while it was being read")
    }
}

impl StdError for Changed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.broken)
    }
}

/// A body broke off, and the rest of it was not to be had.
///
/// Its source says how the body broke off. Find it with [`Error::cause`]; [`ResumeLayer`](super::ResumeLayer) says more.
#[derive(Debug)]
pub struct NotResumed {
    delivered: u64,
    why: Why,
    broken: BoxError,
}

#[derive(Debug)]
pub(super) enum Why {
    /// What the server answered when asked for the rest.
    Answered(StatusCode),
    /// Another service answered in its place, or it was found under another URI.
    Elsewhere,
    /// It answered with more than it announced.
    TooLong,
    /// There was no answer.
    Failed(Error),
}

impl NotResumed {
    pub(super) const fn new(delivered: u64, why: Why, broken: BoxError) -> Self {
        Self { delivered, why, broken }
    }

    /// How many bytes were delivered before that.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What the server answered when it was asked for the rest, if that was the reason: 416 or 503, say, or a 206 that
    /// is not the rest.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        match &self.why {
            Why::Answered(status) => Some(*status),
            _ => None,
        }
    }

    /// Why asking for the rest failed, if there was no answer.
    #[must_use]
    pub const fn error(&self) -> Option<&Error> {
        match &self.why {
            Why::Failed(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.why {
            Why::Failed(error) if error.is_timeout() => Kind::Timeout,
            _ => Kind::Body,
        }
    }
}

impl fmt::Display for NotResumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body broke off after {} bytes, and the rest was not to be had: ", self.delivered)?;
        match &self.why {
            Why::Answered(status) => write!(f, "the server answered {}", status.as_u16()),
            Why::Elsewhere => f.write_str("another service, or another resource, answered"),
            Why::TooLong => f.write_str("the server sent more than it announced"),
            Why::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl StdError for NotResumed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.broken)
    }
}

/// A body ended before all the bytes were there that its head promised. Find it with [`Error::cause`];
/// [`ResumeLayer`](super::ResumeLayer) says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedEarly {
    /// How many bytes there were.
    pub delivered: u64,
    /// How many were promised.
    pub length: u64,
}

impl fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body ended after {} of {} bytes", self.delivered, self.length)
    }
}

impl StdError for EndedEarly {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&Kind::Body)
    }
}
