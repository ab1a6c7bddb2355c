use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::future::{Call, State};
use super::{Entered, Entry, Gate, GatedFuture, Slot, Wait};
use crate::base::{Hold, Http, NOBODY, take};
use crate::limit::Admission;

/// Calls a service as far as a limit lets it: [`RateLimitLayer`](crate::limit::RateLimitLayer),
/// [`ConcurrencyLimitLayer`](crate::limit::ConcurrencyLimitLayer).
pub struct Gated<S, G, M = Http> {
    inner: S,
    // Shared, since a service is cloned and moved for each request.
    settings: Arc<Settings<G, M>>,
    /// For a limit that is met in readiness.
    slot: Option<Box<Slot>>,
}

/// What a layer and its services know.
#[derive(Clone)]
pub(in crate::limit) struct Settings<G, M> {
    /// Nothing, if the layer is switched off.
    pub(in crate::limit) gate: Option<G>,
    pub(in crate::limit) mode: M,
    pub(in crate::limit) admission: Admission,
    /// What is kept, is kept until the head of the answer.
    pub(in crate::limit) until_head: bool,
    /// Say in fields how things stand.
    pub(in crate::limit) tells: bool,
    /// When to come back, if the limit does not know.
    pub(in crate::limit) retry_after: Option<Duration>,
}

impl<G, M> Settings<G, M> {
    pub(in crate::limit) const fn new(gate: G, mode: M) -> Self {
        Self {
            gate: Some(gate),
            mode,
            admission: Admission::Reject,
            until_head: false,
            tells: true,
            retry_after: None,
        }
    }

    pub(in crate::limit) fn mode<N>(self, mode: N) -> Settings<G, N> {
        let Self { gate, mode: _, admission, until_head, tells, retry_after } = self;
        Settings { gate, mode, admission, until_head, tells, retry_after }
    }

    pub(in crate::limit) fn map<H>(self, change: impl FnOnce(G) -> H) -> Settings<H, M> {
        let Self { gate, mode, admission, until_head, tells, retry_after } = self;
        Settings { gate: gate.map(change), mode, admission, until_head, tells, retry_after }
    }
}

impl<S, G, M> Gated<S, G, M> {
    pub(in crate::limit) fn with(inner: S, settings: Settings<G, M>) -> Self {
        Self { inner, settings: Arc::new(settings), slot: None }
    }
}

/// What was reserved stays with the original.
impl<S: Clone, G, M> Clone for Gated<S, G, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: Arc::clone(&self.settings), slot: None }
    }
}

impl<S, Req, G, M> Service<Req> for Gated<S, G, M>
where
    S: Service<Req> + Clone,
    Req: Send + 'static,
    G: Gate<Req>,
    M: Hold<Req, S::Response, S::Error, G::Pass> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = GatedFuture<S, Req, G::Pass, G::Turn, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        let Settings { gate, mode, admission, .. } = &*self.settings;
        if let Some(gate) = gate {
            if *admission != Admission::Backpressure {
                // It is decided in the call, which waits for the inner service, too.
                return Poll::Ready(Ok(()));
            }
            std::task::ready!(gate.poll_reserve(self.slot.get_or_insert_default(), cx));
        }
        self.inner.poll_ready(cx).map_err(|error| mode.err(error))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let Self { inner, settings, slot } = self;
        let Settings { gate, mode, admission, until_head, tells, retry_after } = &**settings;
        let Some(gate) = gate else {
            return GatedFuture::called(inner.call(request), G::Pass::default(), Call::off(mode.clone()));
        };
        let call = |fields| Call {
            asked: mode.note(&request),
            mode: mode.clone(),
            until_head: *until_head,
            retry_after: *retry_after,
            fields,
        };
        let tells = *tells && M::ANSWERS;
        let Entered { entry, fields } = match admission {
            Admission::Backpressure => gate.redeem(slot.get_or_insert_default(), &request, tells),
            Admission::WaitUpTo(patience) => gate.enter(&request, Wait::InTurn(*patience), tells),
            Admission::Queue => gate.enter(&request, Wait::InQueue, tells),
            Admission::Reject => gate.enter(&request, Wait::Not, tells),
        };
        let call = call(fields);
        match entry {
            Entry::In(pass) => {
                if *admission != Admission::Backpressure {
                    // Most services are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
                    match inner.poll_ready(&mut Context::from_waker(NOBODY)) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            // It is not to be asked again.
                            drop(take(inner));
                            return GatedFuture::broken(error, request, call);
                        }
                        Poll::Pending => return GatedFuture::admitted(inner, request, pass, call),
                    }
                }
                // Here, and not in a function that takes it: an answer is large, and is moved once.
                GatedFuture { state: State::Called { answer: inner.call(request), pass: Some(pass) }, call }
            }
            Entry::Wait(turn) => GatedFuture::waiting(inner, request, turn, call),
            Entry::Out(error) => {
                let error = call.refusal(error, request, !M::ANSWERS);
                GatedFuture::refused(error, call)
            }
        }
    }
}

impl<S: fmt::Debug, G: fmt::Debug, M> fmt::Debug for Gated<S, G, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("inner", &self.inner)
            .field("limit", &self.settings.gate)
            .field("admission", &self.settings.admission)
            .finish_non_exhaustive()
    }
}
