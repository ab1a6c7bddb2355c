use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, header};
use tower_layer::Layer;
use tower_service::Service;

use super::checked::CheckedFuture;
use super::introspect::Asked;
use super::introspect_future::Call;
use super::service::in_realm;
use super::{IntrospectFuture, Introspected, Introspector, InvalidJwt, bearer};
use crate::base::{Answer, Http, Mode, Plain, Problem, TokenFault};

/// Lets requests in whose token is good, as the server says that issued it: a token in `Authorization: Bearer …` (RFC 6750), and nowhere
/// else. Below it, each request has [`Introspected`] and a [`Principal`](crate::base::Principal) among its extensions, so that
/// [`RequireLayer`](super::RequireLayer) does there what it does below a [`JwtLayer`](super::JwtLayer). What is answered is the same.
///
/// ```
/// use stonework::jwt::{Introspector, IntrospectLayer, RequireLayer};
/// use tower::ServiceBuilder;
///
/// # fn stack(introspector: Introspector) -> Result<(), stonework::jwt::InvalidJwt> {
/// let stack = ServiceBuilder::new()
///     .layer(IntrospectLayer::new(introspector).answer())
///     .layer(RequireLayer::scopes(["orders:read"])?.answer());
/// # let _ = stack;
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct IntrospectLayer<M = Http> {
    terms: Terms<M>,
}

/// What a layer and its services know.
struct Terms<M> {
    /// Nothing, if the layer is switched off.
    introspector: Option<Introspector>,
    mode: M,
    optional: bool,
    realm: Option<Arc<str>>,
}

impl IntrospectLayer {
    /// Those that are good to this introspector.
    pub const fn new(introspector: Introspector) -> Self {
        Self { terms: Terms { introspector: Some(introspector), mode: Http, optional: false, realm: None } }
    }
}

impl<M> IntrospectLayer<M> {
    /// Let requests without a token in as well. One that has a token that is not good is refused as ever.
    pub const fn optional(mut self) -> Self {
        self.terms.optional = true;
        self
    }

    /// Say in refusals what tokens are needed for (RFC 9110, section 11.5). Default: nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if it is empty, or has characters other than visible ASCII and spaces, a quote or a backslash.
    pub fn realm(mut self, realm: impl Into<Arc<str>>) -> Result<Self, InvalidJwt> {
        self.terms.realm = Some(super::require::realm(realm.into())?);
        Ok(self)
    }

    /// Refuse with a response as RFC 6750 has it, and leave the inner error type alone: for servers.
    pub fn answer(self) -> IntrospectLayer<Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> IntrospectLayer<Answer<R>> {
        self.mode(Answer::with(refuse))
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> IntrospectLayer<Plain> {
        self.mode(Plain)
    }

    /// With `false`, switch the layer off; its type stays the same. **Everybody is then let in.**
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.terms.introspector = None;
        }
        self
    }

    fn mode<N>(self, mode: N) -> IntrospectLayer<N> {
        let Terms { introspector, mode: _, optional, realm } = self.terms;
        IntrospectLayer { terms: Terms { introspector, mode, optional, realm } }
    }
}

impl<M: Clone> Clone for Terms<M> {
    fn clone(&self) -> Self {
        let Self { introspector, mode, optional, realm } = self;
        Self {
            introspector: introspector.clone(),
            mode: mode.clone(),
            optional: *optional,
            realm: realm.clone(),
        }
    }
}

impl<M: Clone> Clone for IntrospectLayer<M> {
    fn clone(&self) -> Self {
        Self { terms: self.terms.clone() }
    }
}

impl<M> fmt::Debug for IntrospectLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectLayer")
            .field("introspector", &self.terms.introspector)
            .finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for IntrospectLayer<M> {
    type Service = IntrospectService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        IntrospectService { inner, terms: self.terms.clone() }
    }
}

/// Lets requests in whose token is good. See [`IntrospectLayer`].
pub struct IntrospectService<S, M = Http> {
    inner: S,
    terms: Terms<M>,
}

impl<S: Clone, M: Clone> Clone for IntrospectService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), terms: self.terms.clone() }
    }
}

impl<S, B, M> Service<Request<B>> for IntrospectService<S, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = IntrospectFuture<S, B, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        if self.terms.introspector.is_some() {
            // It is decided in the call, which waits for the inner service, too: who may not come in need not wait for it.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(|error| self.terms.mode.fail(error))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (asked, mode) = (self.terms.mode.ask(&request), self.terms.mode.clone());
        let Some(introspector) = &self.terms.introspector else {
            return IntrospectFuture::checked(CheckedFuture::called(self.inner.call(request), asked, mode));
        };
        let started = match bearer::token(request.headers(), request.uri().query()) {
            Ok(Some(token)) => Some(introspector.start(token)),
            Ok(None) if self.terms.optional => None,
            Ok(None) => Some(Asked::Now(Err(introspector.refuse(TokenFault::Missing)))),
            Err(fault) => Some(Asked::Now(Err(introspector.refuse(fault)))),
        };
        match started {
            Some(Asked::Later(work)) => {
                let (service, realm) = (self.take(), self.terms.realm.clone());
                IntrospectFuture::asking(work, Call { service, request, asked, mode, realm })
            }
            Some(Asked::Now(Err(error))) => {
                let error = in_realm(self.terms.realm.as_ref(), error);
                IntrospectFuture::checked(CheckedFuture::refused(error, asked, mode))
            }
            Some(Asked::Now(Ok(found))) => {
                admit(&mut request, found);
                IntrospectFuture::checked(CheckedFuture::admitted(self.take(), request, asked, mode))
            }
            None => IntrospectFuture::checked(CheckedFuture::admitted(self.take(), request, asked, mode)),
        }
    }
}

impl<S: Clone, M> IntrospectService<S, M> {
    /// The service that is called, with a clone in its place.
    fn take(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

/// Who sends it, for all below; and its token stays out of their logs.
pub(super) fn admit<B>(request: &mut Request<B>, found: Introspected) {
    if let Some(field) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        field.set_sensitive(true);
    }
    request.extensions_mut().insert(found.principal());
    request.extensions_mut().insert(found);
}

impl<S: fmt::Debug, M> fmt::Debug for IntrospectService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectService")
            .field("inner", &self.inner)
            .field("introspector", &self.terms.introspector)
            .finish_non_exhaustive()
    }
}
