//! Three ways to write the layer that look right, and are not. Each says with a type what the bug is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use tower::{Service, ServiceExt};

use crate::sign::signed;

type Answer<S, B> = Pin<
    Box<
        dyn Future<Output = Result<<S as Service<Request<B>>>::Response, <S as Service<Request<B>>>::Error>>
            + Send,
    >,
>;

/// Makes one ready, and calls another.
#[derive(Clone)]
pub(crate) struct CallsClone<S>(pub(crate) S);

/// Is always ready, so it says, and calls one that was not asked.
#[derive(Clone)]
pub(crate) struct NeverAsks<S>(pub(crate) S);

/// Makes one ready, which takes a place, and then waits with a clone for another place.
#[derive(Clone)]
pub(crate) struct ForgetsReady<S>(pub(crate) S);

impl<S, B> Service<Request<B>> for CallsClone<S>
where
    S: Service<Request<B>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move { inner.call(signed(request).await).await })
    }
}

impl<S, B> Service<Request<B>> for NeverAsks<S>
where
    S: Service<Request<B>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.0.clone();
        let mut inner = std::mem::replace(&mut self.0, clone);
        Box::pin(async move { inner.call(signed(request).await).await })
    }
}

impl<S, B> Service<Request<B>> for ForgetsReady<S>
where
    S: Service<Request<B>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.oneshot(signed(request).await).await })
    }
}
