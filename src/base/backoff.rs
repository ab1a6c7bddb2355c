//! How long to wait before the next attempt.

use std::fmt;
use std::time::Duration;

use super::Rng;

/// When to repeat: makes one sequence of delays for each call that fails.
///
/// [`Backoff`] is the schedule to use; write another for a rule of your own. `start` is called at the first retry of a
/// call, so a call that succeeds at once pays for nothing.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::{Delays, Rng, Schedule};
///
/// /// Waits 1 s, then 5 s, then gives up.
/// #[derive(Debug)]
/// struct Twice;
///
/// struct Left(std::vec::IntoIter<u64>);
///
/// impl Schedule for Twice {
///     fn start(&self) -> Box<dyn Delays> {
///         Box::new(Left(vec![1, 5].into_iter()))
///     }
/// }
///
/// impl Delays for Left {
///     fn next(&mut self, _: &Rng) -> Option<Duration> {
///         self.0.next().map(Duration::from_secs)
///     }
/// }
///
/// let mut delays = Twice.start();
/// assert_eq!(delays.next(&Rng::seeded(1)), Some(Duration::from_secs(1)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no schedule of delays",
    note = "`stonework::base::Backoff` is one; so is a type with `impl stonework::base::Schedule`"
)]
pub trait Schedule: Send + Sync + fmt::Debug {
    /// Begins the delays of one call.
    fn start(&self) -> Box<dyn Delays>;
}

/// The delays of one call, in their order; see [`Schedule`].
pub trait Delays: Send {
    /// How long to wait before the next attempt, or `None` to give up.
    fn next(&mut self, rng: &Rng) -> Option<Duration>;
}

/// Delays that grow by a factor up to a cap, spread by chance.
///
/// With `n` the number of retries before this one (0 at the first), `d = min(cap, base · factorⁿ)`, and the delay is
///
/// | [`Jitter`] | delay |
/// |---|---|
/// | `None` | `d` |
/// | `Full`, the default | chosen from 0 to `d` |
/// | `Equal` | `d/2` and something chosen from 0 to `d/2` |
/// | `Decorrelated` | `min(cap, chosen from base to 3 · the previous delay)`; at first the previous delay is `base` |
///
/// as in "Exponential Backoff and Jitter", AWS Architecture Blog, 2015. The cap comes last: no delay exceeds it. It never
/// gives up by itself; a limit on attempts, a deadline or a budget does. Defaults: `base` 100 ms, `factor` 2, `cap` 10 s.
///
/// With the feature `serde` it is read from and written to the fields `base`, `cap` (texts such as `"250ms"`), `factor`
/// and `jitter` (`"none"`, `"full"`, `"equal"`, `"decorrelated"`), each of which may be left out. An unknown field, or
/// fields that contradict each other, are an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::{Backoff, Jitter, Rng};
///
/// let ms = Duration::from_millis;
/// let backoff = Backoff::exponential(ms(100), ms(1_000))?.jitter(Jitter::None);
/// let rng = Rng::from_entropy();
/// let delays: Vec<_> = (0..5).map(|retry| backoff.delay(retry, Duration::ZERO, &rng)).collect();
/// assert_eq!(delays, [ms(100), ms(200), ms(400), ms(800), ms(1_000)]);
/// # Ok::<(), stonework::base::InvalidBackoff>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
pub struct Backoff {
    base: Duration,
    factor: f64,
    cap: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Delays that begin at `base` and double until they reach `cap`, with [`Jitter::Full`].
    ///
    /// # Errors
    ///
    /// Refuses a `base` of zero and a `base` above the `cap`.
    pub fn exponential(base: Duration, cap: Duration) -> Result<Self, InvalidBackoff> {
        Self { base, cap, ..Self::default() }.checked()
    }

    /// The same delay each time, with no jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::base::{Backoff, Rng};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::constant(second)?;
    /// assert_eq!(backoff.delay(7, Duration::ZERO, &Rng::default()), second);
    /// # Ok::<(), stonework::base::InvalidBackoff>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses a `delay` of zero.
    pub fn constant(delay: Duration) -> Result<Self, InvalidBackoff> {
        Self { base: delay, factor: 1.0, cap: delay, jitter: Jitter::None }.checked()
    }

    /// By what each delay exceeds the one before, before the cap and the jitter; the default is 2.
    ///
    /// # Errors
    ///
    /// Refuses what is below 1 or not finite.
    pub fn factor(self, factor: f64) -> Result<Self, InvalidBackoff> {
        Self { factor, ..self }.checked()
    }

    /// How delays are spread; the default is [`Jitter::Full`].
    #[must_use]
    pub fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The delay before the retry that comes after `retry` others (so 0 for the first), never above the cap.
    ///
    /// `previous` is the delay before the last retry. Only [`Jitter::Decorrelated`] looks at it; at first it is zero.
    #[must_use]
    pub fn delay(&self, retry: u32, previous: Duration, rng: &Rng) -> Duration {
        let delay = match self.jitter {
            Jitter::None => self.grown(retry),
            Jitter::Full => rng.duration_below(self.grown(retry)),
            Jitter::Equal => {
                let grown = self.grown(retry);
                let half = grown / 2;
                half + rng.duration_below(grown - half)
            }
            Jitter::Decorrelated => {
                let most = previous.max(self.base).saturating_mul(3);
                self.base + rng.duration_below(most - self.base)
            }
        };
        delay.min(self.cap)
    }

    /// With no jitter: `min(cap, base · factorⁿ)`. The power may be infinite but is never NaN, since `factor` is at least 1.
    pub(crate) fn grown(&self, retry: u32) -> Duration {
        let power = self.factor.powf(f64::from(retry));
        if power <= 1.0 {
            // Exactly the base, which seconds in an `f64` would round.
            return self.base;
        }
        let grown = Duration::try_from_secs_f64(self.base.as_secs_f64() * power);
        // Too long for a `Duration` is above any cap.
        grown.map_or(self.cap, |grown| grown.clamp(self.base, self.cap))
    }

    fn checked(self) -> Result<Self, InvalidBackoff> {
        if self.base.is_zero() {
            return Err(InvalidBackoff::ZeroBase);
        }
        if self.base > self.cap {
            return Err(InvalidBackoff::BaseAboveCap { base: self.base, cap: self.cap });
        }
        if !self.factor.is_finite() || self.factor < 1.0 {
            return Err(InvalidBackoff::Factor(self.factor));
        }
        Ok(self)
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, factor: _, cap, jitter } = self;
        let jitter = match jitter {
            Jitter::None => "without jitter",
            Jitter::Full => "with full jitter",
            Jitter::Equal => "with equal jitter",
            Jitter::Decorrelated => "with decorrelated jitter",
        };
        write!(f, "{jitter} from {base:?} to {cap:?}")
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            factor: 2.0,
            cap: Duration::from_secs(10),
            jitter: Jitter::default(),
        }
    }
}

impl Schedule for Backoff {
    fn start(&self) -> Box<dyn Delays> {
        Box::new(Growing { backoff: *self, retry: 0, previous: Duration::ZERO })
    }
}

struct Growing {
    backoff: Backoff,
    retry: u32,
    previous: Duration,
}

impl Delays for Growing {
    fn next(&mut self, rng: &Rng) -> Option<Duration> {
        self.previous = self.backoff.delay(self.retry, self.previous, rng);
        self.retry = self.retry.saturating_add(1);
        Some(self.previous)
    }
}

/// How the delays of a [`Backoff`] are spread, so that callers that failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Jitter {
    /// From the base to three times the previous delay: grows, but by chance.
    Decorrelated,
    /// Half of the delay, and something between nothing and the other half: never much too early.
    Equal,
    /// From nothing to the whole delay: the least work for the server, and the default.
    #[default]
    Full,
    /// Not at all: callers that failed together come back together. For tests.
    None,
}

/// Settings that make no [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBackoff {
    /// The first delay is longer than the longest one.
    #[error("`base` ({base:?}) must not exceed `cap` ({cap:?})")]
    BaseAboveCap {
        /// The first delay asked for.
        base: Duration,
        /// The longest delay asked for.
        cap: Duration,
    },
    /// Delays would shrink, or not be numbers.
    #[error("`factor` must be a finite number of at least 1, not {0}")]
    Factor(f64),
    /// Nothing times a factor stays nothing: every retry would come at once.
    #[error("`base` must be longer than zero")]
    ZeroBase,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of backoff settings")]
struct Fields {
    #[serde(with = "super::human::plain")]
    base: Duration,
    #[serde(with = "super::human::plain")]
    cap: Duration,
    factor: f64,
    jitter: Jitter,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        Backoff::default().into()
    }
}

#[cfg(feature = "serde")]
impl From<Backoff> for Fields {
    fn from(Backoff { base, factor, cap, jitter }: Backoff) -> Self {
        Self { base, cap, factor, jitter }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for Backoff {
    type Error = InvalidBackoff;

    fn try_from(Fields { base, cap, factor, jitter }: Fields) -> Result<Self, InvalidBackoff> {
        Self { base, factor, cap, jitter }.checked()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff::default().jitter(jitter)
    }

    #[test]
    fn without_jitter_delays_double_up_to_the_cap() {
        let mut delays = backoff(Jitter::None).start();
        let seen: Vec<_> = (0..9).map(|_| delays.next(&Rng::seeded(1)).unwrap()).collect();
        assert_eq!(seen, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000].map(|ms| ms * MS));
        assert_eq!(backoff(Jitter::None).delay(u32::MAX, Duration::ZERO, &Rng::seeded(1)), 10_000 * MS);
    }

    #[test]
    fn each_jitter_keeps_its_own_range() {
        let rng = Rng::seeded(2);
        let range = |jitter, previous| {
            let mut seen: Vec<_> =
                (0..2_000).map(|_| backoff(jitter).delay(2, previous, &rng).as_millis()).collect();
            seen.sort_unstable();
            (seen[0], seen[1_999])
        };
        let (least, most) = range(Jitter::Full, Duration::ZERO);
        assert!(least < 10 && (390..=400).contains(&most), "{least} {most}");
        let (least, most) = range(Jitter::Equal, Duration::ZERO);
        assert!((200..210).contains(&least) && (390..=400).contains(&most), "{least} {most}");
        let (least, most) = range(Jitter::Decorrelated, Duration::ZERO);
        assert!((100..110).contains(&least) && (290..=300).contains(&most), "{least} {most}");
        let (least, most) = range(Jitter::Decorrelated, 9_000 * MS);
        assert!((100..200).contains(&least) && most == 10_000, "{least} {most}");
    }

    #[test]
    fn calls_that_share_a_layer_do_not_replay_the_same_jitter() {
        let rng = Rng::seeded(3);
        let first = |backoff: Backoff| {
            let calls = (0..10_000).map(|_| (backoff, rng.clone()));
            calls.map(|(backoff, rng)| backoff.start().next(&rng)).collect::<HashSet<_>>().len()
        };
        let minute = Duration::from_secs(60);
        assert_eq!(first(Backoff::exponential(minute, minute).unwrap()), 10_000);
        // 100 ms hold 100 million nanoseconds: among 10 000 choices, half a pair is expected to coincide.
        assert!(first(Backoff::default()) >= 9_995);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let why = |result: Result<Backoff, InvalidBackoff>| result.unwrap_err().to_string();
        assert_eq!(why(Backoff::exponential(Duration::ZERO, MS)), "`base` must be longer than zero");
        assert_eq!(why(Backoff::exponential(2 * MS, MS)), "`base` (2ms) must not exceed `cap` (1ms)");
        assert!(why(Backoff::constant(Duration::ZERO)).contains("`base`"));
        for factor in [0.5, 0.0, -2.0, f64::NAN, f64::INFINITY] {
            assert!(why(Backoff::default().factor(factor)).starts_with("`factor`"), "{factor}");
        }
        assert!(Backoff::default().factor(1.0).is_ok());
    }

    #[test]
    fn a_constant_schedule_never_changes() {
        let mut delays = Backoff::constant(5 * MS).unwrap().start();
        assert!((0..100).all(|_| delays.next(&Rng::from_entropy()) == Some(5 * MS)));
    }

    #[cfg(all(feature = "serde", feature = "client"))]
    #[test]
    fn settings_are_read_from_a_file_and_checked() {
        let read = |text: &str| serde_json::from_str::<Backoff>(text).map_err(|error| error.to_string());
        assert_eq!(read("{}").unwrap(), Backoff::default());
        let full = r#"{"base":"250ms","cap":"1m","factor":1.5,"jitter":"equal"}"#;
        let expected = Backoff::exponential(250 * MS, 60_000 * MS).unwrap().factor(1.5).unwrap();
        assert_eq!(read(full).unwrap(), expected.jitter(Jitter::Equal));
        assert_eq!(serde_json::to_string(&read(full).unwrap()).unwrap(), full);
        assert!(read(r#"{"bse": "1s"}"#).unwrap_err().contains("`bse`"));
        assert!(read(r#"{"base": "11s"}"#).unwrap_err().contains("`base` (11s) must not exceed `cap` (10s)"));
        assert!(read(r#"{"factor": 0.5}"#).unwrap_err().contains("`factor`"));
    }
}
