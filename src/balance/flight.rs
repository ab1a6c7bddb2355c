use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use super::core::Core;
use super::endpoint::Endpoint;
use crate::base::body::{BodyEnd, Guard};
use crate::base::{Classify, Kind, Outcome, scope};

/// A call that is under way at an endpoint, or will be as soon as that is ready, until this is dropped.
pub(super) struct Flight<S: Clone + Send + Sync + 'static> {
    endpoint: Arc<Endpoint<S>>,
    /// What the endpoint was when it was picked: of what it has become since, this call says nothing.
    epoch: u64,
    since: Instant,
    /// When it is of no more use to anybody.
    deadline: Option<Instant>,
    /// Whether it was sent and its head is still to come.
    is_open: bool,
}

impl<S: Clone + Send + Sync + 'static> Flight<S> {
    pub(super) fn begin(endpoint: Arc<Endpoint<S>>, now: Instant) -> Self {
        endpoint.load.begin();
        let epoch = endpoint.epoch();
        Self { endpoint, epoch, since: now, deadline: None, is_open: false }
    }

    /// The endpoint was ready, and has the request now.
    pub(super) fn sent(&mut self) {
        self.is_open = true;
        self.deadline = scope::fair_deadline();
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint<S>> {
        &self.endpoint
    }

    /// The head of an answer is here, or an error in its place.
    pub(super) fn ended(&mut self, outcome: Outcome, core: &Arc<Core<S>>, now: Instant) {
        self.is_open = false;
        let took = now.saturating_duration_since(self.since);
        let (ticks, settings) = (core.ticks(now), &core.settings);
        match outcome {
            Outcome::Success => self.endpoint.latency.took(took, ticks, settings.decay),
            // Whoever fails at once is not the fastest, and nor is whoever says that it has too much to do.
            Outcome::Failure => {
                let before = self.endpoint.record.streak();
                self.endpoint.latency.failed(took, before, settings.penalty, ticks);
            }
            Outcome::Overload => self.endpoint.latency.took_at_least(took.max(settings.penalty), ticks),
            Outcome::Neutral => self.endpoint.latency.took_at_least(took, ticks),
        }
    }

    /// It answers: the next time that it cannot be reached is the first again.
    pub(super) fn proves_it(&self, core: &Arc<Core<S>>) {
        if self.endpoint.is_unproved() {
            core.proved(&self.endpoint, self.epoch);
        }
    }

    /// The whole of it went so.
    pub(super) fn record(&self, outcome: Outcome, core: Option<&Arc<Core<S>>>) {
        if self.epoch != self.endpoint.epoch() {
            return;
        }
        match outcome {
            Outcome::Success => self.endpoint.record.succeeded(),
            Outcome::Failure => {
                let failures = self.endpoint.record.failed();
                let own = if core.is_none() { self.endpoint.core.upgrade() } else { None };
                if let Some(core) = core.or(own.as_ref()) {
                    core.failed_in_a_row(&self.endpoint, self.epoch, failures);
                }
            }
            Outcome::Overload | Outcome::Neutral => {}
        }
    }

    /// The request came back unsent, or the endpoint failed to become ready.
    pub(super) fn unsent(&mut self, kind: Kind, core: &Arc<Core<S>>, now: Instant) {
        self.is_open = false;
        if kind == Kind::Connect {
            core.connect_failed(&self.endpoint, self.epoch, now);
        }
    }

    /// Nobody waited for the head.
    #[cold]
    fn abandon(&mut self) {
        let Some(core) = self.endpoint.core.upgrade() else { return };
        let now = Instant::now();
        // Whoever set the limit called that too long. A caller who goes away before says nothing.
        if self.deadline.is_some_and(|at| at <= now) {
            self.ended(Outcome::Failure, &core, now);
            self.record(Outcome::Failure, Some(&core));
        } else {
            self.ended(Outcome::Neutral, &core, now);
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Drop for Flight<S> {
    fn drop(&mut self) {
        if self.is_open {
            self.abandon();
        }
        self.endpoint.end(self.epoch);
    }
}

/// Counts a call until the end of its response body, and tells how it went. See [`Held`](crate::base::body::Held).
pub struct InUse<S: Clone + Send + Sync + 'static, C> {
    flight: Flight<S>,
    /// Nothing, if how it went is known.
    judge: Option<Judge<C>>,
}

struct Judge<C> {
    classify: C,
    /// What the trailers say; known for the response's type, which this need not be.
    trailers: fn(&C, &HeaderMap) -> Option<Outcome>,
    outcome: Outcome,
}

impl<S: Clone + Send + Sync + 'static, C> InUse<S, C> {
    /// How it went is known.
    pub(super) const fn judged(flight: Flight<S>) -> Self {
        Self { flight, judge: None }
    }

    /// The head is good; the end may say otherwise.
    pub(super) fn good<Res>(flight: Flight<S>, classify: C) -> Self
    where
        C: Classify<Res>,
    {
        let trailers = |classify: &C, trailers: &_| classify.classify_trailers(trailers);
        Self { flight, judge: Some(Judge { classify, trailers, outcome: Outcome::Success }) }
    }
}

impl<S: Clone + Send + Sync + 'static, C> Guard for InUse<S, C> {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(judge) = &mut self.judge {
            if let Some(outcome) = (judge.trailers)(&judge.classify, trailers) {
                judge.outcome = outcome;
            }
        }
    }

    fn settle(self, end: BodyEnd) {
        let Some(judge) = self.judge else { return };
        let outcome = match end {
            // Who does not read a good answer to its end has no complaint about the endpoint.
            BodyEnd::Complete | BodyEnd::Abandoned => judge.outcome,
            BodyEnd::Failed if scope::was_hasty() => Outcome::Neutral,
            BodyEnd::Failed => Outcome::Failure,
        };
        self.flight.record(outcome, None);
    }
}

impl<S: Clone + Send + Sync + 'static, C> fmt::Debug for InUse<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").field("endpoint", &self.flight.endpoint.id).finish_non_exhaustive()
    }
}
