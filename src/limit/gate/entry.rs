use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::Fields;
use crate::base::body::Guard;
use crate::base::{Alarm, Delivery, Error, GrpcStatus, Kind, Outcome};
use crate::limit::concurrency::Waiting;
use crate::limit::{Permit, Reservation};

/// What decides whether a call comes in: [`Rate`](crate::limit::Rate) and [`Concurrency`](crate::limit::Concurrency), over the limiters of this module and what is made from them. There is no need for another.
/// See the [module](crate::limit).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no limit for requests of type `{Req}`",
    note = "a key, a cost or an exception is a closure that takes a reference to the request: `|request: &http::Request<_>| …`"
)]
pub trait Gate<Req>: sealed::Sealed {
    /// What is kept until the call has ended.
    type Pass: Pass;
    /// A place in the queue. If it is large, it is in a box: it is rare, and what became of a call is moved as it is.
    type Turn: Future<Output = Turned<Self::Pass>>;

    /// Ask to be let in. With `tells`, say in fields how things stand.
    fn enter(&self, request: &Req, wait: Wait, tells: bool) -> Entered<Self::Pass, Self::Turn>;

    /// Reserve for a request that nobody has seen yet. What cannot, is ready.
    fn poll_reserve(&self, slot: &mut Slot, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (slot, cx);
        Poll::Ready(())
    }

    /// Come in with what was reserved, or as without it, if there is nothing.
    fn redeem(&self, slot: &mut Slot, request: &Req, tells: bool) -> Entered<Self::Pass, Self::Turn> {
        let _ = slot;
        self.enter(request, Wait::Not, tells)
    }
}

/// What is kept until a call has ended.
#[allow(unnameable_types, reason = "only those inside handle it")]
pub trait Pass: Guard + Default {
    /// Whether it wants to know how the call went.
    const WATCHES: bool = false;

    /// The head of the response has come, or an error.
    fn saw(&mut self, seen: Seen) {
        let _ = seen;
    }
}

impl Pass for () {}

/// What became of a call, as far as it tells how much there is to do.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It took as long as it took.
    Answer,
    /// It took too long, or was refused for there being too much to do.
    TooLate,
    /// Nothing of that kind.
    Nothing,
}

impl Seen {
    /// `None`, where responses have no head.
    pub(super) fn in_head(head: Option<(StatusCode, &HeaderMap)>) -> Self {
        let Some((status, headers)) = head else { return Self::Answer };
        match GrpcStatus::of(headers) {
            Some(GrpcStatus::DeadlineExceeded | GrpcStatus::Unavailable) => return Self::TooLate,
            Some(status) if status.outcome() != Outcome::Success => return Self::Nothing,
            Some(_) | None => {}
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Self::TooLate,
            StatusCode::NOT_IMPLEMENTED => Self::Answer,
            StatusCode::TOO_MANY_REQUESTS => Self::Nothing,
            _ if status.is_server_error() => Self::Nothing,
            _ => Self::Answer,
        }
    }

    /// `None`, where errors are foreign.
    pub(super) fn in_error(error: Option<&Error>) -> Self {
        match error.map(|error| (error.kind(), error.delivery())) {
            Some((Kind::Timeout, _)) => Self::TooLate,
            // What refused it here says nothing about the other side.
            Some((Kind::Overload, delivery)) if delivery != Delivery::NotSent => Self::TooLate,
            _ => Self::Nothing,
        }
    }
}

/// How to wait where there is no room.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    Not,
    InTurn(Duration),
    InQueue,
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

/// What became of the one who waited.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[allow(missing_debug_implementations, reason = "it lives for one step")]
pub struct Turned<P> {
    pub(in crate::limit) result: Result<P, Error>,
    /// How things stand, where nobody knew that before.
    pub(in crate::limit) fields: Option<Box<Fields>>,
}

impl<P> Turned<P> {
    pub(in crate::limit) const fn silently(result: Result<P, Error>) -> Self {
        Self { result, fields: None }
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
    Place(Waiting),
    Quota(Reservation),
    /// It has to wait until then.
    Ahead(Reservation, Pin<Box<Alarm>>),
}

pub(in crate::limit) mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_that_there_is_too_much_to_do_is_told_from_what_says_nothing_of_that() {
        let seen = |status: u16, grpc: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(grpc) = grpc {
                headers.insert("grpc-status", grpc.parse().unwrap());
            }
            Seen::in_head(Some((StatusCode::from_u16(status).unwrap(), &headers)))
        };
        for status in [503, 504] {
            assert_eq!(seen(status, None), Seen::TooLate, "{status}");
        }
        for status in [429, 500, 502] {
            assert_eq!(seen(status, None), Seen::Nothing, "{status}");
        }
        for status in [200, 204, 304, 404, 501] {
            assert_eq!(seen(status, None), Seen::Answer, "{status}");
        }
        for (grpc, expected) in [
            ("0", Seen::Answer),
            ("3", Seen::Answer),
            ("5", Seen::Answer),
            ("6", Seen::Answer),
            ("12", Seen::Answer),
            ("1", Seen::Nothing),
            ("4", Seen::TooLate),
            ("14", Seen::TooLate),
            ("8", Seen::Nothing),
            ("13", Seen::Nothing),
        ] {
            assert_eq!(seen(200, Some(grpc)), expected, "gRPC {grpc}");
        }
        assert_eq!(Seen::in_head(None), Seen::Answer);
    }

    #[test]
    fn of_errors_a_timeout_and_a_refusal_from_the_other_side_say_that_there_is_too_much_to_do() {
        let seen = |kind, delivery| {
            let error = Error::new(kind, "no").with_delivery(delivery);
            Seen::in_error(Some(&error))
        };
        for delivery in [Delivery::NotSent, Delivery::Unknown, Delivery::Answered] {
            assert_eq!(seen(Kind::Timeout, delivery), Seen::TooLate, "{delivery:?}");
            assert_eq!(seen(Kind::Transport, delivery), Seen::Nothing, "{delivery:?}");
        }
        assert_eq!(seen(Kind::Overload, Delivery::NotSent), Seen::Nothing, "somebody here refused it");
        assert_eq!(seen(Kind::Overload, Delivery::Answered), Seen::TooLate);
        assert_eq!(Seen::in_error(None), Seen::Nothing);
    }
}
