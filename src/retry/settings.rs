use std::fmt;
use std::time::Duration;

#[cfg(feature = "serde")]
use crate::base::or_off::OrOff;
use crate::base::{Backoff, BudgetSettings, KeyFormat};

/// How [`RetryLayer`](super::RetryLayer) behaves. With the feature `serde` it can be read from a file, durations as
/// `"250ms"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use stonework::retry::RetrySettings;
///
/// let settings = RetrySettings::new().attempts(5).replay_cap(1 << 20);
/// assert_ne!(settings, RetrySettings::new());
/// # #[cfg(feature = "serde")] {
/// let read: RetrySettings = serde_json::from_str(r#"{ "attempts": 5, "replay_cap": 1048576 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<RetrySettings>(r#"{ "attempts": 0 }"#).unwrap_err();
/// assert!(refused.to_string().contains("attempts"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "Fields"))]
#[must_use = "settings do nothing until a layer is made from them"]
pub struct RetrySettings {
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) budget: Option<BudgetSettings>,
    pub(super) key_format: KeyFormat,
    pub(super) max_retry_after: Duration,
    pub(super) replay_cap: usize,
}

impl RetrySettings {
    /// Three attempts, backoff and budget with their defaults, a `Retry-After` of at most a minute, 64 KiB of body.
    pub fn new() -> Self {
        Self {
            attempts: 3,
            backoff: Backoff::default(),
            budget: Some(BudgetSettings::default()),
            key_format: KeyFormat::default(),
            max_retry_after: Duration::from_secs(60),
            replay_cap: 64 * 1024,
        }
    }

    /// How many attempts to make, the first included. Default: 3. With 1, nothing is sent again, not even what never
    /// left.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: the first attempt cannot be left out.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0, "attempts count the first one, so there is at least one");
        self.attempts = attempts;
        self
    }

    /// How the pauses between attempts grow. Default: full jitter below 100 ms, doubling up to 10 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many retries there may be, relative to requests. Default: 10 %, plus one a second, plus a reserve of 10.
    pub fn budget(mut self, budget: BudgetSettings) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Do without a budget. **In an outage every client then multiplies its load by the number of attempts**, which is
    /// how an outage lasts. In a file: `budget = "off"`.
    pub fn without_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// How generated idempotency keys are written: see [`Call::keyed`](crate::base::Call::keyed). Default: quoted, as
    /// the draft has it.
    pub const fn key_format(mut self, format: KeyFormat) -> Self {
        self.key_format = format;
        self
    }

    /// The longest `Retry-After` to wait for. A server that asks for more is not retried: its answer is returned at
    /// once. Default: 60 s.
    pub const fn max_retry_after(mut self, ceiling: Duration) -> Self {
        self.max_retry_after = ceiling;
        self
    }

    /// How many bytes of a request body to keep so that it can be sent again. A request with more is sent once.
    /// Default: 64 KiB.
    pub const fn replay_cap(mut self, bytes: usize) -> Self {
        self.replay_cap = bytes;
        self
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self::new()
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for RetrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.budget {
            Some(budget) => self.describe(f, &format_args!("budget of {budget}")),
            None => self.describe(f, &"no budget"),
        }
    }
}

impl RetrySettings {
    fn describe(&self, f: &mut fmt::Formatter<'_>, budget: &dyn fmt::Display) -> fmt::Result {
        let Self { attempts, backoff, budget: _, key_format: _, max_retry_after, replay_cap } = self;
        write!(f, "up to {attempts} attempts, pauses {backoff}; {budget}; ")?;
        write!(f, "Retry-After up to {max_retry_after:?}; bodies up to {replay_cap} bytes")
    }

    /// The same line for a layer that was given a budget of others.
    #[cfg(feature = "client")]
    pub(crate) fn sharing_a_budget(&self) -> impl fmt::Display {
        struct Sharing<'a>(&'a RetrySettings);
        impl fmt::Display for Sharing<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe(f, &"a budget that is shared")
            }
        }
        Sharing(self)
    }
}

/// A value that [`RetrySettings`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRetry {
    /// `attempts` is 0.
    #[error("`attempts` counts the first attempt, so it is at least 1")]
    Attempts,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    attempts: u32,
    backoff: Backoff,
    budget: OrOff<BudgetSettings>,
    key_format: KeyFormat,
    #[serde(with = "crate::base::human::plain")]
    max_retry_after: Duration,
    replay_cap: usize,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        let RetrySettings { attempts, backoff, budget, key_format, max_retry_after, replay_cap } =
            RetrySettings::new();
        let budget = budget.into();
        Self { attempts, backoff, budget, key_format, max_retry_after, replay_cap }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for RetrySettings {
    type Error = InvalidRetry;

    fn try_from(fields: Fields) -> Result<Self, InvalidRetry> {
        let Fields { attempts, backoff, budget, key_format, max_retry_after, replay_cap } = fields;
        if attempts == 0 {
            return Err(InvalidRetry::Attempts);
        }
        let budget = budget.into_option();
        Ok(Self { attempts, backoff, budget, key_format, max_retry_after, replay_cap })
    }
}
