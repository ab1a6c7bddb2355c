//! Things that are made as a test says, and that count themselves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use stonework::base::{Backoff, Deadline, Error, Event, PoolClose};
use stonework::pool::{Manage, Pool, PoolSettings, Pooled};
use stonework::testing::Recorder;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// How one is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial {
    Works(Duration),
    Fails(Duration),
    Panics(Duration),
    Hangs,
}

/// What one says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Yes,
    No,
    Panics,
    /// Yes, and panics when it was to be of no use.
    PanicsLater,
    Hangs,
    /// Yes, but not at once.
    After(Duration),
}

impl Says {
    fn is_yes(self) -> bool {
        assert!(self != Self::Panics, "on purpose");
        matches!(self, Self::Yes | Self::After(_) | Self::PanicsLater)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) dials: usize,
    pub(crate) dialing: usize,
    pub(crate) open: usize,
    /// The most that were open or being made at once.
    pub(crate) peak: usize,
    pub(crate) checks: usize,
    hangs: bool,
    /// By the order in which they were closed.
    pub(crate) closed: Vec<usize>,
}

type Script = dyn Fn(usize) -> Dial + Send + Sync;

/// Makes [`Thing`]s. Clones share what they count.
#[derive(Clone)]
pub(crate) struct Plant {
    counts: Arc<Mutex<Counts>>,
    script: Arc<Script>,
    /// What every new one says of itself: look, check, clean.
    nature: [Says; 3],
    /// How many looks each of them passes.
    looks: usize,
}

pub(crate) struct Thing {
    pub(crate) number: usize,
    pub(crate) usable: Says,
    /// How many looks it still passes.
    looks: AtomicUsize,
    pub(crate) passes: Says,
    pub(crate) clean: Says,
    /// How long its end takes the thread.
    pub(crate) slow_end: Duration,
    /// The deadline that was in force when it was asked last.
    pub(crate) asked_under: Option<Deadline>,
    pub(crate) end_panics: bool,
    counts: Arc<Mutex<Counts>>,
}

impl Plant {
    pub(crate) fn new() -> Self {
        Self::script(|_| Dial::Works(Duration::ZERO))
    }

    pub(crate) fn slow(time: Duration) -> Self {
        Self::script(move |_| Dial::Works(time))
    }

    /// The argument is how many were begun, this one included.
    pub(crate) fn script(script: impl Fn(usize) -> Dial + Send + Sync + 'static) -> Self {
        let nature = [Says::Yes, Says::Yes, Says::No];
        Self { counts: Arc::default(), script: Arc::new(script), nature, looks: usize::MAX }
    }

    pub(crate) fn nature(mut self, usable: Says, passes: Says, clean: Says) -> Self {
        self.nature = [usable, passes, clean];
        self
    }

    /// Every new one passes so many looks, and no more.
    pub(crate) fn looks(mut self, looks: usize) -> Self {
        self.looks = looks;
        self
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    /// Nothing that is begun from here on is ever made.
    pub(crate) fn hang_from_now_on(&self) {
        self.lock().hangs = true;
    }

    pub(crate) fn closed(&self) -> Vec<usize> {
        self.counts().closed
    }

    pub(crate) fn thing(&self, number: usize) -> Thing {
        let mut counts = self.lock();
        counts.open += 1;
        counts.peak = counts.peak.max(counts.open + counts.dialing);
        let [usable, passes, clean] = self.nature;
        let (slow_end, end_panics, counts) = (Duration::ZERO, false, Arc::clone(&self.counts));
        let looks = AtomicUsize::new(self.looks);
        Thing { number, usable, looks, passes, clean, slow_end, asked_under: None, end_panics, counts }
    }

    pub(crate) fn pool(&self, settings: PoolSettings) -> Pool<Self> {
        Pool::builder(self.clone()).settings(settings).build().expect("possible")
    }

    pub(crate) fn observed(&self, settings: PoolSettings) -> (Pool<Self>, Recorder) {
        let recorder = Recorder::new();
        let pool = Pool::builder(self.clone()).settings(settings).name("things").observer(recorder.clone());
        (pool.build().expect("possible"), recorder)
    }
}

impl Thing {
    /// It passes one more look, and no other.
    pub(crate) fn breaks_later(&self) {
        self.looks.store(1, Ordering::Relaxed);
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        #[expect(
            clippy::disallowed_methods,
            reason = "an object whose end takes its time, wherever it is dropped"
        )]
        std::thread::sleep(self.slow_end);
        let mut counts = self.counts.lock().unwrap();
        counts.open -= 1;
        counts.closed.push(self.number);
        drop(counts);
        assert!(!self.end_panics, "on purpose");
    }
}

/// In the middle of being made.
struct Half<'a>(&'a Plant);

impl Drop for Half<'_> {
    fn drop(&mut self) {
        self.0.lock().dialing -= 1;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("number {0} could not be made")]
pub(crate) struct NotMade(pub(crate) usize);

impl Manage for Plant {
    type Object = Thing;
    type Error = NotMade;

    async fn connect(&self) -> Result<Thing, NotMade> {
        let number = {
            let mut counts = self.lock();
            counts.dials += 1;
            counts.dialing += 1;
            counts.peak = counts.peak.max(counts.open + counts.dialing);
            counts.dials
        };
        let half = Half(self);
        let hangs = self.lock().hangs;
        match if hangs { Dial::Hangs } else { (self.script)(number) } {
            Dial::Works(time) => {
                pause(time).await;
                drop(half);
                Ok(self.thing(number))
            }
            Dial::Fails(time) => {
                pause(time).await;
                Err(NotMade(number))
            }
            Dial::Panics(time) => {
                pause(time).await;
                panic!("on purpose")
            }
            Dial::Hangs => std::future::pending().await,
        }
    }

    fn is_usable(&self, thing: &Thing) -> bool {
        let looks = thing.looks.fetch_sub(1, Ordering::Relaxed);
        assert!(looks > 0 || thing.usable != Says::PanicsLater, "on purpose");
        looks > 0 && thing.usable.is_yes()
    }

    async fn check(&self, thing: &mut Thing) -> Result<(), NotMade> {
        self.lock().checks += 1;
        thing.asked_under = Deadline::current();
        match thing.passes {
            Says::Hangs => std::future::pending().await,
            Says::After(time) => sleep(time).await,
            Says::Yes | Says::No | Says::Panics | Says::PanicsLater => {}
        }
        if thing.passes.is_yes() { Ok(()) } else { Err(NotMade(thing.number)) }
    }

    fn is_clean(&self, thing: &mut Thing) -> bool {
        thing.clean.is_yes()
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// So many, and a pause of 100 ms after each failure.
pub(crate) fn up_to(max: usize) -> PoolSettings {
    PoolSettings::new().max(max).backoff(Backoff::constant(100 * MS).expect("more than zero"))
}

/// What was spawned has run as far as it gets without time going on.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// A caller in a task of its own, who has got as far as it gets at once.
pub(crate) async fn caller(pool: &Pool<Plant>) -> JoinHandle<Result<Pooled<Plant>, Error>> {
    let pool = pool.clone();
    let task = tokio::spawn(async move { pool.get().await });
    settle().await;
    task
}

pub(crate) async fn got(task: JoinHandle<Result<Pooled<Plant>, Error>>) -> Pooled<Plant> {
    task.await.expect("no panic").expect("an object")
}

pub(crate) async fn refused(task: JoinHandle<Result<Pooled<Plant>, Error>>) -> Error {
    task.await.expect("no panic").expect_err("a refusal")
}

/// Why they were closed, in order.
pub(crate) fn closes(events: &Recorder) -> Vec<PoolClose> {
    let why = |event: &Event| match event {
        Event::PoolClosed { why, .. } => Some(*why),
        _ => None,
    };
    events.events().iter().filter_map(why).collect()
}

/// So many that nobody uses, with nobody in between.
pub(crate) async fn filled(pool: &Pool<Plant>, objects: usize) {
    let mut all = Vec::new();
    for _ in 0..objects {
        all.push(pool.get().await.expect("room"));
    }
    all.into_iter().for_each(Pooled::put_back);
}

/// As many can be had at once as there may be, and what it says of itself is what there is.
pub(crate) async fn assert_whole(pool: &Pool<Plant>, plant: &Plant) {
    let max = pool.stats().max();
    let mut all = Vec::new();
    for _ in 0..max {
        all.push(pool.get().await.expect("the full capacity"));
    }
    let stats = pool.stats();
    assert_eq!((stats.in_use(), stats.open(), stats.waiting(), stats.connecting()), (max, max, 0, 0));
    assert_eq!((plant.counts().open, plant.counts().dialing), (max, 0));
    all.into_iter().for_each(Pooled::put_back);
    assert_eq!((pool.stats().in_use(), pool.stats().idle()), (0, max));
}
