use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::error::InvalidJwt;
use super::gate::Gate;
use super::{JwtService, Verifier};
use crate::base::{Answer, Http, Plain, Problem};

/// Lets requests in whose token is good: a token in `Authorization: Bearer …` (RFC 6750), and nowhere else. See the [module](super),
/// where an example stands.
///
/// Below it, each request has [`Claims`](super::Claims) and a [`Principal`](crate::base::Principal) among its extensions.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct JwtLayer<T = (), M = Http> {
    gate: Gate<Verifier<T>, M>,
}

impl<T> JwtLayer<T> {
    /// Those that are good to this verifier.
    pub const fn new(verifier: Verifier<T>) -> Self {
        Self { gate: Gate { judge: Some(verifier), mode: Http, optional: false, realm: None } }
    }
}

impl<T, M> JwtLayer<T, M> {
    /// Let requests without a token in as well, which then have no claims. One that has a token that is not good is refused as ever.
    /// Routes that need one say so: [`RequireLayer`](super::RequireLayer), or a handler that takes claims.
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
    pub fn answer(self) -> JwtLayer<T, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> JwtLayer<T, Answer<R>> {
        JwtLayer { gate: self.gate.mode(Answer::with(refuse)) }
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> JwtLayer<T, Plain> {
        JwtLayer { gate: self.gate.mode(Plain) }
    }

    /// With `false`, switch the layer off; its type stays the same. **Everybody is then let in**, and handlers that take claims refuse all.
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
}

impl<T, M: Clone> Clone for JwtLayer<T, M> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone() }
    }
}

impl<T, M> fmt::Debug for JwtLayer<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtLayer").field("verifier", &self.gate.judge).finish_non_exhaustive()
    }
}

impl<S, T, M: Clone> Layer<S> for JwtLayer<T, M> {
    type Service = JwtService<S, T, M>;

    fn layer(&self, inner: S) -> Self::Service {
        JwtService::with(inner, self.gate.clone())
    }
}
