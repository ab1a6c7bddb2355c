//! A clock that stands still, and whether somebody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3600);

/// How often a thread of a runtime went to sleep.
#[derive(Clone, Default)]
pub(super) struct Parks(Arc<AtomicUsize>);

impl Parks {
    /// How often within an hour in which nobody wants anything.
    pub(super) async fn within_an_hour(&self) -> usize {
        // Who was woken by a timer sleeps once more than who was woken by a task.
        tokio::spawn(async {}).await.expect("it does nothing");
        let before = self.0.load(Relaxed);
        sleep(HOUR).await;
        self.0.load(Relaxed) - before
    }
}

/// On a runtime of its own, whose clock stands still.
pub(super) fn on_a_clock_of_its_own<T>(work: impl AsyncFnOnce(Parks) -> T) -> T {
    let parks = Parks::default();
    let counted = parks.clone();
    let mut runtime = Builder::new_current_thread();
    runtime.enable_time().start_paused(true).on_thread_park(move || {
        counted.0.fetch_add(1, Relaxed);
    });
    runtime.build().expect("a runtime").block_on(work(parks))
}

/// How often a thread sleeps within an hour on a runtime on which there was nothing for so long. It depends on that, since timers are kept
/// by how far away they are.
pub(super) fn quiet_after(time: Duration) -> usize {
    on_a_clock_of_its_own(async |parks| {
        sleep(time).await;
        parks.within_an_hour().await
    })
}
