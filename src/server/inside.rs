//! What stands between the limits of a server and its service, where there is any of it. It is put there by setters whose types are not
//! known here, so it is behind boxes; without it there are none.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use pin_project::pin_project;
use tower::ServiceExt;
use tower::util::BoxCloneService;
use tower_layer::Layer;
use tower_service::Service;

use super::bounds::{Sent, Served};
use crate::Body;
use crate::base::BoxError;
use crate::limit::{LimitedBody, RequestBodyLimitLayer};

/// A service that has forgotten its type.
pub(super) type Boxed = BoxCloneService<Request<Body>, Response<Body>, BoxError>;
type Wrap = dyn Fn(Boxed) -> Boxed + Send + Sync;

/// Where a layer stands, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    BodySize,
    Tokens,
    PrincipalRate,
    #[cfg_attr(not(feature = "idempotency"), expect(dead_code, reason = "of one feature"))]
    Idempotency,
}

/// The layers that there are, in their order.
#[derive(Clone, Default)]
pub(super) struct Inside {
    layers: Vec<(Place, String, Arc<Wrap>)>,
}

impl Inside {
    /// Put a layer into its place, in place of what may stand there.
    pub(super) fn put<L, B>(&mut self, place: Place, told: String, layer: L)
    where
        L: Layer<Boxed, Service: Served<B, Error = BoxError>> + Send + Sync + 'static,
        B: Sent,
    {
        self.put_wrap(place, told, Arc::new(move |inner| boxed(layer.layer(inner))));
    }

    fn put_wrap(&mut self, place: Place, told: String, wrap: Arc<Wrap>) {
        self.layers.retain(|(other, ..)| *other != place);
        self.layers.push((place, told, wrap));
        self.layers.sort_by_key(|(place, ..)| *place);
    }

    pub(super) fn limit_bodies(&mut self, bytes: u64) {
        let layer = RequestBodyLimitLayer::new(bytes).answer();
        let wrap = move |inner: Boxed| {
            let bare = |request: Request<LimitedBody<Body>>| request.map(Body::new);
            boxed(layer.layer(inner.map_request(bare)))
        };
        self.put_wrap(Place::BodySize, format!("request size: up to {bytes} bytes"), Arc::new(wrap));
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.layers.iter().any(|(other, ..)| *other == place)
    }

    /// A line for each.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(_, told, _)| told.as_str())
    }

    pub(super) fn around<S, B>(&self, service: S) -> Within<S>
    where
        S: Served<B>,
        B: Sent,
    {
        if self.layers.is_empty() {
            return Within::Bare(service);
        }
        Within::Wrapped(self.layers.iter().rev().fold(boxed(service), |inner, (_, _, wrap)| wrap(inner)))
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.told()).finish()
    }
}

fn boxed<S, B>(service: S) -> Boxed
where
    S: Served<B>,
    B: Sent,
{
    let service = service.map_response(|response: Response<B>| response.map(Body::new));
    BoxCloneService::new(service.map_err(Into::into))
}

/// A service as it is, or with layers around it.
pub(super) enum Within<S> {
    Bare(S),
    Wrapped(Boxed),
}

impl<S: Clone> Clone for Within<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Bare(service) => Self::Bare(service.clone()),
            Self::Wrapped(service) => Self::Wrapped(service.clone()),
        }
    }
}

impl<S, B> Service<Request<Body>> for Within<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>>,
{
    type Response = Response<WithinBody<B>>;
    type Error = BoxError;
    type Future = WithinFuture<S::Future, <Boxed as Service<Request<Body>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Bare(service) => service.poll_ready(cx).map_err(Into::into),
            Self::Wrapped(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Bare(service) => WithinFuture::Bare(service.call(request)),
            Self::Wrapped(service) => WithinFuture::Wrapped(service.call(request)),
        }
    }
}

#[pin_project(project = FutureProjection)]
pub(super) enum WithinFuture<F, W> {
    Bare(#[pin] F),
    Wrapped(#[pin] W),
}

impl<F, W, B, E> Future for WithinFuture<F, W>
where
    F: Future<Output = Result<Response<B>, E>>,
    W: Future<Output = Result<Response<Body>, BoxError>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<WithinBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProjection::Bare(answer) => {
                answer.poll(cx).map_ok(|response| response.map(WithinBody::Bare)).map_err(Into::into)
            }
            FutureProjection::Wrapped(answer) => {
                answer.poll(cx).map_ok(|response| response.map(WithinBody::Wrapped))
            }
        }
    }
}

#[pin_project(project = BodyProjection)]
pub(super) enum WithinBody<B> {
    Bare(#[pin] B),
    Wrapped(#[pin] Body),
}

impl<B> http_body::Body for WithinBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            BodyProjection::Bare(body) => body.poll_frame(cx).map_err(Into::into),
            BodyProjection::Wrapped(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bare(body) => body.is_end_stream(),
            Self::Wrapped(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bare(body) => body.size_hint(),
            Self::Wrapped(body) => body.size_hint(),
        }
    }
}
