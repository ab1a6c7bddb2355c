use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project::pin_project;
use tower_service::Service;

use super::checked::CheckedFuture;
use super::service::{admit, in_realm};
use super::verifier::Waiting;
use crate::base::{Asked, Mode};

/// A call whose token is verified first. See [`JwtService`](super::JwtService).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct JwtFuture<S: Service<Request<B>>, B, T, M> {
    #[pin]
    state: State<S, B, T, M, CheckedFuture<S, Request<B>, M>>,
}

#[pin_project(project = StateProjection)]
#[expect(clippy::large_enum_variant, reason = "the other holds a request, too, which the lint does not see")]
enum State<S, B, T, M, F> {
    Checked {
        #[pin]
        checked: F,
    },
    /// Waits until somebody says whether the token is good.
    Verifying { work: Waiting<T>, call: Option<Call<S, B, M>> },
}

/// What is done when that is known.
pub(super) struct Call<S, B, M> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) realm: Option<Arc<str>>,
}

impl<S: Service<Request<B>>, B, T, M> JwtFuture<S, B, T, M> {
    pub(super) const fn checked(checked: CheckedFuture<S, Request<B>, M>) -> Self {
        Self { state: State::Checked { checked } }
    }

    pub(super) const fn verifying(work: Waiting<T>, call: Call<S, B, M>) -> Self {
        Self { state: State::Verifying { work, call: Some(call) } }
    }
}

impl<S, B, T, M> Future for JwtFuture<S, B, T, M>
where
    S: Service<Request<B>>,
    T: Send + Sync + 'static,
    M: Mode<Request<B>, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Checked { checked } => return checked.poll(cx),
                StateProjection::Verifying { work, call } => {
                    let verified = ready!(work.as_mut().poll(cx));
                    // `Verifying` is left in the very step that takes what waited.
                    let Call { service, mut request, asked, mode, realm } =
                        call.take().expect("a call waits once");
                    let checked = match verified {
                        Ok(claims) => {
                            admit(&mut request, claims);
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

impl<S: Service<Request<B>>, B, T, M> fmt::Debug for JwtFuture<S, B, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Checked { checked } => checked.fmt(f),
            State::Verifying { .. } => f.write_str("JwtFuture(verifying)"),
        }
    }
}
