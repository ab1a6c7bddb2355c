use std::time::Duration;

#[cfg(feature = "serde")]
use crate::base::or_off::OrOff;

/// How an [`EventSource`](super::EventSource) behaves. With the feature `serde` it can be read from a file and written to one, durations
/// as `"250ms"`, what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::sse::EventSourceSettings;
///
/// let settings = EventSourceSettings::new().idle_timeout(Duration::from_secs(20)).attempts(3);
/// # #[cfg(feature = "serde")] {
/// let read: EventSourceSettings = serde_json::from_str(r#"{ "idle_timeout": "20s", "attempts": 3 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<EventSourceSettings>(r#"{ "attempts": 0 }"#).unwrap_err();
/// assert!(refused.to_string().contains("attempts"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a source is given them"]
pub struct EventSourceSettings {
    pub(super) attempts: Option<u32>,
    pub(super) idle_timeout: Duration,
    pub(super) max_backoff: Duration,
    pub(super) max_event: usize,
    pub(super) reconnect_after: Duration,
}

impl EventSourceSettings {
    /// A minute of silence, three seconds before it asks again, and ten attempts in a row.
    pub const fn new() -> Self {
        Self {
            attempts: Some(10),
            idle_timeout: Duration::from_secs(60),
            max_backoff: Duration::from_secs(30),
            max_event: 1 << 20,
            reconnect_after: Duration::from_secs(3),
        }
    }

    /// How often it asks in a row without getting a stream, before that is an error. Default: 10, which takes some two minutes if each
    /// fails at once.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: the first attempt cannot be left out.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0, "attempts count the first one, so there is at least one");
        self.attempts = Some(attempts);
        self
    }

    /// Ask for as long as it takes. **A server that is gone for good is then asked for ever**, about twice a minute. In a file:
    /// `attempts = "off"`.
    pub const fn without_attempt_limit(mut self) -> Self {
        self.attempts = None;
        self
    }

    /// How long nothing may come: no head after a request, and no bytes of a stream, of which comments count too, as servers send them to be
    /// heard. Then the connection is given up, and the stream is asked for again. Only the time counts in which somebody waits. Default: 60 s.
    ///
    /// # Panics
    ///
    /// If `limit` is zero: no stream would ever come.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "an idle timeout of zero leaves no time for anything to come");
        self.idle_timeout = limit;
        self
    }

    /// The most by which chance makes a pause longer than the server wants it. Default: 30 s.
    pub const fn max_backoff(mut self, limit: Duration) -> Self {
        self.max_backoff = limit;
        self
    }

    /// How many bytes of a stream an event may have, with the names of its fields. Default: 1 MiB.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0: every event would be too large.
    pub const fn max_event(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "an event has at least a byte");
        self.max_event = bytes;
        self
    }

    /// How long to wait before asking again, unless the server says it with `retry:`. Default: 3 s.
    pub const fn reconnect_after(mut self, delay: Duration) -> Self {
        self.reconnect_after = delay;
        self
    }
}

impl Default for EventSourceSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that [`EventSourceSettings`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEventSource {
    /// `attempts` is 0.
    #[error("`attempts` counts the first attempt, so it is at least 1; for no limit, say \"off\"")]
    Attempts,
    /// This field is 0, with which no event could ever come.
    #[error("`{field}` is zero, with which no event would ever come")]
    Zero {
        /// Which.
        field: &'static str,
    },
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for a source of events")]
struct Fields {
    attempts: OrOff<u32>,
    #[serde(with = "crate::base::human::plain")]
    idle_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    max_backoff: Duration,
    max_event: usize,
    #[serde(with = "crate::base::human::plain")]
    reconnect_after: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        Self::from(EventSourceSettings::new())
    }
}

#[cfg(feature = "serde")]
impl From<EventSourceSettings> for Fields {
    fn from(settings: EventSourceSettings) -> Self {
        let EventSourceSettings { attempts, idle_timeout, max_backoff, max_event, reconnect_after } =
            settings;
        Self { attempts: attempts.into(), idle_timeout, max_backoff, max_event, reconnect_after }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for EventSourceSettings {
    type Error = InvalidEventSource;

    fn try_from(fields: Fields) -> Result<Self, InvalidEventSource> {
        let Fields { attempts, idle_timeout, max_backoff, max_event, reconnect_after } = fields;
        let attempts = attempts.into_option();
        if attempts == Some(0) {
            return Err(InvalidEventSource::Attempts);
        }
        for (field, is_zero) in [("idle_timeout", idle_timeout.is_zero()), ("max_event", max_event == 0)] {
            if is_zero {
                return Err(InvalidEventSource::Zero { field });
            }
        }
        Ok(Self { attempts, idle_timeout, max_backoff, max_event, reconnect_after })
    }
}
