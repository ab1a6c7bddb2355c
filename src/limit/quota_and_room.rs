//! A quota and room, in one step: who has none of its quota left takes no place in the queue, and who finds no room has spent nothing.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower_layer::Layer;

use super::gate::sealed::Sealed;
use super::gate::{Entered, Entry, Gate, Gated, Settings, Turned, Wait};
use super::rate::{RateLimit, fields};
use super::{Concurrency, ConcurrencyLimit, Permit};
use crate::base::scope;

/// Lets calls in that have both, or one where there is no limit of the other.
#[must_use = "a layer does nothing until it wraps a service"]
pub(crate) struct QuotaAndRoomLayer<R, L, M> {
    settings: Settings<QuotaAndRoom<R, L>, M>,
}

/// See [`QuotaAndRoomLayer`].
#[derive(Clone, Debug)]
pub(crate) struct QuotaAndRoom<R, L> {
    quota: Option<R>,
    room: Option<Concurrency<L>>,
}

impl<R, L, M> QuotaAndRoomLayer<R, L, M> {
    /// What is said of how to wait and to answer is said of room.
    pub(super) fn new(quota: Option<R>, room: Settings<Concurrency<L>, M>) -> Self {
        let mut room = room;
        let gate = QuotaAndRoom { quota, room: room.gate.take() };
        let mut settings = room.map(|_| QuotaAndRoom { quota: None, room: None });
        settings.gate = (gate.quota.is_some() || gate.room.is_some()).then_some(gate);
        Self { settings }
    }
}

impl<S, R: Clone, L: Clone, M: Clone> Layer<S> for QuotaAndRoomLayer<R, L, M> {
    type Service = Gated<S, QuotaAndRoom<R, L>, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated::with(inner, self.settings.clone())
    }
}

impl<R, L, M> fmt::Debug for QuotaAndRoomLayer<R, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaAndRoomLayer").field("on", &self.settings.gate.is_some()).finish_non_exhaustive()
    }
}

impl<R, L> Sealed for QuotaAndRoom<R, L> {}

impl<Req, R: RateLimit<Req>, L: ConcurrencyLimit<Req>> Gate<Req> for QuotaAndRoom<R, L> {
    type Pass = Option<Permit>;
    type Turn = Pin<Box<RoomTurn<Req, R, L>>>;

    #[inline]
    fn enter(&self, request: &Req, wait: Wait, tells: bool) -> Entered<Option<Permit>, Self::Turn> {
        let ticket = match self.quota.as_ref().map(|quota| quota.take(request, 1, scope::now(), 0)) {
            None => None,
            Some(Ok(ticket)) => Some(ticket),
            Some(Err(refused)) => return refused.into_entered(tells),
        };
        let entered = match &self.room {
            Some(room) => room.enter(request, wait, false).entry,
            None => Entry::In(None),
        };
        let paid = self.quota.as_ref().zip(ticket);
        match entered {
            Entry::In(permit) => {
                let fields = paid.filter(|_| tells).map(|(quota, ticket)| fields(quota, &ticket));
                Entered { entry: Entry::In(permit), fields }
            }
            Entry::Wait(turn) => {
                let paid = paid.map(|(quota, ticket)| (quota.clone(), ticket));
                Entered::silently(Entry::Wait(Box::pin(RoomTurn { turn, paid, tells })))
            }
            Entry::Out(error) => {
                if let Some((quota, ticket)) = paid {
                    quota.give_back(ticket);
                }
                Entered::silently(Entry::Out(error))
            }
        }
    }
}

/// Waits for room. What was taken of the quota is given back if there is none, or if it is dropped before.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[pin_project(PinnedDrop)]
pub(crate) struct RoomTurn<Req, R: RateLimit<Req>, L: ConcurrencyLimit<Req>> {
    #[pin]
    turn: <Concurrency<L> as Gate<Req>>::Turn,
    paid: Option<(R, R::Ticket)>,
    tells: bool,
}

impl<Req, R: RateLimit<Req>, L: ConcurrencyLimit<Req>> Future for RoomTurn<Req, R, L> {
    type Output = Turned<Option<Permit>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut turned = ready!(this.turn.poll(cx));
        // A turn that comes with the deadline is of no use: nothing is begun, so nothing is spent.
        if turned.result.is_ok() && scope::deadline().is_none_or(|at| at > scope::now()) {
            let paid = this.paid.take().filter(|_| *this.tells);
            turned.fields = paid.map(|(quota, ticket)| fields(&quota, &ticket));
        }
        Poll::Ready(turned)
    }
}

#[pinned_drop]
impl<Req, R: RateLimit<Req>, L: ConcurrencyLimit<Req>> PinnedDrop for RoomTurn<Req, R, L> {
    fn drop(self: Pin<&mut Self>) {
        if let Some((quota, ticket)) = self.project().paid.take() {
            quota.give_back(ticket);
        }
    }
}
