use std::sync::Arc;

use tokio::time::Instant;

use super::Manage;
use super::core::{Core, UNUSABLE};
use crate::base::{Deadline, Error, Event, Kind};

/// A place that is taken for an object that is being connected.
pub(super) struct Dialing<M: Manage> {
    core: Arc<Core<M>>,
    over: bool,
}

impl<M: Manage> Dialing<M> {
    pub(super) const fn new(core: Arc<Core<M>>) -> Self {
        Self { core, over: false }
    }

    /// Nobody can connect here and now.
    pub(super) fn give_up(mut self) {
        self.over = true;
        self.core.not_begun();
    }
}

/// Connects, for whoever needs it then.
pub(super) async fn connect<M: Manage>(mut dialing: Dialing<M>) {
    let start = Instant::now();
    let limit = dialing.core.settings.connect_timeout;
    let connected = Deadline::after(start, limit).bound(dialing.core.manager.connect()).await;
    let took = start.elapsed();
    let error = match connected {
        Ok(Ok(object)) if !dialing.core.manager.is_usable(&object) => {
            drop(object);
            Error::new(Kind::Connect, UNUSABLE)
        }
        Ok(Ok(object)) => {
            let core = &dialing.core;
            core.observe.note(|| Event::PoolConnected { pool: Arc::clone(&core.name), took });
            dialing.over = true;
            return dialing.core.connected(object);
        }
        Ok(Err(error)) => Error::new(Kind::Connect, error),
        Err(elapsed) => Error::new(Kind::Connect, elapsed),
    };
    dialing.over = true;
    dialing.core.failed(error);
}

/// The manager or the observer panicked, or the runtime is being shut down.
impl<M: Manage> Drop for Dialing<M> {
    fn drop(&mut self) {
        if !self.over {
            self.core.failed(Error::new(Kind::Connect, "connecting was cut off, as by a panic"));
        }
    }
}
