//! The rows of the comparison `pool`: an object that lies ready is taken and put back. There are eight, and none is ever missing.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use stonework::pool::PoolSettings;

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
    pool
}

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

struct Takes<P, F> {
    pool: Arc<Lazy<P>>,
    take: F,
}

impl<P, F: AsyncFn(&P) -> u32> Subject for Takes<P, F> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        let pool = &**self.pool;
        for _ in 0..calls {
            assert_eq!(black_box(at_once((self.take)(black_box(pool)))), 7);
        }
    }

    fn timers(&mut self) -> usize {
        0
    }
}
