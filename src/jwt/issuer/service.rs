use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use super::Issuer;
use super::paths::Asked;
use crate::base::body::Body;

/// Publishes the keys of an [`Issuer`] and its discovery document, where clients look for them: at `/.well-known/jwks.json` and
/// `/.well-known/openid-configuration` below its address. All else is answered with 404.
///
/// ```
/// # fn main() -> Result<(), stonework::jwt::InvalidJwt> {
/// use axum::Router;
/// use stonework::jwt::Issuer;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # let _in = runtime.enter();
/// let issuer = Issuer::builder("https://id.example").build()?;
/// let app: Router = Router::new().route_service("/.well-known/{document}", issuer.service());
/// # let _ = app;
/// # Ok(()) }
/// ```
///
/// It is always ready, and answers at once.
#[derive(Debug)]
pub struct IssuerService {
    issuer: Issuer,
}

impl IssuerService {
    pub(super) const fn new(issuer: Issuer) -> Self {
        Self { issuer }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let (json, kind) = match self.issuer.paths().asked(method, path) {
            Asked::Configuration => (self.issuer.configuration(), "application/json"),
            Asked::Jwks => (self.issuer.jwks(), "application/jwk-set+json"),
            Asked::NotLikeThis => {
                let mut refused = of(StatusCode::METHOD_NOT_ALLOWED);
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                return refused;
            }
            Asked::Nothing => return of(StatusCode::NOT_FOUND),
        };
        // The server leaves the body out of an answer to HEAD, and keeps its length.
        let mut answer = Response::new(Body::from(json));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let cache = format!("public, max-age={}", self.issuer.max_age().as_secs());
        if let Ok(cache) = HeaderValue::try_from(cache) {
            answer.headers_mut().insert(CACHE_CONTROL, cache);
        }
        answer
    }
}

fn of(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

impl Clone for IssuerService {
    fn clone(&self) -> Self {
        Self::new(self.issuer.clone())
    }
}

impl<B> Service<Request<B>> for IssuerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.uri().path())))
    }
}
