//! How many there are, how long they are kept, and how many are kept ready.

use std::time::Duration;

use stonework::base::{PoolClose, Rng};
use stonework::pool::{InvalidPool, Pool, Pooled};
use tokio::time::{Instant, sleep, sleep_until};

use super::kit::{Dial, MS, Plant, Says, assert_whole, caller, closes, filled, got, settle, up_to};
use crate::support::SECOND;

#[tokio::test(start_paused = true)]
async fn there_are_never_more_than_there_may_be_however_many_ask() {
    let plant = Plant::slow(3 * MS);
    let pool = plant.pool(up_to(7).max_waiting(500).without_wait_timeout());
    let tasks: Vec<_> = (0..500)
        .map(|nth| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let thing = pool.get().await.expect("everybody is served");
                sleep(MS).await;
                match nth % 5 {
                    0 => drop(thing),
                    1 => thing.discard(),
                    _ => thing.put_back(),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(plant.counts().peak, 7);
    assert_whole(&pool, &plant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_place_of_one_that_is_closed_is_not_free_before_it_is_gone() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2).without_wait_timeout());
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let mut thing = pool.get().await.expect("served");
                    thing.slow_end = MS;
                    thing.discard();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(plant.counts().peak, 2);
}

#[tokio::test(start_paused = true)]
async fn idle_ones_are_closed_exactly_when_they_were_not_used_for_so_long() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(3).idle_timeout(10 * SECOND).without_lifetime());
    filled(&pool, 3).await;
    let start = Instant::now();
    sleep_until(start + 4 * SECOND).await;
    pool.get().await.unwrap().put_back();
    sleep_until(start + 10 * SECOND - MS).await;
    assert_eq!(plant.counts().open, 3);
    sleep_until(start + 10 * SECOND + MS).await;
    assert_eq!(plant.closed(), [1, 2], "the one that is used is kept");
    sleep_until(start + 14 * SECOND - MS).await;
    assert_eq!(plant.counts().open, 1);
    sleep_until(start + 14 * SECOND + MS).await;
    assert_eq!((plant.counts().open, pool.stats().open()), (0, 0));
    assert_eq!(closes(&events), [PoolClose::Idle; 3]);
    let times: Vec<_> = events.timed_events().iter().skip(3).map(|(at, _)| *at - start).collect();
    assert_eq!(times, [10 * SECOND, 10 * SECOND, 14 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_when_nobody_looked_at_the_clock_is_closed_on_time_too() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).idle_timeout(10 * SECOND));
    let held = pool.get().await.unwrap();
    sleep(3 * SECOND).await; // there is nothing to look after
    held.put_back();
    sleep(7 * SECOND - MS).await;
    assert_eq!(plant.counts().open, 1);
    sleep(2 * MS).await;
    assert_eq!(plant.counts().open, 0, "ten seconds after it was handed out");
}

#[tokio::test(start_paused = true)]
async fn none_gets_older_than_it_may_and_those_made_together_do_not_end_together() {
    let plant = Plant::new();
    let settings = up_to(100).lifetime(100 * SECOND).without_idle_timeout();
    let pool = Pool::builder(plant.clone()).settings(settings).rng(Rng::seeded(7)).build().unwrap();
    filled(&pool, 100).await;
    let start = Instant::now();
    let mut left = Vec::new();
    for second in 0..=100 {
        sleep_until(start + second * SECOND + MS).await;
        left.push(plant.counts().open);
    }
    assert_eq!(left[89], 100, "none before nine tenths");
    assert_eq!(left[100], 0, "none after the whole");
    let most = left.windows(2).map(|pair| pair[0] - pair[1]).max();
    assert!(most <= Some(25), "{most:?} within one of the ten seconds");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_when_it_comes_back_goes_to_nobody() {
    let plant = Plant::new();
    let settings = up_to(1).lifetime(10 * SECOND).without_idle_timeout().wait_timeout(20 * SECOND);
    let (pool, events) = plant.observed(settings);
    let old = pool.get().await.unwrap();
    sleep(9 * SECOND).await;
    let waits = caller(&pool).await;
    sleep(2 * SECOND).await;
    old.put_back();
    let young = got(waits).await;
    assert_eq!((young.number, closes(&events)), (2, vec![PoolClose::Old]));
    // And so where nobody waits.
    sleep(11 * SECOND).await;
    young.put_back();
    settle().await;
    assert_eq!((plant.closed(), closes(&events)), (vec![1, 2], vec![PoolClose::Old; 2]));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_kept_ready_is_connected_ahead_of_time_and_again_when_it_is_used_or_closed() {
    let plant = Plant::slow(5 * MS);
    let pool = plant.pool(up_to(5).min_idle(2));
    sleep(6 * MS).await;
    assert_eq!((pool.stats().idle(), plant.counts().dials), (2, 2), "when it was built");
    let one = pool.try_get().unwrap();
    let two = pool.get().await.unwrap();
    sleep(6 * MS).await;
    assert_eq!((pool.stats().idle(), pool.stats().in_use()), (2, 2), "when some were taken");
    one.discard();
    two.put_back();
    assert_eq!(pool.stats().idle(), 3, "one more than need be is no reason to close it");
    sleep(11 * 60 * SECOND).await;
    sleep(6 * MS).await;
    assert_eq!(pool.stats().idle(), 2, "when they were closed because nobody used them");
    assert_eq!(plant.counts().peak, 4);
}

#[tokio::test(start_paused = true)]
async fn keeping_some_ready_goes_on_after_failures() {
    let plant = Plant::script(|nth| if nth < 4 { Dial::Fails(MS) } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(4).min_idle(2));
    sleep(SECOND).await;
    assert_eq!((pool.stats().idle(), pool.stats().connect_failures()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn fewer_closes_idle_ones_at_once_and_those_in_use_when_they_come_back() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(5));
    filled(&pool, 5).await;
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    pool.set_max(2);
    assert_eq!((pool.stats().idle(), plant.closed()), (0, vec![1, 2]), "longest unused first");
    let waits = caller(&pool).await;
    let [one, two, three] = held;
    one.put_back();
    settle().await;
    assert!(!waits.is_finished(), "there are two still");
    two.put_back();
    let handed = got(waits).await;
    assert_eq!(handed.number, 4, "from hand to hand");
    three.put_back();
    assert_eq!((pool.stats().open(), closes(&events)), (2, vec![PoolClose::Surplus; 3]));
}

#[tokio::test(start_paused = true)]
async fn more_connects_for_those_who_wait() {
    let plant = Plant::slow(MS);
    let pool = plant.pool(up_to(1));
    let _held = pool.get().await.unwrap();
    let waiting = [caller(&pool).await, caller(&pool).await];
    assert_eq!(plant.counts().dials, 1);
    pool.set_max(3);
    for task in waiting {
        got(task).await;
    }
    assert_eq!((plant.counts().dials, pool.stats().max()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_ready_is_so_again_when_there_may_be_more_again() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(4).min_idle(3));
    settle().await;
    pool.set_max(1);
    assert_eq!(pool.stats().idle(), 1);
    pool.set_max(4);
    settle().await;
    assert_eq!(pool.stats().idle(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_has_no_place_after_a_failure_waits_without_spinning() {
    // One in use, one that fails, a caller that waits, and then no more room for it.
    let plant = Plant::script(|nth| if nth == 2 { Dial::Fails(MS) } else { Dial::Works(MS) });
    let pool = plant.pool(up_to(2).without_wait_timeout());
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    sleep(2 * MS).await;
    pool.set_max(1);
    // The clock goes on only when no task is busy.
    sleep(SECOND).await;
    held.put_back();
    assert_eq!(got(waits).await.number, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_elsewhere_is_taken_if_there_is_a_place() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2));
    assert!(pool.add(plant.thing(100)).is_ok());
    let held = pool.get().await.unwrap();
    assert_eq!(held.number, 100);
    let _other = pool.get().await.unwrap();
    let back = pool.add(plant.thing(101)).map(|()| "taken").map_err(|thing| thing.number);
    assert_eq!(back, Err(101));
    let waits = caller(&pool).await;
    let own = held.take();
    assert_eq!(own.number, 100);
    got(waits).await.put_back();
    assert_eq!((pool.stats().open(), plant.counts().open), (2, 3), "the one that was taken is its user's");
}

#[tokio::test(start_paused = true)]
async fn what_is_added_goes_to_whoever_has_waited_longest() {
    let plant = Plant::script(|_| Dial::Hangs);
    let pool = plant.pool(up_to(2));
    let waits = caller(&pool).await;
    assert!(pool.add(plant.thing(100)).is_ok());
    assert_eq!(got(waits).await.number, 100);
}

#[tokio::test(start_paused = true)]
async fn every_close_has_its_reason_counted_and_told_in_order() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(3).idle_timeout(10 * SECOND));
    let mut broken = pool.get().await.unwrap();
    broken.usable = Says::No;
    broken.put_back();
    drop(pool.get().await.unwrap());
    pool.get().await.unwrap().discard();
    filled(&pool, 2).await;
    pool.set_max(1);
    let mut sick = pool.get().await.unwrap();
    sick.passes = Says::No;
    sick.put_back();
    sleep(2 * SECOND).await;
    pool.get().await.unwrap().put_back();
    sleep(11 * SECOND).await;
    pool.get().await.unwrap().put_back();
    pool.close().await;
    use PoolClose::{Broken, Checked, Closed, Discarded, Dropped, Idle, Surplus};
    assert_eq!(closes(&events), [Broken, Dropped, Discarded, Surplus, Checked, Idle, Closed]);
    let stats = pool.stats();
    assert!(
        [Broken, Dropped, Discarded, Surplus, Checked, Idle, Closed]
            .iter()
            .all(|why| stats.closed(*why) == 1)
    );
    assert_eq!((stats.connected(), stats.closed(PoolClose::Old), plant.counts().open), (7, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_it_says_of_itself_is_of_one_moment() {
    let plant = Plant::slow(10 * MS);
    let pool = plant.pool(up_to(4));
    filled(&pool, 2).await;
    let _held = pool.get().await.unwrap();
    let _other = pool.get().await.unwrap();
    let waiting = caller(&pool).await;
    let stats = pool.stats();
    assert_eq!((stats.idle(), stats.in_use(), stats.connecting()), (0, 2, 1));
    assert_eq!((stats.open(), stats.waiting(), stats.max()), (3, 1, 4));
    got(waiting).await.put_back();
    let stats = pool.stats();
    assert_eq!((stats.idle(), stats.in_use(), stats.connecting(), stats.waiting()), (1, 2, 0, 0));
    // Each of the three connections was waited for.
    let waits: Vec<_> = stats.waits().filter(|(_, count)| *count > 0).collect();
    assert_eq!(waits, [(Duration::from_micros(1 << 14), 3)]);
    assert_eq!((stats.handed_out(), stats.connected()), (5, 3));
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let refused = |settings| {
        let built: Result<Pool<Plant>, InvalidPool> = Pool::builder(Plant::new()).settings(settings).build();
        built.expect_err("impossible").to_string()
    };
    assert!(refused(up_to(0)).contains("`max`"));
    assert!(refused(up_to(1).min_idle(2)).contains("`min_idle`"));
    assert!(refused(up_to(1).connect_timeout(Duration::ZERO)).contains("`connect_timeout`"));
    assert!(refused(up_to(1).idle_timeout(Duration::ZERO)).contains("without_idle_timeout"));
    assert!(refused(up_to(1).lifetime(Duration::ZERO)).contains("without_lifetime"));
}

#[tokio::test(start_paused = true)]
async fn limits_that_nobody_lives_to_see_do_no_harm() {
    let plant = Plant::new();
    let settings = up_to(1).lifetime(Duration::MAX).idle_timeout(Duration::MAX).wait_timeout(Duration::MAX);
    let pool = plant.pool(settings.connect_timeout(Duration::MAX).check_after(Duration::MAX));
    pool.get().await.unwrap().put_back();
    let short = plant.pool(up_to(1).lifetime(Duration::from_nanos(1)));
    let one: Pooled<Plant> = short.get().await.unwrap();
    one.put_back();
}
