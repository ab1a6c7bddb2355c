use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::Received;
use super::parts::{Log, Naming, Parts, Tracing};
use crate::base::{Ratio, Rng, TrustedPeers, X_REQUEST_ID};

/// Gives each request a [`RequestId`](crate::base::RequestId): as an extension, in scope for the clients that its handler uses, in the response as
/// `x-request-id`, and in what the layers of this module say of it. Put it outermost.
///
/// An identifier that comes with a request is taken over from those who are [trusted](Self::accept_from), if it is valid; else a new one is
/// made of 128 random bits, which also stands in the request's own header in place of what was not taken over. Clients could otherwise make a
/// thousand requests look like one, or like somebody else's, here or wherever a handler passes the head on to.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use stonework::Body;
/// use stonework::base::{RequestId, TrustedPeers};
/// use stonework::observe::RequestIdLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let handler = service_fn(|request: Request<Body>| async move {
///     let id = RequestId::of(request.extensions()).unwrap();
///     Ok::<_, Infallible>(Response::new(Body::from(id.to_string())))
/// });
/// let service = RequestIdLayer::new().accept_from(TrustedPeers::everybody()).layer(handler);
/// let request = Request::get("/").header("x-request-id", "order-42").body(Body::empty()).unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap().headers()["x-request-id"], "order-42");
/// # }
/// ```
///
/// *Errors, panics, readiness and cloning:* those of the inner service. *Cancellation:* dropping the future drops the call inside.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequestIdLayer {
    // Nothing, if the layer is off.
    naming: Option<Naming>,
}

impl RequestIdLayer {
    /// Make one for each request, whatever it says.
    pub fn new() -> Self {
        let (accept_from, rng) = (TrustedPeers::nobody(), Rng::from_entropy());
        Self { naming: Some(Naming { accept_from, header: X_REQUEST_ID, rng }) }
    }

    /// Take over what these say. Default: nobody. Who is at the other end is a [`Peer`](crate::base::Peer) among the extensions, which the
    /// server of this crate puts there; elsewhere only [`everybody`](TrustedPeers::everybody) has an effect.
    pub fn accept_from(self, peers: TrustedPeers) -> Self {
        self.change(|naming| naming.accept_from = peers)
    }

    /// Read and write it in this header. Default: `x-request-id`.
    pub fn header(self, name: HeaderName) -> Self {
        self.change(|naming| naming.header = name)
    }

    /// Draw new ones from here. Default: seeded by the operating system.
    pub fn rng(self, rng: Rng) -> Self {
        self.change(|naming| naming.rng = rng)
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.naming = None;
        }
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Naming)) -> Self {
        self.naming.as_mut().map(change);
        self
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = Received<S>;

    fn layer(&self, inner: S) -> Received<S> {
        let parts = |naming: &Naming| Parts { request_id: Some(naming.clone()), ..Parts::default() };
        Received::with(inner, self.naming.as_ref().map(parts).map(Arc::new))
    }
}

/// Gives each request its place in a trace, a [`TraceContext`](crate::base::TraceContext): as an extension, in scope for the clients that its
/// handler uses, and in what the layers of this module say of it. What a request says ([W3C Trace Context](https://www.w3.org/TR/trace-context-2/))
/// is taken over, with a span identifier of its own; where it says nothing, or nothing that can be read, a trace begins. A `traceparent` that
/// was not taken over is replaced in the request itself.
///
/// It needs no tracing system, and none has to know of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use stonework::Body;
/// use stonework::base::TraceContext;
/// use stonework::observe::TraceLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let handler = service_fn(|_: Request<Body>| async {
///     let trace = TraceContext::current().unwrap();
///     Ok::<_, Infallible>(Response::new(Body::from(trace.trace_id().to_string())))
/// });
/// let request = Request::get("/")
///     .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
///     .body(Body::empty())
///     .unwrap();
/// let answer = TraceLayer::new().layer(handler).oneshot(request).await.unwrap().into_body();
/// let told = http_body_util::BodyExt::collect(answer).await.unwrap().to_bytes();
/// assert_eq!(told, "4bf92f3577b34da6a3ce929d0e0e4736");
/// # }
/// ```
///
/// *Errors, panics, readiness and cloning:* those of the inner service. *Cancellation:* dropping the future drops the call inside.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct TraceLayer {
    // Nothing, if the layer is off.
    tracing: Option<Tracing>,
}

impl TraceLayer {
    /// Take over what everybody says, and have every trace that begins here recorded.
    pub fn new() -> Self {
        let (accept_from, rng) = (TrustedPeers::everybody(), Rng::from_entropy());
        Self { tracing: Some(Tracing { accept_from, sample: Ratio::ONE, rng }) }
    }

    /// Take over what these say, and begin a trace for others. Default: everybody. On a public edge a client could have everything that it
    /// asks for recorded.
    pub fn accept_from(self, peers: TrustedPeers) -> Self {
        self.change(|tracing| tracing.accept_from = peers)
    }

    /// Say of so many of the traces that begin here that they are recorded. Default: all.
    pub fn sample(self, ratio: Ratio) -> Self {
        self.change(|tracing| tracing.sample = ratio)
    }

    /// Draw identifiers from here. Default: seeded by the operating system.
    pub fn rng(self, rng: Rng) -> Self {
        self.change(|tracing| tracing.rng = rng)
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.tracing = None;
        }
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Tracing)) -> Self {
        self.tracing.as_mut().map(change);
        self
    }
}

impl Default for TraceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Received<S>;

    fn layer(&self, inner: S) -> Received<S> {
        let parts = |tracing: &Tracing| Parts { trace: Some(tracing.clone()), ..Parts::default() };
        Received::with(inner, self.tracing.as_ref().map(parts).map(Arc::new))
    }
}

/// A layer that says what became of each request.
macro_rules! layer {
    (
        $(#[$doc:meta])* $layer:ident { $($field:ident: $type:ty = $default:expr)? };
        $parts:expr
    ) => {
        $(#[$doc])*
        ///
        /// *Errors, panics, readiness and cloning:* those of the inner service. *Cancellation:* dropping the future drops the call inside, and
        /// says that it was aborted.
        #[derive(Clone, Copy, Debug)]
        #[must_use = "a layer does nothing until it wraps a service"]
        pub struct $layer {
            on: bool,
            $($field: $type,)?
        }

        impl $layer {
            /// With the defaults.
            pub const fn new() -> Self {
                Self { on: true, $($field: $default)? }
            }

            /// With `false`, switch the layer off; its type stays the same.
            pub const fn when(mut self, on: bool) -> Self {
                self.on &= on;
                self
            }
        }

        impl Default for $layer {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<S> Layer<S> for $layer {
            type Service = Received<S>;

            fn layer(&self, inner: S) -> Received<S> {
                let parts: fn(&Self) -> Parts = $parts;
                Received::with(inner, self.on.then(|| Arc::new(parts(self))))
            }
        }
    };
}

layer! {
    /// Writes a line for each request, to [`tracing`] at the level `INFO`, with the target `stonework::access`, when its answer is over.
    ///
    /// | field | value |
    /// |---|---|
    /// | `http.request.method` | the method, `_OTHER` if it is not a standard one |
    /// | `http.route` | the [route](crate::base::Route), if it is known |
    /// | `url.path` | only if it was [asked for](Self::paths) |
    /// | `url.scheme`, `network.protocol.version` | as far as they are known |
    /// | `client.address` | the [address](crate::base::ClientAddress) of the client, if it is known |
    /// | `http.request.body.size` | as many bytes as the request says that its body has |
    /// | `http.response.status_code` | the status, if there was an answer |
    /// | `http.response.body.size` | as many bytes of the body as were handed on |
    /// | `rpc.grpc.status` | the name of the status, of a call of gRPC |
    /// | `error.type` | a status of 500 and more; a status of gRPC that says the same; the [`Kind`](crate::base::Kind) of an error, or its type; `panic`, `body`, `aborted` |
    /// | `duration` | in seconds, to the end of the answer |
    /// | `ended` | `complete`; `aborted`, if the client left before the end; `failed`, if the service or its body did |
    /// | `request_id`, `trace_id`, `span_id` | what it is called, below a [`RequestIdLayer`] and a [`TraceLayer`] |
    ///
    /// There is never a query, a header or a part of a body among them.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use stonework::observe::{AccessLogLayer, RequestIdLayer, RouteLayer};
    ///
    /// let router: Router = Router::new()
    ///     .route("/users/{id}", get(|| async { "hello" }))
    ///     .layer(RouteLayer::matched())
    ///     .layer(AccessLogLayer::new())
    ///     .layer(RequestIdLayer::new());
    /// # let _ = router;
    /// ```
    AccessLogLayer { paths: bool = false };
    |layer| Parts { log: Some(Log { paths: layer.paths }), ..Parts::default() }
}

impl AccessLogLayer {
    /// Write down paths, too. Default: they are not, since what stands in a path may be a secret: a token for a password, a name.
    pub const fn paths(mut self) -> Self {
        self.paths = true;
        self
    }
}

layer! {
    /// Opens a span of [`tracing`] for each request, `request`, which ends with its answer. Its target is `stonework`, its level `DEBUG`, and its
    /// fields are those of the [`AccessLogLayer`], as far as they are of OpenTelemetry's conventions for HTTP servers.
    ///
    /// ```
    /// use stonework::observe::RequestSpanLayer;
    ///
    /// let layer = RequestSpanLayer::new();
    /// # let _ = layer;
    /// ```
    RequestSpanLayer { };
    |_| Parts { span: true, ..Parts::default() }
}

#[cfg(feature = "metrics")]
layer! {
    /// Counts requests with the [`metrics`](https://docs.rs/metrics) facade, by the names of OpenTelemetry's conventions for HTTP servers.
    ///
    /// | metric | kind | labels |
    /// |---|---|---|
    /// | `http.server.request.duration` | histogram, in seconds, to the end of the answer | all |
    /// | `http.server.active_requests` | gauge | `http.request.method`, `url.scheme` |
    /// | `http.server.request.body.size` | histogram, in bytes, of requests that say it | all |
    /// | `http.server.response.body.size` | histogram, in bytes | all |
    ///
    /// | label | values |
    /// |---|---|
    /// | `http.request.method` | the method, `_OTHER` if it is not a standard one |
    /// | `url.scheme`, `network.protocol.version` | as far as they are known |
    /// | `http.route` | the [route](crate::base::Route), if it is known; never a path |
    /// | `http.response.status_code` | the status, if there was an answer |
    /// | `rpc.grpc.status_code` | the number of the status, of a call of gRPC |
    /// | `error.type` | as in the [`AccessLogLayer`] |
    ///
    /// So whatever clients send, there are as many values as the service has routes and statuses.
    ///
    /// ```
    /// use stonework::observe::ServerMetricsLayer;
    ///
    /// let layer = ServerMetricsLayer::new();
    /// # let _ = layer;
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    ServerMetricsLayer { };
    |_| Parts { metrics: true, ..Parts::default() }
}

#[cfg(feature = "metrics")]
impl ServerMetricsLayer {
    /// Tell the recorder that the program has installed in which units these are, and what they say. Once is enough.
    ///
    /// ```
    /// use stonework::observe::ServerMetricsLayer;
    ///
    /// // Once the program has installed its recorder.
    /// ServerMetricsLayer::describe();
    /// ```
    pub fn describe() {
        super::metrics::describe();
    }
}
