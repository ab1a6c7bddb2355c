use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::report::{HealthReport, HealthStatus};
use super::tally::{Question, Tally};
use super::{CheckKind, HealthSettings, Verdict};
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::base::{Event, HealthState, Observe, Outbox, caught};

/// What a liveness check is: asked by whoever wants to know.
pub(super) type Ask = Box<dyn Fn() -> Verdict + Send + Sync>;

/// What handles and the task that runs the checks share.
pub(super) struct State {
    tally: Mutex<Tally>,
    /// How many questions were asked.
    questions: AtomicU64,
    /// The liveness checks, in the order of the first checks of the tally.
    alive: Box<[Ask]>,
    /// What else than "" stands for the whole server in gRPC.
    pub(super) services: Box<[Arc<str>]>,
    pub(super) settings: HealthSettings,
    changed: watch::Sender<Told>,
    /// Places for those who watch over gRPC.
    watchers: Arc<Semaphore>,
    outbox: Outbox,
}

/// So many may watch over gRPC at once. A stream is open for as long as its client likes, stands outside of all limits of a server, and holds some
/// kilobytes.
const MOST_WATCHERS: usize = 1024;

/// What watchers are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) status: HealthStatus,
    /// Nobody is to be told anything more.
    pub(super) stopped: bool,
}

impl State {
    pub(super) fn new(
        tally: Tally,
        alive: Vec<Ask>,
        services: Vec<Arc<str>>,
        settings: HealthSettings,
        observe: Observe,
    ) -> Self {
        let told = Told { status: tally.status(Instant::now()), stopped: false };
        Self {
            tally: Mutex::new(tally),
            questions: AtomicU64::new(0),
            alive: alive.into(),
            services: services.into(),
            settings,
            changed: watch::Sender::new(told),
            watchers: Arc::new(Semaphore::new(MOST_WATCHERS)),
            outbox: Outbox::new(observe),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_live(&self) -> bool {
        self.alive.iter().all(|ask| asked(ask).state().is_good())
    }

    /// One of the liveness checks.
    pub(super) fn ask(&self, check: usize) -> Verdict {
        self.alive.get(check).map_or_else(Verdict::pass, asked)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.tally().is_ready(Instant::now())
    }

    pub(super) fn is_started(&self) -> bool {
        self.tally().is_started()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.tally().is_draining()
    }

    pub(super) fn readiness(&self) -> HealthState {
        self.tally().readiness(Instant::now())
    }

    /// Everything, with liveness as it is now.
    pub(super) fn status(&self) -> HealthStatus {
        self.look();
        self.tally().status(Instant::now())
    }

    /// The checks of these kinds, with liveness as it is now.
    pub(super) fn report(&self, wanted: impl Fn(CheckKind) -> bool) -> HealthReport {
        self.look();
        let (now, tally) = (Instant::now(), self.tally());
        let checks = tally.checks(now, wanted).collect();
        HealthReport { status: tally.status(now), state: tally.readiness(now), checks }
    }

    /// Asks the liveness checks, and keeps what they say: whoever is told of it, and waits for changes, is told when it is so no longer.
    fn look(&self) {
        for check in 0..self.alive.len() {
            // With no lock held: it is user code.
            let question = self.question();
            self.record(check, question, self.ask(check));
        }
    }

    /// Tells whoever waits for changes that a result is too old to count, if nobody was told yet, and says when the next one will be, unless
    /// there is another by then.
    pub(super) fn note_stale(&self) -> Option<Instant> {
        let (now, tally) = (Instant::now(), self.tally());
        self.tell(tally.status(now), false, false);
        tally.stale_from(now)
    }

    /// To be called before a check is asked: several may ask one at once.
    pub(super) fn question(&self) -> Question {
        Question(self.questions.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(super) fn record(&self, check: usize, question: Question, verdict: Verdict) {
        let output = verdict.output().map(Arc::<str>::from);
        let now = Instant::now();
        let mut tally = self.tally();
        let news = tally.record(check, question, verdict, now);
        // After a gap they are told in any case: what they heard last may not be what was true meanwhile.
        self.tell(tally.status(now), false, news.was_stale);
        let change = news.change.zip(tally.name(check).cloned());
        self.outbox.put(change.map(|((from, to), check)| Event::HealthChanged { check, from, to, output }));
        drop(tally);
        // An observer that panics must not end the task: all checks would seem to fail.
        let _ = caught(|| self.outbox.tell());
    }

    pub(super) fn drain(&self, stop: bool) {
        let mut tally = self.tally();
        tally.drain();
        self.tell(tally.status(Instant::now()), stop, false);
    }

    /// While the tally is locked, so that nobody is told of two changes in the wrong order.
    fn tell(&self, status: HealthStatus, stop: bool, anyway: bool) {
        self.changed.send_if_modified(|told| {
            let news = Told { status, stopped: told.stopped || stop };
            let differs = *told != news;
            *told = news;
            differs || anyway
        });
    }

    /// Whether nobody is to be told anything more.
    pub(super) fn is_stopped(&self) -> bool {
        self.changed.borrow().stopped
    }

    /// A place for one more who watches over gRPC, if there is one.
    pub(super) fn watcher(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.watchers).try_acquire_owned().ok()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Told> {
        self.changed.subscribe()
    }
}

fn asked(ask: &Ask) -> Verdict {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| Verdict::fail("the check panicked"))
}
