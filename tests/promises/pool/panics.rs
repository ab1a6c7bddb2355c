//! Somebody else's code panics: that costs the object that it was called for, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use stonework::base::Event;
use stonework::pool::Pool;
use tokio::time::sleep;

use super::kit::{MS, Plant, Says, assert_whole, caller, got, settle, up_to};
use crate::support::SECOND;

async fn panics<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) {
    assert!(tokio::spawn(work).await.err().is_some_and(|error| error.is_panic()));
}

#[tokio::test(start_paused = true)]
async fn a_user_that_panics_while_it_holds_one() {
    let plant = Plant::new().nature(Says::Yes, Says::Yes, Says::Yes);
    let pool = plant.pool(up_to(1));
    let own = pool.clone();
    panics(async move {
        let _held = own.get().await.unwrap();
        panic!("on purpose")
    })
    .await;
    assert_eq!(plant.closed(), [1], "nobody asks whether it is clean");
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_at_one_that_comes_back_or_is_handed_out() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1));
    let mut held = pool.get().await.unwrap();
    held.usable = Says::Panics;
    panics(async move { held.put_back() }).await;
    assert_whole(&pool, &plant).await;
    let mut idle = pool.get().await.unwrap();
    idle.usable = Says::PanicsLater;
    idle.breaks_later();
    idle.put_back();
    let own = pool.clone();
    panics(async move { own.get().await }).await;
    settle().await;
    assert_eq!((pool.stats().open(), plant.counts().open, pool.stats().waiting()), (0, 0, 0));
    // At the first look nobody has it yet.
    let new = Plant::new().nature(Says::Panics, Says::Yes, Says::No);
    let pool = new.pool(up_to(1));
    assert!(pool.get().await.unwrap_err().is_connect());
    assert_eq!((pool.stats().open(), new.counts().open, pool.stats().waiting()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_check_and_the_question_whether_it_is_clean() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1));
    let mut sick = pool.get().await.unwrap();
    sick.passes = Says::Panics;
    sick.put_back();
    sleep(2 * SECOND).await;
    let mut unclear = pool.get().await.unwrap();
    assert_eq!((unclear.number, plant.closed()), (2, vec![1]), "its caller gets another");
    unclear.clean = Says::Panics;
    panics(async move { drop(unclear) }).await;
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_that_was_idle_for_too_long() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(3).idle_timeout(10 * SECOND));
    let mut all = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    all[0].end_panics = true;
    let [one, two, three] = all;
    one.put_back();
    two.put_back();
    sleep(3 * SECOND).await;
    pool.get().await.unwrap().put_back();
    three.put_back();
    sleep(8 * SECOND).await;
    assert_eq!(plant.counts().open, 1, "the others end on time all the same");
    sleep(3 * SECOND).await;
    assert_eq!((plant.counts().open, pool.stats().open()), (0, 0));
    pool.get().await.unwrap().put_back();
    sleep(11 * SECOND).await;
    assert_eq!(plant.counts().open, 0, "and so does what comes later");
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_on_the_way_to_another() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2).idle_timeout(10 * SECOND));
    let good = pool.get().await.unwrap();
    let mut bad = pool.get().await.unwrap();
    bad.end_panics = true;
    sleep(9 * SECOND).await;
    good.put_back();
    pool.get().await.unwrap().put_back();
    bad.put_back(); // the next one, and one second later too old
    tokio::time::advance(SECOND).await;
    let own = pool.clone();
    let _ = tokio::spawn(async move { own.get().await.map(drop) }).await;
    settle().await;
    assert_eq!(
        (pool.stats().in_use(), pool.stats().waiting()),
        (0, 0),
        "what it was about to get is not lost"
    );
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn an_observer() {
    static ARMED: AtomicBool = AtomicBool::new(true);
    let plant = Plant::new();
    let observer = |event: &Event| {
        assert!(
            !(ARMED.load(Ordering::Relaxed) && matches!(event, Event::PoolConnected { .. })),
            "on purpose"
        );
    };
    let settings = up_to(1).wait_timeout(SECOND);
    let pool = Pool::builder(plant.clone()).settings(settings).observer(Panicky(observer)).build().unwrap();
    assert!(pool.get().await.unwrap_err().is_connect());
    ARMED.store(false, Ordering::Relaxed);
    assert_whole(&pool, &plant).await;
}

struct Panicky<F>(F);

impl<F: Fn(&Event) + Send + Sync> stonework::base::Observer for Panicky<F> {
    fn observe(&self, event: &Event) {
        (self.0)(event);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_that_its_user_gives_up_while_others_wait() {
    let plant = Plant::slow(MS);
    let pool = plant.pool(up_to(1));
    let mut held = pool.get().await.unwrap();
    held.end_panics = true;
    let waits = caller(&pool).await;
    assert!(catch_unwind(AssertUnwindSafe(|| held.discard())).is_err());
    got(waits).await.put_back();
    assert_whole(&pool, &plant).await;
}
