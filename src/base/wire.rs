//! The deadline on the wire.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header in which the assembled client says how much time is left, in whole milliseconds, unless its settings name another; and in which the
/// assembled server reads it. A call of gRPC says the same in `grpc-timeout`. [`TimeoutHeader`] reads and writes both.
pub const TIMEOUT_MS: HeaderName = HeaderName::from_static("stonework-timeout-ms");

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The most that eight digits hold.
const EIGHT_DIGITS: u128 = 99_999_999;
/// The units of gRPC in nanoseconds, finest first.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// The header that tells the next hop how much time is left.
///
/// What travels is a duration and not an instant, since two machines do not share a clock. It is less than the time left
/// here by a *hop margin*, which the answer needs for its way back: a hop that used all of the time would answer to
/// nobody. Rounding is always down.
///
/// ```
/// use std::time::Duration;
/// use http::HeaderMap;
/// use stonework::base::TimeoutHeader;
///
/// let mut headers = HeaderMap::new();
/// let value = TimeoutHeader::Grpc.encode(Duration::from_millis(250), Duration::from_millis(10));
/// assert_eq!(value, "240000u");
/// headers.insert(TimeoutHeader::Grpc.name(), value);
/// assert_eq!(TimeoutHeader::Grpc.decode(&headers)?, Some(Duration::from_millis(240)));
/// # Ok::<(), stonework::base::InvalidTimeout>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TimeoutHeader {
    /// `grpc-timeout`, as in "gRPC over HTTP2": one to eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n`.
    Grpc,
    /// Whole milliseconds in a header of this name, for HTTP without gRPC.
    Millis(HeaderName),
}

impl TimeoutHeader {
    /// The name of the header.
    #[must_use]
    pub fn name(&self) -> HeaderName {
        match self {
            Self::Grpc => GRPC_TIMEOUT,
            Self::Millis(name) => name.clone(),
        }
    }

    /// The field value for `remaining` less `margin`, or for zero if the margin is longer.
    ///
    /// Rounded down: gRPC to the finest unit whose number has eight digits at most, so never to zero; milliseconds to
    /// whole ones, so that less than one is zero, which says that the time is over. What is longer than the form can
    /// say (11 408 years for gRPC) becomes the longest that it can.
    #[must_use]
    pub fn encode(&self, remaining: Duration, margin: Duration) -> HeaderValue {
        let left = remaining.saturating_sub(margin);
        match self {
            Self::Grpc => {
                let fits = |unit: &&(u8, u128)| left.as_nanos() / unit.1 <= EIGHT_DIGITS;
                let (unit, nanos) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
                let number = (left.as_nanos() / nanos).min(EIGHT_DIGITS);
                let text = format!("{number}{}", char::from(*unit));
                HeaderValue::try_from(text).expect("digits and a letter make a field value")
            }
            Self::Millis(_) => HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The time that these headers of a request leave, or `None` if they do not say.
    ///
    /// # Errors
    ///
    /// Refuses a value that is not exactly of the form: no digits, too many of them, a wrong unit, a sign, a space; and
    /// a header that stands there more than once.
    pub fn decode(&self, headers: &HeaderMap) -> Result<Option<Duration>, InvalidTimeout> {
        let name = self.name();
        let mut values = headers.get_all(&name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let decoded = match (values.next(), self) {
            (Some(_), _) => Err(Flaw::Repeated),
            (None, Self::Grpc) => grpc(value.as_bytes()),
            (None, Self::Millis(_)) => number(value.as_bytes(), 20).map(Duration::from_millis),
        };
        decoded.map(Some).map_err(|flaw| InvalidTimeout { header: name.clone(), flaw })
    }
}

fn grpc(value: &[u8]) -> Result<Duration, Flaw> {
    let (unit, digits) = value.split_last().ok_or(Flaw::NoDigits)?;
    // "5" lacks its unit rather than its digits.
    let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit).ok_or(Flaw::Unit)?;
    let nanos = u128::from(number(digits, 8)?) * nanos;
    // Eight digits of hours are less than 2⁶⁴ seconds.
    Ok(Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32))
}

fn number(digits: &[u8], most: usize) -> Result<u64, Flaw> {
    if digits.is_empty() {
        return Err(Flaw::NoDigits);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::NotDigits);
    }
    if digits.len() > most {
        return Err(Flaw::TooLong);
    }
    // Twenty digits can still be more than 64 bits.
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, add).ok_or(Flaw::TooLong)
}

/// A timeout header that cannot be read; see [`TimeoutHeader::decode`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the header `{header}` is invalid: {flaw}")]
pub struct InvalidTimeout {
    header: HeaderName,
    flaw: Flaw,
}

impl InvalidTimeout {
    /// The name of the header.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Flaw {
    #[error("it has no digits")]
    NoDigits,
    #[error("its number is not made of digits only")]
    NotDigits,
    #[error("it stands there more than once")]
    Repeated,
    #[error("its number is too long")]
    TooLong,
    #[error("its last character is none of the units H, M, S, m, u, n")]
    Unit,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_MARGIN: Duration = Duration::ZERO;

    fn millis() -> TimeoutHeader {
        TimeoutHeader::Millis(HeaderName::from_static("x-request-timeout-ms"))
    }

    fn decode(header: &TimeoutHeader, value: &str) -> Result<Option<Duration>, InvalidTimeout> {
        let value = HeaderValue::from_str(value).unwrap();
        header.decode(&HeaderMap::from_iter([(header.name(), value)]))
    }

    #[test]
    fn grpc_takes_the_finest_unit_that_fits_and_rounds_down() {
        let ns = Duration::from_nanos;
        for (left, value) in [
            (ns(0), "0n"),
            (ns(1), "1n"),
            (ns(99_999_999), "99999999n"),
            (ns(100_000_999), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_059), "1666667M"),
            (Duration::from_secs(6_000_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(TimeoutHeader::Grpc.encode(left, NO_MARGIN), value, "{left:?}");
        }
    }

    #[test]
    fn every_unit_of_grpc_is_read() {
        for (value, expected) in [
            ("1n", Duration::from_nanos(1)),
            ("2u", Duration::from_micros(2)),
            ("3m", Duration::from_millis(3)),
            ("4S", Duration::from_secs(4)),
            ("5M", Duration::from_secs(300)),
            ("00000006H", Duration::from_secs(21_600)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(decode(&TimeoutHeader::Grpc, value), Ok(Some(expected)), "{value}");
        }
        assert_eq!(TimeoutHeader::Grpc.decode(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn what_is_not_exactly_of_the_form_is_refused_by_the_name_of_the_header() {
        for value in
            ["", "S", "5", "5s", "5h", "123456789n", "-1S", "+1S", "1.5S", " 1S", "1 S", "5S5", "1SS", "0x1S"]
        {
            let refused = decode(&TimeoutHeader::Grpc, value).unwrap_err();
            assert!(refused.to_string().starts_with("the header `grpc-timeout` is invalid: "), "{value:?}");
            assert_eq!(refused.header(), "grpc-timeout");
        }
        for value in ["", "-1", "+1", "1.5", "1ms", "1 ", "18446744073709551616", "000000000000000000001"] {
            let refused = decode(&millis(), value).unwrap_err();
            assert!(refused.to_string().contains("`x-request-timeout-ms`"), "{value:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
        twice.append(GRPC_TIMEOUT, HeaderValue::from_static("2S"));
        assert!(TimeoutHeader::Grpc.decode(&twice).unwrap_err().to_string().contains("more than once"));
    }

    #[test]
    fn milliseconds_are_whole_and_rounded_down() {
        assert_eq!(millis().encode(Duration::from_micros(1_999), NO_MARGIN), "1");
        assert_eq!(millis().encode(Duration::from_micros(999), NO_MARGIN), "0");
        assert_eq!(millis().encode(Duration::MAX, NO_MARGIN), HeaderValue::from(u64::MAX));
        assert_eq!(decode(&millis(), "1500"), Ok(Some(Duration::from_millis(1_500))));
        let most = Duration::from_millis(u64::MAX);
        assert_eq!(decode(&millis(), "18446744073709551615"), Ok(Some(most)));
    }

    #[test]
    fn the_hop_margin_comes_off_and_never_goes_below_zero() {
        let (left, margin) = (Duration::from_millis(100), Duration::from_millis(30));
        assert_eq!(millis().encode(left, margin), "70");
        assert_eq!(millis().encode(margin, left), "0");
        assert_eq!(TimeoutHeader::Grpc.encode(margin, left), "0n");
    }
}
