//! What a check says. Nothing here waits, locks or reads a clock.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use crate::base::{BoxError, HealthState};

/// The most of a check's output that is kept, in bytes.
const LONGEST_OUTPUT: usize = 256;

/// What a check found. Most checks say it with a `bool` or a `Result`: see [`IntoVerdict`].
///
/// ```
/// use stonework::base::HealthState;
/// use stonework::health::Verdict;
///
/// let free = 7;
/// let verdict = match free {
///     0 => Verdict::fail("the disk is full"),
///     1..10 => Verdict::warn(format_args!("{free} % of the disk are free")),
///     _ => Verdict::pass(),
/// };
/// assert_eq!(verdict.state(), HealthState::Warn);
/// assert_eq!(verdict.output(), Some("7 % of the disk are free"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict is what a check returns"]
pub struct Verdict {
    state: HealthState,
    output: Option<Arc<str>>,
}

impl Verdict {
    /// It is well.
    pub const fn pass() -> Self {
        Self { state: HealthState::Pass, output: None }
    }

    /// It works, and somebody should look at it. The first 256 bytes of `output` are kept.
    pub fn warn(output: impl fmt::Display) -> Self {
        Self { state: HealthState::Warn, output: Some(cut(output)) }
    }

    /// It does not work. The first 256 bytes of `output` are kept.
    pub fn fail(output: impl fmt::Display) -> Self {
        Self { state: HealthState::Fail, output: Some(cut(output)) }
    }

    /// Pass, warn or fail.
    #[must_use]
    pub const fn state(&self) -> HealthState {
        self.state
    }

    /// What the check has to say about it.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    pub(super) fn into_parts(self) -> (HealthState, Option<Arc<str>>) {
        (self.state, self.output)
    }
}

/// What a check may return: nothing (it passed), a `bool`, a [`Verdict`], a [`HealthState`], or a `Result` of one of these whose error says
/// why it failed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` says nothing about health",
    label = "this is what a check returns",
    note = "a check returns `()`, a `bool`, a `stonework::health::Verdict`, or a `Result` of one of these"
)]
pub trait IntoVerdict {
    /// As a verdict.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

/// What is not known yet does not work yet.
impl IntoVerdict for HealthState {
    fn into_verdict(self) -> Verdict {
        match self {
            Self::Unknown | Self::Fail => Verdict { state: Self::Fail, output: None },
            Self::Pass | Self::Warn => Verdict { state: self, output: None },
        }
    }
}

impl IntoVerdict for () {
    fn into_verdict(self) -> Verdict {
        Verdict::pass()
    }
}

impl IntoVerdict for bool {
    fn into_verdict(self) -> Verdict {
        if self { Verdict::pass() } else { Verdict { state: HealthState::Fail, output: None } }
    }
}

impl<T: IntoVerdict, E: Into<BoxError>> IntoVerdict for Result<T, E> {
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(found) => found.into_verdict(),
            Err(error) => Verdict::fail(Chain(&*error.into())),
        }
    }
}

/// An error with all its sources.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

/// As much of a text as is kept; no more of it is ever in memory.
fn cut(text: impl fmt::Display) -> Arc<str> {
    struct Short(String);
    impl Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let mut end = text.len().min(LONGEST_OUTPUT - self.0.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut short = Short(String::new());
    // It fails when there is more than fits, which is fine.
    let _ = write!(short, "{text}");
    short.0.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_a_check_is_cut_between_characters() {
        let long = "x".repeat(255) + "äö";
        assert_eq!(Verdict::fail(&long).output(), Some(&long[..255]));
        assert_eq!(Verdict::warn("y".repeat(1_000)).output().map(str::len), Some(256));
    }

    #[test]
    fn an_error_fails_with_all_its_sources() {
        let refused = crate::base::Error::new(crate::base::Kind::Connect, "out of sockets");
        let verdict = Err::<(), _>(refused).into_verdict();
        assert_eq!(verdict.state(), HealthState::Fail);
        assert!(verdict.output().unwrap().ends_with(": out of sockets"), "{verdict:?}");
        assert_eq!(Ok::<_, BoxError>(false).into_verdict().state(), HealthState::Fail);
        assert_eq!(Ok::<_, BoxError>(()).into_verdict(), Verdict::pass());
    }

    #[test]
    fn what_is_said_in_pieces_is_cut_as_if_it_were_one() {
        let half = "x".repeat(200);
        let output = Verdict::fail(format_args!("{half}{half}"));
        assert_eq!(output.output().map(str::len), Some(256));
        let (long, last) = ("x".repeat(255), 'y');
        let output = Verdict::fail(format_args!("{long}ä{last}"));
        assert_eq!(output.output(), Some(&*long), "nothing from behind the cut");
    }
}
