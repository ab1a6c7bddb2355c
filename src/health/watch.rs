use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;
use tokio::time::timeout_at;

use super::HealthStatus;
use super::state::{State, Told};

/// Tells of changes, the last of them if there were several. See [`Health::watch`](super::Health::watch).
///
/// It keeps no check running: when the last handle is gone, there are no more changes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use stonework::health::Health;
///
/// let health = Health::builder().build().unwrap();
/// let mut watch = health.watch();
/// health.drain();
/// assert!(!watch.changed().await.unwrap().ready);
/// drop(health);
/// assert_eq!(watch.changed().await, None);
/// # }
/// ```
#[derive(Clone)]
pub struct HealthWatch {
    state: Weak<State>,
    receiver: watch::Receiver<Told>,
}

impl HealthWatch {
    pub(super) const fn new(state: Weak<State>, receiver: watch::Receiver<Told>) -> Self {
        Self { state, receiver }
    }

    /// Waits for a change since the watch was made or this was last asked; `None` when there will be no more.
    ///
    /// Liveness is asked about for this once in an [interval](super::HealthSettings::interval). That a result is [too
    /// old](super::HealthSettings::ttl) to count is a change, too.
    ///
    /// # Panics
    ///
    /// If there is a check of readiness, outside a Tokio runtime with timers.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<HealthStatus> {
        Some(self.told().await?.status)
    }

    async fn told(&mut self) -> Option<Told> {
        loop {
            // Whoever runs the checks may be what has stopped. No longer than for this look: it keeps nothing running.
            let Some(stale_from) = self.state.upgrade().and_then(|state| state.note_stale()) else {
                self.receiver.changed().await.ok()?;
                break;
            };
            if let Ok(changed) = timeout_at(stale_from, self.receiver.changed()).await {
                changed.ok()?;
                break;
            }
        }
        Some(*self.receiver.borrow_and_update())
    }
}

impl fmt::Debug for HealthWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthWatch").field("status", &self.receiver.borrow().status).finish_non_exhaustive()
    }
}

type Next = Pin<Box<dyn Future<Output = (Option<Told>, HealthWatch)> + Send>>;

/// The same, to be polled.
pub(super) struct Changes {
    next: Next,
}

impl Changes {
    pub(super) fn new(mut watch: HealthWatch) -> Self {
        Self { next: Box::pin(async move { (watch.told().await, watch) }) }
    }

    /// The next change; `None` when there will be no more.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<HealthStatus>> {
        let (told, watch) = ready!(self.next.as_mut().poll(cx));
        *self = Self::new(watch);
        Poll::Ready(told.filter(|told| !told.stopped).map(|told| told.status))
    }
}
