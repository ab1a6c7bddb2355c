use std::fmt;

use super::state::MOST;
use crate::limit::AdaptiveSettings;

/// How many may be in flight at once, and how many may wait: the settings of a [`ConcurrencyLimiter`](super::ConcurrencyLimiter).
///
/// ```
/// use stonework::limit::{AdaptiveSettings, ConcurrencyLimiter, ConcurrencySettings};
///
/// let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(100).queue(1_000))?;
/// // With the defaults, the number is enough.
/// let limiter = ConcurrencyLimiter::new(100)?;
/// // Nobody knows the number, so it is found out.
/// let limiter = ConcurrencyLimiter::new(AdaptiveSettings::new())?;
/// # Ok::<(), stonework::limit::InvalidConcurrency>(())
/// ```
///
/// With the feature `serde` it is read from and written to the fields `limit`, a number or [`AdaptiveSettings`], and, if it differs from
/// the default, `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
pub struct ConcurrencySettings {
    pub(super) limit: Limit,
    pub(super) queue: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Fixed(usize),
    Adaptive(AdaptiveSettings),
}

impl ConcurrencySettings {
    /// So many in flight. There is no default: how many a service can serve at once is its owner's to know.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit: Limit::Fixed(limit), queue: None }
    }

    /// As many in flight as latency allows.
    ///
    /// ```
    /// use stonework::limit::{AdaptiveSettings, ConcurrencyLimiter, ConcurrencySettings};
    ///
    /// let limiter = ConcurrencyLimiter::new(ConcurrencySettings::adaptive(AdaptiveSettings::new()))?;
    /// # let _ = limiter;
    /// # Ok::<(), stonework::limit::InvalidConcurrency>(())
    /// ```
    #[must_use]
    pub const fn adaptive(settings: AdaptiveSettings) -> Self {
        Self { limit: Limit::Adaptive(settings), queue: None }
    }

    /// How many may wait, where waiting is allowed: see [`Admission::WaitUpTo`](crate::limit::Admission::WaitUpTo). Default: as
    /// many as may be in flight, so that whoever waits is served in the time that one round takes; in the
    /// [queue that never gets old](crate::limit::Admission::Queue), as many as can be served in time. Zero lets nobody wait.
    #[must_use]
    pub const fn queue(mut self, waiting: usize) -> Self {
        self.queue = Some(waiting);
        self
    }

    pub(in crate::limit) const fn is_adaptive(&self) -> bool {
        matches!(self.limit, Limit::Adaptive(_))
    }

    pub(crate) const fn check(&self) -> Result<(), InvalidConcurrency> {
        match &self.limit {
            Limit::Adaptive(settings) => settings.check(),
            Limit::Fixed(0) => Err(InvalidConcurrency::Zero),
            Limit::Fixed(1..=MOST) => Ok(()),
            Limit::Fixed(_) => Err(InvalidConcurrency::TooMany),
        }
    }
}

impl From<usize> for ConcurrencySettings {
    fn from(limit: usize) -> Self {
        Self::new(limit)
    }
}

impl From<AdaptiveSettings> for ConcurrencySettings {
    fn from(settings: AdaptiveSettings) -> Self {
        Self::adaptive(settings)
    }
}

/// `100 at once`; `1 to 1000 at once, as latency allows`.
impl fmt::Display for ConcurrencySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.limit {
            Limit::Fixed(limit) => write!(f, "{limit} at once"),
            Limit::Adaptive(settings) => settings.fmt(f),
        }
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
    /// An adaptive limit begins below its least or above its most.
    #[error("`initial` is not between `min` and `max`")]
    OutOfOrder,
    /// More than can be counted.
    #[error("`limit` is more than 2147483647")]
    TooMany,
    /// An adaptive limit could become more than can be counted.
    #[error("`max` is more than 2147483647")]
    TooManyMax,
    /// It is zero.
    #[error("`limit` is zero: nothing would ever be admitted")]
    Zero,
    /// An adaptive limit could become zero.
    #[error("`min` is zero: it could come to nothing, and would never learn of anything better")]
    ZeroMin,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of a `limit` and a `queue`")]
struct Fields {
    limit: Limit,
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

#[cfg(feature = "serde")]
impl serde::Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(limit) => limit.serialize(serializer),
            Self::Adaptive(settings) => settings.serialize(serializer),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::Deserialize as _;
        use serde::de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer};

        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"adaptive\", or a table of an adaptive limit")
            }

            fn visit_u64<E: Error>(self, limit: u64) -> Result<Limit, E> {
                // What does not fit is too many, and told as such.
                Ok(Limit::Fixed(usize::try_from(limit).unwrap_or(usize::MAX)))
            }

            fn visit_i64<E: Error>(self, limit: i64) -> Result<Limit, E> {
                match u64::try_from(limit) {
                    Ok(limit) => self.visit_u64(limit),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(limit), &self)),
                }
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Limit, E> {
                match word {
                    "adaptive" => Ok(Limit::Adaptive(AdaptiveSettings::new())),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit, A::Error> {
                AdaptiveSettings::deserialize(MapAccessDeserializer::new(map)).map(Limit::Adaptive)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
