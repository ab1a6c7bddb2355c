use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project::pin_project;
use tower_service::Service;

use super::checked::CheckedFuture;
use super::gate::{Waiting, in_realm};
use crate::base::{Asked, Mode};

/// A call whose token is looked at first: verified, or asked about. See [`JwtLayer`](super::JwtLayer) and
/// [`IntrospectLayer`](super::IntrospectLayer). `F` is what is found.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct JwtFuture<S: Service<Request<B>>, B, F, M> {
    #[pin]
    state: State<S, B, F, M, CheckedFuture<S, Request<B>, M>>,
}

#[pin_project(project = StateProjection)]
#[expect(clippy::large_enum_variant, reason = "the other holds a request, too, which the lint does not see")]
enum State<S, B, F, M, C> {
    Checked {
        #[pin]
        checked: C,
    },
    /// Waits until somebody says whether the token is good.
    Waiting { work: Waiting<F>, call: Option<Call<S, B, F, M>> },
}

/// What is done when that is known.
pub(super) struct Call<S, B, F, M> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) realm: Option<Arc<str>>,
    /// Leaves with the request what was found.
    pub(super) admit: fn(&mut Request<B>, F),
}

impl<S: Service<Request<B>>, B, F, M> JwtFuture<S, B, F, M> {
    pub(super) const fn checked(checked: CheckedFuture<S, Request<B>, M>) -> Self {
        Self { state: State::Checked { checked } }
    }

    pub(super) const fn waiting(work: Waiting<F>, call: Call<S, B, F, M>) -> Self {
        Self { state: State::Waiting { work, call: Some(call) } }
    }
}

impl<S, B, F, M> Future for JwtFuture<S, B, F, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Checked { checked } => return checked.poll(cx),
                StateProjection::Waiting { work, call } => {
                    let answered = ready!(work.as_mut().poll(cx));
                    // `Waiting` is left in the very step that takes what waited.
                    let Call { mut service, mut request, asked, mode, realm, admit } =
                        call.take().expect("a call waits once");
                    let checked = match answered {
                        Ok(found) => {
                            admit(&mut request, found);
                            CheckedFuture::admitted(&mut service, request, asked, mode)
                        }
                        Err(error) => CheckedFuture::refused(in_realm(realm.as_ref(), error), asked, mode),
                    };
                    this.state.set(State::Checked { checked });
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B, F, M> fmt::Debug for JwtFuture<S, B, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Checked { checked } => checked.fmt(f),
            State::Waiting { .. } => f.write_str("JwtFuture(waiting)"),
        }
    }
}
