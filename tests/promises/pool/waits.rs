//! How long a caller waits, and what it is told when that was in vain.

use std::time::Duration;

use stonework::base::{Deadline, Delivery, Elapsed, Kind, Phase};
use stonework::pool::{PoolClosed, PoolExhausted};
use tokio::time::{Instant, sleep, timeout};

use super::kit::{Dial, MS, NotMade, Plant, Says, assert_whole, caller, got, refused, settle, up_to};
use crate::support::{SECOND, timed};

#[tokio::test(start_paused = true)]
async fn a_wait_ends_exactly_at_its_limit_and_says_what_there_was() {
    let plant = Plant::new();
    let (pool, _) = plant.observed(up_to(2).wait_timeout(3 * SECOND));
    let _held = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let other = caller(&pool).await;
    sleep(SECOND).await;
    let (error, took) = timed(pool.get()).await;
    let error = error.unwrap_err();
    assert_eq!((took, error.kind(), error.delivery()), (3 * SECOND, Kind::Timeout, Delivery::NotSent));
    let exhausted = error.cause::<PoolExhausted>().unwrap();
    assert_eq!((exhausted.pool(), exhausted.max(), exhausted.in_use()), ("things", 2, 2));
    assert_eq!(exhausted.waiting(), 0, "the other one had given up before");
    assert!(exhausted.last_failure().is_none());
    let elapsed = error.cause::<Elapsed>().unwrap();
    assert_eq!((elapsed.phase(), elapsed.granted()), (Phase::Pool, Some(3 * SECOND)));
    assert!(error.to_string().contains("time"), "{error}");
    assert!(format!("{error:#}").contains("\"things\" had none: 2 of 2 in use"), "{error:#}");
    assert!(refused(other).await.is_timeout());
    assert_eq!((pool.stats().timed_out(), pool.stats().waiting()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_pooled_connection_ends_exactly_at_its_deadline() {
    let pool = Plant::new().pool(up_to(1));
    let _held = pool.get().await.unwrap();
    let within = Deadline::within(250 * MS).bound(pool.get());
    let (error, took) = timed(within).await;
    let error = error.expect("the wait speaks before the deadline does").unwrap_err();
    assert_eq!((took, error.kind()), (250 * MS, Kind::Timeout));
    assert_eq!(error.cause::<Elapsed>().map(|elapsed| elapsed.phase()), Some(Phase::Pool));
    // Also where the pool itself would let everybody wait for as long as they like.
    let patient = Plant::script(|_| Dial::Hangs).pool(up_to(1).without_wait_timeout());
    let (error, took) = timed(Deadline::within(250 * MS).bound(patient.get())).await;
    let elapsed = error.expect("as above").unwrap_err().cause::<Elapsed>().map(|elapsed| elapsed.phase());
    assert_eq!((took, elapsed), (250 * MS, Some(Phase::Pool)));
}

#[tokio::test(start_paused = true)]
async fn when_too_many_wait_the_next_is_refused_at_once() {
    let pool = Plant::new().pool(up_to(1).max_waiting(2));
    let held = pool.get().await.unwrap();
    let waiting = [caller(&pool).await, caller(&pool).await];
    let (error, took) = timed(pool.get()).await;
    let error = error.unwrap_err();
    assert_eq!((took, error.kind(), error.delivery()), (Duration::ZERO, Kind::Overload, Delivery::NotSent));
    let exhausted = error.cause::<PoolExhausted>().unwrap();
    assert_eq!((exhausted.waiting(), exhausted.in_use(), exhausted.max()), (2, 1, 1));
    assert!(error.cause::<Elapsed>().is_none());
    assert_eq!(pool.stats().refused(), 1);
    held.put_back();
    for task in waiting {
        got(task).await.put_back();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_for_whom_there_is_a_place() {
    let plant = Plant::slow(MS);
    let pool = plant.pool(up_to(3).max_waiting(0));
    let all = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    assert!(pool.get().await.unwrap_err().is_overload(), "the fourth");
    for task in all {
        got(task).await.put_back();
    }
    assert_eq!(plant.counts().peak, 3);
}

#[tokio::test(start_paused = true)]
async fn dead_ones_on_the_way_do_not_make_a_wait_longer() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).wait_timeout(3 * SECOND));
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    let start = Instant::now();
    sleep(2 * SECOND).await;
    held.breaks_later();
    // What takes its place cannot be had either.
    plant.hang_from_now_on();
    held.put_back();
    assert!(refused(waits).await.is_timeout());
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(pool.stats().timed_out(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_does_not_make_a_wait_longer() {
    for limit in [None, Some(300 * MS)] {
        let plant = Plant::new().nature(Says::Yes, Says::Hangs, Says::No);
        let pool = plant.pool(up_to(1).wait_timeout(SECOND).check_after(Duration::ZERO));
        pool.get().await.unwrap().put_back();
        // What is made in its place takes as long.
        plant.hang_from_now_on();
        let (error, took) = match limit {
            None => timed(pool.get()).await,
            Some(limit) => {
                let (error, took) = timed(Deadline::within(limit).bound(pool.get())).await;
                (error.expect("the pool speaks first"), took)
            }
        };
        let error = error.unwrap_err();
        assert_eq!((took, error.kind()), (limit.unwrap_or(SECOND), Kind::Timeout));
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(error.cause::<Elapsed>().map(|elapsed| elapsed.phase()), Some(Phase::Pool));
        assert_eq!(plant.closed(), [1], "nobody knows what it was in the middle of");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_while_connecting_fails_tells_the_last_failure() {
    let plant = Plant::script(|nth| if nth == 1 { Dial::Works(MS) } else { Dial::Fails(MS) });
    let pool = plant.pool(up_to(2).wait_timeout(SECOND));
    let held = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    let exhausted = error.cause::<PoolExhausted>().unwrap();
    let last = exhausted.last_failure().expect("it is kept");
    assert_eq!(last.kind(), Kind::Connect);
    assert!(last.cause::<NotMade>().is_some_and(|made| made.0 > 2));
    assert!(exhausted.to_string().contains("could not be made"), "{exhausted}");
    held.put_back();
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_is_not_in_the_way_of_others() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1));
    let held = pool.get().await.unwrap();
    let gives_up = caller(&pool).await;
    let waits = caller(&pool).await;
    assert!(timeout(MS, pool.get()).await.is_err());
    // It is handed the object, and ends before it runs again.
    held.put_back();
    gives_up.abort();
    assert!(gives_up.await.is_err_and(|error| error.is_cancelled()));
    got(waits).await.put_back();
    assert_eq!((pool.stats().waiting(), plant.counts().dials), (0, 1));
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_told_when_the_pool_is_closed() {
    let pool = Plant::new().pool(up_to(1));
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    settle().await;
    let error = refused(waits).await;
    assert_eq!(
        (error.kind(), error.delivery(), error.forbids_retry()),
        (Kind::Other, Delivery::NotSent, true)
    );
    assert!(error.cause::<PoolClosed>().is_some());
    assert!(!closing.is_finished());
    held.put_back();
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_can_be_waited_for_from_any_task() {
    // What is awaited may cross threads.
    fn sendable<F: Future + Send>(work: F) -> F {
        work
    }
    let pool = Plant::new().pool(up_to(1));
    sendable(pool.get()).await.unwrap().put_back();
    sendable(pool.close()).await;
}
