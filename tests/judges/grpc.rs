//! The health client of gRPC for Python, whose HTTP/2 is written in C.

use std::time::Duration;

use stonework::base::ServerPhase;
use stonework::health::{Health, HealthSettings, Impact};
use stonework::server::{Server, ServerSettings};

use crate::kit::{Judged, Talking, python, script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_health_client_checks_lists_and_watches_until_the_server_stops() {
    let Some(python) = python("grpc_health.v1.health_pb2_grpc") else { return };
    let quick = HealthSettings::new().interval(Duration::from_millis(100)).timeout(Duration::from_millis(50));
    let health = Health::builder()
        .settings(quick)
        .liveness("heart", || true)
        .readiness("it", Impact::Hard, || async { true })
        .grpc_service("orders.v1.Orders")
        .build()
        .unwrap();
    assert!(health.wait_ready().await);
    // Long enough for a client to hear of it, and it is skipped when it has.
    let settings = ServerSettings::new().lame_duck(Duration::from_secs(30));
    let server = Judged::start(Server::builder().settings(settings).health(health)).await;
    let mut client = Talking::start(&python, &[&script("grpc_peer.py"), &server.port.to_string()]);
    for says in [
        "check - SERVING",
        "check liveness SERVING",
        "check orders.v1.Orders SERVING",
        "check nobody NOT_FOUND",
        "list - SERVING",
        "list liveness SERVING",
        "list orders.v1.Orders SERVING",
        "list readiness SERVING",
        "list startup SERVING",
        "watch nobody SERVICE_UNKNOWN",
        "watch - SERVING",
    ] {
        client.says(says).await;
    }
    server.handle.shut_down();
    client.says("watch - NOT_SERVING").await;
    assert_eq!(server.handle.phase(), ServerPhase::LameDuck, "it is told before anything is cut");
    server.handle.shut_down();
    // The stream is ended by the server, and does not hold up its drain.
    client.says("watch - UNAVAILABLE").await;
    assert_eq!(client.line().await, None);
    assert_eq!(server.report().await.aborted, 0);
}
