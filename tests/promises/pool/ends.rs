//! The end of a pool, of its tasks and of its runtime.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use stonework::base::PoolClose;
use stonework::pool::{Manage, Pool, PoolClosed};
use stonework::testing::Recorder;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};

use super::kit::{Dial, MS, Plant, assert_whole, caller, closes, filled, got, settle, up_to};
use crate::support::{SECOND, soon, timed};

#[tokio::test(start_paused = true)]
async fn closing_refuses_newcomers_closes_idle_ones_and_waits_for_those_in_use() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(3));
    filled(&pool, 3).await;
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { timed(pool.close()).await.1 }
    });
    settle().await;
    assert!(pool.is_closed() && pool.try_get().is_none());
    assert_eq!((plant.closed(), pool.stats().open()), (vec![1], 2));
    assert!(pool.get().await.unwrap_err().cause::<PoolClosed>().is_some());
    assert!(pool.add(plant.thing(9)).is_err());
    assert_eq!(plant.closed(), [1, 9]);
    let [one, two] = held;
    sleep(SECOND).await;
    one.put_back();
    settle().await;
    assert!(!closing.is_finished());
    sleep(SECOND).await;
    drop(two.take());
    assert_eq!(closing.await.unwrap(), 2 * SECOND);
    assert_eq!(closes(&events), [PoolClose::Closed; 2]);
    let ((), again) = timed(pool.close()).await;
    assert_eq!((again, plant.counts().open), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_what_is_being_connected() {
    let plant = Plant::script(|_| Dial::Hangs);
    let pool = plant.pool(up_to(2));
    let waits = caller(&pool).await;
    let ((), took) = timed(pool.close()).await;
    assert_eq!((took, plant.counts().dialing, pool.stats().open()), (Duration::ZERO, 0, 0));
    assert!(waits.await.unwrap().unwrap_err().cause::<PoolClosed>().is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_may_give_up_and_the_pool_stays_closed() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1));
    let held = pool.get().await.unwrap();
    assert!(timeout(MS, pool.close()).await.is_err());
    assert!(pool.get().await.is_err());
    held.put_back();
    assert_eq!(plant.counts().open, 0);
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_ten_thousand_pools() {
    let metrics = Handle::current().metrics();
    settle().await;
    let before = metrics.num_alive_tasks();
    let plant = Plant::slow(SECOND);
    for nth in 0..10_000 {
        let pool = plant.pool(up_to(3).min_idle(nth % 3));
        if nth % 4 == 0 {
            assert!(pool.add(plant.thing(0)).is_ok());
            tokio::task::yield_now().await;
        }
    }
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), before);
    assert_eq!((plant.counts().open, plant.counts().dialing), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_idle_ones_and_those_in_use_are_closed_when_they_come_back() {
    let plant = Plant::slow(MS);
    let (pool, events) = plant.observed(up_to(3));
    filled(&pool, 2).await;
    let held = pool.get().await.unwrap();
    let other = pool.clone();
    drop(pool);
    assert_eq!(plant.closed(), [] as [usize; 0]);
    drop(other);
    assert_eq!(plant.closed(), [1]);
    sleep(SECOND).await;
    assert_eq!(held.number, 2, "it outlives the pool");
    held.put_back();
    assert_eq!((plant.closed(), closes(&events)), (vec![1, 2], vec![PoolClose::Closed; 2]));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn objects_come_back_on_any_thread_also_outside_of_a_runtime() {
    let (plant, runtime) = (Plant::new(), runtime());
    let pool = plant.pool(up_to(2).min_idle(1));
    assert_eq!(plant.counts().dials, 0, "there is nowhere to connect in");
    let (one, two) = runtime.block_on(async { (pool.get().await.unwrap(), pool.get().await.unwrap()) });
    let waits = runtime.spawn({
        let pool = pool.clone();
        async move { pool.get().await.unwrap() }
    });
    runtime.block_on(settle());
    std::thread::spawn(move || drop(one)).join().unwrap();
    std::thread::spawn(move || two.put_back()).join().unwrap();
    let third = runtime.block_on(waits).unwrap();
    assert_eq!(third.number, 2);
    drop(third);
    runtime.block_on(assert_whole(&pool, &plant));
    drop(pool);
    assert_eq!(plant.counts().open, 0);
}

#[test]
fn a_place_that_nobody_could_connect_for_is_not_lost() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).min_idle(1));
    assert!(pool.add(plant.thing(100)).is_ok());
    pool.try_get().unwrap().discard();
    // Outside of a runtime nothing can be connected in its place.
    assert_eq!(pool.stats().open(), 0);
    runtime().block_on(assert_whole(&pool, &plant));
}

#[test]
fn what_nobody_can_ask_where_it_is_needed_lies_idle_until_somebody_can() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).check_after(Duration::ZERO).without_wait_timeout());
    assert!(pool.add(plant.thing(100)).is_ok());
    let mut first = Box::pin(pool.get());
    // Outside of a runtime there is nobody.
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!((pool.stats().idle(), plant.counts().checks), (1, 0));
    let runtime = runtime();
    assert_eq!(runtime.block_on(first).unwrap().number, 100);
    assert_eq!(plant.counts().checks, 1);
}

#[test]
fn a_pool_goes_on_in_the_next_runtime_when_its_own_has_ended() {
    // As one that is static, and used by tests that each have a runtime.
    let plant = Plant::slow(MS);
    let pool = plant.pool(up_to(2).idle_timeout(100 * MS));
    for _ in 0..3 {
        runtime().block_on(soon(assert_whole(&pool, &plant)));
        // This runtime ends while something is being connected.
        runtime().block_on(async {
            pool.try_get().into_iter().for_each(stonework::pool::Pooled::discard);
            let _ = timeout(Duration::ZERO, pool.get()).await;
        });
    }
    runtime().block_on(async {
        soon(assert_whole(&pool, &plant)).await;
        soon(async {
            while pool.stats().idle() > 0 {
                sleep(10 * MS).await;
            }
        })
        .await;
    });
}

#[test]
fn whoever_waits_in_another_runtime_is_told_when_that_of_the_pool_ends() {
    let plant = Plant::script(|nth| if nth == 1 { Dial::Hangs } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(1).without_wait_timeout());
    let first = runtime();
    first.block_on(async { caller(&pool).await.abort() });
    let second = runtime();
    let waits = second.block_on(caller(&pool));
    drop(first);
    let told = second.block_on(async { soon(waits).await.unwrap() });
    assert!(told.is_err_and(|error| error.is_connect()), "what was being connected for it was cut off");
    second.block_on(soon(assert_whole(&pool, &plant)));
}

#[test]
fn what_the_thread_of_another_closes_is_replaced_in_the_runtime_of_whoever_waits() {
    let plant = Plant::slow(MS);
    let pool = plant.pool(up_to(1).without_wait_timeout());
    let (first, second) = (runtime(), runtime());
    let held = first.block_on(pool.get()).unwrap();
    let waits = second.block_on(caller(&pool));
    drop(first);
    std::thread::spawn(move || held.discard()).join().unwrap();
    assert_eq!(second.block_on(soon(got(waits))).number, 2);
}

#[test]
fn what_is_idle_for_too_long_is_closed_also_if_a_runtime_ended_before_anybody_looked() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).idle_timeout(100 * MS));
    runtime().block_on(async { assert!(pool.add(plant.thing(9)).is_ok()) });
    runtime().block_on(soon(async {
        pool.try_get().expect("it lies idle").put_back();
        while pool.stats().idle() > 0 {
            sleep(10 * MS).await;
        }
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_of_the_end_and_not_of_what_it_cut_off() {
    for _ in 0..200 {
        let pool = Plant::script(|_| Dial::Hangs).pool(up_to(8));
        let waits: Vec<_> = (0..8)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.get().await })
            })
            .collect();
        while pool.stats().connecting() < 8 {
            tokio::task::yield_now().await;
        }
        pool.close().await;
        for task in waits {
            let error = task.await.unwrap().unwrap_err();
            assert!(error.cause::<PoolClosed>().is_some() && error.forbids_retry(), "{error:#}");
        }
        assert_eq!(pool.stats().connect_failures(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runtimes_share_one_pool() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2).without_wait_timeout());
    let work = |pool: Pool<Plant>| async move {
        for _ in 0..500 {
            let thing = pool.get().await.expect("served");
            tokio::task::yield_now().await;
            thing.put_back();
        }
    };
    let elsewhere = std::thread::spawn({
        let work = work(pool.clone());
        move || runtime().block_on(work)
    });
    let here: Vec<_> = (0..3).map(|_| tokio::spawn(work(pool.clone()))).collect();
    for task in here {
        soon(task).await.unwrap();
    }
    tokio::task::spawn_blocking(|| elsewhere.join().unwrap()).await.unwrap();
    assert_eq!(plant.counts().peak, 2);
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    got(waits).await;
    held.put_back();
}

/// Closes its pool when it asks whether something is still good.
#[derive(Clone, Default)]
struct ClosesItsPool(Arc<OnceLock<Pool<Self>>>);

impl Manage for ClosesItsPool {
    type Object = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn check(&self, (): &mut ()) -> Result<(), Infallible> {
        let pool = self.0.get().expect("it is known by then");
        assert_eq!(pool.stats().waiting(), 0, "it is asked by whoever needs it, who does not wait");
        assert!(pool.close().now_or_never().is_none(), "one is being asked");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_when_its_pool_is_closed_is_not_handed_out() {
    let (manager, recorder) = (ClosesItsPool::default(), Recorder::new());
    let pool = Pool::builder(manager.clone()).settings(up_to(1).check_after(Duration::ZERO));
    let pool = pool.observer(recorder.clone()).build().unwrap();
    assert!(manager.0.set(pool.clone()).is_ok());
    pool.get().await.unwrap().put_back();
    assert!(pool.get().await.unwrap_err().cause::<PoolClosed>().is_some());
    assert_eq!((closes(&recorder), pool.stats().open()), (vec![PoolClose::Closed], 0));
}
