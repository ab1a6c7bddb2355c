use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

use super::HealthStatus;
use super::state::Told;

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
#[derive(Clone, Debug)]
pub struct HealthWatch {
    receiver: watch::Receiver<Told>,
}

impl HealthWatch {
    pub(super) const fn new(receiver: watch::Receiver<Told>) -> Self {
        Self { receiver }
    }

    /// Waits for a change since the watch was made or this was last asked; `None` when there will be no more.
    ///
    /// Liveness is asked about for this once in an [interval](super::HealthSettings::interval).
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<HealthStatus> {
        Some(self.told().await?.status)
    }

    async fn told(&mut self) -> Option<Told> {
        self.receiver.changed().await.ok()?;
        Some(*self.receiver.borrow_and_update())
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
