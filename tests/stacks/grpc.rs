//! tonic's own client and server with our layers between them. What crosses sockets is about bytes and counts; what is
//! about time runs on a paused clock, over a connection in memory.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use stonework::base::body::ReplayBody;
use stonework::base::{Asked, CircuitState, ClassifyGrpc, GrpcStatus, Kind, Problem, Refuse, TimeoutHeader};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::timeout::{ReceiveDeadlineLayer, SendDeadlineLayer, TimeoutLayer};
use stonework::{Call, Error};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tower::layer::util::Identity;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, layer::layer_fn, service_fn};

use crate::kit::{MS, retry, virtually};

// ───────────────────────────────────────────────────────────────────────────── what a user writes

type Client = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// What a user writes once, and gives to every generated client.
fn resilient(channel: Channel, limit: Duration) -> Client {
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .map_err(status)
            .map_request(|request: Request<Body>| request.map(ReplayBody::new))
            .layer(TimeoutLayer::new(limit))
            .layer(retry(MS).classify(ClassifyGrpc))
            .layer(SendDeadlineLayer::new(TimeoutHeader::Grpc))
            .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
            .service(channel),
    )
}

/// The same as in the documentation of `timeout`.
fn status(error: Error) -> Status {
    // Tonic's channel obeys the header too, and takes that for a cancelled call.
    let late = error.is_timeout() || error.cause::<tonic::TimeoutExpired>().is_some();
    let code = match error.kind() {
        _ if late => GrpcStatus::DeadlineExceeded,
        // Tonic knows its own errors.
        Kind::Other => return Status::from_error(error.into()),
        kind => kind.into(),
    };
    Status::new(code.code().into(), error.to_string())
}

// ───────────────────────────────────────────────────────────────────────────── tonic, without generated code

/// Messages that are just bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What the server does with one call.
enum Reply {
    /// These messages, and then this status.
    Messages(Vec<&'static str>, Option<Status>),
    /// A status and no message: trailers-only.
    Fail(Status),
    Hang,
}

type Script = Arc<dyn Fn(u32) -> Reply + Send + Sync>;

/// What the server saw.
#[derive(Clone, Default)]
struct SeenByServer {
    calls: Arc<AtomicU32>,
    last: Arc<Mutex<MetadataMap>>,
}

impl SeenByServer {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    fn last(&self, name: &str) -> Option<String> {
        self.last.lock().unwrap().get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

#[derive(Clone)]
struct Scripted {
    script: Script,
    seen: SeenByServer,
}

impl NamedService for Scripted {
    const NAME: &'static str = "test.Scripted";
}

impl Service<Request<Body>> for Scripted {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { script, seen } = self.clone();
        let method = service_fn(move |request: tonic::Request<Bytes>| {
            let call = seen.calls.fetch_add(1, Ordering::Relaxed) + 1;
            *seen.last.lock().unwrap() = request.metadata().clone();
            let reply = script(call);
            async move {
                assert_eq!(request.into_inner(), "hello");
                match reply {
                    Reply::Messages(messages, last) => {
                        let messages = messages.into_iter().map(|message| Ok(Bytes::from(message)));
                        let all: BoxStream<'static, Result<Bytes, Status>> =
                            stream::iter(messages.chain(last.map(Err))).boxed();
                        Ok(tonic::Response::new(all))
                    }
                    Reply::Fail(status) => Err(status),
                    Reply::Hang => std::future::pending().await,
                }
            }
        });
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).server_streaming(method, request).await) })
    }
}

/// A tonic server on a socket, and a channel to it; layers as users add them.
macro_rules! on_sockets {
    ($layer:expr, $script:expr) => {{
        let seen = SeenByServer::default();
        let service = Scripted { script: Arc::new($script), seen: seen.clone() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Server::builder().layer($layer).add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (Endpoint::from_shared(address).expect("an address").connect_lazy(), seen)
    }};
}

/// The same over one connection in memory.
macro_rules! in_memory {
    ($layer:expr, $script:expr) => {{
        let seen = SeenByServer::default();
        let service = Scripted { script: Arc::new($script), seen: seen.clone() };
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = Server::builder().layer($layer).add_service(service);
        let incoming = stream::iter([Ok::<_, std::io::Error>(far)]).chain(stream::pending());
        tokio::spawn(server.serve_with_incoming(incoming));
        let mut near = Some(TokioIo::new(near));
        let connector = service_fn(move |_: Uri| {
            let near = near.take().ok_or(std::io::Error::other("there is one connection"));
            std::future::ready(near)
        });
        (Endpoint::from_static("http://memory.test").connect_with_connector_lazy(connector), seen)
    }};
}

fn hello() -> tonic::Request<Bytes> {
    tonic::Request::new(Bytes::from("hello"))
}

/// A call whose caller says that it may be repeated.
fn hello_again() -> tonic::Request<Bytes> {
    let mut request = hello();
    Call::edit(request.extensions_mut(), Call::dangerously_assume_idempotent);
    request
}

/// As a generated client makes it: all messages, and the status after them.
async fn made<T>(service: T, request: tonic::Request<Bytes>) -> (Vec<Bytes>, Result<(), Status>)
where
    T: tonic::client::GrpcService<Body>,
    T::Error: Into<tower::BoxError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    let mut client = tonic::client::Grpc::new(service);
    if let Err(error) = client.ready().await {
        return (Vec::new(), Err(Status::from_error(error.into())));
    }
    let path = http::uri::PathAndQuery::from_static("/test.Scripted/Call");
    let mut stream = match client.server_streaming(request, path, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

fn code(result: &Result<(), Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |()| Code::Ok)
}

fn unavailable(pushback: Option<&'static str>) -> Reply {
    let mut status = Status::unavailable("not now");
    if let Some(pushback) = pushback {
        status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
    }
    Reply::Fail(status)
}

fn fine() -> Reply {
    Reply::Messages(vec!["one", "two"], None)
}

const LONG: Duration = Duration::from_secs(30);

// ───────────────────────────────────────────────────────────────────────────── retries, on sockets

#[tokio::test]
async fn a_call_that_ends_before_its_first_message_is_repeated() {
    let script = |call| if call == 1 { unavailable(None) } else { fine() };
    let (channel, seen) = on_sockets!(Identity::new(), script);
    let (messages, end) = made(resilient(channel, LONG), hello_again()).await;
    assert_eq!((messages, code(&end)), (vec![Bytes::from("one"), Bytes::from("two")], Code::Ok));
    assert_eq!(seen.calls(), 2);
}

#[tokio::test]
async fn a_call_that_ends_after_a_message_is_not_repeated_and_its_caller_sees_both() {
    let script = |_| Reply::Messages(vec!["one"], Some(Status::unavailable("not any more")));
    let (channel, seen) = on_sockets!(Identity::new(), script);
    let (messages, end) = made(resilient(channel, LONG), hello_again()).await;
    assert_eq!((messages, code(&end)), (vec![Bytes::from("one")], Code::Unavailable));
    assert_eq!(end.unwrap_err().message(), "not any more");
    assert_eq!(seen.calls(), 1);
}

#[tokio::test]
async fn a_call_that_fails_after_its_first_message_is_a_failure_to_the_circuit() {
    let script = |_| Reply::Messages(vec!["one"], Some(Status::unavailable("not any more")));
    let (channel, seen) = on_sockets!(Identity::new(), script);
    let breaker = Breaker::new(BreakerSettings::new().min_calls(3)).unwrap();
    let service = ServiceBuilder::new()
        .map_err(status)
        .layer(BreakerLayer::from(breaker.clone()).classify(ClassifyGrpc))
        .service(channel);
    for call in 1..=3 {
        assert_eq!(breaker.stats().failures(), call - 1);
        let (messages, end) = made(service.clone(), hello()).await;
        assert_eq!((messages.len(), code(&end)), (1, Code::Unavailable), "call {call}");
    }
    assert_eq!(breaker.state(), CircuitState::Open);
    let (messages, end) = made(service, hello()).await;
    assert_eq!((messages.len(), code(&end), seen.calls()), (0, Code::Unavailable, 3), "refused here");
    assert_eq!(end.unwrap_err().message(), "the circuit is open");
}

#[tokio::test]
async fn a_grpc_server_whose_own_service_is_broken_says_unavailable_and_when_to_come_back() {
    let breaker = Breaker::default();
    breaker.force_open();
    let (channel, seen) = on_sockets!(BreakerLayer::from(breaker.clone()).answer(), |_| fine());
    let (_, end) = made(resilient(channel.clone(), LONG), hello_again()).await;
    assert_eq!((code(&end), seen.calls()), (Code::Unavailable, 0));
    breaker.reset();
    let (messages, end) = made(resilient(channel, LONG), hello_again()).await;
    assert_eq!((messages.len(), code(&end)), (2, Code::Ok));
    assert_eq!(breaker.stats().calls(), 1);
}

#[tokio::test]
async fn a_call_that_may_do_harm_twice_is_made_once() {
    let (channel, seen) = on_sockets!(Identity::new(), |_| unavailable(None));
    let (_, end) = made(resilient(channel, LONG), hello()).await;
    assert_eq!((code(&end), seen.calls()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn an_answer_that_blames_the_caller_is_not_repeated() {
    let script = |_| Reply::Fail(Status::invalid_argument("what?"));
    let (channel, seen) = on_sockets!(Identity::new(), script);
    let (_, end) = made(resilient(channel, LONG), hello_again()).await;
    assert_eq!((code(&end), seen.calls()), (Code::InvalidArgument, 1));
}

#[tokio::test]
async fn a_pushback_stops_the_retries_or_delays_them() {
    for stop in ["-1", "soon"] {
        let (channel, seen) = on_sockets!(Identity::new(), move |_| unavailable(Some(stop)));
        let (_, end) = made(resilient(channel, LONG), hello_again()).await;
        assert_eq!((code(&end), seen.calls()), (Code::Unavailable, 1), "{stop}");
    }

    let script = |call| if call == 1 { unavailable(Some("25")) } else { fine() };
    let (channel, seen) = on_sockets!(Identity::new(), script);
    let start = Instant::now();
    let (_, end) = made(resilient(channel, LONG), hello_again()).await;
    assert_eq!((code(&end), seen.calls()), (Code::Ok, 2));
    assert!(start.elapsed() >= 25 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_refusal_because_of_overload_is_unavailable_to_the_client_and_says_when_to_come_back() {
    let full = layer_fn(|_| {
        service_fn(|_: Request<Body>| async {
            let error = Error::new(Kind::Overload, "full").with_retry_after(2_000 * MS);
            let mut asked = Asked::default();
            asked.grpc = true;
            Ok::<_, Infallible>(
                Problem.refuse(asked, &error).map(|bytes| Body::new(http_body_util::Full::new(bytes))),
            )
        })
    });
    let (channel, seen) = on_sockets!(full, |_| fine());
    let (_, end) = made(channel, hello()).await;
    let refused = end.unwrap_err();
    assert_eq!((refused.code(), seen.calls()), (Code::Unavailable, 0));
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "2");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let channel = Endpoint::from_shared(format!("http://{gone}")).unwrap().connect_lazy();
    let (_, end) = made(resilient(channel, LONG), hello()).await;
    assert_eq!(code(&end), Code::Unavailable);
}

#[tokio::test]
async fn a_deadline_on_sockets_is_deadline_exceeded_on_either_side() {
    let limit = TimeoutLayer::new(50 * MS).answer();
    let (channel, seen) = on_sockets!(limit, |_| Reply::Hang);
    let (_, end) = made(channel, hello()).await;
    assert_eq!((code(&end), seen.calls()), (Code::DeadlineExceeded, 1), "the server's");

    let (channel, seen) = on_sockets!(Identity::new(), |_| Reply::Hang);
    let (_, end) = made(resilient(channel, 50 * MS), hello()).await;
    assert_eq!((code(&end), seen.calls()), (Code::DeadlineExceeded, 1), "the client's");
}

// ───────────────────────────────────────────────────────────────────────────── deadlines, in virtual time

#[test]
fn the_deadline_of_the_client_arrives_as_grpc_timeout() {
    virtually(async {
        let (channel, seen) = in_memory!(Identity::new(), |_| fine());
        let (_, end) = made(resilient(channel, 300 * MS), hello()).await;
        assert_eq!(code(&end), Code::Ok);
        assert_eq!(seen.last("grpc-timeout").as_deref(), Some("290000u"));
    });
}

#[test]
fn a_limit_of_the_server_is_deadline_exceeded_to_the_client() {
    virtually(async {
        let limit = TimeoutLayer::new(300 * MS).answer();
        let (channel, seen) = in_memory!(limit, |_| Reply::Hang);
        let start = Instant::now();
        let (_, end) = made(channel, hello()).await;
        assert_eq!((code(&end), start.elapsed(), seen.calls()), (Code::DeadlineExceeded, 300 * MS, 1));
    });
}

#[test]
fn a_deadline_that_a_tonic_client_sets_is_answered_before_tonic_calls_it_cancelled() {
    virtually(async {
        for (limit, expected) in [(1_000, 950), (100, 90)] {
            let receive = ReceiveDeadlineLayer::new(TimeoutHeader::Grpc).margin(50 * MS).answer();
            let (channel, _) = in_memory!(receive, |_| Reply::Hang);
            let mut request = hello();
            request.set_timeout(limit * MS);
            let start = Instant::now();
            let (_, end) = made(channel, request).await;
            assert_eq!((code(&end), start.elapsed()), (Code::DeadlineExceeded, expected * MS));
        }
    });
}

#[test]
fn a_timeout_that_cannot_be_read_is_an_invalid_argument_of_the_client() {
    virtually(async {
        let receive = ReceiveDeadlineLayer::new(TimeoutHeader::Grpc).answer();
        let (channel, seen) = in_memory!(receive, |_| fine());
        let mut request = hello();
        request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
        let (_, end) = made(channel, request).await;
        let refused = end.unwrap_err();
        assert_eq!((refused.code(), seen.calls()), (Code::InvalidArgument, 0));
        assert!(refused.message().contains("`grpc-timeout`"), "{}", refused.message());
    });
}

#[test]
fn a_deadline_of_the_client_is_deadline_exceeded_whoever_notices_first() {
    virtually(async {
        let receive = || ReceiveDeadlineLayer::new(TimeoutHeader::Grpc);
        // Tonic's own timer on either side, our server at the same time, our server before.
        let plain = in_memory!(Identity::new(), |_| Reply::Hang);
        let ours = in_memory!(receive().answer(), |_| Reply::Hang);
        let earlier = in_memory!(receive().margin(50 * MS).answer(), |_| Reply::Hang);
        for ((channel, seen), expected) in [(plain, 290), (ours, 290), (earlier, 261)] {
            let start = Instant::now();
            let (_, end) = made(resilient(channel, 300 * MS), hello()).await;
            assert_eq!((code(&end), start.elapsed()), (Code::DeadlineExceeded, expected * MS));
            assert_eq!(seen.calls(), 1);
        }
    });
}

#[test]
fn a_deadline_in_a_pause_between_attempts_or_while_connecting_is_deadline_exceeded() {
    virtually(async {
        // Every attempt is told to come back too late.
        let script = |_| unavailable(Some("10"));
        let (channel, seen) = in_memory!(Identity::new(), script);
        let (_, end) = made(resilient(channel, 15 * MS), hello_again()).await;
        assert_eq!((code(&end), seen.calls()), (Code::Unavailable, 2), "the last answer, at once");

        let never =
            service_fn(|_: Uri| std::future::pending::<std::io::Result<TokioIo<tokio::io::DuplexStream>>>());
        let channel = Endpoint::from_static("http://memory.test").connect_with_connector_lazy(never);
        let start = Instant::now();
        let (_, end) = made(resilient(channel, 300 * MS), hello()).await;
        assert_eq!((code(&end), start.elapsed()), (Code::DeadlineExceeded, 300 * MS));
    });
}

#[test]
fn an_answering_limit_on_a_channel_without_retries_needs_no_map_of_errors() {
    virtually(async {
        let (channel, _) = in_memory!(Identity::new(), |_| Reply::Hang);
        let client = ServiceBuilder::new().layer(TimeoutLayer::new(300 * MS).answer()).service(channel);
        let (_, end) = made(client, hello()).await;
        assert_eq!(code(&end), Code::DeadlineExceeded);
    });
}
