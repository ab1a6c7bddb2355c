//! What is compared: one row for each layer or stack, over a service that does nothing.

use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use stonework::Call;
use stonework::base::ClientAuth;
use stonework::base::body::Replay;
use stonework::oauth::{BearerLayer, TokenSource};
use stonework::retry::RetryLayer;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::measure::{Calls, Subject, YieldOnce};
use crate::threads::Make;

pub(crate) type Content = Full<Bytes>;

/// Long enough that no limit is ever met.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Who made what a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The call that the rows below it are compared with.
    Bare,
    /// What copying the request costs, which whoever may repeat it has to do.
    Copy,
    Peer,
    /// Ours, which only guards and needs no memory.
    Guard,
    /// Ours, which keeps a copy of the request.
    Keeper,
    /// Our breaker, which may cost so much over the bare call.
    Breaker {
        nanos: u32,
    },
    /// Our balancer, which needs no memory, and not much more time for many endpoints than for few.
    Balance,
    /// Our limit, which needs no memory, and may cost so much over the bare call, if that is said.
    Limit {
        nanos: Option<u32>,
    },
    /// Our verifier of tokens, which may cost so much over the bare call, if that is said.
    Token {
        nanos: Option<u32>,
        allocations: Option<u32>,
    },
    /// Our pool, which is compared with the least that one can be.
    Pool,
    /// Our limit, which says in fields how things stand.
    Fields,
    /// Ours, which is held to nothing.
    Free,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) head: &'static str,
    pub(crate) kind: Kind,
    /// The row of tower's that does the same.
    pub(crate) peer: Option<&'static str>,
    pub(crate) subject: Box<dyn Subject>,
    /// The same for each of two threads, where it is measured what they share.
    pub(crate) shared: Option<Make>,
}

pub(crate) const NO_HEADERS: &str = "no headers";
pub(crate) const FOUR_HEADERS: &str = "four headers";
pub(crate) const OPTIONS: &str = "four headers, options";
pub(crate) const REQWEST: &str = "reqwest";

pub(crate) const TOWER_TIMEOUT: &str = "tower Timeout";
pub(crate) const TOWER_RETRY: &str = "tower Retry";
pub(crate) const TOWER_BOTH: &str = "tower Timeout, Retry";
pub(crate) const STACK: &str = "stonework TimeoutLayer, RetryLayer, AttemptTimeoutLayer";

/// All rows, over a no-op that answers at its first poll, or at its second if it `waits`.
pub(crate) fn rows(waits: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (head, request) in requests() {
        let no_op = NoOp { waits };
        let mut row =
            |name, kind, peer, subject| rows.push(Row { name, head, kind, peer, subject, shared: None });
        let over = |request: &Request<Content>| request.clone();
        macro_rules! add {
            ($name:expr, $kind:ident, $peer:expr, $service:expr) => {
                row($name, Kind::$kind, $peer, Box::new(Calls::new($service, request.clone(), over)))
            };
        }
        let tower_timeout = tower::timeout::TimeoutLayer::new(LIMIT);
        let tower_retry = tower::retry::RetryLayer::new(Never);
        let (deadline, attempt) = (TimeoutLayer::new(LIMIT), AttemptTimeoutLayer::new(LIMIT));

        add!("bare", Bare, None, no_op);
        add!("a copy of the request", Copy, None, Copying(no_op));
        if head == NO_HEADERS {
            add!(TOWER_TIMEOUT, Peer, None, tower_timeout.layer(no_op));
            let same =
                tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LIMIT);
            add!("tower-http Timeout", Peer, Some(TOWER_TIMEOUT), same.layer(no_op));
            let same = ServiceBuilder::new().layer(limiter()).service(no_op);
            add!("tower-resilience time limiter", Peer, Some(TOWER_TIMEOUT), same);
            add!("stonework TimeoutLayer", Guard, Some(TOWER_TIMEOUT), deadline.layer(no_op));
            add!("stonework AttemptTimeoutLayer", Guard, Some(TOWER_TIMEOUT), attempt.layer(no_op));
        }
        add!(TOWER_RETRY, Peer, None, tower_retry.layer(no_op));
        let same = ServiceBuilder::new().layer(resilience_retry()).service(no_op);
        add!("tower-resilience retry", Peer, Some(TOWER_RETRY), same);
        add!("stonework RetryLayer", Keeper, Some(TOWER_RETRY), RetryLayer::new().layer(no_op));

        add!(TOWER_BOTH, Peer, None, tower_timeout.layer(tower_retry.layer(no_op)));
        let same = tower_timeout.layer(tower_retry.layer(tower_timeout.layer(no_op)));
        add!("tower Timeout, Retry, Timeout", Peer, Some(TOWER_BOTH), same);
        let same = ServiceBuilder::new().layer(limiter()).layer(resilience_retry()).service(no_op);
        add!("tower-resilience time limiter, retry", Peer, Some(TOWER_BOTH), same);
        let same = deadline.layer(RetryLayer::new().layer(attempt.layer(no_op)));
        add!(STACK, Keeper, Some(TOWER_BOTH), same);
        if head == NO_HEADERS {
            let bearer = bearer();
            add!("stonework BearerLayer", Free, None, bearer.clone().layer(no_op));
            add!("stonework BearerLayer, without replay", Free, None, bearer.without_replay().layer(no_op));
        }
    }
    rows.extend(reqwest_rows(waits));
    rows
}

pub(crate) fn plain() -> Request<Content> {
    Request::get("http://example.test/").body(Content::from("in memory")).expect("valid")
}

/// Puts a token into requests that is at hand.
fn bearer() -> BearerLayer {
    let answers = service_fn(|_: Request<stonework::base::body::Body>| async {
        let token = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":86400}"#;
        Ok::<_, Broken>(Response::new(Content::from(token)))
    });
    let auth = ClientAuth::basic("peers", "a secret");
    let source = TokenSource::builder("https://id.example/token", auth).build(answers).expect("an address");
    // Asking for it takes a runtime, and having it none.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(source.token()).expect("a token")).join().expect("no panic")
    });
    BearerLayer::new(source, ["http://example.test"]).expect("an origin")
}

/// The requests that are copied for each call.
fn requests() -> [(&'static str, Request<Content>); 3] {
    let plain = plain();
    let mut headed = plain.clone();
    for (name, value) in [
        ("accept", "application/json"),
        ("user-agent", "peers/1"),
        ("x-request-id", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("authorization", "Bearer of-no-use"),
    ] {
        headed.headers_mut().insert(name, value.parse().expect("valid"));
    }
    let mut optional = headed.clone();
    Call::edit(optional.extensions_mut(), |call| call.attempts(2));
    [(NO_HEADERS, plain), (FOUR_HEADERS, headed), (OPTIONS, optional)]
}

pub(crate) fn limiter() -> tower_resilience_timelimiter::TimeLimiterLayer {
    tower_resilience_timelimiter::TimeLimiterLayer::builder().timeout_duration(LIMIT).build()
}

pub(crate) fn resilience_retry<E>()
-> tower_resilience_retry::RetryLayer<Request<Content>, Response<Content>, E> {
    tower_resilience_retry::RetryLayer::builder().max_attempts(3).build()
}

/// reqwest's middlewares need a client of reqwest's, but no socket: the innermost one answers. The bare call is that
/// client with nothing but the answer, since its own boxes are not the retry's fault.
fn reqwest_rows(waits: bool) -> [Row; 2] {
    let copy = |request: &reqwest::Request| request.try_clone().expect("a body in memory");
    let request = || {
        let url = "http://example.test/".parse().expect("valid");
        let mut request = reqwest::Request::new(http::Method::GET, url);
        *request.body_mut() = Some("in memory".into());
        request
    };
    let retry =
        || RetryTransientMiddleware::new_with_policy(ExponentialBackoff::builder().build_with_max_retries(2));
    let client = |retries: bool| {
        let mut builder = ClientBuilder::new(reqwest::Client::new());
        if retries {
            builder = builder.with(retry());
        }
        Calls::new(builder.with(NoOp { waits }).build(), request(), copy)
    };
    let row = |name, kind, retries| {
        let subject = Box::new(client(retries));
        Row { name, head: REQWEST, kind, peer: None, subject, shared: None }
    };
    [row("bare", Kind::Bare, false), row("reqwest-retry", Kind::Peer, true)]
}

// ───────────────────────────────────────────────────────────────────────────── what lies below

/// Does nothing, at once or when it is polled again.
#[derive(Clone, Copy)]
pub(crate) struct NoOp {
    pub(crate) waits: bool,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("broken")]
pub(crate) struct Broken;

impl<R> Service<R> for NoOp {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Answer {
        Answer(YieldOnce(self.waits))
    }
}

pub(crate) struct Answer(YieldOnce);

impl Future for Answer {
    type Output = Result<Response<Content>, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|()| Ok(Response::new(Content::default())))
    }
}

#[async_trait::async_trait]
impl Middleware for NoOp {
    async fn handle(
        &self,
        _: reqwest::Request,
        _: &mut http::Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        YieldOnce(self.waits).await;
        Ok(Response::new(Bytes::new()).into())
    }
}

/// Copies the head and forks the body, as a layer has to that may send the request again, and does nothing else.
#[derive(Clone)]
pub(crate) struct Copying<S>(pub(crate) S);

impl<S: Service<Request<Content>>> Service<Request<Content>> for Copying<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Content>) -> S::Future {
        let mut copy = Request::new(request.body().fork().expect("a body in memory"));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        drop(std::hint::black_box(copy));
        self.0.call(request)
    }
}

/// tower's policy that copies the request and never sends it again.
#[derive(Clone)]
pub(crate) struct Never;

impl<Res, E> tower::retry::Policy<Request<Content>, Res, E> for Never {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Request<Content>, result: &mut Result<Res, E>) -> Option<Self::Future> {
        // A policy looks at the result; nothing here is ever a failure.
        std::hint::black_box(&result).is_err().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Content>) -> Option<Request<Content>> {
        Some(request.clone())
    }
}
