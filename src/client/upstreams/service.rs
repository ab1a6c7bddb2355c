use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::ServiceExt;
use tower_service::Service;

use super::Endpoint;
use crate::balance::{BalancerService, NotSticky};
use crate::base::body::Body;
use crate::base::{Error, Origin};
use crate::client::ResponseFuture;
use crate::client::builder::Judge;
use crate::client::service::Guarded;

/// One of the services that have several endpoints.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) origin: Origin,
    pub(super) service: BalancerService<Endpoint, NotSticky, Judge>,
}

/// Sends what goes to one of these services to one of its endpoints, and all else to the host that it names.
pub(in crate::client) struct ToUpstreams {
    pub(super) routes: Arc<[Route]>,
    pub(super) others: Guarded,
}

impl Clone for ToUpstreams {
    fn clone(&self) -> Self {
        Self { routes: Arc::clone(&self.routes), others: self.others.clone() }
    }
}

impl Service<Request<Body>> for ToUpstreams {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A balancer waits within its calls.
        self.others.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let Some(route) = self.routes.iter().find(|route| route.origin.has(request.uri())) else {
            return ResponseFuture::of(self.others.call(request));
        };
        let call = route.service.clone().oneshot(request);
        ResponseFuture::of(async move { Ok(call.await?.map(Body::new)) })
    }
}
