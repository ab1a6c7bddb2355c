//! How large a body may be.

use std::convert::Infallible;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Channel, Empty, Full};
use stonework::Body;
use stonework::base::body::BodyTooLarge;
use stonework::base::{BoxError, Delivery, Error, Kind, Skip};
use stonework::client::Client;
use stonework::limit::{LimitedBody, RequestBodyLimitLayer, ResponseBodyLimitLayer};
use stonework::retry::RetryLayer;
use stonework::testing::Recorder;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{request, skips};

/// A body of unknown length in pieces of ten bytes.
fn stream(pieces: usize) -> Channel<Bytes> {
    let (mut sender, body) = Channel::new(pieces.max(1));
    for _ in 0..pieces {
        sender.try_send(http_body::Frame::data(Bytes::from_static(b"ten bytes."))).unwrap();
    }
    body
}

fn told(error: impl Into<BoxError>) -> (Kind, Delivery, Option<usize>, bool) {
    let error = Error::wrap(error);
    let limit = error.cause::<BodyTooLarge>().map(|cause| cause.limit);
    (error.kind(), error.delivery(), limit, error.forbids_retry())
}

#[tokio::test]
async fn a_request_announced_too_large_is_refused_unread_and_one_within_the_limit_passes() {
    for (size, expected) in [(100, 200), (101, 413)] {
        let service = RequestBodyLimitLayer::new(100).answer().layer(service_fn(
            |request: Request<LimitedBody<Full<Bytes>>>| async move {
                let read = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(read.len(), 100);
                Ok::<_, Infallible>(Response::new(Full::new(read)))
            },
        ));
        let response = service.oneshot(Request::new(Full::from(vec![0; size]))).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{size} bytes");
        assert!(!response.headers().contains_key("stonework-do-not-retry"));
    }
}

#[tokio::test]
async fn a_request_that_grows_too_large_fails_where_it_is_read_and_nothing_beyond_the_limit_is_handed_on() {
    for (pieces, expected) in [(10, None), (11, Some(100))] {
        let service = RequestBodyLimitLayer::new(100).layer(service_fn(
            |request: Request<LimitedBody<Channel<Bytes>>>| async move {
                let mut body = request.into_body();
                let (mut read, mut failed) = (0, None);
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => read += frame.into_data().unwrap().len(),
                        Err(error) => failed = Some(error),
                    }
                }
                assert!(read == 100 && body.is_end_stream() | failed.is_none());
                match failed {
                    Some(error) => Err(error),
                    None => Ok(Response::new(Empty::<Bytes>::new())),
                }
            },
        ));
        let ended = service.oneshot(Request::new(stream(pieces))).await;
        let error = ended.err().map(told);
        assert_eq!(error, expected.map(|limit| (Kind::Body, Delivery::Unknown, Some(limit), true)));
    }
}

#[tokio::test]
async fn a_handler_that_complains_about_a_body_that_grew_too_large_is_answered_for_with_413() {
    let app = Router::new()
        .route("/text", post(|body: String| async move { body }))
        .route(
            "/ignores",
            post(|body: axum::body::Body| async move {
                let _ = body.collect().await;
                "fine"
            }),
        )
        .layer(RequestBodyLimitLayer::new(100).answer());
    for (path, pieces, expected) in [
        ("/text", 10, StatusCode::OK),
        ("/text", 11, StatusCode::PAYLOAD_TOO_LARGE),
        ("/ignores", 11, StatusCode::OK),
        ("/unknown", 11, StatusCode::NOT_FOUND),
    ] {
        let large = Request::post(path).body(axum::body::Body::new(stream(pieces))).unwrap();
        let response = app.clone().oneshot(large).await.unwrap();
        assert_eq!(response.status(), expected, "{path}, {pieces} pieces");
        if expected == StatusCode::PAYLOAD_TOO_LARGE {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem = response.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
            assert_eq!(problem["detail"], "the body is larger than the limit of 100 bytes");
        }
    }
}

#[tokio::test]
async fn a_grpc_call_is_refused_with_resource_exhausted() {
    let service = RequestBodyLimitLayer::new(1).answer().layer(service_fn(
        |_: Request<LimitedBody<Full<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        },
    ));
    let large =
        Request::post("/").header("content-type", "application/grpc").body(Full::from("large")).unwrap();
    let response = service.oneshot(large).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &"8".parse().unwrap())
    );
}

#[tokio::test]
async fn a_grpc_service_that_complains_about_a_body_that_grew_too_large_is_answered_for_too() {
    for (status, pieces, expected) in [("13", 11, "8"), ("13", 10, "13"), ("0", 11, "0")] {
        let service = RequestBodyLimitLayer::new(100).answer().layer(service_fn(
            move |request: Request<LimitedBody<Channel<Bytes>>>| async move {
                let _ = request.into_body().collect().await;
                // Trailers only, as gRPC says that a call has failed: the status of HTTP is 200.
                let answer = Response::builder().header("grpc-status", status);
                Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
            },
        ));
        let call =
            Request::post("/").header("content-type", "application/grpc").body(stream(pieces)).unwrap();
        let response = service.oneshot(call).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], expected, "{status}, {pieces} pieces");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_over_the_limit_is_an_error_at_its_head_or_at_the_frame_that_passes_it() {
    let announced = ResponseBodyLimitLayer::new(10).layer(service_fn(|(): ()| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("eleven byte")))
    }));
    let expected = (Kind::Body, Delivery::Answered, Some(10), true);
    assert_eq!(told(announced.oneshot(()).await.unwrap_err()), expected);

    let grows = ResponseBodyLimitLayer::new(10)
        .layer(service_fn(|(): ()| async { Ok::<_, Infallible>(Response::new(stream(2))) }));
    let mut body = grows.oneshot(()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ten bytes.");
    assert_eq!(told(body.frame().await.unwrap().unwrap_err()), expected);
    assert!(body.frame().await.is_none() && body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_asked_for_again() {
    let events = Recorder::new();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new().observer(events.clone()))
        .layer(ResponseBodyLimitLayer::new(10))
        .service(service_fn(|_: Request<Full<Bytes>>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("eleven byte")))
        }));
    let error = stack.oneshot(request(http::Method::GET)).await.unwrap_err();
    assert_eq!((error.attempts(), skips(&events)), (1, vec![Skip::Pushback]));
}

#[tokio::test]
async fn a_layer_that_is_switched_off_lets_everything_pass() {
    let requests = RequestBodyLimitLayer::new(1).when(false).layer(service_fn(
        |request: Request<LimitedBody<Channel<Bytes>>>| async move {
            Ok::<_, BoxError>(Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
        },
    ));
    let stack = ResponseBodyLimitLayer::new(1).when(false).layer(requests);
    let response = stack.oneshot(Request::new(stream(50))).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 500);
}

/// On real sockets: the client is still sending when the answer comes, and hears it.
#[tokio::test]
async fn a_client_that_is_still_sending_hears_that_its_upload_is_too_large() {
    let app = Router::new()
        .route("/", post(|body: String| async move { body }))
        .layer(RequestBodyLimitLayer::new(1024).answer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = Client::new();
    let known = Body::from(vec![0; 10 << 20]);
    let pieces =
        (0..10 << 4).map(|_| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(vec![0; 64 << 10]))));
    let unknown = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(pieces)));
    for body in [known, unknown] {
        let answer = client.post(uri.as_str()).body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.attempts()), (413, 1));
    }
}
