use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::RANGE;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::Asked;
use super::layer::Shared;
use super::{ResumeFuture, Resumed};
use crate::base::{BoxError, Call, take};

/// Resumes downloads that break off. See [`ResumeLayer`](super::ResumeLayer).
#[derive(Debug)]
pub struct Resume<S> {
    inner: S,
    /// Nothing, if it is switched off.
    shared: Option<Arc<Shared>>,
}

impl<S> Resume<S> {
    pub(super) const fn with(inner: S, shared: Option<Arc<Shared>>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone> Clone for Resume<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.shared.clone())
    }
}

impl<S, ReqB, B> Service<Request<ReqB>> for Resume<S>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    ReqB: Body + Default,
    B: Body<Error: Into<BoxError>>,
{
    type Response = Response<Resumed<S, ReqB, B>>;
    type Error = S::Error;
    type Future = ResumeFuture<S, ReqB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let Some(shared) = self.shared.as_ref().filter(|_| may_be_resumed(&request)) else {
            return ResumeFuture::new(self.inner.call(request), None);
        };
        if shared.deposits {
            shared.budget.deposit();
        }
        let head = copy(&request, ());
        let shared = Arc::clone(shared);
        // The service that was made ready is called; it asks for the rest too, once it is ready again.
        let mut service = take(&mut self.inner);
        let answer = service.call(request);
        ResumeFuture::new(answer, Some(Asked { service, head, shared }))
    }
}

fn may_be_resumed<B: Body>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && !request.headers().contains_key(RANGE)
        && request.body().is_end_stream()
        // Further requests would exceed what it allows, and nobody here knows by how much.
        && Call::of(request.extensions()).max_attempts().is_none()
}

/// The same head with this body.
pub(super) fn copy<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
