use std::fmt;
use std::time::Duration;

use http::HeaderName;

#[cfg(feature = "serde")]
use crate::base::or_off::OrOff;
use crate::base::{ATTEMPT, Backoff, BudgetSettings, KeyFormat, Paths};

/// How [`RetryLayer`](super::RetryLayer) behaves. With the feature `serde` it can be read from a file and written to one, durations as
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
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a layer is made from them"]
pub struct RetrySettings {
    pub(super) attempt_header: Option<HeaderName>,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) budget: Option<BudgetSettings>,
    pub(super) costs: RetryCosts,
    pub(super) key_format: KeyFormat,
    pub(super) max_retry_after: Duration,
    pub(super) repeatable_paths: Paths,
    pub(super) replay_cap: usize,
}

impl RetrySettings {
    /// Three attempts, backoff and budget with their defaults, a `Retry-After` of at most a minute, 64 KiB of body.
    pub fn new() -> Self {
        Self {
            attempt_header: Some(ATTEMPT),
            attempts: 3,
            backoff: Backoff::default(),
            budget: Some(BudgetSettings::default()),
            costs: RetryCosts::new(),
            key_format: KeyFormat::default(),
            max_retry_after: Duration::from_secs(60),
            repeatable_paths: Paths::none(),
            replay_cap: 64 * 1024,
        }
    }

    /// Say in this header which attempt a request is, from the second on, so that the next hop does not retry what is a
    /// retry already: see [`HopLayer`](super::HopLayer). Default: [`ATTEMPT`]. A gRPC call says it in
    /// `grpc-previous-rpc-attempts` instead (gRFC A6).
    pub fn attempt_header(mut self, name: HeaderName) -> Self {
        self.attempt_header = Some(name);
        self
    }

    /// Do not tell the next hop which attempt a request is. **If it retries too, retries multiply.** In a file:
    /// `attempt_header = "off"`.
    pub fn without_attempt_header(mut self) -> Self {
        self.attempt_header = None;
        self
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

    /// What a retry takes from the budget, by how the attempt before it failed. Default: [`RetryCosts::new`].
    pub const fn costs(mut self, costs: RetryCosts) -> Self {
        self.costs = costs;
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

    /// Treat requests to these paths as idempotent whatever their method: each is a whole path, or the beginning of one
    /// followed by `*`. Default: none.
    ///
    /// Every gRPC call is a POST, so this is how to say which methods may be called twice. **If that is wrong, their
    /// work may be done twice.**
    ///
    /// ```
    /// use stonework::retry::RetrySettings;
    ///
    /// let settings = RetrySettings::new().repeatable_paths(["/shop.Catalogue/*", "/shop.Orders/Get"]);
    /// # let _ = settings;
    /// ```
    pub fn repeatable_paths<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.repeatable_paths = Paths::of(paths);
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
        // Destructured, so that a new setting is either shown or left out on purpose.
        let Self {
            attempt_header: _,
            attempts,
            backoff,
            budget: _,
            costs: _,
            key_format: _,
            max_retry_after,
            repeatable_paths,
            replay_cap,
        } = self;
        write!(f, "up to {attempts} attempts, pauses {backoff}; {budget}; ")?;
        write!(f, "Retry-After up to {max_retry_after:?}; bodies up to {replay_cap} bytes")?;
        if !repeatable_paths.is_empty() {
            write!(f, "; of any method to {repeatable_paths}")?;
        }
        Ok(())
    }

    /// That of a layer that is given none of others.
    #[cfg(feature = "client")]
    pub(crate) const fn own_budget(&self) -> Option<BudgetSettings> {
        self.budget
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
    /// `attempt_header` is no name of a header.
    #[error("`attempt_header` is not a valid header name; to do without, say \"off\"")]
    AttemptHeader,
}

/// How many tokens of the budget a retry takes, by how the attempt before it failed. The retry of a request that was
/// never sent is free: it adds nothing to the load.
///
/// ```
/// use stonework::retry::{RetryCosts, RetrySettings};
///
/// // Timeouts are what overload looks like: let them use up the budget five times as fast.
/// let settings = RetrySettings::new().costs(RetryCosts::new().timeout(5));
/// # let _ = settings;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, expecting = "a table of costs"))]
#[must_use = "costs do nothing until settings are given them"]
pub struct RetryCosts {
    pub(super) failure: u32,
    pub(super) overload: u32,
    pub(super) timeout: u32,
}

impl RetryCosts {
    /// 1 after a failure or a refusal, 2 after a timeout.
    pub const fn new() -> Self {
        Self { failure: 1, overload: 1, timeout: 2 }
    }

    /// After an error or a response that says "failed". Default: 1.
    pub const fn failure(mut self, tokens: u32) -> Self {
        self.failure = tokens;
        self
    }

    /// After a response that says "too much to do". Default: 1.
    pub const fn overload(mut self, tokens: u32) -> Self {
        self.overload = tokens;
        self
    }

    /// After an attempt that ran out of time, or a 504. Default: 2, since the service has worked on it for long, and
    /// may do so still.
    pub const fn timeout(mut self, tokens: u32) -> Self {
        self.timeout = tokens;
        self
    }
}

impl Default for RetryCosts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of retry settings")]
struct Fields {
    attempt_header: OrOff<String>,
    attempts: u32,
    backoff: Backoff,
    budget: OrOff<BudgetSettings>,
    costs: RetryCosts,
    key_format: KeyFormat,
    #[serde(with = "crate::base::human::plain")]
    max_retry_after: Duration,
    repeatable_paths: Paths,
    replay_cap: usize,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        Self::from(RetrySettings::new())
    }
}

#[cfg(feature = "serde")]
impl From<RetrySettings> for Fields {
    fn from(settings: RetrySettings) -> Self {
        Self {
            attempt_header: settings.attempt_header.map(|name| name.as_str().to_owned()).into(),
            attempts: settings.attempts,
            backoff: settings.backoff,
            budget: settings.budget.into(),
            costs: settings.costs,
            key_format: settings.key_format,
            max_retry_after: settings.max_retry_after,
            repeatable_paths: settings.repeatable_paths,
            replay_cap: settings.replay_cap,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for RetrySettings {
    type Error = InvalidRetry;

    fn try_from(fields: Fields) -> Result<Self, InvalidRetry> {
        if fields.attempts == 0 {
            return Err(InvalidRetry::Attempts);
        }
        let header = fields.attempt_header.into_option().map(HeaderName::try_from).transpose();
        Ok(Self {
            attempt_header: header.map_err(|_| InvalidRetry::AttemptHeader)?,
            attempts: fields.attempts,
            backoff: fields.backoff,
            budget: fields.budget.into_option(),
            costs: fields.costs,
            key_format: fields.key_format,
            max_retry_after: fields.max_retry_after,
            repeatable_paths: fields.repeatable_paths,
            replay_cap: fields.replay_cap,
        })
    }
}
