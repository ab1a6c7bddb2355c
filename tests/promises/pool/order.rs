//! Who is next, and which one it gets.

use super::kit::{MS, Plant, Says, caller, filled, got, settle, up_to};

#[tokio::test(start_paused = true)]
async fn who_came_first_is_served_first() {
    let pool = Plant::new().pool(up_to(1));
    let mut held = pool.get().await.unwrap();
    let mut queue = Vec::new();
    for _ in 0..10 {
        queue.push(caller(&pool).await);
    }
    while !queue.is_empty() {
        held.put_back();
        settle().await;
        assert_eq!(queue.iter().filter(|task| task.is_finished()).count(), 1);
        held = got(queue.remove(0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_whoever_was_called_and_has_not_run_yet() {
    let pool = Plant::new().pool(up_to(1));
    let held = pool.get().await.unwrap();
    let first = caller(&pool).await;
    held.put_back();
    // The first in the queue has not been polled since.
    assert!(pool.try_get().is_none());
    let newcomer = caller(&pool).await;
    assert!(first.is_finished() && !newcomer.is_finished());
    got(first).await.put_back();
    got(newcomer).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_only_tries_gets_none_while_others_wait() {
    let plant = Plant::slow(5 * MS);
    let pool = plant.pool(up_to(1));
    assert!(pool.try_get().is_none(), "nothing is connected for it");
    assert_eq!(plant.counts().dials, 0);
    let waits = caller(&pool).await;
    assert!(pool.try_get().is_none());
    got(waits).await.put_back();
    assert!(pool.try_get().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_object_turned_out_to_be_dead_keeps_its_place() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).without_checks());
    let held = pool.get().await.unwrap();
    let first = caller(&pool).await;
    let second = caller(&pool).await;
    // It is put back whole, and breaks on its way to the first in the queue.
    held.breaks_later();
    held.put_back();
    settle().await;
    assert!(first.is_finished() && !second.is_finished());
    assert_eq!(got(first).await.number, 2);
    got(second).await;
}

#[tokio::test(start_paused = true)]
async fn an_early_caller_of_an_idle_dead_one_goes_before_those_who_came_meanwhile() {
    let plant = Plant::script(|nth| super::kit::Dial::Works(if nth == 1 { MS } else { 10 * MS }));
    let pool = plant.pool(up_to(1).check_after(MS).connect_timeout(40 * MS));
    let mut dud = pool.get().await.unwrap();
    dud.passes = Says::Hangs;
    dud.put_back();
    tokio::time::sleep(5 * MS).await;
    let first = caller(&pool).await;
    assert_eq!(plant.counts().checks, 1, "it is being asked");
    let second = caller(&pool).await;
    got(first).await.put_back();
    got(second).await;
}

#[tokio::test(start_paused = true)]
async fn the_one_that_was_used_last_is_used_next() {
    let pool = Plant::new().pool(up_to(3));
    filled(&pool, 3).await;
    for _ in 0..5 {
        let last = pool.get().await.unwrap();
        assert_eq!(last.number, 3);
        last.put_back();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_put_back_goes_to_whoever_waits_although_another_is_being_connected() {
    let plant = Plant::script(|nth| super::kit::Dial::Works(if nth == 1 { MS } else { 50 * MS }));
    let pool = plant.pool(up_to(2));
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    assert_eq!(plant.counts().dialing, 1);
    held.put_back();
    settle().await;
    assert_eq!(got(waits).await.number, 1);
    tokio::time::sleep(60 * MS).await;
    assert_eq!((pool.stats().idle(), plant.counts().dials), (1, 2), "what was begun is kept");
}
