//! The client as a service of requests with any body, and below clients that others generated.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use stonework::base::body::Reopen;
use stonework::base::{Backoff, BoxError, Call, Kind};
use stonework::client::{Client, ClientSettings, ResponseFuture};
use stonework::retry::RetrySettings;
use stonework::testing::{Reaction, ScriptedServer, in_order, respond};
use stonework::{Body, Error};
use tonic::client::GrpcService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service, ServiceExt};

fn client() -> Client {
    let backoff = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
    let settings = ClientSettings::new().retry(RetrySettings::new().backoff(backoff));
    Client::builder().settings(settings).build().expect("valid settings")
}

/// Three pieces of a body that cannot be shared between threads, in data and with errors of its own.
struct Own {
    left: Cell<u8>,
    fails: bool,
}

impl http_body::Body for Own {
    type Data = VecDeque<u8>;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<VecDeque<u8>>, std::io::Error>>> {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        Poll::Ready(match left {
            0 => None,
            1 if self.fails => Some(Err(std::io::Error::other("the disk is gone"))),
            _ => Some(Ok(Frame::data(VecDeque::from([b'a', left + b'0'])))),
        })
    }
}

fn serves<B>()
where
    Client: Service<Request<B>, Response = Response<Body>, Error = Error, Future = ResponseFuture>,
{
}

#[test]
fn one_client_is_a_service_for_every_body_and_can_be_shared_whatever_they_are() {
    fn shareable<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn can_be_spawned<T: Send + Unpin + 'static>() {}
    shareable::<Client>();
    can_be_spawned::<ResponseFuture>();
    serves::<Body>();
    serves::<Own>();
    serves::<Full<Bytes>>();
    serves::<Empty<Bytes>>();
    serves::<String>();
    serves::<axum::body::Body>();
    serves::<tonic::body::Body>();
    serves::<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>();
}

#[test]
fn one_client_is_a_transport_of_generated_clients() {
    fn is_a_transport<T>()
    where
        T: GrpcService<tonic::body::Body, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
    {
    }
    is_a_transport::<Client>();
}

#[tokio::test]
async fn a_body_of_any_data_and_any_error_arrives_and_need_not_be_shareable() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let post = |fails| Request::post(server.uri("/")).body(Own { left: Cell::new(3), fails }).unwrap();
    let answer = client().oneshot(post(false)).await.unwrap();
    assert_eq!((answer.status().as_u16(), &*server.seen()[0].body.kept), (200, &b"a3a2a1"[..]));
    let error = client().oneshot(post(true)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Body, "{error:?}");
}

#[tokio::test]
async fn bytes_in_memory_and_sources_are_what_they_were_and_can_be_sent_again_whatever_their_size() {
    const SIZE: usize = 300 * 1024;
    let large = || Bytes::from(vec![b'x'; SIZE]);
    let server = ScriptedServer::start(|seen| match seen.on_connection {
        _ if seen.target == "/there" => respond(200).keep_alive(),
        _ => respond(308).header("location", "/there").keep_alive(),
    })
    .await;
    let put = || Request::put(server.uri("/"));
    let full = client().oneshot(put().body(Full::new(large())).unwrap()).await.unwrap();
    let source = Body::from(Reopen::new(move || Ok::<_, BoxError>(Full::new(large()))));
    let source = client().oneshot(put().body(source).unwrap()).await.unwrap();
    assert_eq!((full.status().as_u16(), source.status().as_u16()), (200, 200));
    assert!(server.seen().iter().all(|seen| seen.body.received == SIZE as u64));
}

#[tokio::test]
async fn a_stream_of_any_type_is_recorded_and_sent_again() {
    let server =
        ScriptedServer::start(in_order([Reaction::read_all_then_close(), respond(200).keep_alive()])).await;
    let mut request = Request::post(server.uri("/")).body(Own { left: Cell::new(3), fails: false }).unwrap();
    Call::edit(request.extensions_mut(), Call::dangerously_assume_idempotent);
    assert_eq!(client().oneshot(request).await.unwrap().status(), 200);
    assert!(server.seen().iter().all(|seen| seen.body.kept == b"a3a2a1"));
    assert_eq!(server.seen().len(), 2);
}

/// A message of `grpc.health.v1`: SERVING, in the framing of gRPC.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

#[tokio::test]
async fn a_generated_client_sends_its_call_and_reads_messages_and_trailers() {
    let grpc = |body: &'static [u8]| {
        respond(200).header("content-type", "application/grpc").body(body).trailer("grpc-status", "0")
    };
    let server = ScriptedServer::start(move |seen| match seen.target.as_str() {
        "/grpc.health.v1.Health/Check" => grpc(SERVING).keep_alive(),
        _ => respond(200).header("grpc-status", "12").header("content-type", "application/grpc").keep_alive(),
    })
    .await;
    let mut health = HealthClient::with_origin(client(), server.uri("/"));
    let request = || HealthCheckRequest { service: "a".to_owned() };
    let answer = health.check(request()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    let refused = health.watch(request()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.header("te"), seen.header("content-type")),
        (Some("trailers"), Some("application/grpc"))
    );
    assert_eq!(seen.body.kept, [0, 0, 0, 0, 3, 10, 1, b'a']);
}

#[tokio::test]
async fn trailers_of_a_response_come_through() {
    let server = ScriptedServer::start(|_| respond(200).body("x").trailer("x-end", "1")).await;
    let request = Request::get(server.uri("/")).body(Empty::<Bytes>::new()).unwrap();
    let body = client().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-end"], "1");
}
