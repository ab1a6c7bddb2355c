use std::fmt;

use super::state::MOST;

/// How many may be in flight at once, and how many may wait: the settings of a [`ConcurrencyLimiter`](super::ConcurrencyLimiter).
///
/// ```
/// use stonework::limit::{ConcurrencyLimiter, ConcurrencySettings};
///
/// let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(100).queue(1_000))?;
/// // With the defaults, the number is enough.
/// let limiter = ConcurrencyLimiter::new(100)?;
/// # Ok::<(), stonework::limit::InvalidConcurrency>(())
/// ```
///
/// With the feature `serde` it is read from and written to the fields `limit` and, if it differs from the default, `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
pub struct ConcurrencySettings {
    pub(super) limit: usize,
    pub(super) queue: Option<usize>,
}

impl ConcurrencySettings {
    /// So many in flight. There is no default: how many a service can serve at once is its owner's to know.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, queue: None }
    }

    /// How many may wait, where waiting is allowed: see [`Admission::WaitUpTo`](crate::limit::Admission::WaitUpTo). Default: as
    /// many as may be in flight, so that whoever waits is served in the time that one round takes. Zero lets nobody wait.
    #[must_use]
    pub const fn queue(mut self, waiting: usize) -> Self {
        self.queue = Some(waiting);
        self
    }

    pub(super) fn queue_or_default(&self) -> usize {
        self.queue.unwrap_or(self.limit)
    }

    pub(crate) const fn check(&self) -> Result<(), InvalidConcurrency> {
        match self.limit {
            0 => Err(InvalidConcurrency::Zero),
            1..=MOST => Ok(()),
            _ => Err(InvalidConcurrency::TooMany),
        }
    }
}

impl From<usize> for ConcurrencySettings {
    fn from(limit: usize) -> Self {
        Self::new(limit)
    }
}

/// `100 at once`.
impl fmt::Display for ConcurrencySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at once", self.limit)
    }
}

/// A limit that cannot be: told where a limiter is made from it, or where it is read from a file.
///
/// ```
/// use stonework::limit::ConcurrencyLimiter;
///
/// let error = ConcurrencyLimiter::new(0).unwrap_err();
/// assert_eq!(error.to_string(), "`limit` is zero: nothing would ever be admitted");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConcurrency {
    /// More than can be counted.
    #[error("`limit` is more than 2147483647")]
    TooMany,
    /// It is zero.
    #[error("`limit` is zero: nothing would ever be admitted")]
    Zero,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    limit: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<usize>,
}

#[cfg(feature = "serde")]
impl From<ConcurrencySettings> for Fields {
    fn from(ConcurrencySettings { limit, queue }: ConcurrencySettings) -> Self {
        Self { limit, queue }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for ConcurrencySettings {
    type Error = InvalidConcurrency;

    fn try_from(Fields { limit, queue }: Fields) -> Result<Self, InvalidConcurrency> {
        let settings = Self { limit, queue };
        settings.check().map(|()| settings)
    }
}
