use tower_layer::Layer;

use super::{BodyLimits, RequestBodyTimeout, ResponseBodyTimeout};

macro_rules! layer {
    ($(#[$doc:meta])* $layer:ident => $service:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[must_use = "a layer does nothing until it wraps a service"]
        pub struct $layer {
            limits: BodyLimits,
        }

        impl $layer {
            /// With these limits.
            pub const fn new(limits: BodyLimits) -> Self {
                Self { limits }
            }

            /// With `false`, switch the layer off; its type stays the same.
            pub const fn when(self, on: bool) -> Self {
                if on { self } else { Self { limits: BodyLimits::none() } }
            }
        }

        impl<S> Layer<S> for $layer {
            type Service = $service<S>;

            fn layer(&self, inner: S) -> $service<S> {
                $service::new(inner, self.limits)
            }
        }
    };
}

layer! {
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
    ResponseBodyTimeoutLayer => ResponseBodyTimeout
}

layer! {
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
    RequestBodyTimeoutLayer => RequestBodyTimeout
}
