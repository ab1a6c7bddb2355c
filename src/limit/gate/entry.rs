use std::task::{Context, Poll};
use std::time::Duration;

use super::Fields;
use crate::base::Error;
use crate::base::body::Guard;
use crate::limit::{Permit, Reservation};

/// What decides whether a call comes in: [`Rate`](crate::limit::Rate), [`Concurrency`](crate::limit::Concurrency) and
/// [`Shared`](crate::limit::Shared), over the limiters of this module and what is made from them. There is no need for another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no limit for requests of type `{Req}`",
    note = "a key, a cost or an exception is a closure that takes a reference to the request: `|request: &http::Request<_>| …`"
)]
pub trait Gate<Req>: sealed::Sealed {
    /// What is kept until the call has ended.
    type Pass: Guard + Default;
    /// A place in the queue.
    type Turn: Future<Output = Result<Self::Pass, Error>>;

    /// Ask to be let in. With `tells`, say in fields how things stand.
    fn enter(&self, request: &Req, patience: Duration, tells: bool) -> Entered<Self::Pass, Self::Turn>;

    /// Reserve for a request that nobody has seen yet. What cannot, is ready.
    fn poll_reserve(&self, slot: &mut Slot, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (slot, cx);
        Poll::Ready(())
    }

    /// Come in with what was reserved, or as without it, if there is nothing.
    fn redeem(&self, slot: &mut Slot, request: &Req, tells: bool) -> Entered<Self::Pass, Self::Turn> {
        let _ = slot;
        self.enter(request, Duration::ZERO, tells)
    }
}

/// What became of a call at a [`Gate`].
#[allow(unnameable_types, reason = "only those inside handle it")]
#[allow(missing_debug_implementations, reason = "it lives for one step")]
pub struct Entered<P, T> {
    pub(in crate::limit) entry: Entry<P, T>,
    pub(in crate::limit) fields: Option<Box<Fields>>,
}

pub(in crate::limit) enum Entry<P, T> {
    In(P),
    Wait(T),
    Out(Error),
}

impl<P, T> Entered<P, T> {
    pub(in crate::limit) const fn silently(entry: Entry<P, T>) -> Self {
        Self { entry, fields: None }
    }
}

/// What a service has reserved when it is ready. It is never cloned.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[derive(Debug, Default)]
pub struct Slot(pub(in crate::limit) Reserved);

#[derive(Debug, Default)]
pub(in crate::limit) enum Reserved {
    #[default]
    Nothing,
    Permit(Permit),
    Place(crate::limit::concurrency::Waiting),
    Quota(Reservation),
    /// It has to wait until then.
    Ahead(Reservation, std::pin::Pin<Box<crate::base::Alarm>>),
}

pub(in crate::limit) mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed {}
}
