use http::HeaderName;

use crate::base::{Ratio, Rng, TrustedPeers};

/// What is done with a request that comes in. Each layer does one of it; the assembled server all in one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) request_id: Option<Naming>,
    pub(crate) trace: Option<Tracing>,
    pub(crate) span: bool,
    pub(crate) log: Option<Log>,
    pub(crate) metrics: bool,
    /// What requests come over, where it is known.
    pub(crate) scheme: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) accept_from: TrustedPeers,
    pub(crate) header: HeaderName,
    pub(crate) rng: Rng,
}

#[derive(Clone, Debug)]
pub(crate) struct Tracing {
    pub(crate) accept_from: TrustedPeers,
    pub(crate) sample: Ratio,
    pub(crate) rng: Rng,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log {
    pub(crate) paths: bool,
}

impl Parts {
    /// Whether a request is better off with it.
    #[cfg(feature = "server")]
    pub(crate) const fn does_anything(&self) -> bool {
        self.request_id.is_some() || self.trace.is_some() || self.watches()
    }

    /// Whether anything is told of the end.
    pub(super) const fn watches(&self) -> bool {
        self.span || self.log.is_some() || self.metrics
    }
}
