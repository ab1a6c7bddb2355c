use std::fmt;

use crate::base::{Backoff, BudgetSettings};

/// How [`ResumeLayer`](super::ResumeLayer) behaves. With the feature `serde` it can be read from a file and written to one; an unknown field or
/// an impossible value is an error that names the field.
///
/// ```
/// use stonework::retry::ResumeSettings;
///
/// let settings = ResumeSettings::new().resumes(5).in_all(100);
/// assert_ne!(settings, ResumeSettings::new());
/// # #[cfg(feature = "serde")] {
/// let read: ResumeSettings = serde_json::from_str(r#"{ "resumes": 5, "in_all": 100 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<ResumeSettings>(r#"{ "in_all": 0 }"#).unwrap_err();
/// assert!(refused.to_string().contains("in_all"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a layer is made from them"]
pub struct ResumeSettings {
    pub(super) resumes: u32,
    pub(super) in_all: u32,
    pub(super) backoff: Backoff,
    pub(super) budget: BudgetSettings,
}

impl ResumeSettings {
    /// Three resumes in a row that bring nothing, ten in all, backoff and budget with their defaults.
    pub fn new() -> Self {
        Self { resumes: 3, in_all: 10, backoff: Backoff::default(), budget: BudgetSettings::default() }
    }

    /// How often in a row to ask for the rest without getting a byte of it. Default: 3. A download that comes on is not
    /// given up because it broke off early on; one that does not is.
    ///
    /// # Panics
    ///
    /// If `resumes` is 0: [`when(false)`](super::ResumeLayer::when) switches the layer off.
    pub const fn resumes(mut self, resumes: u32) -> Self {
        assert!(resumes > 0, "`when(false)` switches the layer off");
        self.resumes = resumes;
        self
    }

    /// How often to ask for the rest of one body in all. Default: 10. Without it, a server that breaks off after each
    /// byte would be asked as often as there are bytes.
    ///
    /// # Panics
    ///
    /// If `in_all` is 0: [`when(false)`](super::ResumeLayer::when) switches the layer off.
    pub const fn in_all(mut self, in_all: u32) -> Self {
        assert!(in_all > 0, "`when(false)` switches the layer off");
        self.in_all = in_all;
        self
    }

    /// How the pauses grow before asking; they begin anew when a byte arrives. Default: full jitter below 100 ms,
    /// doubling up to 10 s.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many resumes there may be, relative to downloads. Default: 10 %, plus one a second, plus a reserve of 10.
    pub const fn budget(mut self, budget: BudgetSettings) -> Self {
        self.budget = budget;
        self
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for ResumeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f, &format_args!("budget of {}", self.budget))
    }
}

impl ResumeSettings {
    fn describe(&self, f: &mut fmt::Formatter<'_>, budget: &dyn fmt::Display) -> fmt::Result {
        let Self { resumes, in_all, backoff, budget: _ } = self;
        write!(f, "up to {resumes} times without progress and {in_all} in all, pauses {backoff}; {budget}")
    }

    /// The same line for a layer that was given a budget of others.
    #[cfg(feature = "client")]
    pub(crate) fn sharing_a_budget(&self) -> impl fmt::Display {
        struct Sharing<'a>(&'a ResumeSettings);
        impl fmt::Display for Sharing<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe(f, &"a budget that is shared")
            }
        }
        Sharing(self)
    }
}

impl Default for ResumeSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that [`ResumeSettings`] cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResume {
    /// `in_all` is 0.
    #[error("`in_all` is at least 1; leave the layer out to resume nothing")]
    InAll,
    /// `resumes` is 0.
    #[error("`resumes` is at least 1; leave the layer out to resume nothing")]
    Resumes,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of resume settings")]
struct Fields {
    resumes: u32,
    in_all: u32,
    backoff: Backoff,
    budget: BudgetSettings,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        ResumeSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<ResumeSettings> for Fields {
    fn from(ResumeSettings { resumes, in_all, backoff, budget }: ResumeSettings) -> Self {
        Self { resumes, in_all, backoff, budget }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for ResumeSettings {
    type Error = InvalidResume;

    fn try_from(Fields { resumes, in_all, backoff, budget }: Fields) -> Result<Self, InvalidResume> {
        if resumes == 0 {
            return Err(InvalidResume::Resumes);
        }
        if in_all == 0 {
            return Err(InvalidResume::InAll);
        }
        Ok(Self { resumes, in_all, backoff, budget })
    }
}
