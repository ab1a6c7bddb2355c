//! A server that can be killed: with a runtime of its own, which takes everything with it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use stonework::base::BoxError;
use stonework::server::Server;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

pub(crate) struct Node {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Node {
    /// It answers with its name, when it has thought, on this port or on any.
    pub(crate) async fn start(name: &'static str, thinks: Duration, port: u16) -> Result<Self, BoxError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let address = runtime.spawn(async move {
            let server = Server::builder().bind(("127.0.0.1", port)).await?;
            let address = server.local_addr();
            let answer = move || async move {
                sleep(thinks).await;
                name
            };
            tokio::spawn(server.serve(Router::new().route("/", get(answer))));
            Ok::<_, BoxError>(address)
        });
        Ok(Self { address: address.await??, runtime: Some(runtime) })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Drops its connections in the middle of whatever they do. Says which port is free then.
    pub(crate) async fn kill(mut self) -> Result<u16, BoxError> {
        let (port, runtime) = (self.address.port(), self.runtime.take());
        // It waits for its thread, which no task may.
        tokio::task::spawn_blocking(move || drop(runtime)).await?;
        Ok(port)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
