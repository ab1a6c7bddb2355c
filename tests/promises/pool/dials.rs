//! Connecting, which belongs to the pool and not to whoever waits for it.

use std::time::Duration;

use stonework::base::{Backoff, Delivery, Event, Jitter, Kind, Rng};
use stonework::pool::{ConnectFailed, Pool, PoolSettings};
use tokio::time::{Instant, sleep};

use super::kit::{Dial, MS, NotMade, Plant, Says, assert_whole, caller, got, refused, settle, up_to};
use crate::support::{SECOND, timed};

#[tokio::test(start_paused = true)]
async fn as_many_connect_as_wait_and_fit() {
    let plant = Plant::slow(10 * MS);
    let pool = plant.pool(up_to(4));
    let mut tasks = vec![caller(&pool).await, caller(&pool).await];
    assert_eq!(plant.counts().dials, 2);
    for _ in 0..6 {
        tasks.push(caller(&pool).await);
    }
    assert_eq!(plant.counts().dials, 4);
    for task in tasks {
        got(task).await.put_back();
    }
    assert_eq!(plant.counts().dials, 4, "nobody needed another");
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_for_somebody_who_gave_up_goes_to_the_next() {
    let plant = Plant::slow(10 * MS);
    let pool = plant.pool(up_to(1));
    let gives_up = caller(&pool).await;
    let next = caller(&pool).await;
    gives_up.abort();
    let (thing, took) = timed(got(next)).await;
    assert_eq!((took, thing.number, plant.counts().dials), (10 * MS, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_for_somebody_who_gave_up_lies_idle_when_nobody_waits() {
    let plant = Plant::slow(10 * MS);
    let pool = plant.pool(up_to(1));
    caller(&pool).await.abort();
    sleep(11 * MS).await;
    assert_eq!((pool.stats().idle(), pool.stats().waiting()), (1, 0));
    assert_eq!(pool.try_get().map(|thing| thing.number), Some(1));
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_left_to_hope_for_all_who_wait_are_told_why() {
    let plant = Plant::script(|nth| Dial::Fails(nth as u32 * 10 * MS));
    let pool = plant.pool(up_to(2));
    let start = Instant::now();
    let tasks = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    for task in tasks {
        let error = refused(task).await;
        assert_eq!(start.elapsed(), 20 * MS, "the second one might have succeeded");
        assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
        assert_eq!(error.retry_after(), Some(100 * MS));
        assert!(error.cause::<ConnectFailed>().is_some());
        assert_eq!(error.cause::<NotMade>().map(|made| made.0), Some(2));
        assert_eq!(
            format!("{error:#}"),
            "no connection could be made: the pool could not connect: number 2 could not be made"
        );
    }
    assert_eq!((pool.stats().connect_failures(), pool.stats().open()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn as_long_as_something_may_come_back_nobody_is_told_of_a_failure() {
    let plant = Plant::script(|nth| if nth == 1 { Dial::Works(MS) } else { Dial::Fails(MS) });
    let pool = plant.pool(up_to(3));
    let held = pool.get().await.unwrap();
    let waiting = [caller(&pool).await, caller(&pool).await];
    sleep(50 * MS).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!(pool.stats().connect_failures(), 2);
    held.put_back();
    let [first, second] = waiting;
    got(first).await.put_back();
    assert_eq!(got(second).await.number, 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_one_tries_at_a_time_and_not_before_its_time() {
    let plant = Plant::script(|nth| if nth < 6 { Dial::Fails(10 * MS) } else { Dial::Works(10 * MS) });
    let backoff = Backoff::exponential(100 * MS, SECOND).unwrap().jitter(Jitter::None);
    let (pool, events) = plant.observed(up_to(3).backoff(backoff).without_wait_timeout());
    let start = Instant::now();
    let tasks: Vec<_> = [caller(&pool).await, caller(&pool).await, caller(&pool).await].into();
    for task in tasks {
        assert!(refused(task).await.is_connect());
    }
    // Three failed at once: the pause is the fourth of its kind, and whoever comes now waits for its end.
    assert_eq!(start.elapsed(), 10 * MS);
    let newcomers = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    sleep(390 * MS).await;
    assert_eq!(plant.counts().dials, 3);
    for task in newcomers {
        assert!(refused(task).await.is_connect(), "all of them, by one attempt");
    }
    assert_eq!((plant.counts().dials, start.elapsed()), (4, 420 * MS));
    let failed = |event: &Event| match event {
        Event::PoolConnectFailed { kind: Kind::Connect, again_in, pool, .. } => {
            assert_eq!(&**pool, "things");
            Some(*again_in)
        }
        _ => None,
    };
    let pauses: Vec<Duration> = events.events().iter().filter_map(failed).collect();
    assert_eq!(pauses, [100 * MS, 200 * MS, 400 * MS, 800 * MS]);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_also_where_each_depends_on_the_one_before() {
    let plant = Plant::script(|_| Dial::Fails(Duration::ZERO));
    let backoff = Backoff::exponential(SECOND, 3600 * SECOND).unwrap().jitter(Jitter::Decorrelated);
    let _pool = plant.pool(PoolSettings::new().min_idle(1).backoff(backoff));
    sleep(3600 * SECOND).await;
    // Between one and three seconds each would be 1200 at the least.
    assert!((5..=900).contains(&plant.counts().dials), "{}", plant.counts().dials);
}

#[tokio::test(start_paused = true)]
async fn when_it_works_again_all_who_wait_are_connected() {
    let plant = Plant::script(|nth| if nth == 1 { Dial::Fails(MS) } else { Dial::Works(10 * MS) });
    let pool = plant.pool(up_to(3));
    assert!(pool.get().await.unwrap_err().is_connect());
    let tasks = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    let start = Instant::now();
    let mut all = Vec::new();
    for task in tasks {
        all.push(got(task).await);
    }
    assert_eq!(start.elapsed(), 120 * MS, "the pause, one that shows that it works, the others at once");
    assert_eq!(plant.counts().dials, 4);
}

#[tokio::test(start_paused = true)]
async fn during_a_pause_a_newcomer_waits_for_its_end_or_for_its_own_limit() {
    let plant = Plant::script(|_| Dial::Fails(MS));
    let backoff = Backoff::constant(3 * SECOND).unwrap();
    let pool = plant.pool(up_to(1).backoff(backoff).wait_timeout(SECOND));
    assert!(pool.get().await.unwrap_err().is_connect());
    let (error, took) = timed(pool.get()).await;
    let error = error.unwrap_err();
    let why = error.cause::<stonework::pool::PoolExhausted>().and_then(|why| why.last_failure());
    assert!(why.is_some_and(stonework::Error::is_connect), "it is told why");
    assert_eq!((took, error.kind()), (SECOND, Kind::Timeout));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_during_a_pause_is_replaced_when_it_ends() {
    let plant = Plant::script(|nth| if nth == 2 { Dial::Fails(MS) } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(2).without_wait_timeout());
    let held = pool.get().await.unwrap();
    let gives_up = caller(&pool).await;
    sleep(2 * MS).await;
    gives_up.abort();
    settle().await;
    held.discard();
    let (thing, took) = timed(pool.get()).await;
    assert_eq!(thing.unwrap().number, 3);
    assert!(took > 90 * MS && took <= 101 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_to_connect_has_failed_and_frees_its_place() {
    let plant = Plant::script(|nth| if nth == 1 { Dial::Hangs } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(1).connect_timeout(2 * SECOND));
    let (error, took) = timed(pool.get()).await;
    let error = error.unwrap_err();
    assert_eq!((took, error.kind(), plant.counts().dialing), (2 * SECOND, Kind::Connect, 0));
    assert!(format!("{error:#}").contains("2s"), "{error:#}");
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_while_it_is_connected_has_failed_and_frees_its_place() {
    let plant = Plant::script(|nth| if nth <= 3 { Dial::Panics(MS) } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(3));
    let tasks = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    for task in tasks {
        let error = refused(task).await;
        assert!(error.is_connect() && format!("{error:#}").contains("panic"), "{error:#}");
    }
    assert_eq!((pool.stats().connect_failures(), pool.stats().open()), (3, 0));
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn no_deadline_of_a_caller_reaches_what_connects() {
    struct Asks;
    impl stonework::pool::Manage for Asks {
        type Object = Option<stonework::base::Deadline>;
        type Error = std::convert::Infallible;
        async fn connect(&self) -> Result<Self::Object, Self::Error> {
            Ok(stonework::base::Deadline::current())
        }
    }
    let settings = up_to(1).connect_timeout(40 * SECOND);
    let pool = Pool::builder(Asks).settings(settings).rng(Rng::seeded(1)).build().unwrap();
    let seen = stonework::base::Deadline::within(SECOND).bound(pool.get()).await.unwrap().unwrap();
    let own = stonework::base::Deadline::within(40 * SECOND);
    assert_eq!(*seen, Some(own), "that of the pool, and no other");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_as_soon_as_it_is_connected_has_failed() {
    let plant = Plant::slow(MS).nature(Says::No, Says::Yes, Says::No);
    let (pool, events) = plant.observed(up_to(10).wait_timeout(2 * SECOND));
    let callers = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    for caller in callers {
        let error = refused(caller).await;
        assert!(error.is_connect() && format!("{error:#}").contains("could not be used"), "{error:#}");
    }
    // One at a time, 100 ms apart.
    let tries = async {
        loop {
            drop(pool.get().await);
        }
    };
    assert!(tokio::time::timeout(2 * SECOND, tries).await.is_err());
    assert!((15..=25).contains(&plant.counts().dials), "{}", plant.counts().dials);
    assert_eq!((plant.counts().open, pool.stats().open() - pool.stats().connecting()), (0, 0));
    assert!(!events.events().iter().any(|event| matches!(event, Event::PoolConnected { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_by_the_first_who_gets_it_is_not_made_again_at_once() {
    let plant = Plant::slow(MS).looks(1);
    let pool = plant.pool(up_to(10).wait_timeout(2 * SECOND));
    let (error, took) = timed(pool.get()).await;
    let error = error.unwrap_err();
    assert_eq!((took, error.kind()), (2 * SECOND, Kind::Timeout));
    assert!(format!("{error:#}").contains("could not be used"), "{error:#}");
    assert!((15..=25).contains(&plant.counts().dials), "{}", plant.counts().dials);
}
