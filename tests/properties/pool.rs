//! Whatever happens to a pool, in whatever order: never too many, nobody forgotten, and whole at the end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use stonework::base::{Backoff, Error};
use stonework::pool::{Manage, Pool, PoolSettings, Pooled};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// How many there are, and what becomes of the next ones.
#[derive(Clone, Debug, Default)]
struct Plant(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    dialing: AtomicUsize,
    /// Of so many that are connected one fails, if that is more than zero.
    fails: AtomicUsize,
    begun: AtomicUsize,
    checks: AtomicUsize,
}

struct Thing {
    counts: Arc<Counts>,
    broken: AtomicBool,
    sick: AtomicBool,
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counted while it is being made, however that ends.
struct Half<'a>(&'a AtomicUsize);

impl Drop for Half<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Manage for Plant {
    type Object = Thing;
    type Error = &'static str;

    async fn connect(&self) -> Result<Thing, &'static str> {
        let counts = &self.0;
        counts.dialing.fetch_add(1, Ordering::Relaxed);
        let _half = Half(&counts.dialing);
        let nth = counts.begun.fetch_add(1, Ordering::Relaxed);
        if !nth.is_multiple_of(3) {
            sleep((nth % 7) as u32 * MS).await;
        }
        let fails = counts.fails.load(Ordering::Relaxed);
        if fails > 0 && nth.is_multiple_of(fails) {
            return Err("on purpose");
        }
        counts.open.fetch_add(1, Ordering::Relaxed);
        let (broken, sick) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Thing { counts: Arc::clone(counts), broken, sick })
    }

    fn is_usable(&self, thing: &Thing) -> bool {
        !thing.broken.load(Ordering::Relaxed)
    }

    async fn check(&self, thing: &mut Thing) -> Result<(), &'static str> {
        let nth = self.0.checks.fetch_add(1, Ordering::Relaxed);
        if !nth.is_multiple_of(3) {
            sleep((nth % 11) as u32 * MS).await;
        }
        if *thing.sick.get_mut() { Err("on purpose") } else { Ok(()) }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A caller who waits, and whether somebody has called it since it last looked.
struct Caller {
    getting: Pin<Box<dyn Future<Output = Result<Pooled<Plant>, Error>>>>,
    called: Arc<Flag>,
    /// As of the last time that all were looked at.
    was_called: bool,
}

impl Caller {
    fn of(pool: &Pool<Plant>) -> Self {
        let pool = pool.clone();
        let getting = Box::pin(async move { pool.get().await });
        Self { getting, called: Arc::default(), was_called: false }
    }

    fn poll(&mut self) -> Poll<Result<Pooled<Plant>, Error>> {
        self.called.0.store(false, Ordering::Relaxed);
        self.was_called = false;
        self.getting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.called))))
    }

    fn is_called(&self) -> bool {
        self.called.0.load(Ordering::Relaxed)
    }
}

/// What takes longer than this never happens.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work).await.expect("it should have happened by now")
}

/// A pool, and what a user of it sees.
struct World {
    pool: Pool<Plant>,
    plant: Plant,
    random: fastrand::Rng,
    /// In the order of arrival.
    callers: Vec<Caller>,
    held: Vec<Pooled<Plant>>,
    max: usize,
    /// The most that there may be at this moment: more than `max` while it shrinks.
    most: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let max = random.usize(1..6);
        let settings = PoolSettings::new()
            .max(max)
            .min_idle(random.usize(0..=max.min(2)))
            .backoff(Backoff::constant(5 * MS).expect("more than zero"))
            .idle_timeout(random.u32(5..100) * MS)
            .lifetime(random.u32(20..400) * MS)
            .check_after(random.u32(0..20) * MS)
            .connect_timeout(random.u32(3..20) * MS)
            .max_waiting(50)
            .without_wait_timeout();
        let plant = Plant::default();
        let pool = Pool::builder(plant.clone()).settings(settings).build().expect("possible");
        let (callers, held) = (Vec::new(), Vec::new());
        Self { pool, plant, random, callers, held, max, most: max }
    }

    fn any(&mut self, of: usize) -> Option<usize> {
        if of > 0 { Some(self.random.usize(0..of)) } else { None }
    }

    fn look(&mut self, at: usize) {
        let Poll::Ready(got) = self.callers[at].poll() else { return };
        self.callers.remove(at);
        self.held.extend(got);
    }

    async fn step(&mut self) {
        match self.random.u32(0..100) {
            0..36 => {
                self.callers.push(Caller::of(&self.pool));
                self.look(self.callers.len() - 1);
            }
            36..66 => {
                if let Some(at) = self.any(self.callers.len()) {
                    self.callers.remove(at);
                }
            }
            66..72 => {
                if let Some(at) = self.any(self.callers.len()) {
                    self.look(at);
                }
            }
            72..88 => {
                let Some(at) = self.any(self.held.len()) else { return };
                let thing = self.held.remove(at);
                match self.random.u32(0..20) {
                    0 => drop(thing),
                    1 => thing.discard(),
                    2 => drop(thing.take()),
                    3 => {
                        thing.broken.store(true, Ordering::Relaxed);
                        thing.put_back();
                    }
                    4 => {
                        thing.sick.store(true, Ordering::Relaxed);
                        thing.put_back();
                    }
                    _ => thing.put_back(),
                }
            }
            88 => {
                self.max = self.random.usize(1..6);
                self.pool.set_max(self.max);
            }
            89 => {
                if let Some(thing) = self.pool.try_get() {
                    assert!(self.pool.stats().waiting() == 0);
                    self.held.push(thing);
                }
            }
            90 => {
                let fails = self.random.usize(0..4);
                self.plant.0.fails.store(fails, Ordering::Relaxed);
            }
            91..98 => tokio::task::yield_now().await,
            _ => sleep(self.random.u32(1..8) * MS).await,
        }
    }

    fn assert_sound(&mut self) {
        let stats = self.pool.stats();
        let open = self.plant.0.open.load(Ordering::Relaxed);
        let dialing = self.plant.0.dialing.load(Ordering::Relaxed);
        assert_eq!(stats.idle() + stats.in_use(), open, "{stats:?}");
        assert!(dialing <= stats.connecting() && stats.in_use() >= self.held.len(), "{dialing} {stats:?}");
        self.most = self.max.max(self.most.min(stats.open()));
        assert!(stats.open() <= self.most, "{} {stats:?}", self.most);
        let asked = stats.in_use() - self.held.len();
        let hoped_for = asked + stats.connecting();
        assert!(
            stats.waiting() <= hoped_for || stats.idle() == 0,
            "one lies idle while somebody waits: {stats:?}"
        );
        assert!(stats.waiting() <= self.callers.len(), "somebody waits who has gone: {stats:?}");
        // Nobody was called before those who came earlier.
        let first = self.callers.iter().position(|caller| !caller.is_called()).unwrap_or(self.callers.len());
        let overtook = self.callers[first..].iter().any(|caller| caller.is_called() && !caller.was_called);
        assert!(!overtook, "called out of order");
        for caller in &mut self.callers {
            caller.was_called = caller.is_called();
        }
    }

    /// Everybody who is left is served, without being asked; and then all that there may be can be had at once.
    async fn assert_whole(mut self) {
        self.plant.0.fails.store(0, Ordering::Relaxed);
        for _ in 0..10_000 {
            self.held.drain(..).for_each(Pooled::put_back);
            self.assert_sound();
            while let Some(at) = self.callers.iter().position(Caller::is_called) {
                self.look(at);
                self.assert_sound();
            }
            if self.callers.is_empty() {
                break;
            }
            sleep(MS).await;
        }
        assert!(self.callers.is_empty(), "forgotten: {}, {:?}", self.callers.len(), self.pool.stats());
        self.held.drain(..).for_each(Pooled::put_back);
        while self.held.len() < self.max {
            // What failed before may be told only now.
            self.held.extend(soon(self.pool.get()).await);
        }
        let stats = self.pool.stats();
        assert_eq!((stats.in_use(), stats.open(), stats.waiting()), (self.max, self.max, 0));
        self.held.clear();
        soon(self.pool.close()).await;
        assert_eq!((self.pool.stats().open(), self.plant.0.open.load(Ordering::Relaxed)), (0, 0));
    }
}

proptest! {
    // With PROPTEST_CASES=1024 more than a million callers give up.
    #[test]
    fn a_pool_is_never_too_large_forgets_nobody_and_is_whole_at_the_end(seed: u64, steps in 1_usize..8_000) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed);
            for _ in 0..steps {
                world.step().await;
                world.assert_sound();
            }
            world.assert_whole().await;
        });
    }
}
