//! What a request is called.

use std::fmt;

use bytes::Bytes;
use http::Extensions;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Rng, context};

/// `x-request-id`: what a request is called in the logs of everybody that it passes. Its value is a [`RequestId`].
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// As long as one may be.
const LONGEST: usize = 128;

/// What a request is called in the logs of everybody that it passes: one to 128 letters, digits, and `-._~+/=:@`. So it can stand in a log,
/// a header or a URL without doing harm there.
///
/// A [`RequestIdLayer`](crate::observe::RequestIdLayer) gives one to each request, as an extension and in scope, where clients find it.
///
/// ```
/// use stonework::base::{RequestId, Rng};
///
/// let id = RequestId::generate(&Rng::from_entropy());
/// assert_eq!(id.as_str().len(), 32);
/// assert!(RequestId::try_from("f058ebd6-02f7-4d3f-942e-904344e8cde5").is_ok());
/// assert!(RequestId::try_from("two words").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new one of 128 bits: 32 lowercase hexadecimal digits of [`Rng::unique_id`].
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        Self::numbered(rng.unique_id())
    }

    pub(crate) fn numbered(number: u128) -> Self {
        // One allocation, which all copies share.
        let text = Bytes::from_owner(digits(number));
        Self(HeaderValue::from_maybe_shared(text).expect("hexadecimal digits make a field value"))
    }

    /// What stands in this header of a request, if it stands there once and is valid.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use stonework::base::{RequestId, X_REQUEST_ID};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(X_REQUEST_ID, "f058ebd6".parse().unwrap());
    /// assert_eq!(RequestId::read(&headers, &X_REQUEST_ID).unwrap().as_str(), "f058ebd6");
    /// ```
    #[must_use]
    pub fn read(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::try_from(value.clone()).ok()
    }

    /// That of a request which has passed a [`RequestIdLayer`](crate::observe::RequestIdLayer).
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// That of the request for which work is called or polled here and now. What is spawned has none, unless it is
    /// [detached](super::Detach).
    #[must_use]
    pub fn current() -> Option<Self> {
        context::current().and_then(|context| context.request_id.clone())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("it was checked")
    }

    /// As it stands in a header.
    #[must_use]
    pub const fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

/// As `{:032x}` has it, at a tenth of the cost.
fn digits(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

const fn digit(four_bits: u8) -> u8 {
    if four_bits < 10 { b'0' + four_bits } else { b'a' + four_bits - 10 }
}

impl TryFrom<HeaderValue> for RequestId {
    type Error = InvalidRequestId;

    fn try_from(value: HeaderValue) -> Result<Self, InvalidRequestId> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
        if !matches!(value.len(), 1..=LONGEST) || !value.as_bytes().iter().all(allowed) {
            return Err(InvalidRequestId);
        }
        Ok(Self(value))
    }
}

impl TryFrom<&str> for RequestId {
    type Error = InvalidRequestId;

    fn try_from(text: &str) -> Result<Self, InvalidRequestId> {
        HeaderValue::from_str(text).map_err(|_| InvalidRequestId)?.try_into()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// No [`RequestId`]: it is empty, too long, or has other characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is one to 128 letters, digits, and -._~+/=:@")]
#[non_exhaustive]
pub struct InvalidRequestId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_harm_in_a_log_is_none() {
        let longest = "x".repeat(128);
        for text in
            ["1", "Root=1-67891233-abcdef012345678912345678", "a/b+c==", "user@host:7~x_y.z", &longest]
        {
            assert_eq!(RequestId::try_from(text).unwrap().to_string(), text);
        }
        let too_long = "x".repeat(129);
        for text in ["", " ", "a b", "a\tb", "a\"b", "a,b", "a;b", "<b>", "a\\", "ä", "%0a", "{}", &too_long]
        {
            assert_eq!(RequestId::try_from(text), Err(InvalidRequestId), "{text:?}");
        }
        assert!(RequestId::try_from(HeaderValue::from_bytes(b"\xff").unwrap()).is_err());
    }

    #[test]
    fn a_number_is_written_as_everybody_writes_it() {
        let rng = Rng::seeded(1);
        for number in
            [0, 1, u128::MAX, 0x0123_4567_89ab_cdef].into_iter().chain((0..100).map(|_| rng.unique_id()))
        {
            assert_eq!(RequestId::numbered(number).to_string(), format!("{number:032x}"));
        }
    }

    #[test]
    fn two_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(RequestId::read(&headers, &X_REQUEST_ID), None);
        headers.append(X_REQUEST_ID, HeaderValue::from_static("one"));
        assert_eq!(RequestId::read(&headers, &X_REQUEST_ID).unwrap().as_str(), "one");
        headers.append(X_REQUEST_ID, HeaderValue::from_static("one"));
        assert_eq!(RequestId::read(&headers, &X_REQUEST_ID), None);
    }
}
