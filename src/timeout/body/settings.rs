use std::fmt;
use std::time::Duration;

#[cfg(feature = "serde")]
use crate::base::{human::Human, or_off::OrOff};

/// How long a body may take, in four ways. Each can be on or off; what is off is said by a word.
///
/// | limit | default | what it measures |
/// |---|---|---|
/// | [`idle`](Self::idle) | 30 s | the silence of whoever sends, while somebody waits for it |
/// | [`total`](Self::total) | off | from the head of a response, or the call with a request, to the end of its body |
/// | [`min_rate`](Self::min_rate) | off | the bytes that come in so much time of waiting |
/// | [`until_deadline`](Self::until_deadline) | off | the end of the call as a whole, body included |
///
/// *Waiting* is what the first two words turn on: a read is outstanding from the first poll that found nothing until data
/// comes, however often it is polled in between, and whether or not anybody polls. A consumer that is slow, or away, is not
/// blamed: what has come meanwhile is delivered, however late it is fetched. If nothing has come when it returns, the sender
/// was silent all the time.
///
/// `total` and the deadline always run, and fail the next poll even if data is there. They wake whoever waits; that a
/// body which nobody ever polls again is closed is for the connection to see to.
///
/// With the feature `serde` it can be read from a file and written to one: durations as `"30s"`, what is off as `"off"`.
///
/// ```
/// use std::time::Duration;
/// use stonework::timeout::BodyLimits;
///
/// let upload = BodyLimits::new().total(Duration::from_secs(60)).min_rate(1024, Duration::from_secs(10));
/// # #[cfg(feature = "serde")] {
/// let read: BodyLimits = serde_json::from_str(
///     r#"{ "total": "60s", "min_rate": { "bytes": 1024, "per": "10s" } }"#,
/// ).unwrap();
/// assert_eq!(read, upload);
///
/// let refused = serde_json::from_str::<BodyLimits>(r#"{ "idle": "0s" }"#).unwrap_err();
/// assert!(refused.to_string().contains("`idle`"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "limits do nothing until a layer is made from them"]
pub struct BodyLimits {
    pub(super) idle: Option<Duration>,
    pub(super) min_rate: Option<MinRate>,
    pub(super) total: Option<Duration>,
    pub(super) until_deadline: bool,
}

/// At least so many bytes in so much time of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields, expecting = "a rate: a table of `bytes` and a `per`")
)]
pub(super) struct MinRate {
    pub(super) bytes: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::base::human::plain"))]
    pub(super) per: Duration,
}

impl BodyLimits {
    /// 30 s of silence, and nothing else.
    pub const fn new() -> Self {
        Self { idle: Some(Duration::from_secs(30)), min_rate: None, total: None, until_deadline: false }
    }

    /// For streams that are meant to stay open, such as server-sent events: 5 minutes of silence, and no other limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::timeout::BodyLimits;
    ///
    /// assert_eq!(BodyLimits::streaming(), BodyLimits::new().idle(Duration::from_secs(300)));
    /// ```
    pub const fn streaming() -> Self {
        Self { idle: Some(Duration::from_secs(300)), ..Self::new() }
    }

    /// No limit at all.
    ///
    /// ```
    /// use stonework::timeout::BodyLimits;
    ///
    /// assert_eq!(BodyLimits::none(), BodyLimits::new().without_idle());
    /// ```
    pub const fn none() -> Self {
        Self { idle: None, ..Self::new() }
    }

    /// The longest silence of the sender while somebody waits for it. Default: 30 s.
    ///
    /// # Panics
    ///
    /// If `limit` is zero; to do without, say [`without_idle`](Self::without_idle).
    pub const fn idle(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "`idle` is longer than zero");
        self.idle = Some(limit);
        self
    }

    /// Let the sender be silent for as long as it likes. In a file: `idle = "off"`.
    pub const fn without_idle(mut self) -> Self {
        self.idle = None;
        self
    }

    /// The longest that the whole body may take, however it comes. Default: off.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn total(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "`total` is longer than zero");
        self.total = Some(limit);
        self
    }

    /// At least `bytes` for each `per` that is spent waiting: against a sender that is never silent for long and never
    /// gets anywhere. Default: off. The time in which nobody waits does not count. A `per` that ran out while the reader of
    /// an outstanding read was away, and was followed by data, begins anew: nobody knows when that came.
    ///
    /// # Panics
    ///
    /// If either is zero.
    pub const fn min_rate(mut self, bytes: u64, per: Duration) -> Self {
        assert!(bytes > 0 && !per.is_zero(), "`min_rate` is more than zero bytes in more than no time");
        self.min_rate = Some(MinRate { bytes, per });
        self
    }

    /// End the body at the [`Deadline`](crate::base::Deadline) in scope when the call was made, as the call itself would.
    /// A limit on a single [attempt](crate::timeout::AttemptTimeoutLayer) is none. Default: off, since a body that is making progress
    /// is mostly better read to its end.
    pub const fn until_deadline(mut self) -> Self {
        self.until_deadline = true;
        self
    }
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for BodyLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { idle, min_rate, total, until_deadline } = self;
        match idle {
            Some(idle) => write!(f, "{idle:?} of silence")?,
            None => f.write_str("any silence")?,
        }
        if let Some(MinRate { bytes, per }) = min_rate {
            write!(f, ", at least {bytes} bytes each {per:?}")?;
        }
        if let Some(total) = total {
            write!(f, ", {total:?} in all")?;
        }
        if *until_deadline { f.write_str(", until the deadline of the call") } else { Ok(()) }
    }
}

/// A value that [`BodyLimits`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBodyLimits {
    /// `idle` is zero.
    #[error("`idle` is zero; to do without, say \"off\"")]
    Idle,
    /// `min_rate` is no bytes, or in no time.
    #[error("`min_rate` is more than zero `bytes` in more than no time (`per`); to do without, say \"off\"")]
    MinRate,
    /// `total` is zero.
    #[error("`total` is zero; to do without, say \"off\"")]
    Total,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of limits on bodies")]
struct Fields {
    idle: OrOff<Human>,
    min_rate: OrOff<MinRate>,
    total: OrOff<Human>,
    until_deadline: bool,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        BodyLimits::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<BodyLimits> for Fields {
    fn from(BodyLimits { idle, min_rate, total, until_deadline }: BodyLimits) -> Self {
        let (idle, total) = (idle.map(Human).into(), total.map(Human).into());
        Self { idle, min_rate: min_rate.into(), total, until_deadline }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for BodyLimits {
    type Error = InvalidBodyLimits;

    fn try_from(fields: Fields) -> Result<Self, InvalidBodyLimits> {
        let time = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let (idle, total, min_rate) = (time(fields.idle), time(fields.total), fields.min_rate.into_option());
        if idle == Some(Duration::ZERO) {
            return Err(InvalidBodyLimits::Idle);
        }
        if min_rate.is_some_and(|rate| rate.bytes == 0 || rate.per.is_zero()) {
            return Err(InvalidBodyLimits::MinRate);
        }
        if total == Some(Duration::ZERO) {
            return Err(InvalidBodyLimits::Total);
        }
        Ok(Self { idle, min_rate, total, until_deadline: fields.until_deadline })
    }
}
