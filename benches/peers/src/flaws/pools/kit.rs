//! Things that misbehave, and what is done with a pool of them, whoever made it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::pool::kit::{Broken, Lends, Things};

pub(super) const DEAD: u32 = 62;

/// Counts what is asked of it.
#[derive(Clone, Default)]
pub(super) struct Scripted(Arc<Script>);

#[derive(Default)]
struct Script {
    first_panics: bool,
    makes_in: Duration,
    /// Those that were made before this one have died.
    alive_from: AtomicU32,
    begun: AtomicU32,
    asked_in_vain: AtomicU32,
}

impl Scripted {
    pub(super) fn first_panics() -> Self {
        Self(Arc::new(Script { first_panics: true, ..Script::default() }))
    }

    pub(super) fn makes_in(time: Duration) -> Self {
        Self(Arc::new(Script { makes_in: time, ..Script::default() }))
    }

    fn die(&self) {
        self.0.alive_from.store(self.begun(), Ordering::Relaxed);
    }

    pub(super) fn begun(&self) -> u32 {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn asked_in_vain(&self) -> u32 {
        self.0.asked_in_vain.load(Ordering::Relaxed)
    }
}

impl Things for Scripted {
    async fn make(&self) -> Result<u32, Broken> {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        assert!(number > 0 || !self.0.first_panics, "as it is meant to");
        sleep(self.0.makes_in).await;
        Ok(number)
    }

    async fn ask(&self, thing: u32) -> Result<(), Broken> {
        if thing >= self.0.alive_from.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.0.asked_in_vain.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        Err(Broken)
    }
}

const SOON: Duration = Duration::from_millis(300);

/// How many of two can be had at once, after the first caller met the panic.
pub(super) async fn after_a_panic(pool: impl Lends) -> usize {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let first = timeout(SOON, pool.take()).await;
    std::panic::set_hook(hook);
    drop(first);
    let mut held = Vec::new();
    while let Ok(Some(object)) = timeout(SOON, pool.take()).await {
        held.push(object);
        if held.len() == 2 {
            break;
        }
    }
    held.len()
}

/// How often the newcomer is served before the one that waited.
pub(super) async fn overtaken(pool: impl Lends) -> usize {
    let mut overtaken = 0;
    for _ in 0..100 {
        let held = pool.take().await.expect("it can be made");
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = pin!(pool.take());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(held);
        let mut comes = pin!(pool.take());
        if let Poll::Ready(got) = comes.as_mut().poll(&mut cx) {
            overtaken += usize::from(got.is_some());
        }
        drop(timeout(SOON, waits).await);
    }
    overtaken
}

/// When a caller knows that it gets nothing, if it is told within this time.
pub(super) async fn told(pool: impl Lends, within: Duration) -> Option<Duration> {
    let _kept = pool.take().await.expect("it can be made");
    let start = Instant::now();
    let got = timeout(within, pool.take()).await.ok()?;
    got.is_none().then(|| start.elapsed())
}

/// How many of the dead are asked until a caller has one, and how long that takes.
pub(super) async fn dead(things: &Scripted, pool: impl Lends) -> (u32, Duration) {
    let mut held = Vec::new();
    for _ in 0..DEAD {
        held.push(pool.take().await.expect("it can be made"));
    }
    drop(held);
    things.die();
    let start = Instant::now();
    let got = pool.take().await;
    let took = start.elapsed();
    assert!(got.is_some(), "a new one is well");
    (things.asked_in_vain(), took)
}

/// As many as there may be are in use at once, and an hour goes by.
pub(super) async fn peak(pool: &impl Lends) {
    let mut held = Vec::new();
    for _ in 0..DEAD {
        held.push(pool.take().await.expect("it can be made"));
    }
    drop(held);
    sleep(Duration::from_secs(60 * 60)).await;
}

/// How many of the callers get one.
pub(super) async fn impatient(pool: impl Lends) -> usize {
    let mut served = 0;
    for _ in 0..20 {
        if let Ok(Some(_object)) = timeout(Duration::from_millis(20), pool.take()).await {
            served += 1;
        }
    }
    served
}

/// Notes when each is made.
#[derive(Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Vec<Instant>>>);

impl Things for Noted {
    async fn make(&self) -> Result<u32, Broken> {
        self.0.lock().expect("nobody panics with it").push(Instant::now());
        Ok(7)
    }

    async fn ask(&self, _: u32) -> Result<(), Broken> {
        Ok(())
    }
}

pub(super) const TOGETHER: usize = 30;
pub(super) const LIFETIME: Duration = Duration::from_secs(3);

/// Of those in whose place others have to be made: how many are made within the busiest hundredth of their lives, and how many at all.
pub(super) async fn made_anew(things: &Noted, pool: impl Lends) -> (usize, usize) {
    sleep(LIFETIME * 5 / 4).await;
    drop(pool);
    let made = things.0.lock().expect("nobody panics with it");
    let anew = &made[TOGETHER.min(made.len())..];
    let within = |(from, first): (usize, &Instant)| {
        anew[from..].iter().take_while(|time| **time - *first < LIFETIME / 100).count()
    };
    (anew.iter().enumerate().map(within).max().unwrap_or_default(), anew.len())
}
