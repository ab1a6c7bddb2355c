use std::fmt;

use http::HeaderName;

use crate::base::ATTEMPT;

/// How a [`CoalesceLayer`](super::CoalesceLayer) behaves. With the feature `serde` it can be read from a file and written to one; an
/// unknown field or an impossible value is an error that names the field.
///
/// ```
/// use stonework::coalesce::CoalesceSettings;
///
/// let settings = CoalesceSettings::new().max_body(1 << 20);
/// # #[cfg(feature = "serde")] {
/// let read: CoalesceSettings = serde_json::from_str(r#"{ "max_body": 1048576 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let text = r#"{ "ignored_headers": ["no name"] }"#;
/// let refused = serde_json::from_str::<CoalesceSettings>(text).unwrap_err();
/// assert!(refused.to_string().contains("ignored_headers"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a layer is made from them"]
pub struct CoalesceSettings {
    pub(super) ignored_headers: Vec<HeaderName>,
    pub(super) max_body: usize,
}

impl CoalesceSettings {
    /// Bodies of up to 64 KiB, and requests that differ in no more than how they are traced and counted.
    pub fn new() -> Self {
        let ignored_headers = ["baggage", "traceparent", "tracestate", "x-request-id"];
        let mut ignored_headers: Vec<_> = ignored_headers.map(HeaderName::from_static).into();
        ignored_headers.push(ATTEMPT);
        Self { ignored_headers, max_body: 64 * 1024 }
    }

    /// The fields in which requests may differ and are the same nevertheless, in place of the default ones. Those of the first are
    /// sent. An answer that [varies](http::header::VARY) by one of them is shared only by those who agree in it. Default: `baggage`,
    /// `traceparent`, `tracestate`, `x-request-id`, and [`ATTEMPT`].
    ///
    /// **What says who is asking must not be among them**, or the answer for one is given to another.
    pub fn ignored_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.ignored_headers = names.into_iter().collect();
        self
    }

    /// How many bytes an answer may have to be shared. One with more goes to one of those who wait, and the others ask themselves.
    /// Default: 64 KiB.
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}

impl Default for CoalesceSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that [`CoalesceSettings`] cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCoalesce {
    /// One of `ignored_headers` is no name of a header.
    IgnoredHeader(String),
}

impl fmt::Display for InvalidCoalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::IgnoredHeader(name) = self;
        write!(f, "`ignored_headers`: {name:?} is not a valid header name")
    }
}

impl std::error::Error for InvalidCoalesce {}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for calls that are shared")]
struct Fields {
    ignored_headers: Vec<String>,
    max_body: usize,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        Self::from(CoalesceSettings::new())
    }
}

#[cfg(feature = "serde")]
impl From<CoalesceSettings> for Fields {
    fn from(settings: CoalesceSettings) -> Self {
        let ignored_headers = settings.ignored_headers.iter().map(|name| name.as_str().to_owned()).collect();
        Self { ignored_headers, max_body: settings.max_body }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for CoalesceSettings {
    type Error = InvalidCoalesce;

    fn try_from(fields: Fields) -> Result<Self, InvalidCoalesce> {
        let named = |name: String| {
            HeaderName::try_from(name.as_str()).map_err(|_| InvalidCoalesce::IgnoredHeader(name))
        };
        let ignored_headers = fields.ignored_headers.into_iter().map(named).collect::<Result<_, _>>()?;
        Ok(Self { ignored_headers, max_body: fields.max_body })
    }
}
