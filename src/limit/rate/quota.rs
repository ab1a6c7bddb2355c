use std::fmt;
use std::time::Duration;

/// How much is allowed in which time: the settings of a rate limit.
///
/// `Quota::per_second(50)` allows 50 a second, and up to 50 at once after a quiet time ([`burst`](Self::burst)). Over **any**
/// stretch of time `t` no more than `burst + rate · t` are admitted: in the first second after a quiet time that is up to
/// twice the number. Where that is too much, lower the burst, or say [`strict`](Self::strict).
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{Quota, RateLimiter};
///
/// let quota = Quota::per_minute(600).burst(20);
/// assert_eq!(quota, Quota::new(600, Duration::from_secs(60)).burst(20));
/// let limiter = RateLimiter::new(quota)?;
/// # let _ = limiter;
/// # Ok::<(), stonework::limit::InvalidQuota>(())
/// ```
///
/// With the feature `serde` it is read from and written to the fields `amount`, `per`, and if they differ from the default
/// `burst` and `strict`: `{ amount = 600, per = "1m", burst = 20 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
pub struct Quota {
    pub(super) amount: u32,
    pub(super) per: Duration,
    pub(super) burst: Option<u32>,
    pub(in crate::limit) strict: bool,
}

impl Quota {
    /// `amount` in each `per`.
    #[must_use]
    pub const fn new(amount: u32, per: Duration) -> Self {
        Self { amount, per, burst: None, strict: false }
    }

    /// So many a second.
    #[must_use]
    pub const fn per_second(amount: u32) -> Self {
        Self::new(amount, Duration::from_secs(1))
    }

    /// So many a minute.
    #[must_use]
    pub const fn per_minute(amount: u32) -> Self {
        Self::new(amount, Duration::from_secs(60))
    }

    /// So many an hour.
    #[must_use]
    pub const fn per_hour(amount: u32) -> Self {
        Self::new(amount, Duration::from_secs(60 * 60))
    }

    /// How many may come at once after a quiet time. Default: as many as the amount. With 1 they come evenly spaced.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Never more than the amount in **any** window of the length `per`: what many providers count by. All of it may come at once;
    /// the next then when the first is as old as the window is long.
    ///
    /// It has to remember when each came: 16 bytes for each of the amount, for each key, and a lock instead of an atomic. There is no
    /// burst to set.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidQuota> {
        for (field, zero) in
            [("amount", self.amount == 0), ("per", self.per.is_zero()), ("burst", self.burst == Some(0))]
        {
            if zero {
                return Err(InvalidQuota::Zero { field });
            }
        }
        if self.strict && self.burst.is_some() {
            return Err(InvalidQuota::BurstOfStrict);
        }
        // What it takes to earn everything that can be saved up has to be countable in nanoseconds, with room to add to it.
        let whole = self.interval().saturating_mul(u128::from(self.most()));
        if whole.max(self.per.as_nanos()) > LONGEST.as_nanos() {
            return Err(InvalidQuota::TooLong);
        }
        Ok(())
    }

    /// How long it takes to earn one, in nanoseconds: rounded up, so that no more than the amount is earned.
    pub(super) fn interval(&self) -> u128 {
        self.per.as_nanos().div_ceil(u128::from(self.amount.max(1)))
    }

    /// The most that there ever is.
    pub(super) fn most(&self) -> u32 {
        self.burst.unwrap_or(self.amount)
    }
}

/// Ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// `600 in 60s`, and what differs from the default.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.amount, self.per)?;
        match self.burst {
            _ if self.strict => f.write_str(", strictly"),
            Some(burst) => write!(f, ", up to {burst} at once"),
            None => Ok(()),
        }
    }
}

/// A quota that cannot be: told where a limiter is made from it, or where it is read from a file.
///
/// ```
/// use stonework::limit::{Quota, RateLimiter};
///
/// let error = RateLimiter::new(Quota::per_second(0)).unwrap_err();
/// assert_eq!(error.to_string(), "`amount` is zero: nothing would ever be admitted");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuota {
    /// A strict quota has no burst.
    #[error("`burst` says nothing where `strict` is set: all of the amount may come at once")]
    BurstOfStrict,
    /// It is not one to 64 characters of ASCII that can be seen, or has a quote or a backslash.
    #[error("the name of a limit is one to 64 ASCII characters without quotes and backslashes")]
    Name,
    /// It takes more than ten years to earn.
    #[error("`amount`, `per` and `burst` together take more than ten years to earn")]
    TooLong,
    /// It is zero.
    #[error("`{field}` is zero: nothing would ever be admitted")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, expecting = "a quota: a table of an `amount` and a `per`")]
struct Fields {
    amount: u32,
    #[serde(with = "crate::base::human::plain")]
    per: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

#[cfg(feature = "serde")]
impl From<Quota> for Fields {
    fn from(Quota { amount, per, burst, strict }: Quota) -> Self {
        Self { amount, per, burst, strict }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for Quota {
    type Error = InvalidQuota;

    fn try_from(Fields { amount, per, burst, strict }: Fields) -> Result<Self, InvalidQuota> {
        let quota = Self { amount, per, burst, strict };
        quota.check().map(|()| quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_reads_as_it_was_said() {
        for (quota, text) in [
            (Quota::per_second(5), "5 in 1s"),
            (Quota::per_minute(5), "5 in 60s"),
            (Quota::per_hour(5).burst(2), "5 in 3600s, up to 2 at once"),
            (Quota::per_second(5).strict(), "5 in 1s, strictly"),
        ] {
            assert_eq!(quota.to_string(), text);
        }
    }
}
