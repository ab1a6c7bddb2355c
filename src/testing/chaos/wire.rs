use std::fmt;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::link::Link;
use super::plan::{Dial, Plan};
use super::stream::{self, WireStream};
use super::{Counts, Direction, Faults, Happening, What};
use crate::testing::Digest;

/// How many connections wait to be accepted, before others are refused: what systems keep at most.
const BACKLOG: usize = 4096;
/// How much is remembered of what happened. Counts go on.
const MOST: usize = 65_536;

/// A network in memory that breaks as its seed says. Clones are of the same one. See the [module](super).
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    seed: u64,
    pub(super) faults: Faults,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calm: bool,
    /// Whoever accepts, if there is anybody.
    accepts: Option<mpsc::Sender<WireStream>>,
    counts: Counts,
    happenings: Vec<Happening>,
    digest: Digest,
}

impl Wire {
    /// One with these faults. Nobody listens yet.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let shared = Shared { seed, faults, start: Instant::now(), state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The other ends of what is connected from now on, as a server listens to them. They come here in place of where they came until now: so one
    /// server follows another. When this is dropped, connections are refused.
    #[must_use]
    pub fn listen(&self) -> mpsc::Receiver<WireStream> {
        let (accepts, accepted) = mpsc::channel(BACKLOG);
        self.shared.state().accepts = Some(accepts);
        accepted
    }

    /// Go to the other end.
    ///
    /// *Errors:* of the kind `ConnectionRefused`. *Cancellation:* may be dropped at any time; if there was a connection, its other end sees it closed.
    pub fn connect(&self) -> impl Future<Output = io::Result<WireStream>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let (number, plan) = shared.begin();
            let faults = &shared.faults;
            let [way, ..] = &plan.dice;
            let one_way = || faults.delay(way);
            let (there, back) = (one_way(), one_way());
            if plan.dial == Dial::Hangs {
                shared.note(number, What::Hangs);
                return pending().await;
            }
            travel(there).await;
            let listener = shared.listener().filter(|_| plan.dial == Dial::Made);
            let Some(place) = listener.and_then(|listener| listener.try_reserve_owned().ok()) else {
                travel(back).await;
                shared.note(number, What::Refused);
                return Err(ErrorKind::ConnectionRefused.into());
            };
            let [ours, theirs] = stream::ends(&shared, Link::new(plan, Instant::now()), number);
            place.send(theirs);
            shared.note(number, What::Made);
            travel(back).await;
            Ok(ours)
        }
    }

    /// From now on nothing more goes wrong: connections are made, and are neither reset nor do they fall silent. What has gone wrong already
    /// stays so, and everything takes as long as before.
    pub fn calm(&self) {
        self.shared.state().calm = true;
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// What has happened so far, as it happened; of very much, the beginning.
    #[must_use]
    pub fn happenings(&self) -> Vec<Happening> {
        self.shared.state().happenings.clone()
    }

    /// A number for everything that has happened and every byte that was read, with the time of each: two runs with the same number were the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.shared.state().digest.finish()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> Option<mpsc::Sender<WireStream>> {
        self.state().accepts.clone()
    }

    pub(super) fn is_calm(&self) -> bool {
        self.state().calm
    }

    /// The next connection, and what is to happen to it.
    fn begin(&self) -> (u64, Plan) {
        let mut state = self.state();
        let number = state.counts.dialed;
        state.counts.dialed += 1;
        let mut plan = Plan::of(self.seed, number, &self.faults);
        if state.calm {
            (plan.dial, plan.cut) = (Dial::Made, None);
        }
        (number, plan)
    }

    pub(super) fn note(&self, connection: u64, what: What) {
        let at = self.start.elapsed();
        let mut state = self.state();
        state.counts.count(what);
        let happening = Happening { at, connection, what };
        state.digest.update(format!("{happening}\n").as_bytes());
        if state.happenings.len() < MOST {
            state.happenings.push(happening);
        }
    }

    /// These bytes have come in this direction.
    pub(super) fn carried(&self, connection: u64, direction: Direction, bytes: &[u8]) {
        let at = self.start.elapsed();
        let mut state = self.state();
        state.counts.bytes += bytes.len() as u64;
        state.digest.update(&at.as_nanos().to_le_bytes());
        state.digest.update(&connection.to_le_bytes());
        state.digest.update(&[direction.index() as u8]);
        state.digest.update(bytes);
    }
}

/// Takes so long; nothing, if that is no time, since timers fire at whole milliseconds.
async fn travel(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("seed", &self.shared.seed).field("counts", &self.counts()).finish()
    }
}
