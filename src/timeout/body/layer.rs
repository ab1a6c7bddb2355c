use tower_layer::Layer;

use super::{BodyLimits, RequestBodyTimeout, ResponseBodyTimeout};

/// Limits the time that response bodies take: for clients, inside of `retry` and of the limit on an attempt, right
/// above the transport.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body::Frame;
/// use http_body_util::{BodyExt, Channel};
/// use stonework::timeout::{BodyLimits, ResponseBodyTimeoutLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let (mut sender, body) = Channel::<Bytes>::new(1);
/// let body = std::cell::RefCell::new(Some(body));
/// let silent = service_fn(|_: Request<()>| {
///     let body = body.borrow_mut().take().expect("one call");
///     async { Ok::<_, std::io::Error>(Response::new(body)) }
/// });
/// let layer = ResponseBodyTimeoutLayer::new(BodyLimits::new().idle(Duration::from_secs(5)));
/// let response = layer.layer(silent).oneshot(Request::new(())).await.unwrap();
///
/// sender.send_data(Bytes::from("half of it, and then nothing")).await.unwrap();
/// let error = response.into_body().collect().await.unwrap_err();
/// assert_eq!(stonework::Error::wrap(error).cause::<stonework::base::Elapsed>().unwrap().to_string(), "no data within 5s");
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ResponseBodyTimeoutLayer {
    limits: BodyLimits,
    answers: bool,
}

impl ResponseBodyTimeoutLayer {
    /// With these limits.
    pub const fn new(limits: BodyLimits) -> Self {
        Self { limits, answers: false }
    }

    /// For servers: a stream of gRPC that has taken too long ends with `DEADLINE_EXCEEDED` in its trailers, and not with an
    /// error, of which its client would learn no more than that the stream was reset. Any other body ends with an error as before.
    pub const fn answer(mut self) -> Self {
        self.answers = true;
        self
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub const fn when(self, on: bool) -> Self {
        if on { self } else { Self { limits: BodyLimits::none(), answers: self.answers } }
    }
}

impl<S> Layer<S> for ResponseBodyTimeoutLayer {
    type Service = ResponseBodyTimeout<S>;

    fn layer(&self, inner: S) -> ResponseBodyTimeout<S> {
        let service = ResponseBodyTimeout::new(inner, self.limits);
        if self.answers { service.answer() } else { service }
    }
}

/// Limits the time that request bodies take: for servers, so that nobody holds a handler by sending a byte now and
/// then. The body that the inner service reads fails; what it answers to that is its own affair.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use stonework::timeout::{BodyLimits, RequestBodyTimeoutLayer};
///
/// let limits = BodyLimits::new().idle(Duration::from_secs(10)).total(Duration::from_secs(120));
/// let app: Router = Router::new()
///     .route("/", post(|body: String| async move { body }))
///     .layer(RequestBodyTimeoutLayer::new(limits));
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequestBodyTimeoutLayer {
    limits: BodyLimits,
}

impl RequestBodyTimeoutLayer {
    /// With these limits.
    pub const fn new(limits: BodyLimits) -> Self {
        Self { limits }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub const fn when(self, on: bool) -> Self {
        if on { self } else { Self { limits: BodyLimits::none() } }
    }
}

impl<S> Layer<S> for RequestBodyTimeoutLayer {
    type Service = RequestBodyTimeout<S>;

    fn layer(&self, inner: S) -> RequestBodyTimeout<S> {
        RequestBodyTimeout::new(inner, self.limits)
    }
}
