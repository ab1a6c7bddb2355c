use crate::base::{Error, Kind};

/// There is no endpoint at all: none was given, or none was found in time. It stands at the end of the chain of an [`Error`] of
/// kind [`NoEndpoint`](Kind::NoEndpoint).
///
/// ```
/// use stonework::base::{Delivery, Error, Kind};
/// use stonework::balance::NoEndpoints;
///
/// let error = Error::from(NoEndpoints::default());
/// assert_eq!((error.kind(), error.delivery()), (Kind::NoEndpoint, Delivery::NotSent));
/// assert_eq!(format!("{error:#}"), "no endpoint could be picked: there is none");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("there is none")]
#[non_exhaustive]
pub struct NoEndpoints;

/// There are endpoints, and none that a call could be sent to: all of them were found not to work, or it is still being found out.
/// It stands at the end of the chain of an [`Error`] of kind [`NoEndpoint`](Kind::NoEndpoint), as [`NoEndpoints`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the {endpoints} there are is fit")]
pub struct AllUnhealthy {
    endpoints: usize,
}

impl AllUnhealthy {
    pub(super) const fn of(endpoints: usize) -> Self {
        Self { endpoints }
    }

    /// How many there are.
    #[must_use]
    pub const fn endpoints(&self) -> usize {
        self.endpoints
    }
}

impl From<NoEndpoints> for Error {
    fn from(none: NoEndpoints) -> Self {
        Self::new(Kind::NoEndpoint, none)
    }
}

impl From<AllUnhealthy> for Error {
    fn from(none: AllUnhealthy) -> Self {
        Self::new(Kind::NoEndpoint, none)
    }
}
