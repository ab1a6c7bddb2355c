//! Claims as an argument of axum's handlers.

use std::convert::Infallible;
use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::Claims;
use crate::base::{Asked, Error, Problem, Refuse, TokenFault, TokenRefused};

/// A handler wants claims, and the request has none: no [`JwtLayer`](super::JwtLayer) with claims of this type stands above it, or an
/// [optional](super::JwtLayer::optional) one does and there was no token. It is answered with 401.
pub struct NoClaims(Asked);

impl IntoResponse for NoClaims {
    fn into_response(self) -> Response {
        Problem.refuse(self.0, &Error::from(TokenRefused::new(TokenFault::Missing))).map(Body::from)
    }
}

impl fmt::Debug for NoClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoClaims")
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Sync, T: Send + Sync + 'static> FromRequestParts<S> for Claims<T> {
    type Rejection = NoClaims;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoClaims> {
        parts.extensions.get().cloned().ok_or_else(|| NoClaims(Asked::of_method(&parts.method)))
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Sync, T: Send + Sync + 'static> OptionalFromRequestParts<S> for Claims<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}
