use tower_layer::Layer;

use super::{RequestBodyLimit, ResponseBodyLimit};
use crate::base::{Answer, Http, Problem};

/// Limits the size of request bodies: for servers. See the [module](crate::limit).
///
/// With `.answer()` the refusal is a response, 413 in JSON or `RESOURCE_EXHAUSTED` to a gRPC call, and the inner error
/// type stays as it is. A body that turns out too large while the inner service reads it fails there, and if the inner
/// service then fails or complains (4xx, 5xx, a gRPC status in the head), that refusal is the answer all the same.
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequestBodyLimitLayer<M = Http> {
    cap: u64,
    mode: M,
}

impl RequestBodyLimitLayer {
    /// Allow so many bytes. There is no default: how large a body may be is the service's to know.
    pub const fn new(bytes: u64) -> Self {
        Self { cap: bytes, mode: Http }
    }
}

impl<M> RequestBodyLimitLayer<M> {
    /// Refuse with a response, a [`Problem`] with status 413: for servers.
    pub fn answer(self) -> RequestBodyLimitLayer<Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> RequestBodyLimitLayer<Answer<R>> {
        RequestBodyLimitLayer { cap: self.cap, mode: Answer::with(refuse) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.cap = u64::MAX;
        }
        self
    }
}

impl<S, M: Clone> Layer<S> for RequestBodyLimitLayer<M> {
    type Service = RequestBodyLimit<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestBodyLimit::with(inner, self.cap, self.mode.clone())
    }
}

/// Limits the size of response bodies: for clients, inside of `retry`. See the [module](crate::limit).
///
/// ```
/// use stonework::limit::ResponseBodyLimitLayer;
///
/// let layer = ResponseBodyLimitLayer::new(10 * 1024 * 1024);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ResponseBodyLimitLayer {
    cap: u64,
}

impl ResponseBodyLimitLayer {
    /// Allow so many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self { cap: bytes }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub const fn when(self, on: bool) -> Self {
        if on { self } else { Self::new(u64::MAX) }
    }
}

impl<S> Layer<S> for ResponseBodyLimitLayer {
    type Service = ResponseBodyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ResponseBodyLimit::new(inner, self.cap)
    }
}
