//! What callers of the SDK are told when a call came to nothing: what has happened, whether it may have been done all the same, and what can
//! be done about it. All of it is taken from what the error of the client below knows.

use std::fmt;
use std::time::Duration;

use stonework::base::{Delivery, Error, Kind};

/// When to come back, where nobody says.
const A_WHILE: Duration = Duration::from_secs(5);

/// A call came to nothing.
#[derive(Debug)]
pub(crate) struct ShopError {
    what: What,
    perhaps_done: bool,
    advice: Advice,
    attempts: u32,
    request_id: String,
    source: Option<Error>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub(crate) enum What {
    /// The shop says no, with this code.
    Refused(String),
    /// It has too much to do, or is closed for a while.
    Busy,
    /// It cannot be reached; or it failed so often lately that it is left alone for a moment.
    Away,
    /// It did not answer in time.
    Late,
    /// It failed, or the connection to it did.
    Failed,
    /// It answered, and nobody can read it.
    Unreadable,
    /// The request cannot be sent as it is.
    Invalid,
}

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub(crate) enum Advice {
    /// The same again, after so long.
    Later(Duration),
    /// It may have been done: look, before it is done twice.
    LookFirst,
    /// The same would come of it.
    Never,
}

impl ShopError {
    pub(super) fn of(error: Error, repeatable: bool, request_id: &str) -> Self {
        let what = match error.kind() {
            Kind::Overload => What::Busy,
            Kind::CircuitOpen | Kind::Connect | Kind::NoEndpoint => What::Away,
            Kind::Timeout => What::Late,
            Kind::Body => What::Unreadable,
            Kind::Invalid => What::Invalid,
            // Not least an answer of 500.
            _ => What::Failed,
        };
        let perhaps_done = match error.delivery() {
            Delivery::NotSent | Delivery::Refused => false,
            Delivery::Unknown => true,
            // Who says that he is busy has done nothing.
            Delivery::Answered => what != What::Busy,
        };
        let advice = match what {
            What::Invalid => Advice::Never,
            _ if perhaps_done && !repeatable => Advice::LookFirst,
            _ => Advice::Later(error.retry_after().unwrap_or(A_WHILE)),
        };
        let (attempts, request_id) = (error.attempts(), request_id.to_owned());
        Self { what, perhaps_done, advice, attempts, request_id, source: Some(error) }
    }

    pub(super) fn refused(code: String, attempts: u32, request_id: &str) -> Self {
        let (what, advice) = (What::Refused(code), Advice::Never);
        Self { what, perhaps_done: false, advice, attempts, request_id: request_id.to_owned(), source: None }
    }

    /// What has happened.
    pub(crate) const fn what(&self) -> &What {
        &self.what
    }

    /// Whether the shop may have done what it was asked for.
    pub(crate) const fn perhaps_done(&self) -> bool {
        self.perhaps_done
    }

    /// What can be done about it.
    pub(crate) const fn advice(&self) -> Advice {
        self.advice
    }

    /// How often it was sent.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What to tell the shop's support.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Refused(code) => write!(f, "the shop says no: {code}")?,
            What::Busy => f.write_str("the shop has too much to do")?,
            What::Away => f.write_str("the shop cannot be reached")?,
            What::Late => f.write_str("the shop does not answer")?,
            What::Failed => f.write_str("the shop failed")?,
            What::Unreadable => f.write_str("the shop's answer cannot be read")?,
            What::Invalid => f.write_str("this cannot be asked for")?,
        }
        match self.advice {
            Advice::Later(after) => write!(f, "; worth another try in {after:.1?}"),
            Advice::LookFirst => f.write_str("; it may have been done, so look before you try again"),
            Advice::Never => Ok(()),
        }
    }
}

impl std::error::Error for ShopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
