//! What all layers have in common that let calls in or not: one service and one future.

mod fields;
mod future;
mod key;
mod service;

use std::task::{Context, Poll};
use std::time::Duration;

pub use self::future::GatedFuture;
pub use self::key::{Except, Keyed};
pub use self::service::Gated;

pub(super) use self::fields::{Fields, Standing};
pub(super) use self::service::Settings;

use super::{Permit, Reservation};
use crate::base::Error;
use crate::base::body::Guard;

/// What decides whether a call comes in: [`Rate`](super::Rate), [`Concurrency`](super::Concurrency) and
/// [`Shared`](super::Shared), over the limiters of this module and what is made from them. There is no need for another.
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
    pub(super) entry: Entry<P, T>,
    pub(super) fields: Option<Box<Fields>>,
}

pub(super) enum Entry<P, T> {
    In(P),
    Wait(T),
    Out(Error),
}

impl<P, T> Entered<P, T> {
    pub(super) const fn silently(entry: Entry<P, T>) -> Self {
        Self { entry, fields: None }
    }
}

/// What a service has reserved when it is ready. It is never cloned.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[derive(Debug, Default)]
pub struct Slot(pub(super) Reserved);

#[derive(Debug, Default)]
pub(super) enum Reserved {
    #[default]
    Nothing,
    Permit(Permit),
    Place(super::concurrency::Waiting),
    Quota(Reservation),
    /// It has to wait until then.
    Ahead(Reservation, std::pin::Pin<Box<crate::base::Alarm>>),
}

pub(super) mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed {}
}
