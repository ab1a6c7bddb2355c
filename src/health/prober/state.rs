use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::roster::{First, Roster};
use super::{ProbedEndpoint, ProberSettings};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{EndpointId, Event, Fitness, Observe, Rng};

/// Whoever hears of changes.
pub(super) type OnChange = Box<dyn Fn(&EndpointId, Fitness) + Send + Sync>;

/// What handles and the task that probes share.
pub(super) struct State {
    roster: Mutex<Roster>,
    pub(super) settings: ProberSettings,
    name: Arc<str>,
    observe: Observe,
    on_change: Option<OnChange>,
    pub(super) rng: Rng,
    /// For the task: there are other endpoints.
    pub(super) changed: Notify,
    /// For those who wait: everybody was told.
    told: watch::Sender<()>,
}

impl State {
    pub(super) fn new(
        settings: ProberSettings,
        name: Arc<str>,
        (observe, on_change): (Observe, Option<OnChange>),
        rng: Rng,
    ) -> Self {
        let roster = Mutex::new(Roster::new(settings, Instant::now()));
        let (changed, told) = (Notify::new(), watch::Sender::new(()));
        Self { roster, settings, name, observe, on_change, rng, changed, told }
    }

    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, endpoints: BTreeSet<EndpointId>) {
        self.roster().set(endpoints, Instant::now(), &self.rng);
        self.changed.notify_one();
    }

    pub(super) fn endpoints(&self) -> Vec<ProbedEndpoint> {
        self.roster().endpoints(Instant::now())
    }

    /// Waits until every endpoint is known, or never will be.
    pub(super) async fn wait_first(&self) -> bool {
        // Before the first look, so that nothing is missed.
        let mut told = self.told.subscribe();
        loop {
            match self.roster().first() {
                First::Known => return true,
                First::Never => return false,
                First::Waits => {}
            }
            if told.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Tells everybody what has changed. Only the task does that, so that nobody hears of two changes in the wrong order; and with no lock
    /// held, so that whoever hears of one may ask.
    pub(super) fn tell(&self) {
        let news = self.roster().take_news();
        for news in news {
            // Whoever panics must not end the task: nobody would be probed any more.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if let Some(on_change) = &self.on_change {
                    on_change(&news.endpoint, news.to);
                }
            }));
            let prober = || Arc::clone(&self.name);
            let _ = catch_unwind(AssertUnwindSafe(|| {
                self.observe.note(|| Event::FitnessChanged {
                    prober: prober(),
                    endpoint: news.endpoint,
                    from: news.from,
                    to: news.to,
                    output: news.output,
                });
            }));
        }
        self.roster().told();
        self.told.send_replace(());
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}
