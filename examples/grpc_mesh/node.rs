//! A server that answers gRPC, and probes of its health. It has a runtime of its own, which takes everything with it when it is killed.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use axum::Router;
use stonework::base::{BoxError, EndpointId};
use stonework::health::Health;
use stonework::retry::HopLayer;
use stonework::server::{Server, ServerHandle, ServerSettings, ShutdownReport};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tower::Layer;

/// What probes ask for.
pub(crate) const SERVICE: &str = "shop";
/// How long one that stops goes on before it closes its port: longer than it takes until everybody has noticed.
const LAME_DUCK: Duration = Duration::from_millis(1_100);

pub(crate) struct Node {
    address: SocketAddr,
    handle: ServerHandle,
    serving: Option<JoinHandle<ShutdownReport>>,
    runtime: Option<Runtime>,
}

impl Node {
    /// Serves these methods, on this port or, with 0, on any.
    pub(crate) async fn start(methods: Router, port: u16) -> Result<Self, BoxError> {
        // It reads `grpc-timeout`, and ends on time what nobody waits for, without being told.
        let settings = ServerSettings::streaming().lame_duck(LAME_DUCK);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let started = runtime.spawn(async move {
            let health = Health::builder().grpc_service(SERVICE).build()?;
            let server =
                Server::builder().settings(settings).health(health).bind(("127.0.0.1", port)).await?;
            let (address, handle) = (server.local_addr(), server.handle());
            // So that the retries before it and those that it makes itself know of each other.
            let serving = tokio::spawn(server.serve(HopLayer::new().layer(methods)));
            Ok::<_, BoxError>((address, handle, serving))
        });
        let (address, handle, serving) = started.await??;
        Ok(Self { address, handle, serving: Some(serving), runtime: Some(runtime) })
    }

    pub(crate) fn id(&self) -> EndpointId {
        self.address.to_string().into()
    }

    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets it do nothing, until what comes back is dropped. Its connections stay, and the system goes on to take others for it.
    pub(crate) fn freeze(&self) -> Result<Sender<()>, BoxError> {
        let (ice, thaws) = channel();
        let runtime = self.runtime.as_ref().ok_or("it was killed before")?;
        // Its only thread waits here, and with it everything that it would do.
        runtime.spawn(async move { thaws.recv() });
        Ok(ice)
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) -> Result<(), BoxError> {
        let runtime = self.runtime.take();
        // It waits for its thread, which no task may.
        tokio::task::spawn_blocking(move || drop(runtime)).await?;
        Ok(())
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<ShutdownReport, BoxError> {
        self.handle.shut_down();
        let serving = self.serving.take().ok_or("it was stopped before")?;
        Ok(serving.await?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
