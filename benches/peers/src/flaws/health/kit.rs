//! Checks that misbehave, and what is counted of them. All of it is on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What a check does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Passes,
    /// It passes once, and panics from then on.
    PassesOnce,
    Hangs,
}

/// Notes when a check begins, and of which endpoint.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<(usize, Instant)>>>);

impl Begun {
    /// A check of this endpoint, by its number.
    pub(super) async fn check(self, endpoint: usize, does: Does) {
        let times = self.times(endpoint).len();
        self.0.lock().expect("nobody panics with it").push((endpoint, Instant::now()));
        match does {
            Does::Passes => {}
            Does::PassesOnce => assert!(times == 0, "as it is meant to"),
            Does::Hangs => std::future::pending().await,
        }
    }

    pub(super) fn times(&self, endpoint: usize) -> Vec<Instant> {
        let begun = self.0.lock().expect("nobody panics with it");
        begun.iter().filter(|(of, _)| *of == endpoint).map(|(_, at)| *at).collect()
    }

    fn all(&self) -> Vec<Instant> {
        self.0.lock().expect("nobody panics with it").iter().map(|(_, at)| *at).collect()
    }
}

pub(super) const MANY: usize = 100;
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const BUSIEST: Duration = Duration::from_millis(40);

/// After a minute: how many checks began within the busiest time, and how many at all.
pub(super) async fn busiest(begun: &Begun) -> (usize, usize) {
    sleep(MINUTE).await;
    let all = begun.all();
    let within = |from: usize| all[from..].iter().take_while(|time| **time - all[from] < BUSIEST).count();
    ((0..all.len()).map(within).max().unwrap_or_default(), all.len())
}

pub(super) const FEW: usize = 10;
pub(super) const EACH: Duration = Duration::from_millis(500);
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// The one whose check hangs, and one that is well.
pub(super) const HANGING: usize = 3;
pub(super) const WELL: usize = 7;

/// How often the one that is well is checked within 20 s.
pub(super) async fn held_up(begun: &Begun) -> usize {
    sleep(40 * EACH).await;
    begun.times(WELL).len()
}

/// What is known a minute later, when the check has been asked again; panics are not printed.
pub(super) async fn after_panics<T>(begun: &Begun, known: impl AsyncFnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    sleep(MINUTE).await;
    std::panic::set_hook(hook);
    assert!(begun.times(0).len() > 3, "it was checked again");
    known().await
}
