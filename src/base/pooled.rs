//! The words for what happens to the objects of a pool, which its events and whoever reads them share.

use std::fmt;

/// Why a pool closed an object.
///
/// ```
/// use stonework::base::PoolClose;
///
/// assert_eq!(PoolClose::Idle.to_string(), "idle for too long");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolClose {
    /// It was no longer usable, as a look at it told.
    Broken,
    /// It did not pass its check, or lay idle under one that did not.
    Checked,
    /// The pool was closed.
    Closed,
    /// Its user said so.
    Discarded,
    /// Its user dropped it, and did not say that it is clean.
    Dropped,
    /// Nobody used it for too long.
    Idle,
    /// It was as old as it may become.
    Old,
    /// There were more than there may be.
    Surplus,
}

impl PoolClose {
    /// Every one.
    pub(crate) const ALL: [Self; 8] = [
        Self::Broken,
        Self::Checked,
        Self::Closed,
        Self::Discarded,
        Self::Dropped,
        Self::Idle,
        Self::Old,
        Self::Surplus,
    ];

    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Checked => "checked",
            Self::Closed => "closed",
            Self::Discarded => "discarded",
            Self::Dropped => "dropped",
            Self::Idle => "idle",
            Self::Old => "old",
            Self::Surplus => "surplus",
        }
    }
}

impl fmt::Display for PoolClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "no longer usable",
            Self::Checked => "did not pass its check",
            Self::Closed => "the pool was closed",
            Self::Discarded => "discarded",
            Self::Dropped => "dropped in the middle of something",
            Self::Idle => "idle for too long",
            Self::Old => "too old",
            Self::Surplus => "more than there may be",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_complete_and_in_order() {
        assert!(PoolClose::ALL.iter().enumerate().all(|(at, why)| *why as usize == at));
        assert_eq!(PoolClose::ALL.len(), PoolClose::Surplus as usize + 1, "the last one is the last");
    }
}
