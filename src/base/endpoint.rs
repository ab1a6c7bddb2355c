//! The words for the endpoints of a balancer, which its events and whoever reads them share; and which of them a call has
//! tried.

use std::fmt;
use std::sync::Arc;

/// Names one endpoint of a balancer: mostly its host and port.
///
/// ```
/// use stonework::base::EndpointId;
///
/// let id = EndpointId::from("10.0.0.7:8080");
/// assert_eq!((id.as_str(), id.to_string()), ("10.0.0.7:8080", "10.0.0.7:8080".to_owned()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EndpointId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for EndpointId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({})", self.0)
    }
}

/// The state of an endpoint.
///
/// ```
/// use stonework::base::EndpointState;
///
/// assert_eq!(EndpointState::Backoff.to_string(), "backoff");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointState {
    /// No connection could be made to it; it is left alone for a while.
    Backoff,
    /// It is being found out whether it can be reached.
    Connecting,
    /// It was removed: it gets no more calls, and those under way go on.
    Draining,
    /// It can be reached and does not work well: it is left out for a while, or until a check says that it is well.
    Ejected,
    /// It gets its share of the calls.
    Ready,
}

impl EndpointState {
    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Connecting => "connecting",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Ready => "ready",
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why an endpoint changed its state. See [`Event::EndpointChanged`](super::Event::EndpointChanged).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointReason {
    /// It could be reached, or nothing finds out whether it can.
    Connected,
    /// It could not be reached.
    ConnectFailed,
    /// So many of its calls failed in a row.
    ConsecutiveFailures,
    /// Too large a share of its calls failed.
    FailureShare,
    /// Somebody found that it is well.
    FoundFit,
    /// Somebody found that it is not well.
    FoundUnfit,
    /// It is no longer one of the endpoints.
    Removed,
    /// Far fewer of its calls succeeded than of those to the others.
    SuccessRate,
    /// It was left out for long enough.
    TimeOver,
}

impl fmt::Display for EndpointReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connected => "nothing speaks against it",
            Self::ConnectFailed => "it could not be reached",
            Self::ConsecutiveFailures => "too many failures in a row",
            Self::FailureShare => "too many failures",
            Self::FoundFit => "it was found to be well",
            Self::FoundUnfit => "it was found not to be well",
            Self::Removed => "it was removed",
            Self::SuccessRate => "far fewer successes than the others",
            Self::TimeOver => "its time is over",
        })
    }
}

/// What somebody who checks an endpoint from outside knows of it.
///
/// ```
/// use stonework::base::Fitness;
///
/// assert_eq!(Fitness::default(), Fitness::Unknown);
/// assert_eq!(Fitness::Unfit.to_string(), "unfit");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: it is, it is not, or nobody knows")]
pub enum Fitness {
    /// It is well.
    Fit,
    /// It is not well.
    Unfit,
    /// Nobody has looked, or the last look says nothing any more.
    #[default]
    Unknown,
}

impl Fitness {
    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Unfit => "unfit",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Fitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Endpoints that a call has tried, each by a number of its own: as many as an attempt and a few more ever need. Of more, the
/// first are forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried([u32; Self::MOST]);

impl Tried {
    pub(crate) const MOST: usize = 8;

    /// `number` is not 0.
    pub(crate) fn add(&mut self, number: u32) {
        if !self.contains(number) {
            self.0.copy_within(..Self::MOST - 1, 1);
            self.0[0] = number;
        }
    }

    /// These and those. All of those, and as many of these as there is room for.
    pub(crate) fn and(self, others: &Self) -> Self {
        let mut both = *others;
        let free = both.0.iter_mut().filter(|place| **place == 0);
        let these = self.0.into_iter().filter(|number| !others.contains(*number));
        free.zip(these).for_each(|(place, number)| *place = number);
        both
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.0.contains(&number)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_and_of_many_the_first_are_forgotten() {
        let mut tried = Tried::default();
        assert!(tried.is_empty() && !tried.contains(1));
        for number in [1, 2, 2, 3, 4, 5, 6, 7, 8] {
            tried.add(number);
        }
        assert!(!tried.is_empty() && (1..=8).all(|number| tried.contains(number)));
        tried.add(9);
        assert!(!tried.contains(1) && tried.contains(2) && tried.contains(9));
        let mut others = Tried::default();
        others.add(10);
        assert!([2, 9].iter().all(|number| !others.contains(*number)));
        let both = others.and(&Tried([2, 9, 0, 0, 0, 0, 0, 0]));
        assert!([2, 9, 10].iter().all(|number| both.contains(*number)));

        let (old, new) = (Tried([1, 2, 3, 4, 5, 6, 7, 8]), Tried([9, 2, 1, 0, 0, 0, 0, 0]));
        assert_eq!(old.and(&new), Tried([9, 2, 1, 3, 4, 5, 6, 7]), "all of the new ones, and each once");
        assert_eq!(new.and(&old), old);
    }
}
