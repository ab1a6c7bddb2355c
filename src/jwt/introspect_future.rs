use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project::pin_project;
use tower_service::Service;

use super::checked::CheckedFuture;
use super::introspect::Answering;
use super::introspect_layer::admit;
use super::service::in_realm;
use crate::base::{Asked, Mode};

/// A call about whose token the server that issued it is asked first. See [`IntrospectService`](super::IntrospectService).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct IntrospectFuture<S: Service<Request<B>>, B, M> {
    #[pin]
    state: State<S, B, M, CheckedFuture<S, Request<B>, M>>,
}

#[pin_project(project = StateProjection)]
#[expect(clippy::large_enum_variant, reason = "the other holds a request, too, which the lint does not see")]
enum State<S, B, M, F> {
    Checked {
        #[pin]
        checked: F,
    },
    /// Waits until the server says whether the token is good.
    Asking { work: Answering, call: Option<Call<S, B, M>> },
}

/// What is done when that is known.
pub(super) struct Call<S, B, M> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) realm: Option<Arc<str>>,
}

impl<S: Service<Request<B>>, B, M> IntrospectFuture<S, B, M> {
    pub(super) const fn checked(checked: CheckedFuture<S, Request<B>, M>) -> Self {
        Self { state: State::Checked { checked } }
    }

    pub(super) const fn asking(work: Answering, call: Call<S, B, M>) -> Self {
        Self { state: State::Asking { work, call: Some(call) } }
    }
}

impl<S, B, M> Future for IntrospectFuture<S, B, M>
where
    S: Service<Request<B>>,
    M: Mode<Request<B>, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Checked { checked } => return checked.poll(cx),
                StateProjection::Asking { work, call } => {
                    let answered = ready!(work.as_mut().poll(cx));
                    // `Asking` is left in the very step that takes what waited.
                    let Call { service, mut request, asked, mode, realm } =
                        call.take().expect("a call waits once");
                    let checked = match answered {
                        Ok(found) => {
                            admit(&mut request, found);
                            CheckedFuture::admitted(service, request, asked, mode)
                        }
                        Err(error) => CheckedFuture::refused(in_realm(realm.as_ref(), error), asked, mode),
                    };
                    this.state.set(State::Checked { checked });
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B, M> fmt::Debug for IntrospectFuture<S, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Checked { checked } => checked.fmt(f),
            State::Asking { .. } => f.write_str("IntrospectFuture(asking)"),
        }
    }
}
