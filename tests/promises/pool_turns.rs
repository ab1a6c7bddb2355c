//! Turns and times of a pool, where callers are handed what is of no use to them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stonework::base::PoolClose;
use stonework::pool::{Manage, Pool, PoolSettings};
use tokio::time::{Instant, sleep, timeout};

#[derive(Clone, Default)]
struct Things(Arc<Script>);

#[derive(Default)]
struct Script {
    made: AtomicU32,
    makes_in: Duration,
    never_usable: bool,
    checks_hang: bool,
    first_fails_its_check: bool,
}

impl Manage for Things {
    type Object = u32;
    type Error = std::io::Error;

    async fn connect(&self) -> Result<u32, std::io::Error> {
        sleep(self.0.makes_in).await;
        Ok(self.0.made.fetch_add(1, Ordering::Relaxed))
    }

    fn is_usable(&self, _: &u32) -> bool {
        !self.0.never_usable
    }

    async fn check(&self, thing: &mut u32) -> Result<(), std::io::Error> {
        if self.0.checks_hang {
            std::future::pending::<Infallible>().await;
        }
        if self.0.first_fails_its_check && *thing == 0 { Err(std::io::Error::other("dead")) } else { Ok(()) }
    }
}

fn pool(script: Script, settings: PoolSettings) -> Pool<Things> {
    Pool::builder(Things(Arc::new(script))).settings(settings).build().unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn one_that_is_never_idle_is_closed_when_it_is_too_old() {
    let settings = PoolSettings::new().max(1).lifetime(10 * SECOND).without_idle_timeout().without_checks();
    let pool = pool(Script::default(), settings);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let pool = pool.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                let object = pool.get().await.unwrap();
                sleep(SECOND).await;
                object.put_back();
            }
        });
    }
    tasks.join_all().await;
    // A minute of use.
    assert!(pool.stats().closed(PoolClose::Old) >= 5, "{:?}", pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_is_handed_nothing_usable_is_told_so_at_the_end_of_the_wait() {
    let script = Script { never_usable: true, makes_in: SECOND / 100, ..Script::default() };
    let pool = pool(script, PoolSettings::new().max(1).wait_timeout(SECOND));
    let start = Instant::now();
    let got = timeout(60 * SECOND, pool.get()).await;
    let made = pool.stats().connected();
    assert!(got.is_ok(), "still at it after {:?}, {made} connected", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn checks_that_hang_are_part_of_the_wait() {
    let settings = PoolSettings::new().max(3).wait_timeout(SECOND).connect_timeout(5 * SECOND);
    let pool = pool(Script { checks_hang: true, ..Script::default() }, settings);
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    held.into_iter().for_each(stonework::pool::Pooled::put_back);
    sleep(2 * SECOND).await;
    let start = Instant::now();
    let _ = pool.get().await;
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_loses_a_turn_by_being_handed_a_dead_one() {
    let script = Script { first_fails_its_check: true, makes_in: SECOND / 10, ..Script::default() };
    let pool = pool(script, PoolSettings::new().max(1));
    let first = pool.get().await.unwrap();
    // It is in use for longer than the time after which it is asked.
    sleep(2 * SECOND).await;
    let served = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["came first", "came second"] {
        let (pool, served) = (pool.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let object = pool.get().await.unwrap();
            served.lock().unwrap().push(name);
            object.put_back();
        });
        sleep(SECOND).await;
    }
    first.put_back();
    tasks.join_all().await;
    assert_eq!(*served.lock().unwrap(), ["came first", "came second"]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_being_idle_is_counted_from_handing_out_and_not_from_asking() {
    let settings = PoolSettings::new().max(1).idle_timeout(4 * SECOND);
    let pool = pool(Script::default(), settings);
    let first = pool.get().await.unwrap();
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.unwrap().put_back() }
    });
    sleep(3 * SECOND).await;
    first.put_back(); // handed to the second, three seconds after it asked
    second.await.unwrap();
    sleep(2 * SECOND).await;
    assert_eq!(pool.stats().idle(), 1, "it was handed out two seconds ago: {:?}", pool.stats());
}

#[tokio::test(start_paused = true)]
async fn callers_for_whom_there_is_a_place_are_not_too_many() {
    let script = Script { makes_in: SECOND / 10, ..Script::default() };
    let pool = pool(script, PoolSettings::new().max(10).max_waiting(2));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.get().await });
    }
    let refused = tasks.join_all().await.iter().filter(|got| got.is_err()).count();
    assert_eq!(refused, 0, "of ten with ten places");
}
