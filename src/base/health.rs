//! The words for what a health check says, which its events and whoever reads them share.

use std::fmt;

/// What is known of something that is checked.
///
/// ```
/// use stonework::base::HealthState;
///
/// assert!(HealthState::Warn.is_good() && !HealthState::Unknown.is_good());
/// assert_eq!(HealthState::Fail.to_string(), "fail");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthState {
    /// It was not checked yet.
    Unknown,
    /// It is well.
    Pass,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl HealthState {
    /// Whether it works.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Pass | Self::Warn)
    }

    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
