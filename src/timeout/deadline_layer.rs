use std::time::Duration;

use http::HeaderName;
use tower_layer::Layer;

use super::wire::Said;
use super::{ReceiveDeadline, SendDeadline};
use crate::base::{Answer, Http, Plain, Problem, TimeoutHeader, TrustedPeers};

macro_rules! layer {
    (
        $(#[$doc:meta])* $layer:ident => $service:ident;
        $(#[$margin_doc:meta])* margin = $margin:expr;
        $($more:ident: $type:ty = $none:expr),*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "a layer does nothing until it wraps a service"]
        pub struct $layer<M = Http> {
            // None: switched off.
            header: Option<Said>,
            margin: Duration,
            mode: M,
            $($more: $type,)*
        }

        impl $layer {
            /// With this header, and the default margin.
            pub const fn new(header: TimeoutHeader) -> Self {
                Self { header: Some(Said::new(header, false)), margin: $margin, mode: Http, $($more: $none,)* }
            }

            /// With `grpc-timeout` for calls of gRPC, and for all others whole milliseconds in a header of this name, such as
            /// [`TIMEOUT_MS`](crate::base::TIMEOUT_MS).
            pub const fn by_kind(name: HeaderName) -> Self {
                let header = Some(Said::new(TimeoutHeader::Millis(name), true));
                Self { header, margin: $margin, mode: Http, $($more: $none,)* }
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
                let Self { header, margin, mode: _, $($more,)* } = self;
                $layer { header, margin, mode: Answer::with(refuse), $($more,)* }
            }

            /// Refuse with an error, whatever the type of the response.
            pub fn plain(self) -> $layer<Plain> {
                let Self { header, margin, mode: _, $($more,)* } = self;
                $layer { header, margin, mode: Plain, $($more,)* }
            }

            /// With `false`, switch the layer off; its type stays the same.
            pub fn when(mut self, on: bool) -> Self {
                if !on {
                    self.header = None;
                    $(self.$more = $none;)*
                }
                self
            }
        }

        impl<S, M: Clone> Layer<S> for $layer<M> {
            type Service = $service<S, M>;

            fn layer(&self, inner: S) -> Self::Service {
                $service::with(inner, self.header.clone(), self.margin, self.mode.clone(), $(self.$more.clone()),*)
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
    /// short for the header to say, nothing is sent. A request that comes back unsent, in an [`Error`](crate::Error), says what its caller
    /// wrote.
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
    margin = Duration::from_millis(10);
}

layer! {
    /// Answers before the caller gives up: reads how much time a request leaves, puts that
    /// [`Deadline`](crate::Deadline) in scope, and ends the call when it passes.
    ///
    /// A server's own maximum is a [`TimeoutLayer`](super::TimeoutLayer), outside or inside: whichever ends earlier
    /// counts, and one timer serves both; or it is said [here](Self::at_most). On a public edge there has to be one, since a caller can ask for years. A
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
    margin = Duration::ZERO;
    at_most: Option<Duration> = None, believed: TrustedPeers = TrustedPeers::everybody()
}

impl<M> ReceiveDeadlineLayer<M> {
    /// Allow no more than this, whatever a request says, and also if it says nothing: a [`TimeoutLayer`](super::TimeoutLayer) and this one in
    /// one. Default: as much as a request says.
    pub const fn at_most(mut self, limit: Duration) -> Self {
        self.at_most = Some(limit);
        self
    }

    /// Read what these say, and ignore what others do. Default: everybody's, since with a limit of the server's own a caller can only shorten
    /// what it gets. Who is at the other end is a [`Peer`](crate::base::Peer) among the extensions of a request.
    ///
    /// As long as it is everybody's, a caller who gives less than a second may have any reason to: what is called within, and has not answered by
    /// then, is not blamed for it by circuits, balancers, throttles, adaptive limits and stores of quotas. Name the peers of your own, where
    /// their deadlines are that short and are to count.
    pub fn believe(mut self, peers: TrustedPeers) -> Self {
        self.believed = peers;
        self
    }

    /// Read nothing; what there is at most, remains.
    #[cfg(feature = "server")]
    pub(crate) fn reads(mut self, on: bool) -> Self {
        if !on {
            self.header = None;
        }
        self
    }
}
