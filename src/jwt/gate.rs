//! What stands before a service and looks at tokens, whoever says whether they are good.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, header};
use tower_service::Service;

use super::checked::CheckedFuture;
use super::future::Call;
use super::{JwtFuture, bearer};
use crate::base::{Error, Mode, TokenFault, TokenRefused, take};

/// Says whether tokens are good.
pub(super) trait Judge {
    /// What it finds out about one that is.
    type Found;

    fn start(&self, token: &[u8]) -> Started<Self::Found>;

    /// The error, of which whoever listens is told.
    fn refuse(&self, fault: TokenFault) -> Error;

    /// Leave with a request, for all below, who sends it.
    fn leave<B>(request: &mut Request<B>, found: Self::Found);
}

/// How far it went at once.
pub(super) enum Started<F> {
    Done(Result<F, Error>),
    Waits(Waiting<F>),
}

/// Until it is known whether a token is good.
pub(super) type Waiting<F> = Pin<Box<dyn Future<Output = Result<F, Error>> + Send>>;

/// What a layer and its services know.
pub(super) struct Gate<J, M> {
    /// Nothing, if the layer is switched off.
    pub(super) judge: Option<J>,
    pub(super) mode: M,
    pub(super) optional: bool,
    pub(super) realm: Option<Arc<str>>,
}

impl<J, M> Gate<J, M> {
    pub(super) fn mode<N>(self, mode: N) -> Gate<J, N> {
        let Self { judge, mode: _, optional, realm } = self;
        Gate { judge, mode, optional, realm }
    }

    /// Who is let in, in a line of a server's.
    #[cfg(feature = "server")]
    pub(super) const fn told(&self) -> &'static str {
        match (&self.judge, self.optional) {
            (None, _) => "switched off, so everybody is let in",
            (Some(_), true) => "who has none is let in, too",
            (Some(_), false) => "each request needs one",
        }
    }
}

impl<J: Clone, M: Clone> Clone for Gate<J, M> {
    fn clone(&self) -> Self {
        let Self { judge, mode, optional, realm } = self;
        Self { judge: judge.clone(), mode: mode.clone(), optional: *optional, realm: realm.clone() }
    }
}

impl<J: Judge, M> Gate<J, M> {
    /// For the service's `poll_ready`.
    pub(super) fn poll_ready<S, B>(&self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>>
    where
        S: Service<Request<B>>,
        M: Mode<Request<B>, S::Response, S::Error>,
    {
        if self.judge.is_some() {
            // It is decided in the call, which waits for the inner service, too: who may not come in need not wait for it.
            return Poll::Ready(Ok(()));
        }
        inner.poll_ready(cx).map_err(|error| self.mode.fail(error))
    }

    /// For the service's `call`.
    pub(super) fn call<S, B>(&self, inner: &mut S, mut request: Request<B>) -> JwtFuture<S, B, J::Found, M>
    where
        S: Service<Request<B>> + Clone,
        M: Mode<Request<B>, S::Response, S::Error> + Clone,
    {
        let (asked, mode) = (self.mode.ask(&request), self.mode.clone());
        let Some(judge) = &self.judge else {
            return JwtFuture::checked(CheckedFuture::called(inner.call(request), asked, mode));
        };
        let started = match bearer::token(request.headers(), request.uri().query()) {
            Ok(Some(token)) => Some(judge.start(token)),
            Ok(None) if self.optional => None,
            Ok(None) => Some(Started::Done(Err(judge.refuse(TokenFault::Missing)))),
            Err(fault) => Some(Started::Done(Err(judge.refuse(fault)))),
        };
        match started {
            Some(Started::Waits(work)) => {
                let (service, realm) = (take(inner), self.realm.clone());
                JwtFuture::waiting(work, Call { service, request, asked, mode, realm, admit: admit::<J, B> })
            }
            Some(Started::Done(Err(error))) => {
                let error = in_realm(self.realm.as_ref(), error);
                JwtFuture::checked(CheckedFuture::refused(error, asked, mode))
            }
            Some(Started::Done(Ok(found))) => {
                admit::<J, B>(&mut request, found);
                JwtFuture::checked(CheckedFuture::admitted(inner, request, asked, mode))
            }
            None => JwtFuture::checked(CheckedFuture::admitted(inner, request, asked, mode)),
        }
    }
}

/// Who sends it, for all below; and its token stays out of their logs.
fn admit<J: Judge, B>(request: &mut Request<B>, found: J::Found) {
    if let Some(field) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        field.set_sensitive(true);
    }
    J::leave(request, found);
}

/// A refusal that says what tokens are needed for.
pub(super) fn in_realm(realm: Option<&Arc<str>>, error: Error) -> Error {
    match (realm, error.cause::<TokenRefused>()) {
        (Some(realm), Some(refused)) => refused.clone().in_realm(Some(Arc::clone(realm))).into(),
        _ => error,
    }
}
