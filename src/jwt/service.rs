use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, header};
use tower_service::Service;

use super::checked::CheckedFuture;
use super::future::Call;
use super::verifier::Started;
use super::{Claims, JwtFuture, Verifier, bearer};
use crate::base::{Error, Http, Mode, TokenFault, TokenRefused};

/// Lets requests in whose token is good. See [`JwtLayer`](super::JwtLayer).
pub struct JwtService<S, T = (), M = Http> {
    inner: S,
    settings: Settings<T, M>,
}

/// What a layer and its services know.
pub(super) struct Settings<T, M> {
    /// Nothing, if the layer is switched off.
    pub(super) verifier: Option<Verifier<T>>,
    pub(super) mode: M,
    pub(super) optional: bool,
    pub(super) realm: Option<Arc<str>>,
}

impl<T, M> Settings<T, M> {
    pub(super) fn mode<N>(self, mode: N) -> Settings<T, N> {
        let Self { verifier, mode: _, optional, realm } = self;
        Settings { verifier, mode, optional, realm }
    }
}

impl<T, M: Clone> Clone for Settings<T, M> {
    fn clone(&self) -> Self {
        let Self { verifier, mode, optional, realm } = self;
        Self { verifier: verifier.clone(), mode: mode.clone(), optional: *optional, realm: realm.clone() }
    }
}

impl<S, T, M> JwtService<S, T, M> {
    pub(super) const fn with(inner: S, settings: Settings<T, M>) -> Self {
        Self { inner, settings }
    }
}

impl<S: Clone, T, M: Clone> Clone for JwtService<S, T, M> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.settings.clone())
    }
}

impl<S, B, T, M> Service<Request<B>> for JwtService<S, T, M>
where
    S: Service<Request<B>> + Clone,
    T: Send + Sync + 'static,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = JwtFuture<S, B, T, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        if self.settings.verifier.is_some() {
            // It is decided in the call, which waits for the inner service, too: who may not come in need not wait for it.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(|error| self.settings.mode.fail(error))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (asked, mode) = (self.settings.mode.ask(&request), self.settings.mode.clone());
        let Some(verifier) = &self.settings.verifier else {
            return JwtFuture::checked(CheckedFuture::called(self.inner.call(request), asked, mode));
        };
        let started = match bearer::token(request.headers(), request.uri().query()) {
            Ok(Some(token)) => Some(verifier.start(token)),
            Ok(None) if self.settings.optional => None,
            Ok(None) => Some(Started::Done(Err(verifier.refuse(TokenFault::Missing.into())))),
            Err(fault) => Some(Started::Done(Err(verifier.refuse(fault.into())))),
        };
        match started {
            Some(Started::Waits(work)) => {
                let (service, realm) = (self.take(), self.settings.realm.clone());
                JwtFuture::verifying(work, Call { service, request, asked, mode, realm })
            }
            Some(Started::Done(Err(error))) => {
                let error = in_realm(self.settings.realm.as_ref(), error);
                JwtFuture::checked(CheckedFuture::refused(error, asked, mode))
            }
            Some(Started::Done(Ok(claims))) => {
                admit(&mut request, claims);
                JwtFuture::checked(CheckedFuture::admitted(self.take(), request, asked, mode))
            }
            None => JwtFuture::checked(CheckedFuture::admitted(self.take(), request, asked, mode)),
        }
    }
}

impl<S: Clone, T, M> JwtService<S, T, M> {
    /// The service that is called, with a clone in its place.
    fn take(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

/// A refusal that says what tokens are needed for.
pub(super) fn in_realm(realm: Option<&Arc<str>>, error: Error) -> Error {
    match (realm, error.cause::<TokenRefused>()) {
        (Some(realm), Some(refused)) => refused.clone().in_realm(Some(Arc::clone(realm))).into(),
        _ => error,
    }
}

/// Who sends it, for all below; and its token stays out of their logs.
pub(super) fn admit<B, T: Send + Sync + 'static>(request: &mut Request<B>, claims: Claims<T>) {
    if let Some(field) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        field.set_sensitive(true);
    }
    request.extensions_mut().insert(claims.principal());
    request.extensions_mut().insert(claims);
}

impl<S: fmt::Debug, T, M> fmt::Debug for JwtService<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtService")
            .field("inner", &self.inner)
            .field("verifier", &self.settings.verifier)
            .finish_non_exhaustive()
    }
}
