use std::fmt;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::state::State;
use super::{HealthBuilder, HealthLayer, HealthReport, HealthService, HealthStatus, HealthWatch};

/// A handle to the health of a process, shared by cloning. See the [module](super).
///
/// Its checks run in a task of their own, which ends when the last handle is gone, with the services and layers made from it. So
/// do not move a handle into one of its own checks.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    state: Arc<State>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Health {
    /// No checks yet.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    pub(super) fn new(state: Arc<State>, task: Option<JoinHandle<()>>) -> Self {
        Self { shared: Arc::new(Shared { state, task }) }
    }

    pub(super) fn state(&self) -> &State {
        &self.shared.state
    }

    /// Whether no liveness check fails. They are asked here and now.
    #[must_use]
    pub fn live(&self) -> bool {
        self.state().is_live()
    }

    /// Whether requests may come: it has started, no [`Hard`](super::Impact::Hard) check fails, every
    /// [`Shared`](super::Impact::Shared) one has passed once, and nobody said to [`drain`](Self::drain). No check is run for this.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.state().is_ready()
    }

    /// Whether every startup check has passed.
    #[must_use]
    pub fn started(&self) -> bool {
        self.state().is_started()
    }

    /// The answers to all these questions at one moment.
    #[must_use]
    pub fn status(&self) -> HealthStatus {
        self.state().status()
    }

    /// All that is known, with what the checks said: for your own eyes, since that may name hosts and users.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.state().report(|_| true)
    }

    /// From now on it is not ready, so that nobody sends new requests: the first step of a shutdown. It goes on serving and is as
    /// live as before; there is no way back.
    pub fn drain(&self) {
        self.state().drain(false);
    }

    /// As [`drain`](Self::drain), and whoever watches over gRPC is told and sent away, with the status `UNAVAILABLE`: the step in
    /// which a server stops to accept connections, which would otherwise wait for streams that never end.
    pub fn stop(&self) {
        self.state().drain(true);
    }

    /// Waits until it is ready. `false` if that will never be, since it is draining.
    ///
    /// # Cancellation
    ///
    /// Dropping the future only ends the waiting.
    pub async fn wait_ready(&self) -> bool {
        // Before the first look, so that no change is missed.
        let mut watch = self.watch();
        loop {
            if self.ready() {
                return true;
            }
            if self.state().is_draining() || watch.changed().await.is_none() {
                return false;
            }
        }
    }

    /// To wait for changes of the [status](Self::status).
    #[must_use]
    pub fn watch(&self) -> HealthWatch {
        HealthWatch::new(Arc::downgrade(&self.shared.state), self.state().subscribe())
    }

    /// A service that answers probes, and 404 to all else.
    #[must_use]
    pub fn service(&self) -> HealthService {
        HealthService::new(self.clone())
    }

    /// A layer that answers probes, and hands all else on.
    pub fn layer(&self) -> HealthLayer {
        HealthLayer::from(self.clone())
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `status`, which would call the liveness checks.
        f.debug_struct("Health")
            .field("ready", &self.ready())
            .field("started", &self.started())
            .finish_non_exhaustive()
    }
}
