//! A share of a whole, kept exactly.

use std::fmt;
use std::str::FromStr;

const WHOLE: u32 = 1_000_000;

/// A share between nothing and all of something, kept in whole parts per million.
///
/// A binary fraction cannot hold "10 %" exactly, and counters that add such a share millions of times drift. This type
/// counts in integers, so that a budget of 10 % is 10 %.
///
/// With the feature `serde` it is read from a number between 0 and 1 or from a string such as `"12.5%"`, and written as
/// the string.
///
/// ```
/// use stonework::base::Ratio;
///
/// const TENTH: Ratio = Ratio::percent(10);
/// assert_eq!(Ratio::try_from(0.1)?, TENTH);
/// assert_eq!("12.5%".parse::<Ratio>()?.to_string(), "12.5%");
/// assert!(Ratio::try_from(1.5).is_err());
/// # Ok::<(), stonework::base::InvalidRatio>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ratio(u32);

impl Ratio {
    /// Nothing: 0 %, which is also the default.
    pub const ZERO: Self = Self(0);
    /// The whole: 100 %.
    pub const ONE: Self = Self(WHOLE);

    /// A whole number of percent.
    ///
    /// # Panics
    ///
    /// Panics if `percent` is more than 100; in a `const`, that is an error of the compiler.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        assert!(percent <= 100, "a ratio must not exceed 100 percent");
        Self(percent as u32 * (WHOLE / 100))
    }

    /// A number of parts per million, or `None` if it is more than 1 000 000.
    ///
    /// ```
    /// use stonework::base::Ratio;
    ///
    /// assert_eq!(Ratio::per_million(250).unwrap().to_string(), "0.025%");
    /// assert_eq!(Ratio::per_million(1_000_001), None);
    /// ```
    #[must_use]
    pub const fn per_million(parts: u32) -> Option<Self> {
        if parts <= WHOLE { Some(Self(parts)) } else { None }
    }

    /// This ratio in parts per million, exactly.
    #[must_use]
    pub const fn parts_per_million(self) -> u32 {
        self.0
    }

    /// This ratio as the nearest number between 0 and 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

/// Rounds to the nearest millionth.
///
/// # Errors
///
/// Refuses whatever does not lie between 0 and 1, and what is not a number.
impl TryFrom<f64> for Ratio {
    type Error = InvalidRatio;

    fn try_from(share: f64) -> Result<Self, InvalidRatio> {
        // NaN lies in no range, so this refuses it too.
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidRatio);
        }
        // The range was checked, so the cast is exact.
        Ok(Self((share * f64::from(WHOLE)).round() as u32))
    }
}

/// Reads percent, with the sign: `"10%"`, `"12.5%"`. Rounds to the nearest millionth.
///
/// # Errors
///
/// Refuses a number without the sign, since `"1"` could mean 1 % or all, and whatever does not lie between 0 % and 100 %.
impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, InvalidRatio> {
        let number = text.trim().strip_suffix('%').ok_or(InvalidRatio)?.trim_end();
        // Plain decimals only: `f64` would also read "inf" and "1e1".
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(InvalidRatio);
        }
        let percent: f64 = number.parse().map_err(|_| InvalidRatio)?;
        Self::try_from(percent / 100.0)
    }
}

/// Percent with as few digits as say it exactly: `10%`, `12.5%`, `0.0001%`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

/// A number that is no [`Ratio`]: outside 0 to 1 (0 % to 100 %), or not a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a ratio must be a number between 0 and 1, or a text between \"0%\" and \"100%\"")]
#[non_exhaustive]
pub struct InvalidRatio;

#[cfg(feature = "serde")]
mod with_serde {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::Ratio;

    struct NumberOrPercent;

    impl Visitor<'_> for NumberOrPercent {
        type Value = Ratio;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number between 0 and 1, or a text such as \"12.5%\"")
        }

        fn visit_f64<E: Error>(self, share: f64) -> Result<Ratio, E> {
            Ratio::try_from(share).map_err(E::custom)
        }

        // 0 and 1 are the only whole numbers in the range; the cast keeps every other one out of it.
        fn visit_u64<E: Error>(self, share: u64) -> Result<Ratio, E> {
            self.visit_f64(share as f64)
        }

        fn visit_i64<E: Error>(self, share: i64) -> Result<Ratio, E> {
            self.visit_f64(share as f64)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Ratio, E> {
            text.parse().map_err(E::custom)
        }
    }

    impl<'de> Deserialize<'de> for Ratio {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(NumberOrPercent)
        }
    }

    impl Serialize for Ratio {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_exact_and_shown_with_the_fewest_digits() {
        assert_eq!(Ratio::percent(10).parts_per_million(), 100_000);
        let shown = |parts| Ratio::per_million(parts).map(|ratio| ratio.to_string());
        assert_eq!(shown(0).as_deref(), Some("0%"));
        assert_eq!(shown(1).as_deref(), Some("0.0001%"));
        assert_eq!(shown(125_000).as_deref(), Some("12.5%"));
        assert_eq!(shown(1_000_000).as_deref(), Some("100%"));
        assert_eq!(shown(1_000_001), None);
    }

    #[test]
    #[should_panic(expected = "100 percent")]
    fn more_than_a_hundred_percent_panics() {
        let _ = Ratio::percent(101);
    }

    #[test]
    fn numbers_outside_the_range_are_refused() {
        for share in [f64::NAN, f64::INFINITY, -f64::INFINITY, -0.1, 1.000_001] {
            let refused = Ratio::try_from(share).unwrap_err();
            assert!(refused.to_string().contains("between 0 and 1"), "{share}");
        }
        assert_eq!(Ratio::try_from(-0.0), Ok(Ratio::ZERO));
        assert_eq!(Ratio::try_from(1.0), Ok(Ratio::ONE));
    }

    #[test]
    fn a_text_needs_its_percent_sign() {
        for text in ["", "%", "10", "1e1%", "inf%", "nan%", "-1%", "+1%", "100.1%", "1.2.3%"] {
            assert_eq!(text.parse::<Ratio>(), Err(InvalidRatio), "{text:?}");
        }
        assert_eq!(" 12.5 % ".parse(), Ok(Ratio(125_000)));
    }

    #[cfg(all(feature = "serde", feature = "client"))]
    #[test]
    fn settings_may_say_a_number_or_percent() {
        let read = |text: &str| serde_json::from_str::<Ratio>(text);
        assert_eq!(read("0.125").unwrap(), Ratio(125_000));
        assert_eq!(read("1").unwrap(), Ratio::ONE);
        assert_eq!(read("\"12.5%\"").unwrap(), Ratio(125_000));
        assert_eq!(serde_json::to_string(&Ratio(125_000)).unwrap(), "\"12.5%\"");
        assert!(read("2").unwrap_err().to_string().contains("between 0 and 1"));
        assert!(read("-1").is_err() && read("\"0.5\"").is_err() && read("true").is_err());
    }
}
