use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::gate::{Gate, Judge, Started};
use super::{Introspected, Introspector, InvalidJwt, JwtFuture, bearer};
use crate::base::{Answer, Error, Http, Mode, Plain, Problem, TokenFault};

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
    gate: Gate<Introspector, M>,
}

impl IntrospectLayer {
    /// Those that are good to this introspector.
    pub const fn new(introspector: Introspector) -> Self {
        Self { gate: Gate { judge: Some(introspector), mode: Http, optional: false, realm: None } }
    }
}

impl<M> IntrospectLayer<M> {
    /// Let requests without a token in as well. One that has a token that is not good is refused as ever.
    pub const fn optional(mut self) -> Self {
        self.gate.optional = true;
        self
    }

    /// Say in refusals what tokens are needed for (RFC 9110, section 11.5). Default: nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if it is empty, or has characters other than visible ASCII and spaces, a quote or a backslash.
    pub fn realm(mut self, realm: impl Into<Arc<str>>) -> Result<Self, InvalidJwt> {
        self.gate.realm = Some(super::require::realm(realm.into())?);
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
            self.gate.judge = None;
        }
        self
    }

    #[cfg(feature = "server")]
    pub(crate) const fn told(&self) -> &'static str {
        self.gate.told()
    }

    fn mode<N>(self, mode: N) -> IntrospectLayer<N> {
        IntrospectLayer { gate: self.gate.mode(mode) }
    }
}

impl<M: Clone> Clone for IntrospectLayer<M> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone() }
    }
}

impl<M> fmt::Debug for IntrospectLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectLayer").field("introspector", &self.gate.judge).finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for IntrospectLayer<M> {
    type Service = IntrospectService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        IntrospectService { inner, gate: self.gate.clone() }
    }
}

/// Lets requests in whose token is good. See [`IntrospectLayer`].
pub struct IntrospectService<S, M = Http> {
    inner: S,
    gate: Gate<Introspector, M>,
}

impl<S: Clone, M: Clone> Clone for IntrospectService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), gate: self.gate.clone() }
    }
}

impl<S, B, M> Service<Request<B>> for IntrospectService<S, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = JwtFuture<S, B, Introspected, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.gate.poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.gate.call(&mut self.inner, request)
    }
}

impl Judge for Introspector {
    type Found = Introspected;

    fn start(&self, token: &[u8]) -> Started<Introspected> {
        if bearer::is_token(token) {
            Self::start(self, token)
        } else {
            Started::Done(Err(Self::refuse(self, TokenFault::Malformed)))
        }
    }

    fn refuse(&self, fault: TokenFault) -> Error {
        Self::refuse(self, fault)
    }

    fn leave<B>(request: &mut Request<B>, found: Introspected) {
        request.extensions_mut().insert(found.principal());
        request.extensions_mut().insert(found);
    }
}

impl<S: fmt::Debug, M> fmt::Debug for IntrospectService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectService")
            .field("inner", &self.inner)
            .field("introspector", &self.gate.judge)
            .finish_non_exhaustive()
    }
}
