//! What a server says about when to come back.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

/// The value of a `Retry-After` header (RFC 9110 §10.2.3): a delay in seconds or a date.
///
/// All three forms of a date are read that RFC 9110 §5.6.7 wants a recipient to accept. A fraction, a sign or anything
/// else makes the value invalid, and an invalid value is as good as none.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::header::{HeaderMap, RETRY_AFTER};
/// use stonework::base::RetryAfter;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RETRY_AFTER, RetryAfter::header_value(Duration::from_millis(1_200)));
/// assert_eq!(headers[RETRY_AFTER], "2");
/// let wait = RetryAfter::of(&headers, SystemTime::UNIX_EPOCH);
/// assert_eq!(wait, Some(Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfter {
    /// Not before this date.
    At(SystemTime),
    /// After so many seconds. A number that does not fit in 64 bits is as many as fit.
    Delay(Duration),
}

impl RetryAfter {
    /// Reads one field value; whitespace around it does not matter.
    ///
    /// `None` if it is neither a whole number of seconds nor a valid date from 1970 on.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use stonework::base::RetryAfter;
    ///
    /// assert_eq!(RetryAfter::parse(b"120"), Some(RetryAfter::Delay(Duration::from_secs(120))));
    /// let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    /// assert_eq!(RetryAfter::parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::At(date)));
    /// assert_eq!(RetryAfter::parse(b"1.5"), None);
    /// ```
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        if let Some(seconds) = digits(value) {
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        let text = std::str::from_utf8(value).ok()?;
        httpdate::parse_http_date(text).ok().map(Self::At)
    }

    /// How long to wait from `now` on: zero for a date that has passed.
    #[must_use]
    pub fn wait(self, now: SystemTime) -> Duration {
        match self {
            Self::At(date) => date.duration_since(now).unwrap_or_default(),
            Self::Delay(delay) => delay,
        }
    }

    /// How long these headers of a response ask to wait from `now` on, or `None` if they hold no valid value.
    ///
    /// The field should stand there once. If it stands there more often, the longest wait counts.
    #[must_use]
    pub fn of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
        let values = headers.get_all(RETRY_AFTER).iter();
        values.filter_map(|value| Self::parse(value.as_bytes())).map(|after| after.wait(now)).max()
    }

    /// The field value that asks to wait `wait`: in whole seconds, rounded up, so that whoever obeys is not too early.
    #[must_use]
    pub fn header_value(wait: Duration) -> HeaderValue {
        HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
    }
}

/// The header in which a gRPC server says when to retry (gRFC A6).
pub(super) const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a gRPC server says about a retry in `grpc-retry-pushback-ms` (gRFC A6).
///
/// ```
/// use std::time::Duration;
/// use stonework::base::Pushback;
///
/// assert_eq!(Pushback::parse(b"25"), Pushback::After(Duration::from_millis(25)));
/// assert_eq!(Pushback::parse(b"-1"), Pushback::Stop);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushback {
    /// Retry after this delay, and count further delays from the start again.
    After(Duration),
    /// Do not retry.
    Stop,
}

impl Pushback {
    /// Reads one field value. What is negative, no number or more than 32 bits means [`Stop`](Self::Stop).
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        match digits(value.trim_ascii()) {
            Some(millis) if millis <= u64::from(u32::MAX) => Self::After(Duration::from_millis(millis)),
            _ => Self::Stop,
        }
    }

    /// The field value that asks to wait `wait`: in whole milliseconds, rounded up, and as many as fit in 32 bits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::base::Pushback;
    ///
    /// assert_eq!(Pushback::header_value(Duration::from_micros(1_500)), "2");
    /// ```
    #[must_use]
    pub fn header_value(wait: Duration) -> HeaderValue {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        HeaderValue::from(u32::try_from(millis).unwrap_or(u32::MAX))
    }

    /// What these headers or trailers ask for, or `None` if they do not say. A field that stands there more than once
    /// cannot be read, so it means [`Stop`](Self::Stop).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(PUSHBACK).iter();
        let first = values.next()?;
        Some(if values.next().is_some() { Self::Stop } else { Self::parse(first.as_bytes()) })
    }
}

/// `1*DIGIT`, saturating; `None` for anything else.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(value.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str, now: u64) -> Option<Duration> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        RetryAfter::parse(value.as_bytes()).map(|after| after.wait(now))
    }

    #[test]
    fn seconds_are_read() {
        assert_eq!(wait("0", 0), Some(Duration::ZERO));
        assert_eq!(wait("120", 0), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 007\t", 0), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999999999999999999999", 0), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn all_three_forms_of_a_date_are_read() {
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(wait(date, 784_111_777 - 30), Some(Duration::from_secs(30)), "{date}");
            assert_eq!(wait(date, 784_111_777 + 30), Some(Duration::ZERO), "{date}");
        }
    }

    #[test]
    fn anything_else_is_no_value() {
        for value in ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1 2", "soon", "Sun, 06 Nov 1994", "１"] {
            assert_eq!(wait(value, 0), None, "{value:?}");
        }
        assert_eq!(wait("Sun, 31 Feb 1994 08:49:37 GMT", 0), None);
        assert_eq!(RetryAfter::parse(b"\xff\xfe"), None);
    }

    #[test]
    fn the_longest_of_several_waits_counts_and_invalid_ones_do_not() {
        let mut headers = HeaderMap::new();
        assert_eq!(RetryAfter::of(&headers, SystemTime::UNIX_EPOCH), None);
        for value in ["soon", "3", "7", "5"] {
            headers.append(RETRY_AFTER, HeaderValue::from_static(value));
        }
        assert_eq!(RetryAfter::of(&headers, SystemTime::UNIX_EPOCH), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let ms = |ms| RetryAfter::header_value(Duration::from_millis(ms));
        assert_eq!((ms(0), ms(1), ms(1_000), ms(1_001)), (0.into(), 1.into(), 1.into(), 2.into()));
        assert_eq!(RetryAfter::header_value(Duration::MAX), HeaderValue::from(u64::MAX));
    }

    #[test]
    fn a_pushback_that_cannot_be_read_stops_the_retries() {
        for value in ["", "-1", "+1", "1.5", "soon", "4294967296", "99999999999999999999"] {
            assert_eq!(Pushback::parse(value.as_bytes()), Pushback::Stop, "{value:?}");
        }
        assert_eq!(Pushback::parse(b"0"), Pushback::After(Duration::ZERO));
        let mut headers = HeaderMap::new();
        assert_eq!(Pushback::of(&headers), None);
        headers.append(PUSHBACK, HeaderValue::from_static("5"));
        assert_eq!(Pushback::of(&headers), Some(Pushback::After(Duration::from_millis(5))));
        headers.append(PUSHBACK, HeaderValue::from_static("5"));
        assert_eq!(Pushback::of(&headers), Some(Pushback::Stop));
    }
}
