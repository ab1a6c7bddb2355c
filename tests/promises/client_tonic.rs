//! Clients that tonic generated, over the assembled client, against tonic's server: over HTTP/2, which is all that it speaks.

use stonework::client::{Client, ClientSettings};
use tokio::net::TcpListener;
use tonic::Code;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

use crate::support::soon;

/// Tonic's own health service, and what changes what it says.
async fn health() -> (HealthClient<Client>, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URI");
    let settings = ClientSettings::new().http2_only();
    let client = Client::builder().settings(settings).build().expect("valid settings");
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (HealthClient::with_origin(client, origin), reporter)
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_unary_call_is_answered_with_a_message_or_a_status() {
    let (mut client, reporter) = health().await;
    reporter.set_service_status("orders", ServingStatus::NotServing).await;
    let answer = soon(client.check(of("orders"))).await.unwrap().into_inner();
    assert_eq!(answer.status, 2);
    assert_eq!(soon(client.check(of("nobody"))).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_is_read_as_it_comes_and_calls_go_on_beside_it() {
    let (mut client, reporter) = health().await;
    let mut changes = soon(client.watch(of(""))).await.unwrap().into_inner();
    assert_eq!(soon(changes.message()).await.unwrap().unwrap().status, 1);
    assert_eq!(soon(client.check(of(""))).await.unwrap().into_inner().status, 1);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(soon(changes.message()).await.unwrap().unwrap().status, 2);
}
