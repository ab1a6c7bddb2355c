use std::fmt;
use std::time::Duration;

use super::InvalidThrottle;
use crate::base::Ratio;

/// When a client holds back: the settings of an [`AdaptiveThrottle`](super::AdaptiveThrottle). With the feature `serde` they can be read
/// from a file and written to one: durations as `"2m"`, shares as `"90%"`; an unknown field or an impossible value is an error that names
/// the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::ThrottleSettings;
///
/// let settings = ThrottleSettings::new().multiplier(1.5).window(Duration::from_secs(60));
/// # #[cfg(feature = "serde")] {
/// let read: ThrottleSettings = serde_json::from_str(r#"{ "multiplier": 1.5, "window": "1m" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a throttle is made from them"]
pub struct ThrottleSettings {
    pub(super) max_rejection: Ratio,
    pub(super) min_requests: u32,
    pub(super) multiplier: f64,
    pub(super) window: Duration,
}

impl ThrottleSettings {
    /// The defaults: once a service has taken less than half of what it was sent in the last two minutes, it is sent twice what it takes,
    /// and a tenth of all at least.
    pub const fn new() -> Self {
        Self {
            max_rejection: Ratio::percent(90),
            min_requests: 20,
            multiplier: 2.0,
            window: Duration::from_secs(120),
        }
    }

    /// How much more is sent than the service takes: with 2 it is never sent more than twice as much, so that at most half of what it
    /// gets is refused there, and with 1.1 a tenth more. Less finds out later that it has recovered, more costs it more. Default: 2.
    pub const fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// How long what was counted counts. It is divided into 24 stretches, of which one after another is forgotten. Nearly all calls have to
    /// be answered within one stretch: after one or two, those that are still under way count as refused until they are answered, and
    /// where they are many, requests are held back that the service would take. With the default multiplier, what is sent after a total
    /// overload grows about twofold in each half of it. Default: 2 min, so that a stretch is 5 s.
    pub const fn window(mut self, length: Duration) -> Self {
        self.window = length;
        self
    }

    /// Below so many requests in the [window](Self::window) all are sent: few of them say little, and do no harm. Default: 20.
    pub const fn min_requests(mut self, requests: u32) -> Self {
        self.min_requests = requests;
        self
    }

    /// At most this part of the requests is not sent: the rest finds out whether the service has recovered. Default: 90 %.
    pub const fn max_rejection(mut self, share: Ratio) -> Self {
        self.max_rejection = share;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidThrottle> {
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            return Err(InvalidThrottle::Multiplier);
        }
        if self.max_rejection == Ratio::percent(100) {
            return Err(InvalidThrottle::All);
        }
        if self.window < Duration::from_secs(1) { Err(InvalidThrottle::Window) } else { Ok(()) }
    }
}

/// `up to 2 times what is taken, …`
impl fmt::Display for ThrottleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_rejection, min_requests, multiplier, window } = self;
        write!(f, "up to {multiplier} times what is taken, of at least {min_requests} in {window:?}; ")?;
        write!(f, "at most {max_rejection} held back")
    }
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of throttle settings")]
struct Fields {
    max_rejection: Ratio,
    min_requests: u32,
    multiplier: f64,
    #[serde(with = "crate::base::human::plain")]
    window: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        ThrottleSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<ThrottleSettings> for Fields {
    fn from(settings: ThrottleSettings) -> Self {
        let ThrottleSettings { max_rejection, min_requests, multiplier, window } = settings;
        Self { max_rejection, min_requests, multiplier, window }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for ThrottleSettings {
    type Error = InvalidThrottle;

    fn try_from(fields: Fields) -> Result<Self, InvalidThrottle> {
        let Fields { max_rejection, min_requests, multiplier, window } = fields;
        let settings = Self { max_rejection, min_requests, multiplier, window };
        settings.check().map(|()| settings)
    }
}
