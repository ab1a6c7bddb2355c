use std::time::Duration;

use http::{HeaderName, Method, header};

use super::{AfterCrash, InvalidIdempotency};

/// What a server does about keys. With the feature `serde` it can be read from a file and written to one: durations as `"30s"`; an unknown
/// field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::idempotency::IdempotencySettings;
///
/// let settings = IdempotencySettings::new().required(true).wait_up_to(Duration::from_secs(5));
/// # #[cfg(feature = "serde")] {
/// let read: IdempotencySettings = serde_json::from_str(r#"{ "required": true, "wait_up_to": "5s" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// // How long a client can rely on it. It belongs in the documentation of the server, or in an answer of its own.
/// assert_eq!(settings.keeps_for(), Duration::from_secs(24 * 3600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a layer is made with them"]
pub struct IdempotencySettings {
    pub(super) after_crash: AfterCrash,
    pub(super) fingerprint_headers: Vec<HeaderName>,
    pub(super) lease: Duration,
    pub(super) max_request_body: usize,
    pub(super) max_response_body: usize,
    pub(super) methods: Vec<Method>,
    pub(super) record: Duration,
    pub(super) required: bool,
    pub(super) retry_after: Duration,
    pub(super) store_timeout: Duration,
    pub(super) wait_up_to: Duration,
    pub(super) when_away: WhenAway,
}

/// What happens to a keyed request while the store does not answer: see [`IdempotencySettings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenAway {
    /// It is refused, with 503 and a time to come back. The default.
    #[default]
    Refuse,
    /// It is done as if it had no key. **Whatever its client sends again meanwhile is done again.**
    DangerouslyRun,
}

impl IdempotencySettings {
    /// The defaults: POST and PATCH with a key, in which method, path, query, content type and body tell requests apart. A lease of 30 s and
    /// records for 24 h; bodies up to 1 MiB, of requests and of records; what is in flight is refused at once, to be sent again after 1 s; a
    /// store has 1 s to answer. When it is not known what was done, or the store is away, nothing is done.
    pub fn new() -> Self {
        Self {
            after_crash: AfterCrash::FailClosed,
            fingerprint_headers: vec![header::CONTENT_TYPE],
            lease: Duration::from_secs(30),
            max_request_body: 1024 * 1024,
            max_response_body: 1024 * 1024,
            methods: vec![Method::POST, Method::PATCH],
            record: Duration::from_secs(24 * 3600),
            required: false,
            retry_after: Duration::from_secs(1),
            store_timeout: Duration::from_secs(1),
            wait_up_to: Duration::ZERO,
            when_away: WhenAway::Refuse,
        }
    }

    /// What becomes of a request whose handler was not heard of to its end. Default: [`AfterCrash::FailClosed`].
    pub const fn after_crash(mut self, what: AfterCrash) -> Self {
        self.after_crash = what;
        self
    }

    /// The fields that tell requests apart, besides method, path, query and body. Two requests with one key and other values are refused with
    /// 422. Default: `content-type`.
    pub fn fingerprint_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.fingerprint_headers = names.into_iter().collect();
        self
    }

    /// How long a handler that is not heard of is believed to be running. One that runs is heard of each third of it. Default: 30 s.
    pub const fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
        self
    }

    /// The largest body of a keyed request, in bytes: it is read as a whole before anything is done. A larger one is refused with 413.
    /// Default: 1 MiB.
    pub const fn max_request_body(mut self, bytes: usize) -> Self {
        self.max_request_body = bytes;
        self
    }

    /// The largest body of an answer that is kept, in bytes. A larger one is passed on to the one who asked first, and whoever asks again is
    /// told that it is done and not kept. Default: 1 MiB.
    pub const fn max_response_body(mut self, bytes: usize) -> Self {
        self.max_response_body = bytes;
        self
    }

    /// The methods with which a key is looked at; requests with others pass as they are. PUT and DELETE can be among them; safe methods
    /// cannot. Default: POST and PATCH.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// How long it is remembered what became of a request. Clients rely on it, so tell them: see [`keeps_for`](Self::keeps_for).
    /// Default: 24 h.
    pub const fn record(mut self, length: Duration) -> Self {
        self.record = length;
        self
    }

    /// Whether a request without a key is refused, with 400, if its method is one of [these](Self::methods). Default: no, it passes as it is.
    pub const fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// When a client is told to come back, of a request that is in flight. Default: 1 s.
    pub const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = delay;
        self
    }

    /// How long the store may take to answer, each time it is asked. Default: 1 s.
    pub const fn store_timeout(mut self, limit: Duration) -> Self {
        self.store_timeout = limit;
        self
    }

    /// How long a request waits for another one with its key, before it is refused with 409. Default: not at all.
    pub const fn wait_up_to(mut self, length: Duration) -> Self {
        self.wait_up_to = length;
        self
    }

    /// What happens while the store does not answer. Default: [`WhenAway::Refuse`].
    pub const fn when_away(mut self, what: WhenAway) -> Self {
        self.when_away = what;
        self
    }

    /// How long what was done is remembered, counted from when it was: the [`record`](Self::record) that was set.
    #[must_use]
    pub const fn keeps_for(&self) -> Duration {
        self.record
    }

    pub(crate) fn check(&self) -> Result<(), InvalidIdempotency> {
        let lengths = [
            ("lease", self.lease),
            ("record", self.record),
            ("retry_after", self.retry_after),
            ("store_timeout", self.store_timeout),
        ];
        if let Some((field, _)) = lengths.into_iter().find(|(_, length)| length.is_zero()) {
            return Err(InvalidIdempotency::Zero { field });
        }
        if self.record < self.lease {
            return Err(InvalidIdempotency::RecordBeforeLease);
        }
        if self.methods.is_empty() {
            return Err(InvalidIdempotency::NoMethod);
        }
        match self.methods.iter().find(|method| method.is_safe()) {
            Some(safe) => Err(InvalidIdempotency::SafeMethod(safe.clone())),
            None => Ok(()),
        }
    }
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self::new()
    }
}
