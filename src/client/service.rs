use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Uri};
use tower::util::Either;
use tower_service::Service;

use super::auth::Auth;
use super::builder::Judge;
use super::instead::Boxed;
use super::limits::{Limited, Limits};
use super::redirect::Redirect;
use super::restraint::Restraint;
use super::stacks::{InLanes, Stacks};
use super::transport::Transport;
use super::unified::Unified;
use super::{ClientBuilder, ClientSettings, ConnectionStats, RequestBuilder, Response, explain};
use crate::base::body::Body;
use crate::base::{BoxError, ByHost, Error, HostPort, WallClock};
use crate::breaker::{Breakers, BreakersService};
use crate::exchange::{InvalidRequest, sendable};
use crate::hedge::{Hedge, HedgeService};
use crate::observe::{Propagate, Spanned};
use crate::retry::{Collect, Resume, Retry};
use crate::timeout::{AttemptTimeout, ResponseBodyTimeout, SendDeadline, Timeout};

/// Outermost, so that all below, what resumes a download among it, deals with the bytes that were sent.
#[cfg(feature = "decompression")]
pub(super) type Stack = super::decode::Decode<Resuming>;
#[cfg(not(feature = "decompression"))]
pub(super) type Stack = Resuming;
pub(super) type Resuming = Unified<Resume<Spans>>;
type Spans = Propagate<Spanned<Timeout<Either<Boxed, Calls>>>>;
pub(super) type Calls = Redirect<Either<Retry<Attempts, Judge>, Attempts>>;
/// Cheap to copy, since a retry keeps a copy for each call that it may have to repeat.
type Attempts = InLanes<Either<HedgeService<Attempt, Judge>, Attempt>>;
type Attempt = Propagate<Spanned<Either<Boxed, Timed>>>;
pub(super) type Timed = AttemptTimeout<SendDeadline<Unified<Collect<Either<Boxed, Balanced>>>>>;
#[cfg(feature = "balance")]
pub(super) type Balanced = Either<super::upstreams::ToUpstreams, Guarded>;
#[cfg(not(feature = "balance"))]
pub(super) type Balanced = Guarded;
pub(super) type Guarded<K = ByHost> = Unified<BreakersService<Wire<K>, HostPort, K, Judge>>;
type Wire<K> = Unified<Limited<ResponseBodyTimeout<Transport>, K>>;

/// An HTTP client: a pool of connections below, and above it what keeps a call safe and on time. See the
/// [module](super).
///
/// It is a handle: clones are cheap and share the connections and the retry budget. It is also a
/// [`Service`], always ready, of requests with any body that is `Send`: for layers of one's own above it, and for clients that are
/// generated, such as tonic's.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use stonework::client::Client;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
/// # let server = stonework::testing::ScriptedServer::start(|_| stonework::testing::respond(200)).await;
/// let service = ServiceBuilder::new().concurrency_limit(10).service(Client::new());
/// let request = Request::post(server.uri("/")).body(Full::new(Bytes::from("content"))).unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
/// # Ok(()) }
/// ```
///
/// A call may go on in another thread than it began in, so a body that cannot go there cannot be sent:
///
/// ```compile_fail,E0277
/// # use http::Request;
/// # use stonework::client::Client;
/// # use tower::Service;
/// # #[derive(Default)] struct Shared(std::rc::Rc<str>);
/// # impl http_body::Body for Shared {
/// #     type Data = bytes::Bytes;
/// #     type Error = std::io::Error;
/// #     fn poll_frame(
/// #         self: std::pin::Pin<&mut Self>,
/// #         _: &mut std::task::Context<'_>,
/// #     ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>> {
/// #         std::task::Poll::Ready(None)
/// #     }
/// # }
/// // There is an `Rc` in it.
/// let call = Client::new().call(Request::new(Shared::default()));
/// ```
///
/// With an `Arc` it can, whether or not it is `Sync`:
///
/// ```
/// # use http::Request;
/// # use stonework::client::Client;
/// # use tower::Service;
/// # #[derive(Default)] struct Shared(std::sync::Arc<str>, std::cell::Cell<u8>);
/// # impl http_body::Body for Shared {
/// #     type Data = bytes::Bytes;
/// #     type Error = std::io::Error;
/// #     fn poll_frame(
/// #         self: std::pin::Pin<&mut Self>,
/// #         _: &mut std::task::Context<'_>,
/// #     ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>> {
/// #         std::task::Poll::Ready(None)
/// #     }
/// # }
/// let call = Client::new().call(Request::new(Shared::default()));
/// # drop(call);
/// ```
pub struct Client {
    pub(super) shared: Arc<Shared>,
}

/// What all clones of a client share.
pub(super) struct Shared {
    layers: Box<dyn Layers>,
    pub(super) parts: Parts,
}

/// The layers of a client, whose type is long: whoever asks whether a client is [`Send`] need not look through it.
trait Layers: Send + Sync {
    fn call(&self, request: Request<Body>) -> ResponseFuture;
}

impl Layers for Stacks<Stack> {
    fn call(&self, request: Request<Body>) -> ResponseFuture {
        self.with(|stack| ResponseFuture::of(stack.call(request)))
    }
}

/// What a client consists of, beside its layers.
pub(super) struct Parts {
    pub(super) settings: ClientSettings,
    pub(super) auth: Auth,
    pub(super) breakers: Option<Breakers>,
    pub(super) shares_breakers: bool,
    pub(super) hedge: Option<Hedge>,
    pub(super) shared_budget: bool,
    /// What is asked when a call has failed, in words.
    pub(super) fallback: Option<&'static str>,
    pub(super) limits: Limits,
    pub(super) restraint: Restraint,
    pub(super) transport: Transport,
    #[cfg(feature = "balance")]
    pub(super) upstreams: super::upstreams::Upstreams,
    pub(super) wall: WallClock,
}

impl Client {
    /// A client with the defaults: see [`ClientSettings`].
    #[must_use]
    pub fn new() -> Self {
        ClientBuilder::new().assemble().expect("the defaults fit together")
    }

    /// A client with settings of one's own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(super) fn of(stack: Stack, parts: Parts) -> Self {
        Self { shared: Arc::new(Shared { layers: Box::new(Stacks::new(stack)), parts }) }
    }

    /// How many connections there are, over all hosts and clones, at this moment.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// let stats = Client::new().connections();
    /// assert_eq!((stats.open, stats.idle, stats.waiting), (0, 0, 0));
    /// ```
    #[must_use]
    pub fn connections(&self) -> ConnectionStats {
        self.shared.parts.transport.stats()
    }

    /// What a request passes through, one line a layer, outermost first, with the settings in force.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::client::{Client, ClientSettings};
    ///
    /// let settings = ClientSettings::new().deadline(Duration::from_secs(8)).without_retry().without_breaker();
    /// let client = Client::builder().settings(settings).build()?;
    /// assert!(client.explain().starts_with(
    ///     "deadline: 8s for the whole call, until its answer begins\n\
    ///      redirects: up to 10\n\
    ///      retry: off\n\
    ///      names: request id and trace are passed on\n\
    ///      attempt timeout: 8s (10s, cut to the deadline)\n\
    ///      time left: told in stonework-timeout-ms, by gRPC in grpc-timeout\n\
    ///      collect: only where a request asks\n\
    ///      breaker: off\n\
    ///      response body: 30s of silence\n\
    ///      transport: HTTP/2 where a host over TLS chooses it, else HTTP/1.1; 5s to connect; up to 100 connections per host"
    /// ));
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        explain::stack(&self.shared.parts)
    }

    /// The circuits by host and port, unless they are switched off: to see their states, or to force one open.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// let client = Client::new();
    /// let open = client.breakers().map(|breakers| breakers.states());
    /// assert!(open.is_some_and(|open| open.is_empty()));
    /// ```
    #[must_use]
    pub fn breakers(&self) -> Option<&Breakers> {
        self.shared.parts.breakers.as_ref()
    }

    /// What is known of how long attempts take, if requests may be sent [twice](ClientSettings::hedge) for that.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// assert!(Client::new().hedge().is_none());
    /// ```
    #[must_use]
    pub fn hedge(&self) -> Option<&Hedge> {
        self.shared.parts.hedge.as_ref()
    }

    /// Begin a GET request.
    pub fn get<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::GET, uri)
    }

    /// Begin a HEAD request.
    pub fn head<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::HEAD, uri)
    }

    /// Begin a POST request. It is not sent twice once it may have been received, unless it has an
    /// [idempotency key](RequestBuilder::keyed).
    pub fn post<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::POST, uri)
    }

    /// Begin a PUT request.
    pub fn put<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::PUT, uri)
    }

    /// Begin a PATCH request. What is said of [`post`](Self::post) holds for it too.
    pub fn patch<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::PATCH, uri)
    }

    /// Begin a DELETE request.
    pub fn delete<U: TryInto<Uri>>(&self, uri: U) -> RequestBuilder {
        self.request(Method::DELETE, uri)
    }

    /// Begin a request with any method but CONNECT.
    pub fn request<U: TryInto<Uri>>(&self, method: Method, uri: U) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, uri.try_into().ok())
    }

    /// Send a request made elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
    /// # let server = stonework::testing::ScriptedServer::start(|_| stonework::testing::respond(200)).await;
    /// # let client = stonework::client::Client::new();
    /// let request = http::Request::options(server.uri("/")).body("").unwrap();
    /// assert_eq!(client.send(request).await?.status(), 200);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for the [module](super): the [`Error`] says what went wrong, how far the request got, and how many attempts
    /// were made. A response is not an error, whatever its status.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the attempt, and closes its connection.
    pub async fn send<B: Into<Body>>(&self, request: Request<B>) -> Result<Response, Error> {
        let answer = self.begin(request.map(Into::into)).await?;
        Ok(self.response(answer))
    }

    pub(super) fn response(&self, answer: http::Response<Body>) -> Response {
        Response::new(answer, self.shared.parts.settings.max_response_body, self.shared.parts.wall.clone())
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.parts.settings).finish_non_exhaustive()
    }
}

/// With any body: `Send` is enough, and one that is a [`Body`] already is not boxed again.
impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // The outermost layer is always ready: the wait for anything is part of the call, where its clock is running.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        // Nothing below depends on the type of the body.
        self.begin(request.map(Body::new))
    }
}

impl Client {
    pub(super) fn begin(&self, request: Request<Body>) -> ResponseFuture {
        // Before the stack: what cannot be sent is no attempt, and costs no budget.
        match check(&request) {
            Ok(()) => self.shared.layers.call(request),
            Err(invalid) => ResponseFuture::of(ready(Err(invalid.into()))),
        }
    }
}

/// Whether the transport can send this.
pub(super) fn check(request: &Request<Body>) -> Result<(), InvalidRequest> {
    sendable(request, cfg!(feature = "tls"))
}

/// A call of a [`Client`], with all its attempts.
///
/// Dropping it drops the attempt that is under way, and closes its connection.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<http::Response<Body>, Error>> + Send>>);

impl ResponseFuture {
    pub(super) fn of(
        call: impl Future<Output = Result<http::Response<Body>, Error>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(call))
    }
}

impl Future for ResponseFuture {
    type Output = Result<http::Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
