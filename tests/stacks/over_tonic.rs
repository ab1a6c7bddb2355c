//! The client stack over a tonic channel, whose body type is its own and not `Sync`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use http::{Request, Response, StatusCode};
use stonework::base::body::ReplayBody;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use stonework::{Call, Error};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::kit::{MS, assert_shareable, retry};

/// What a user writes once, and gives to every generated client.
fn resilient(
    channel: Channel,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Error, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    ServiceBuilder::new()
        .map_request(|request: Request<Body>| request.map(ReplayBody::new))
        .layer(TimeoutLayer::new(5_000 * MS))
        .layer(retry(MS))
        .layer(AttemptTimeoutLayer::new(2_000 * MS))
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(channel)
}

/// What tonic's generated clients ask of their transport.
fn assert_for_generated_clients<T>(service: T) -> T
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    T::Future: Send,
{
    service
}

/// A server that others wrote, which is unavailable once.
async fn unavailable_once() -> (String, Arc<AtomicU32>) {
    let seen = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&seen);
    let app = Router::new().fallback(move || {
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let status = if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            (status, [("content-type", "application/grpc"), ("grpc-status", "0")])
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

#[tokio::test]
async fn a_channel_gains_limits_and_retries_in_one_helper_function() {
    let (address, seen) = unavailable_once().await;
    let channel = Endpoint::from_shared(address).expect("an address").connect_lazy();
    let service = assert_shareable::<_, Request<Body>>(resilient(channel));
    let service = assert_for_generated_clients(service);

    let call = |edit: fn(Call) -> Call| {
        let mut request = Request::post("/package.Service/Method").body(Body::empty()).unwrap();
        Call::edit(request.extensions_mut(), edit);
        service.clone().oneshot(request)
    };
    // A gRPC call is a POST: it is sent again only if the caller says that this does no harm.
    let response = call(|call| call).await.expect("answered");
    assert_eq!((response.status(), seen.swap(0, Ordering::Relaxed)), (StatusCode::SERVICE_UNAVAILABLE, 1));
    let response = call(Call::dangerously_assume_idempotent).await.expect("answered");
    assert_eq!((response.status(), seen.load(Ordering::Relaxed)), (StatusCode::OK, 2));
}
