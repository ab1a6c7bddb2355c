//! The rows of the comparison `pool`: an object that lies ready is taken and put back. There are eight, and none is ever missing.

use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use stonework::pool::PoolSettings;
use tokio::runtime::{Builder, Runtime};

use super::kit::{Bb8, By, Deadpool, Least, Numbers, Ours};
use crate::measure::{Subject, at_once};
use crate::rows::{Kind, Row};

/// The bare minimum, which ours is compared with.
pub(crate) const LEAST: &str = "tokio Semaphore, Mutex<Vec>";
const OBJECTS: usize = 8;

/// An object is looked at, or also asked.
pub(crate) fn rows(asked: bool) -> Vec<Row> {
    vec![
        row("bare", Kind::Bare, || (), async |()| 7),
        row(
            LEAST,
            Kind::Peer,
            || Least::new(OBJECTS),
            async |least| {
                let permit = least.permits().acquire().await.expect("it is never closed");
                let thing = black_box(least.things().pop().expect("as many as permits"));
                least.things().push(thing);
                drop(permit);
                thing
            },
        ),
        row("deadpool", Kind::Peer, deadpool, async |pool| *pool.get().await.expect("it is well")),
        row("bb8", Kind::Peer, move || bb8(asked), async |pool| *pool.get().await.expect("it is well")),
        row(
            "stonework",
            Kind::Pool,
            move || ours(asked),
            async |pool| {
                let object = pool.get().await.expect("it is well");
                let thing = *object;
                object.put_back();
                thing
            },
        ),
        row(
            "stonework, dropped",
            Kind::Pool,
            move || ours(asked),
            async |pool| *pool.get().await.expect("it is well"),
        ),
    ]
}

fn ours(asked: bool) -> Ours<Numbers> {
    let settings = PoolSettings::new().max(OBJECTS);
    let settings = if asked { settings.check_after(Duration::ZERO) } else { settings };
    let pool = Ours::builder(By(Numbers)).settings(settings).build().expect("valid settings");
    // Nothing runs that would connect them.
    (0..OBJECTS).for_each(|_| pool.add(7).expect("there is a place"));
    if asked {
        // What does not say at once whether it is good is asked in a task, so there has to be a place for one.
        let _there = RUNTIME.enter();
        at_once(pool.get()).expect("it is well").put_back();
    }
    pool
}

/// It sleeps: each object says at once that it is good.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("it needs nothing")
});

/// It always asks.
fn deadpool() -> Deadpool<Numbers> {
    let pool = Deadpool::builder(By(Numbers)).max_size(OBJECTS).build().expect("no timeouts");
    let held: Vec<_> = (0..OBJECTS).map(|_| at_once(pool.get()).expect("it is well")).collect();
    drop(held);
    pool
}

fn bb8(asked: bool) -> Bb8<Numbers> {
    let builder = Bb8::builder().max_size(OBJECTS as u32).test_on_check_out(asked);
    let pool = builder.build_unchecked(By(Numbers));
    (0..OBJECTS).for_each(|_| pool.add(7).expect("there is a place"));
    pool
}

// ───────────────────────────────────────────────────────────────────────────── who takes, from what

/// Made when it is first asked: not each process asks all of them.
type Lazy<P> = LazyLock<P, Box<dyn FnOnce() -> P + Send>>;

/// Two threads share what `make` makes.
fn row<P, F>(name: &'static str, kind: Kind, make: impl FnOnce() -> P + Send + 'static, take: F) -> Row
where
    P: Send + Sync + 'static,
    F: AsyncFn(&P) -> u32 + Copy + Send + Sync + 'static,
{
    let pool: Arc<Lazy<P>> = Arc::new(LazyLock::new(Box::new(make)));
    let subject = move || -> Box<dyn Subject> { Box::new(Takes { pool: Arc::clone(&pool), take }) };
    let peer = (kind == Kind::Pool).then_some(LEAST);
    Row { name, head: "eight objects", kind, peer, subject: subject(), shared: Some(Box::new(subject)) }
}

/// Here and now; of two threads one may first have what the other has just found good.
fn soon<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return done;
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Takes<P, F> {
    pool: Arc<Lazy<P>>,
    take: F,
}

impl<P, F: AsyncFn(&P) -> u32> Subject for Takes<P, F> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        let pool = &**self.pool;
        for _ in 0..calls {
            assert_eq!(black_box(soon((self.take)(black_box(pool)))), 7);
        }
    }

    fn timers(&mut self) -> usize {
        0
    }
}
