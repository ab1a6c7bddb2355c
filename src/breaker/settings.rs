use std::fmt;
use std::time::Duration;

use crate::base::{Backoff, Jitter, Ratio};
#[cfg(feature = "serde")]
use crate::base::{human::Human, or_off::OrOff};

/// The most calls that a window can count: what it keeps is eight bytes for each.
const MOST_CALLS: u32 = 1 << 20;

/// When a circuit opens, for how long, and what it takes to close it. With the feature `serde` it can be read from a file and
/// written to one: durations as `"250ms"`, shares as `"50%"`, what is switched off as `"off"`; an unknown field or an
/// impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::Ratio;
/// use stonework::breaker::BreakerSettings;
///
/// let settings = BreakerSettings::new()
///     .failure_rate(Ratio::percent(30))
///     .slow_calls(Duration::from_secs(2), Ratio::percent(80));
/// # #[cfg(feature = "serde")] {
/// let read: BreakerSettings =
///     serde_json::from_str(r#"{ "failure_rate": "30%", "slow_call": "2s", "slow_rate": "80%" }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<BreakerSettings>(r#"{ "failure_rate": "0%" }"#).unwrap_err();
/// assert!(refused.to_string().contains("`failure_rate`"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a breaker is made from them"]
pub struct BreakerSettings {
    pub(super) consecutive_failures: Option<u32>,
    pub(super) failure_rate: Option<Ratio>,
    pub(super) min_calls: u32,
    pub(super) open_time: Backoff,
    pub(super) probe_timeout: Duration,
    pub(super) probes: u32,
    pub(super) slow_call: Option<Duration>,
    pub(super) slow_rate: Ratio,
    pub(super) window: Window,
}

/// Which calls count. See [`BreakerSettings::window`] and [`BreakerSettings::window_of_calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Calls(u32),
    Time(Duration),
}

impl BreakerSettings {
    /// The defaults: open when half of at least 20 calls within 10 s failed; for 5 s at first, for longer if it happens again;
    /// then one probe at a time, each for at most 10 s.
    pub fn new() -> Self {
        let open_time = Backoff::exponential(Duration::from_secs(5), Duration::from_secs(30));
        Self {
            consecutive_failures: None,
            failure_rate: Some(Ratio::percent(50)),
            min_calls: 20,
            open_time: open_time.expect("a valid backoff").jitter(Jitter::Equal),
            probe_timeout: Duration::from_secs(10),
            probes: 1,
            slow_call: None,
            slow_rate: Ratio::percent(50),
            window: Window::Time(Duration::from_secs(10)),
        }
    }

    /// Count the calls of this last stretch of time, to the tenth of it. Default: 10 s.
    pub const fn window(mut self, length: Duration) -> Self {
        self.window = Window::Time(length);
        self
    }

    /// Count this many last calls, however long ago they were. Their number is exact for a single thread; of several, each
    /// fills in up to eight (or a sixteenth of the window, if that is less) at a time.
    ///
    /// **What it counts does not age**: a quiet service is judged by failures of yesterday. Prefer
    /// [`window`](Self::window).
    pub const fn window_of_calls(mut self, calls: u32) -> Self {
        self.window = Window::Calls(calls);
        self
    }

    /// Judge no share of fewer calls than this. Default: 20. A client that makes fewer calls within a window than this opens
    /// its circuit only by [`consecutive_failures`](Self::consecutive_failures).
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    /// Open when at least this share of the calls failed. Default: 50 %.
    pub const fn failure_rate(mut self, share: Ratio) -> Self {
        self.failure_rate = Some(share);
        self
    }

    /// Do not open for a share of failed calls. Probes are then judged by half of them. In a file: `failure_rate = "off"`.
    pub const fn without_failure_rate(mut self) -> Self {
        self.failure_rate = None;
        self
    }

    /// Open when at least this share of the calls took `threshold` or longer until their response head, whether they failed or
    /// not. Default: off, since only its owner knows what is slow.
    ///
    /// A call that is given up after the threshold counts as slow. So a limit on time that stands outside of the breaker cannot
    /// hide a service that hangs.
    pub const fn slow_calls(mut self, threshold: Duration, share: Ratio) -> Self {
        self.slow_call = Some(threshold);
        self.slow_rate = share;
        self
    }

    /// Do not look how long calls take. In a file: `slow_call = "off"`.
    pub const fn without_slow_calls(mut self) -> Self {
        self.slow_call = None;
        self.slow_rate = Ratio::percent(50);
        self
    }

    /// Open when so many calls failed one after the other, with none in between that went well. Default: off. For clients of
    /// few calls.
    ///
    /// **Failures in a row do not age**: of a service that is called once an hour, five are five hours.
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = Some(failures);
        self
    }

    /// Do not open for failures in a row. In a file: `consecutive_failures = "off"`.
    pub const fn without_consecutive_failures(mut self) -> Self {
        self.consecutive_failures = None;
        self
    }

    /// How long it stays open: the first delay of this backoff, the second if it opens again, and so on; for each of these that
    /// it then stays closed, it is back by one. Default: 5 s, doubling up to 30 s, each between a half and the whole of that,
    /// so that clients that failed together do not come back together.
    pub const fn open_time(mut self, backoff: Backoff) -> Self {
        self.open_time = backoff;
        self
    }

    /// How many calls go through when the open time is over, and have to end before it is decided whether the service works
    /// again. Default: 1. If it does, and more calls wanted to go through meanwhile than were let, twice as many may be under
    /// way at once in the next round, and so on, so that the service is not overrun. It opens again when too many of a round
    /// failed or were slow: as soon as [enough of them](Self::min_calls) have ended, or all.
    pub const fn probes(mut self, calls: u32) -> Self {
        self.probes = calls;
        self
    }

    /// A probe without a response head after so long counts as failed; one with a good head whose body goes on counts as a
    /// success. Default: 10 s.
    pub const fn probe_timeout(mut self, limit: Duration) -> Self {
        self.probe_timeout = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidBreaker> {
        let zero = |field| Err(InvalidBreaker::Zero { field });
        match self.window {
            Window::Time(length) if length.is_zero() => return zero("window"),
            Window::Calls(0) => return zero("window"),
            Window::Calls(calls) if calls > MOST_CALLS => {
                return Err(InvalidBreaker::TooManyCalls { calls, most: MOST_CALLS });
            }
            Window::Calls(calls) if calls < self.min_calls => {
                return Err(InvalidBreaker::NeverEnoughCalls { min_calls: self.min_calls, calls });
            }
            Window::Time(_) | Window::Calls(_) => {}
        }
        for (field, is_zero) in [
            ("min_calls", self.min_calls == 0),
            ("failure_rate", self.failure_rate == Some(Ratio::ZERO)),
            ("slow_call", self.slow_call == Some(Duration::ZERO)),
            ("slow_rate", self.slow_rate == Ratio::ZERO),
            ("consecutive_failures", self.consecutive_failures == Some(0)),
            ("probes", self.probes == 0),
            ("probe_timeout", self.probe_timeout.is_zero()),
        ] {
            if is_zero {
                return zero(field);
            }
        }
        if self.failure_rate.is_none() && self.slow_call.is_none() && self.consecutive_failures.is_none() {
            return Err(InvalidBreaker::NeverOpens);
        }
        Ok(())
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for BreakerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Destructured, so that a new setting is either shown or left out on purpose.
        let Self {
            consecutive_failures,
            failure_rate,
            min_calls,
            open_time,
            probe_timeout,
            probes,
            slow_call,
            slow_rate,
            window,
        } = self;
        f.write_str("opens at ")?;
        let mut or = "";
        if let Some(share) = failure_rate {
            write!(f, "{share} failures")?;
            or = " or ";
        }
        if let Some(threshold) = slow_call {
            write!(f, "{or}{slow_rate} slower than {threshold:?}")?;
            or = " or ";
        }
        if let Some(failures) = consecutive_failures {
            write!(f, "{or}{failures} failures in a row")?;
        }
        match window {
            Window::Calls(calls) => write!(f, ", of {min_calls} to {calls} calls")?,
            Window::Time(length) => write!(f, ", of at least {min_calls} calls in {length:?}")?,
        }
        write!(f, "; open times {open_time}; {probes} at a time to probe, each up to {probe_timeout:?}")
    }
}

/// Settings that no circuit can have, told by [`Breaker::new`](super::Breaker::new) or by reading them from a file.
///
/// ```
/// use stonework::breaker::{Breaker, BreakerSettings};
///
/// let settings = BreakerSettings::new().window_of_calls(10).min_calls(50);
/// let refused = Breaker::new(settings).unwrap_err();
/// assert_eq!(refused.to_string(), "`min_calls` is 50, more than the 10 calls of the `window`: it would never open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBreaker {
    /// Neither a share of failures nor one of slow calls nor failures in a row would open it.
    #[error("with `failure_rate`, `slow_call` and `consecutive_failures` all off it would never open")]
    NeverOpens,
    /// The window never holds as many calls as it takes.
    #[error("`min_calls` is {min_calls}, more than the {calls} calls of the `window`: it would never open")]
    #[non_exhaustive]
    NeverEnoughCalls {
        /// How many calls it takes.
        min_calls: u32,
        /// How many the window holds.
        calls: u32,
    },
    /// The window would take too much memory.
    #[error("`window` is {calls} calls, more than {most}")]
    #[non_exhaustive]
    TooManyCalls {
        /// How many calls were asked for.
        calls: u32,
        /// How many there may be.
        most: u32,
    },
    /// It is zero, which makes no sense.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of circuit breaker settings")]
struct Fields {
    consecutive_failures: OrOff<u32>,
    failure_rate: OrOff<Ratio>,
    min_calls: u32,
    open_time: Backoff,
    #[serde(with = "crate::base::human::plain")]
    probe_timeout: Duration,
    probes: u32,
    slow_call: OrOff<Human>,
    slow_rate: Ratio,
    #[serde(with = "window")]
    window: Window,
}

/// A text is a stretch of time, a number is one of calls.
#[cfg(feature = "serde")]
mod window {
    use serde::de::{Deserialize, Deserializer, Error, Visitor, value::StrDeserializer};
    use serde::ser::{Serialize, Serializer};

    use super::{Human, Window, fmt};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a `window`: a duration such as \"10s\", or a number of calls")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Window, E> {
                Human::deserialize(StrDeserializer::new(text)).map(|human| Window::Time(human.0))
            }

            fn visit_u64<E: Error>(self, calls: u64) -> Result<Window, E> {
                u32::try_from(calls).map(Window::Calls).map_err(|_| {
                    E::custom(format_args!("`window` is {calls} calls, more than {}", super::MOST_CALLS))
                })
            }

            fn visit_i64<E: Error>(self, calls: i64) -> Result<Window, E> {
                match u64::try_from(calls) {
                    Ok(calls) => self.visit_u64(calls),
                    Err(_) => Err(E::custom(format_args!("`window` is {calls} calls, less than none"))),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }

    pub(super) fn serialize<S: Serializer>(window: &Window, serializer: S) -> Result<S::Ok, S::Error> {
        match window {
            Window::Calls(calls) => serializer.serialize_u32(*calls),
            Window::Time(length) => Human(*length).serialize(serializer),
        }
    }
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        BreakerSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<BreakerSettings> for Fields {
    fn from(settings: BreakerSettings) -> Self {
        Self {
            consecutive_failures: settings.consecutive_failures.into(),
            failure_rate: settings.failure_rate.into(),
            min_calls: settings.min_calls,
            open_time: settings.open_time,
            probe_timeout: settings.probe_timeout,
            probes: settings.probes,
            slow_call: settings.slow_call.map(Human).into(),
            slow_rate: settings.slow_rate,
            window: settings.window,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for BreakerSettings {
    type Error = InvalidBreaker;

    fn try_from(fields: Fields) -> Result<Self, InvalidBreaker> {
        let settings = Self {
            consecutive_failures: fields.consecutive_failures.into_option(),
            failure_rate: fields.failure_rate.into_option(),
            min_calls: fields.min_calls,
            open_time: fields.open_time,
            probe_timeout: fields.probe_timeout,
            probes: fields.probes,
            slow_call: fields.slow_call.into_option().map(|human| human.0),
            slow_rate: fields.slow_rate,
            window: fields.window,
        };
        settings.check().map(|()| settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_never_or_always_open_is_refused_by_name() {
        let new = BreakerSettings::new;
        for (settings, named) in [
            (new().window(Duration::ZERO), "`window`"),
            (new().window_of_calls(0), "`window`"),
            (new().window_of_calls(19), "`min_calls`"),
            (new().window_of_calls(u32::MAX), "`window`"),
            (new().min_calls(0), "`min_calls`"),
            (new().failure_rate(Ratio::ZERO), "`failure_rate`"),
            (new().slow_calls(Duration::ZERO, Ratio::ONE), "`slow_call`"),
            (new().slow_calls(Duration::from_secs(1), Ratio::ZERO), "`slow_rate`"),
            (new().consecutive_failures(0), "`consecutive_failures`"),
            (new().probes(0), "`probes`"),
            (new().probe_timeout(Duration::ZERO), "`probe_timeout`"),
            (new().without_failure_rate(), "never open"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(new().without_failure_rate().consecutive_failures(5).check(), Ok(()));
        assert_eq!(new().slow_calls(Duration::from_secs(1), Ratio::ONE).without_slow_calls(), new());
        assert_eq!(new().consecutive_failures(5).without_consecutive_failures(), new());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn settings_are_read_from_a_file_and_errors_name_the_field() {
        let read =
            |text: &str| serde_json::from_str::<BreakerSettings>(text).map_err(|error| error.to_string());
        let new = BreakerSettings::new;
        assert_eq!(read("{}"), Ok(new()));
        assert_eq!(read(r#"{"window":"30s"}"#), Ok(new().window(Duration::from_secs(30))));
        assert_eq!(read(r#"{"window":50}"#), Ok(new().window_of_calls(50)));
        assert_eq!(
            read(r#"{"failure_rate":"off","consecutive_failures":5,"open_time":{"base":"1s"}}"#),
            Ok(new()
                .without_failure_rate()
                .consecutive_failures(5)
                .open_time(Backoff::exponential(Duration::from_secs(1), Duration::from_secs(10)).unwrap()))
        );
        for (text, named) in [
            (r#"{"windw":"30s"}"#, "`windw`"),
            (r#"{"window":"30"}"#, "\"30\""),
            (r#"{"window":5}"#, "`min_calls`"),
            (r#"{"window":-5}"#, "`window`"),
            (r#"{"window":99999999999}"#, "`window`"),
            (r#"{"window":true}"#, "`window`"),
            (r#"{"probes":0}"#, "`probes`"),
            (r#"{"failure_rate":"off"}"#, "`failure_rate`"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn settings_are_told_in_one_line() {
        assert_eq!(
            BreakerSettings::new().to_string(),
            "opens at 50% failures, of at least 20 calls in 10s; open times with equal jitter from 5s to 30s; \
             1 at a time to probe, each up to 10s"
        );
        let other = BreakerSettings::new()
            .without_failure_rate()
            .slow_calls(Duration::from_secs(2), Ratio::percent(80))
            .consecutive_failures(5)
            .window_of_calls(100);
        assert!(
            other
                .to_string()
                .starts_with("opens at 80% slower than 2s or 5 failures in a row, of 20 to 100 calls;")
        );
    }
}
