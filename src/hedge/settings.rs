use std::fmt;
use std::time::Duration;

use http::HeaderName;

#[cfg(feature = "serde")]
use crate::base::human::Human;
#[cfg(feature = "serde")]
use crate::base::or_off::OrOff;
use crate::base::{ATTEMPT, BudgetSettings, Paths, Ratio};

/// More attempts of one call are never under way (gRFC A6 has the same limit).
pub(super) const MOST: u32 = 5;

/// How a [`HedgeLayer`](super::HedgeLayer) behaves. With the feature `serde` it can be read from a file and written to one, durations as
/// `"250ms"`, what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use stonework::base::Ratio;
/// use stonework::hedge::HedgeSettings;
///
/// let settings = HedgeSettings::new().quantile(Ratio::percent(95)).min_calls(500);
/// assert_ne!(settings, HedgeSettings::new());
/// # #[cfg(feature = "serde")] {
/// let read: HedgeSettings = serde_json::from_str(r#"{ "quantile": "95%", "min_calls": 500 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<HedgeSettings>(r#"{ "attempts": 6 }"#).unwrap_err();
/// assert!(refused.to_string().contains("attempts"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a layer is made from them"]
pub struct HedgeSettings {
    pub(super) attempt_header: Option<HeaderName>,
    pub(super) attempts: u32,
    pub(super) budget: Option<BudgetSettings>,
    pub(super) fixed_delay: Option<Duration>,
    pub(super) max_retry_after: Duration,
    pub(super) min_calls: u32,
    pub(super) quantile: Ratio,
    pub(super) repeatable_paths: Paths,
    pub(super) replay_cap: usize,
    pub(super) window: Duration,
}

impl HedgeSettings {
    /// One attempt more, once the first takes longer than 98 % of the last calls did; for at most one in twenty calls, and ten at once.
    pub fn new() -> Self {
        Self {
            attempt_header: Some(ATTEMPT),
            attempts: 2,
            budget: Some(BudgetSettings::default().floor_per_second(0).ratio(Ratio::percent(5))),
            fixed_delay: None,
            max_retry_after: Duration::from_secs(60),
            min_calls: 100,
            quantile: Ratio::percent(98),
            repeatable_paths: Paths::none(),
            replay_cap: 64 * 1024,
            window: Duration::from_secs(10),
        }
    }

    /// Say in this header which attempt a request is, from the second on, so that the next hop does not repeat what is a repetition
    /// already. Default: [`ATTEMPT`]. A gRPC call says it in `grpc-previous-rpc-attempts` instead (gRFC A6).
    pub fn attempt_header(mut self, name: HeaderName) -> Self {
        self.attempt_header = Some(name);
        self
    }

    /// Do not tell the next hop which attempt a request is. **If it hedges too, hedges multiply.** In a file:
    /// `attempt_header = "off"`.
    pub fn without_attempt_header(mut self) -> Self {
        self.attempt_header = None;
        self
    }

    /// How many attempts of a call there may be, the first included. Default: 2. With 1, there is no other.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0 or more than 5.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0 && attempts <= MOST, "from 1, the first one, to 5 attempts");
        self.attempts = attempts;
        self
    }

    /// How many further attempts there may be, relative to requests, where no [budget is shared](super::HedgeLayer::budget). Default:
    /// 5 %, plus a reserve of 10. It is what they cost at most; what they cost where nothing is amiss is what the
    /// [`quantile`](Self::quantile) leaves.
    pub fn budget(mut self, budget: BudgetSettings) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Do without a budget. **A service that has become slow as a whole is then asked twice by everyone**, until it is known how slow
    /// it is. In a file: `budget = "off"`.
    pub fn without_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// Send the next attempt after this time, in place of one that is learned. With zero, all go out at once. Default: off.
    pub const fn fixed_delay(mut self, delay: Duration) -> Self {
        self.fixed_delay = Some(delay);
        self
    }

    /// Learn how long to wait for an answer before the next attempt. That is the default. In a file: `fixed_delay = "off"`.
    pub const fn without_fixed_delay(mut self) -> Self {
        self.fixed_delay = None;
        self
    }

    /// The longest time that a server may ask to be left alone for. One that asks for more gets no further attempt. Default: 60 s.
    pub const fn max_retry_after(mut self, ceiling: Duration) -> Self {
        self.max_retry_after = ceiling;
        self
    }

    /// How many calls have to be measured before it is believed what they say. Until then nothing is sent twice, but for what has
    /// failed. Default: 100.
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    /// The share of the calls that are not slow: the next attempt goes out when the first has taken longer than this share of the
    /// last calls did. Default: 98 %, so that two of a hundred requests are sent twice.
    pub const fn quantile(mut self, quantile: Ratio) -> Self {
        self.quantile = quantile;
        self
    }

    /// Treat requests to these paths as idempotent whatever their method: each is a whole path, or the beginning of one
    /// followed by `*`. Default: none.
    ///
    /// Every gRPC call is a POST, so this is how to say which methods may be called twice. **If that is wrong, their
    /// work may be done twice.**
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

    /// How long calls are counted together. Those of the last one or two such times decide; a time with fewer than
    /// [`min_calls`](Self::min_calls) lasts longer. Default: 10 s.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for HedgeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.budget {
            Some(budget) => self.describe(f, &format_args!("budget of {budget}")),
            None => self.describe(f, &"no budget"),
        }
    }
}

impl HedgeSettings {
    fn describe(&self, f: &mut fmt::Formatter<'_>, budget: &dyn fmt::Display) -> fmt::Result {
        // Destructured, so that a new setting is either shown or left out on purpose.
        let Self {
            attempt_header: _,
            attempts,
            budget: _,
            fixed_delay,
            max_retry_after: _,
            min_calls,
            quantile,
            repeatable_paths,
            replay_cap,
            window,
        } = self;
        write!(f, "up to {attempts} attempts at once, another ")?;
        match fixed_delay {
            Some(delay) => write!(f, "every {delay:?}")?,
            None => {
                write!(f, "after what {quantile} of at least {min_calls} calls in {window:?} took")?;
            }
        }
        write!(f, "; {budget}; bodies up to {replay_cap} bytes")?;
        if !repeatable_paths.is_empty() {
            write!(f, "; of any method to {repeatable_paths}")?;
        }
        Ok(())
    }

    /// The same line for a layer that was given a budget of others.
    #[cfg(feature = "client")]
    pub(crate) fn sharing_a_budget(&self) -> impl fmt::Display {
        struct Sharing<'a>(&'a HedgeSettings);
        impl fmt::Display for Sharing<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe(f, &"a budget that is shared")
            }
        }
        Sharing(self)
    }
}

/// A value that [`HedgeSettings`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHedge {
    /// `attempts` is 0 or more than 5.
    #[error("`attempts` counts the first attempt, so it is at least 1; and at most 5")]
    Attempts,
    /// `attempt_header` is no name of a header.
    #[error("`attempt_header` is not a valid header name; to do without, say \"off\"")]
    AttemptHeader,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of hedge settings")]
struct Fields {
    attempt_header: OrOff<String>,
    attempts: u32,
    budget: OrOff<BudgetSettings>,
    fixed_delay: OrOff<Human>,
    #[serde(with = "crate::base::human::plain")]
    max_retry_after: Duration,
    min_calls: u32,
    quantile: Ratio,
    repeatable_paths: Paths,
    replay_cap: usize,
    #[serde(with = "crate::base::human::plain")]
    window: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        Self::from(HedgeSettings::new())
    }
}

#[cfg(feature = "serde")]
impl From<HedgeSettings> for Fields {
    fn from(settings: HedgeSettings) -> Self {
        Self {
            attempt_header: settings.attempt_header.map(|name| name.as_str().to_owned()).into(),
            attempts: settings.attempts,
            budget: settings.budget.into(),
            fixed_delay: settings.fixed_delay.map(Human).into(),
            max_retry_after: settings.max_retry_after,
            min_calls: settings.min_calls,
            quantile: settings.quantile,
            repeatable_paths: settings.repeatable_paths,
            replay_cap: settings.replay_cap,
            window: settings.window,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for HedgeSettings {
    type Error = InvalidHedge;

    fn try_from(fields: Fields) -> Result<Self, InvalidHedge> {
        if !(1..=MOST).contains(&fields.attempts) {
            return Err(InvalidHedge::Attempts);
        }
        let header = fields.attempt_header.into_option().map(HeaderName::try_from).transpose();
        Ok(Self {
            attempt_header: header.map_err(|_| InvalidHedge::AttemptHeader)?,
            attempts: fields.attempts,
            budget: fields.budget.into_option(),
            fixed_delay: fields.fixed_delay.into_option().map(|human| human.0),
            max_retry_after: fields.max_retry_after,
            min_calls: fields.min_calls,
            quantile: fields.quantile,
            repeatable_paths: fields.repeatable_paths,
            replay_cap: fields.replay_cap,
            window: fields.window,
        })
    }
}
