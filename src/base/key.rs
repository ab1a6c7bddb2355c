//! The key that makes a request safe to repeat.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Rng;

/// `Idempotency-Key`: a client's promise that requests with the same value are the same request
/// (draft-ietf-httpapi-idempotency-key-header). Its value is an [`IdempotencyKey`].
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The response header that says, with `true`, that this is the answer that a request with the same key was given before:
/// nothing was done this time.
///
/// ```
/// use http::Response;
/// use stonework::base::IDEMPOTENCY_REPLAYED;
///
/// let was_done_before = |answer: &Response<()>| answer.headers().contains_key(IDEMPOTENCY_REPLAYED);
/// assert!(!was_done_before(&Response::new(())));
/// ```
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key in bytes: what common APIs store.
const LONGEST: usize = 255;

/// The value of an [`Idempotency-Key`](IDEMPOTENCY_KEY) header, kept and sent byte for byte.
///
/// It is one to 255 visible ASCII characters, 0x21 to 0x7E: no space, since proxies rewrite spaces. Whether it is quoted
/// is left as it came: APIs compare what they were sent. `Debug` shows only its length, since keys end up as lookup
/// values in stores and do not belong in logs.
///
/// ```
/// use stonework::base::{IdempotencyKey, InvalidKey, KeyFormat, Rng};
///
/// let key = IdempotencyKey::try_from("order-42")?;
/// assert_eq!(key.as_str(), "order-42");
/// assert_eq!(IdempotencyKey::try_from(""), Err(InvalidKey::Empty));
///
/// let fresh = IdempotencyKey::generate(&Rng::from_entropy(), KeyFormat::Quoted);
/// assert_eq!(fresh.as_str().len(), 34); // 32 hexadecimal digits and the quotes
/// # Ok::<(), InvalidKey>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(HeaderValue);

impl IdempotencyKey {
    /// A new key of 128 bits: 32 lowercase hexadecimal digits of [`Rng::unique_id`].
    #[must_use]
    pub fn generate(rng: &Rng, format: KeyFormat) -> Self {
        let id = rng.unique_id();
        let text = match format {
            KeyFormat::Bare => format!("{id:032x}"),
            KeyFormat::Quoted => format!("\"{id:032x}\""),
        };
        Self(HeaderValue::try_from(text).expect("hexadecimal digits make a field value"))
    }

    /// The key of the request with these headers, or `None` if it has none.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use stonework::base::{IDEMPOTENCY_KEY, IdempotencyKey, InvalidKey};
    ///
    /// let mut headers = HeaderMap::new();
    /// assert_eq!(IdempotencyKey::of(&headers), None);
    /// headers.append(IDEMPOTENCY_KEY, "order-42".parse().unwrap());
    /// assert_eq!(IdempotencyKey::of(&headers).unwrap()?.as_str(), "order-42");
    /// headers.append(IDEMPOTENCY_KEY, "order-43".parse().unwrap());
    /// assert_eq!(IdempotencyKey::of(&headers), Some(Err(InvalidKey::Repeated)));
    /// # Ok::<(), InvalidKey>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The field must stand there exactly once and be valid. If it is not, nobody can tell which key the server will
    /// see, so the request must be treated as one that has no key and is not safe to repeat.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Result<Self, InvalidKey>> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let first = values.next()?;
        Some(if values.next().is_some() { Err(InvalidKey::Repeated) } else { first.clone().try_into() })
    }

    /// The key as it stands in the header, with its quotes if it has any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("a key is visible ASCII")
    }

    /// The field value to send.
    #[must_use]
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} bytes)", self.0.len())
    }
}

impl From<IdempotencyKey> for HeaderValue {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// Copies the text.
impl TryFrom<&str> for IdempotencyKey {
    type Error = InvalidKey;

    fn try_from(text: &str) -> Result<Self, InvalidKey> {
        check(text.as_bytes())?;
        HeaderValue::from_str(text).map(Self).map_err(|_| InvalidKey::NotVisible)
    }
}

/// Takes the value without a copy.
impl TryFrom<HeaderValue> for IdempotencyKey {
    type Error = InvalidKey;

    fn try_from(value: HeaderValue) -> Result<Self, InvalidKey> {
        check(value.as_bytes())?;
        Ok(Self(value))
    }
}

fn check(bytes: &[u8]) -> Result<(), InvalidKey> {
    if bytes.is_empty() {
        Err(InvalidKey::Empty)
    } else if bytes.len() > LONGEST {
        Err(InvalidKey::TooLong)
    } else if !bytes.iter().all(u8::is_ascii_graphic) {
        Err(InvalidKey::NotVisible)
    } else {
        Ok(())
    }
}

/// How a generated [`IdempotencyKey`] is written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "lowercase"))]
pub enum KeyFormat {
    /// Without quotes, as many APIs that are older than the draft want it.
    Bare,
    /// In quotes, as a string of RFC 8941 §3.3.3: what draft-ietf-httpapi-idempotency-key-header wants, and the default.
    #[default]
    Quoted,
}

/// A header that holds no [`IdempotencyKey`]. It never shows the value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no characters.
    #[error("the header `Idempotency-Key` is empty")]
    Empty,
    /// It has a space, a control character or a character outside ASCII.
    #[error("the header `Idempotency-Key` must consist of visible ASCII characters, without spaces")]
    NotVisible,
    /// It stands in the request more than once.
    #[error("the header `Idempotency-Key` stands in the request more than once")]
    Repeated,
    /// It has more than 255 bytes.
    #[error("the header `Idempotency-Key` must not exceed 255 bytes")]
    TooLong,
    /// It is neither a string in quotes (RFC 8941, section 3.3.3) nor one without any. Only a server looks so closely.
    #[error("the header `Idempotency-Key` must be one string, in quotes or without any")]
    Unreadable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_visible_ascii_of_up_to_255_bytes_is_kept_byte_for_byte() {
        let every: String = (0x21_u8..=0x7e).map(char::from).collect();
        let longest = "k".repeat(255);
        for text in ["a", "\"a\"", "\"", &every, &longest] {
            let key = IdempotencyKey::try_from(text).unwrap();
            assert_eq!(key.as_str(), text);
            assert_eq!(key.header_value().as_bytes(), text.as_bytes());
            assert_eq!(IdempotencyKey::try_from(HeaderValue::from(key.clone())), Ok(key));
        }
    }

    #[test]
    fn an_invalid_key_is_refused_by_the_name_of_the_header_and_never_shown() {
        let long = "secret".repeat(50);
        for (text, why) in [
            ("", InvalidKey::Empty),
            ("secret key", InvalidKey::NotVisible),
            ("secret\t", InvalidKey::NotVisible),
            ("secret\r\nx: y", InvalidKey::NotVisible),
            ("sécret", InvalidKey::NotVisible),
            ("secret\x7f", InvalidKey::NotVisible),
            (&long, InvalidKey::TooLong),
        ] {
            let refused = IdempotencyKey::try_from(text).unwrap_err();
            assert_eq!(refused, why, "{text:?}");
            assert!(refused.to_string().contains("`Idempotency-Key`"));
            assert!(!format!("{refused} {refused:?}").contains("cret"));
        }
        let key = IdempotencyKey::try_from("secret").unwrap();
        assert_eq!(format!("{key:?}"), "IdempotencyKey(6 bytes)");
    }

    #[test]
    fn exactly_one_field_line_makes_a_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::of(&headers), None);
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert_eq!(IdempotencyKey::of(&headers), Some(Ok(IdempotencyKey::try_from("a").unwrap())));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert_eq!(IdempotencyKey::of(&headers), Some(Err(InvalidKey::Repeated)));
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(IdempotencyKey::of(&headers), Some(Err(InvalidKey::NotVisible)));
    }

    #[test]
    fn a_generated_key_is_32_hexadecimal_digits_quoted_unless_told_otherwise() {
        let bare = IdempotencyKey::generate(&Rng::seeded(1), KeyFormat::Bare);
        assert_eq!(bare.as_str().len(), 32);
        assert!(bare.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        let quoted = IdempotencyKey::generate(&Rng::seeded(1), KeyFormat::default());
        assert_eq!(quoted.as_str(), format!("\"{}\"", bare.as_str()));
        let rng = Rng::from_entropy();
        let fresh = || IdempotencyKey::generate(&rng, KeyFormat::Bare);
        assert_ne!(fresh(), fresh());
    }
}
