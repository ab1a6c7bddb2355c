use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_service::Service;

use super::answer::{Target, target};
use super::{Health, HealthBody, HealthFuture};
use crate::base::body::Body;
use crate::base::take;

/// Answers probes, and hands all else to a service; to one that answers 404, if there is no other. See the [module](super).
///
/// It is always ready: a service that is not, since it is at its limit, is waited for by those who call it, and not by probes.
#[derive(Debug)]
pub struct HealthService<S = NotFound> {
    inner: S,
    // Nothing, if the layer is off.
    health: Option<Health>,
    grpc: bool,
}

impl HealthService {
    /// Answers probes, and 404 to all else.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use http::Request;
    /// use stonework::Body;
    /// use stonework::health::{Health, HealthService};
    /// use tower::ServiceExt;
    ///
    /// // For a port of its own.
    /// let health = Health::builder().build().unwrap();
    /// let ask = |path| HealthService::new(health.clone()).oneshot(Request::get(path).body(Body::empty()).unwrap());
    /// assert_eq!(ask("/livez").await.unwrap().status(), 200);
    /// assert_eq!(ask("/orders").await.unwrap().status(), 404);
    /// # }
    /// ```
    #[must_use]
    pub const fn new(health: Health) -> Self {
        Self::with(NotFound, Some(health), true)
    }
}

impl<S> HealthService<S> {
    pub(super) const fn with(inner: S, health: Option<Health>, grpc: bool) -> Self {
        Self { inner, health, grpc }
    }
}

impl<S: Clone> Clone for HealthService<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.health.clone(), self.grpc)
    }
}

impl<S, B, R> Service<Request<B>> for HealthService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: http_body::Body,
    R: http_body::Body<Data = Bytes>,
{
    type Response = Response<HealthBody<R>>;
    type Error = S::Error;
    type Future = HealthFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Whoever asks for health does not wait for a service that is full.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let (Some(health), Some(target)) = (&self.health, target(request.uri().path())) {
            if self.grpc || matches!(target, Target::Probe(_)) {
                return HealthFuture::probe(health, request);
            }
        }
        HealthFuture::other(take(&mut self.inner), request)
    }
}

/// A service that has nothing. See [`HealthService::new`].
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct NotFound;

impl Clone for NotFound {
    fn clone(&self) -> Self {
        Self
    }
}

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(response))
    }
}
