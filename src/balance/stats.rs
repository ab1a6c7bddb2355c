use std::time::Duration;

use crate::base::{EndpointId, EndpointState};

/// What a balancer knows at one moment. See [`Balancer::stats`](super::Balancer::stats).
///
/// ```
/// use stonework::balance::Balancer;
/// use stonework::base::EndpointState;
///
/// let balancer = Balancer::builder(|id| id.to_string()).members(["10.0.0.1:80"]).build().unwrap();
/// let stats = balancer.stats();
/// let endpoint = &stats.endpoints()[0];
/// assert_eq!((endpoint.id().as_str(), endpoint.state()), ("10.0.0.1:80", EndpointState::Ready));
/// assert_eq!((endpoint.calls(), endpoint.in_flight(), endpoint.latency()), (0, 0, None));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BalancerStats {
    pub(super) endpoints: Vec<EndpointStats>,
}

impl BalancerStats {
    /// One for each endpoint, in the order in which they were given.
    #[must_use]
    pub fn endpoints(&self) -> &[EndpointStats] {
        &self.endpoints
    }
}

/// What a balancer knows of one endpoint: a part of [`BalancerStats`].
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointStats {
    pub(super) id: EndpointId,
    pub(super) state: EndpointState,
    pub(super) weight: u32,
    pub(super) tier: u8,
    pub(super) calls: u64,
    pub(super) in_flight: u64,
    pub(super) latency: Option<Duration>,
}

impl EndpointStats {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> EndpointState {
        self.state
    }

    /// Its weight.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Its tier.
    #[must_use]
    pub const fn tier(&self) -> u8 {
        self.tier
    }

    /// How often it was picked.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many calls are under way there, until the ends of their response bodies.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What a call is taken to cost there, penalties included; nothing if none has ended yet.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.latency
    }
}
