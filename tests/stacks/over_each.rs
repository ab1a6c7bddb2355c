//! One policy over each transport: hyper-util's client, reqwest, and the assembled client. What reaches the server, and
//! what the caller learns.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use stonework::Body;
use stonework::base::{Backoff, BoxError, Delivery, Error, Kind};
use stonework::client::{Client, ClientSettings};
use stonework::reqwest::Transport;
use stonework::retry::{Policy, RetrySettings};
use stonework::testing::{Reaction, ScriptedServer, in_order, respond};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::util::BoxCloneService;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::kit::{MS, assert_shareable, retry};

const CALL: Duration = Duration::from_secs(10);

type Stack = BoxCloneService<Request<Body>, Response<Body>, Error>;

fn stack<S>(transport: S, attempt: Duration) -> Stack
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(CALL))
        .layer(retry(MS))
        .layer(AttemptTimeoutLayer::new(attempt))
        .service(transport);
    BoxCloneService::new(assert_shareable(service))
}

/// A client as users have one, whatever the environment says of proxies.
fn own() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("nothing to set up")
}

/// Each transport, and whether it tells how far a request got.
fn transports(attempt: Duration) -> [(&'static str, bool, Stack); 4] {
    let hyper = legacy::Client::builder(TokioExecutor::new()).build_http::<Body>();
    let hyper = ServiceBuilder::new()
        .map_response(|response: Response<hyper::body::Incoming>| response.map(Body::new))
        .service(hyper);
    let built = Transport::build(reqwest::Client::builder().no_proxy()).expect("nothing to set up");
    let quick = RetrySettings::new().backoff(Backoff::constant(MS).expect("more than zero"));
    let settings = ClientSettings::new().deadline(CALL).attempt_timeout(attempt).retry(quick);
    let assembled = Client::builder().settings(settings).build().expect("valid settings");
    [
        ("hyper-util", false, stack(hyper, attempt)),
        ("any reqwest", false, stack(Transport::new(own()), attempt)),
        ("reqwest", true, stack(built, attempt)),
        ("assembled", true, BoxCloneService::new(assembled)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Content {
    None,
    Memory,
    Stream,
    /// Fails after its first frame.
    Broken,
}

impl Content {
    fn body(self) -> Body {
        let frames = |last: Result<&'static str, BoxError>| {
            let frame = |data: &'static str| Frame::data(Bytes::from(data));
            let frames = vec![Ok::<_, BoxError>(frame("con")), last.map(frame)];
            Body::new(StreamBody::new(stream::iter(frames)))
        };
        match self {
            Self::None => Body::empty(),
            Self::Memory => Body::from("content"),
            Self::Stream => frames(Ok("tent")),
            Self::Broken => frames(Err("the source is gone".into())),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Answers503,
    ReadsAndCloses,
    ReadsAndStalls,
    SaysNonsense,
    /// It reads on until the other side is gone.
    Reads,
}

impl Fault {
    fn reaction(self) -> Reaction {
        match self {
            Self::Answers503 => Reaction::new().read_body().reply(respond(503).header("content-length", "0")),
            Self::ReadsAndCloses => Reaction::read_all_then_close(),
            Self::ReadsAndStalls | Self::Reads => Reaction::read_body_then_stall(),
            Self::SaysNonsense => Reaction::new().read_body().send("HTTP/1.1 nonsense\r\n\r\n").close(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    With(u16),
    Failed(Kind, u32),
}
use Content::{Broken, Memory, None as Nothing, Stream};
use Ends::{Failed, With};
use Fault::{Answers503, Reads, ReadsAndCloses, ReadsAndStalls, SaysNonsense};

/// Method, whether it has a key, its body, what the first request meets, how often it arrives, how the call ends.
const ROWS: &[(Method, bool, Content, Fault, usize, Ends)] = &[
    (Method::GET, false, Nothing, Answers503, 2, With(200)),
    (Method::GET, false, Nothing, ReadsAndCloses, 2, With(200)),
    (Method::GET, false, Nothing, ReadsAndStalls, 2, With(200)),
    (Method::GET, false, Nothing, SaysNonsense, 2, With(200)),
    (Method::GET, false, Stream, Answers503, 2, With(200)),
    (Method::PUT, false, Stream, Answers503, 2, With(200)),
    (Method::PUT, false, Stream, ReadsAndCloses, 2, With(200)),
    (Method::POST, false, Memory, Answers503, 1, With(503)),
    (Method::POST, false, Nothing, ReadsAndCloses, 1, Failed(Kind::Transport, 1)),
    (Method::POST, false, Memory, ReadsAndCloses, 1, Failed(Kind::Transport, 1)),
    (Method::POST, false, Memory, ReadsAndStalls, 1, Failed(Kind::Timeout, 1)),
    (Method::POST, false, Memory, SaysNonsense, 1, Failed(Kind::Transport, 1)),
    (Method::POST, false, Broken, Reads, 0, Failed(Kind::Body, 1)),
    (Method::POST, true, Memory, Answers503, 2, With(200)),
    (Method::POST, true, Memory, ReadsAndCloses, 2, With(200)),
    (Method::POST, true, Stream, ReadsAndStalls, 2, With(200)),
];

#[tokio::test]
async fn the_same_policy_does_the_same_over_every_transport() {
    for row @ (method, keyed, content, fault, arrives, ends) in ROWS {
        let patience = if matches!(fault, ReadsAndStalls) { 200 * MS } else { CALL };
        for (name, tells, stack) in transports(patience) {
            let fine = respond(200).header("content-length", "0").keep_alive();
            let server = ScriptedServer::start(in_order([fault.reaction(), fine])).await;
            let mut request = Request::builder().method(method).uri(server.uri("/charge"));
            if *keyed {
                request = request.header("idempotency-key", "\"8e03978e\"");
            }
            let result = stack.oneshot(request.body(content.body()).unwrap()).await;

            match (ends, result) {
                (With(status), Ok(response)) => {
                    assert_eq!(response.status(), *status, "{name}: {row:?}");
                }
                (Failed(kind, attempts), Err(error)) => {
                    // Hyper-util's errors are foreign, so nothing but our own limits have a kind.
                    let foreign = name == "hyper-util" && !matches!(kind, Kind::Timeout);
                    let kind = if foreign { Kind::Other } else { *kind };
                    let told = (error.kind(), error.delivery(), error.attempts());
                    assert_eq!(told, (kind, Delivery::Unknown, *attempts), "{name} ({tells}): {row:?}");
                }
                (_, result) => panic!("{name}: {row:?} ended with {result:?}"),
            }
            let seen = server.wait_for(*arrives).await;
            if matches!(content, Broken) {
                // The head may have gone out before the body failed.
                assert!(seen.len() <= 1, "{name}: {row:?}");
                continue;
            }
            assert_eq!(seen.len(), *arrives, "{name}: {row:?}");
            for (number, request) in seen.iter().enumerate() {
                let key = keyed.then_some("\"8e03978e\"");
                assert_eq!(request.header("idempotency-key"), key, "{name}: {row:?}");
                let (sent, length) = match content {
                    Nothing => ("", None),
                    Memory => ("content", Some("7")),
                    Stream => ("content", None),
                    Broken => unreachable!("seen above"),
                };
                // A GET whose body has no known length is sent by hyper-util without it.
                if name != "hyper-util" || *method != Method::GET {
                    assert_eq!(request.body.kept, sent.as_bytes(), "{name}: {row:?}");
                }
                // What was read to its end before has a length that is known.
                let length = if matches!(content, Stream) && number > 0 {
                    request.header("content-length")
                } else {
                    length
                };
                assert_eq!(request.header("content-length"), length, "{name}: {row:?}");
            }
        }
    }
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn a_post_whose_connection_was_refused_is_sent_again_where_the_transport_tells_that_it_was_not_sent() {
    let nobody = nobody().await;
    for (name, tells, stack) in transports(CALL) {
        let request = Request::post(format!("http://{nobody}/")).body(Body::from("100")).unwrap();
        let error = stack.oneshot(request).await.expect_err("nobody listens");
        let kind = if name == "hyper-util" { Kind::Other } else { Kind::Connect };
        let (delivery, attempts) = if tells { (Delivery::NotSent, 3) } else { (Delivery::Unknown, 1) };
        assert_eq!((error.kind(), error.delivery(), error.attempts()), (kind, delivery, attempts), "{name}");
    }
}

#[tokio::test]
async fn a_plain_async_function_takes_the_same_policy() {
    async fn fetch(client: &reqwest::Client, uri: String) -> Result<u16, Error> {
        let answer = client.get(uri).send().await.map_err(|error| Error::wrap(error.without_url()))?;
        match answer.status().as_u16() {
            503 => Err(Error::new(Kind::Overload, "busy")),
            status => Ok(status),
        }
    }
    let busy_once = || in_order([respond(503).keep_alive(), respond(204).keep_alive()]);
    let client = own();

    let server = ScriptedServer::start(busy_once()).await;
    let uri = server.uri("/").to_string();
    let status = stonework::retry::retry(|| fetch(&client, uri.clone()), Policy::new()).await;
    assert_eq!((status.expect("answered"), server.seen().len()), (204, 2));

    // As a service of something that is no HTTP request, under the limits of time.
    let server = ScriptedServer::start(busy_once()).await;
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(CALL).plain())
        .layer(AttemptTimeoutLayer::new(CALL).plain())
        .service_fn(move |uri: String| {
            let client = client.clone();
            async move { stonework::retry::retry(|| fetch(&client, uri.clone()), Policy::new()).await }
        });
    let status = service.oneshot(server.uri("/").to_string()).await;
    assert_eq!((status.expect("answered"), server.seen().len()), (204, 2));

    let server = ScriptedServer::silent().await;
    let slow = TimeoutLayer::new(50 * MS).plain();
    let service =
        ServiceBuilder::new().layer(slow).service_fn(|uri: String| async move { fetch(&own(), uri).await });
    let error = service.oneshot(server.uri("/").to_string()).await.expect_err("it never answers");
    assert!(error.is_timeout());
}
