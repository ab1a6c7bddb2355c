use std::time::Duration;

use tower_layer::Layer;

use super::{ReceiveDeadline, SendDeadline};
use crate::base::{Answer, Http, Plain, Problem, TimeoutHeader};

macro_rules! layer {
    (
        $(#[$doc:meta])* $layer:ident => $service:ident;
        $(#[$margin_doc:meta])* margin = $margin:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "a layer does nothing until it wraps a service"]
        pub struct $layer<M = Http> {
            // None: switched off.
            header: Option<TimeoutHeader>,
            margin: Duration,
            mode: M,
        }

        impl $layer {
            /// With this header, and the default margin.
            pub const fn new(header: TimeoutHeader) -> Self {
                Self { header: Some(header), margin: $margin, mode: Http }
            }
        }

        impl<M> $layer<M> {
            $(#[$margin_doc])*
            ///
            /// However long the margin, it takes a tenth of the time at most, so that a short deadline is not all margin.
            pub const fn margin(mut self, margin: Duration) -> Self {
                self.margin = margin;
                self
            }

            /// Refuse with a response, a [`Problem`], and leave the inner error type alone: for servers.
            pub fn answer(self) -> $layer<Answer<Problem>> {
                self.answer_with(Problem)
            }

            /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
            pub fn answer_with<R>(self, refuse: R) -> $layer<Answer<R>> {
                $layer { header: self.header, margin: self.margin, mode: Answer::with(refuse) }
            }

            /// Refuse with an error, whatever the type of the response.
            pub fn plain(self) -> $layer<Plain> {
                $layer { header: self.header, margin: self.margin, mode: Plain }
            }

            /// With `false`, switch the layer off; its type stays the same.
            pub fn when(mut self, on: bool) -> Self {
                if !on {
                    self.header = None;
                }
                self
            }
        }

        impl<S, M: Clone> Layer<S> for $layer<M> {
            type Service = $service<S, M>;

            fn layer(&self, inner: S) -> Self::Service {
                $service::with(inner, self.header.clone(), self.margin, self.mode.clone())
            }
        }
    };
}

layer! {
    /// Tells the next hop how much time is left: writes the [`Deadline`](crate::Deadline) in scope, less a margin, into
    /// a header of each request.
    ///
    /// Put it inside `retry`, so that each attempt says what is left then. Without a deadline in scope, and so in
    /// [`detached`](crate::base::deadline::detached) work, the request goes out as it is. A header that the caller wrote
    /// stays if it says less; a longer one, or one that nobody can read, is replaced. When the time is over, or too
    /// short for the header to say, nothing is sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::convert::Infallible;
    /// use std::time::Duration;
    /// use http::Request;
    /// use stonework::base::TimeoutHeader;
    /// use stonework::timeout::{SendDeadlineLayer, TimeoutLayer};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// let client = ServiceBuilder::new()
    ///     .layer(TimeoutLayer::new(Duration::from_millis(300)))
    ///     .layer(SendDeadlineLayer::new(TimeoutHeader::Grpc))
    ///     .service(service_fn(|request: Request<()>| async move {
    ///         Ok::<_, Infallible>(request.headers()["grpc-timeout"].clone())
    ///     }));
    /// assert_eq!(client.oneshot(Request::new(())).await.unwrap(), "290000u");
    /// # }
    /// ```
    ///
    /// *Errors:* an [`Error`](crate::Error) of kind `Timeout` that was not sent, when nothing is left; or whatever the
    /// inner service said. *Panics:* never of itself; it has no timer. *Cancellation:* dropping the response future drops
    /// the call inside. *Readiness and cloning:* it is ready when the inner service is, and keeps nothing of its own.
    SendDeadlineLayer => SendDeadline;

    /// Tell the next hop so much less than is left, since its answer has to get here before the time is over. Default:
    /// 10 ms, longer than a round trip within a region; between continents take more.
    margin = Duration::from_millis(10)
}

layer! {
    /// Answers before the caller gives up: reads how much time a request leaves, puts that
    /// [`Deadline`](crate::Deadline) in scope, and ends the call when it passes.
    ///
    /// A server's own maximum is a [`TimeoutLayer`](super::TimeoutLayer), outside or inside: whichever ends earlier
    /// counts, and one timer serves both. On a public edge there has to be one, since a caller can ask for years. A
    /// request without the header is passed on without a limit. One that leaves no time is refused before any work;
    /// one whose header cannot be read is refused too, by kind `Invalid`: 400, or `INVALID_ARGUMENT` to a gRPC call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use axum::{Router, body::Body, routing::get};
    /// use http::{HeaderName, Request};
    /// use stonework::base::TimeoutHeader;
    /// use stonework::timeout::{ReceiveDeadlineLayer, TimeoutLayer};
    /// use tower::ServiceExt;
    ///
    /// let header = TimeoutHeader::Millis(HeaderName::from_static("x-request-timeout-ms"));
    /// let app = Router::new()
    ///     .route("/", get(|| async { tokio::time::sleep(Duration::from_secs(1)).await }))
    ///     .layer(ReceiveDeadlineLayer::new(header).answer())
    ///     .layer(TimeoutLayer::new(Duration::from_secs(10)).answer());
    ///
    /// let request = Request::get("/").header("x-request-timeout-ms", "250").body(Body::empty()).unwrap();
    /// assert_eq!(app.oneshot(request).await.unwrap().status(), 504);
    /// # }
    /// ```
    ///
    /// *Errors:* an [`Error`](crate::Error) of kind `Timeout` or `Invalid`, or an answer in its place; or whatever the
    /// inner service said. *Panics:* when it has to wait outside a Tokio runtime with timers. *Cancellation:* dropping
    /// the response future drops the call inside. *Readiness and cloning:* it is always ready, and waits for the inner
    /// service inside the call, where the clock is running; a clone starts with nothing reserved.
    ReceiveDeadlineLayer => ReceiveDeadline;

    /// Answer so much earlier than the request says, so that the answer arrives in time. Default: none, since callers
    /// with a [`SendDeadlineLayer`] have already told less than they have. For callers that tell all of it, take what
    /// an answer needs for its way.
    margin = Duration::ZERO
}
