use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a [`Scripted`](super::Scripted) service saw. Cloning it gives another view of the same record.
///
/// Requests are kept as they came, with their bodies unread, until [`take`](Self::take) or the last clone goes.
///
/// ```
/// use stonework::testing::{Scripted, Step};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = Scripted::<&str, &str>::steps([Step::Answer("pong")]);
/// let seen = service.seen();
/// service.oneshot("ping").await.expect("answered");
/// assert_eq!((seen.count(), seen.requests()), (1, vec!["ping"]));
/// # }
/// ```
pub struct Seen<Req>(Arc<Mutex<Record<Req>>>);

struct Record<Req> {
    requests: Vec<Req>,
    times: Vec<Instant>,
    in_flight: usize,
    abandoned: u64,
}

impl<Req> Seen<Req> {
    pub(super) fn new() -> Self {
        let record = Record { requests: Vec::new(), times: Vec::new(), in_flight: 0, abandoned: 0 };
        Self(Arc::new(Mutex::new(record)))
    }

    /// How many calls there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.record().times.len()
    }

    /// Calls that are not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.record().in_flight
    }

    /// Calls whose future was dropped before it answered.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.record().abandoned
    }

    /// When each call came, in order.
    #[must_use]
    pub fn times(&self) -> Vec<Instant> {
        self.record().times.clone()
    }

    /// The pauses between one call and the next: the backoff, where calls answer at once.
    #[must_use]
    pub fn gaps(&self) -> Vec<Duration> {
        self.record().times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Copies of the requests, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Req>
    where
        Req: Clone,
    {
        self.record().requests.clone()
    }

    /// Takes the requests out, for those that cannot be cloned. The counts stay.
    #[must_use]
    pub fn take(&self) -> Vec<Req> {
        std::mem::take(&mut self.record().requests)
    }

    /// Looks at the requests in place. Do not use the service inside `look`: the record is locked.
    pub fn with<T>(&self, look: impl FnOnce(&[Req]) -> T) -> T {
        look(&self.record().requests)
    }

    pub(super) fn began(&self, request: Req) {
        let now = Instant::now();
        let mut record = self.record();
        record.requests.push(request);
        record.times.push(now);
        record.in_flight += 1;
    }

    fn ended(&self, abandoned: bool) {
        let mut record = self.record();
        record.in_flight -= 1;
        record.abandoned += u64::from(abandoned);
    }

    fn record(&self) -> MutexGuard<'_, Record<Req>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Req> Clone for Seen<Req> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req> fmt::Debug for Seen<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// One call that is not answered yet. Settled once: by the answer, or by the drop.
pub(super) struct Running<Req> {
    seen: Option<Seen<Req>>,
}

impl<Req> Running<Req> {
    /// The call must have been counted by [`Seen::began`].
    pub(super) const fn new(seen: Seen<Req>) -> Self {
        Self { seen: Some(seen) }
    }

    pub(super) fn answered(&mut self) {
        if let Some(seen) = self.seen.take() {
            seen.ended(false);
        }
    }
}

impl<Req> Drop for Running<Req> {
    fn drop(&mut self) {
        if let Some(seen) = self.seen.take() {
            seen.ended(true);
        }
    }
}
