//! What is handed out is good, and what may not be is closed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt;
use stonework::base::{Deadline, PoolClose};
use stonework::pool::{Manage, Pool, Pooled};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::kit::{MS, Plant, Says, assert_whole, caller, closes, filled, got, settle, up_to};
use crate::support::{SECOND, timed};

#[tokio::test(start_paused = true)]
async fn a_caller_without_time_closes_nothing_that_it_cannot_ask() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(3).check_after(SECOND));
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    held.into_iter().for_each(Pooled::put_back);
    sleep(2 * SECOND).await;
    for _ in 0..5 {
        let ended = Deadline::within(Duration::ZERO).bound(pool.get()).await;
        assert!(!matches!(ended, Ok(Ok(_))));
    }
    assert_eq!((plant.counts().checks, pool.stats().idle()), (0, 3));
    let _held = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    assert_eq!((plant.counts().checks, plant.counts().dials), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn only_what_nobody_has_used_for_a_while_is_asked() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).check_after(SECOND));
    pool.get().await.unwrap().put_back();
    sleep(SECOND - MS).await;
    pool.get().await.unwrap().put_back();
    assert_eq!(plant.counts().checks, 0);
    sleep(SECOND).await;
    pool.get().await.unwrap().put_back();
    assert_eq!(plant.counts().checks, 1);
    let never = plant.pool(up_to(1).without_checks());
    never.get().await.unwrap().put_back();
    sleep(60 * SECOND).await;
    never.get().await.unwrap().put_back();
    assert_eq!(plant.counts().checks, 1);
}

#[tokio::test(start_paused = true)]
async fn what_says_at_once_that_it_is_good_costs_no_wait_and_knows_no_deadline_of_its_caller() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).check_after(Duration::ZERO));
    pool.get().await.unwrap().put_back();
    let soon = Deadline::within(100 * MS);
    let held = soon.bound(async { pool.get().now_or_never() }).await.unwrap().expect("it is there").unwrap();
    assert!(held.asked_under > Some(soon), "{:?}", held.asked_under);
    assert_eq!((plant.counts().checks, plant.counts().dials), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_where_it_is_needed_is_counted_and_replaced_as_any_other() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2).min_idle(1).check_after(Duration::ZERO));
    settle().await;
    let held = pool.get().now_or_never().expect("it is there").unwrap();
    settle().await;
    assert_eq!((plant.counts().checks, plant.counts().dials), (1, 2));
    let stats = pool.stats();
    assert_eq!((stats.handed_out(), stats.in_use(), stats.idle()), (1, 1, 1));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_goes_from_hand_to_hand_is_not_asked_however_long_it_was_used() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).check_after(SECOND));
    let held = pool.get().await.unwrap();
    let waits = caller(&pool).await;
    sleep(3 * SECOND).await;
    held.put_back();
    let held = got(waits).await;
    // It was handed out just now, and not when its user began to wait.
    held.put_back();
    pool.get().await.unwrap().put_back();
    assert_eq!(plant.counts().checks, 0);
}

#[tokio::test(start_paused = true)]
async fn after_two_that_do_not_answer_the_others_are_closed_and_a_new_one_is_connected() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(62));
    let mut all = Vec::new();
    for _ in 0..62 {
        let mut thing = pool.get().await.unwrap();
        thing.passes = Says::No;
        all.push(thing);
    }
    all.into_iter().for_each(Pooled::put_back);
    sleep(2 * SECOND).await;
    let thing = pool.get().await.unwrap();
    assert_eq!((thing.number, plant.counts().checks), (63, 2), "two round trips, and not 62");
    assert_eq!(closes(&events), vec![PoolClose::Checked; 62]);
    assert_eq!((pool.stats().open(), plant.counts().open), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_followed_by_the_next() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(3));
    filled(&pool, 2).await;
    let mut sick = pool.get().await.unwrap();
    sick.passes = Says::No;
    sick.put_back();
    sleep(2 * SECOND).await;
    let thing = pool.get().await.unwrap();
    assert_eq!((thing.number, plant.counts().checks, plant.counts().dials), (1, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_check_has_the_limit_of_connecting() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1).connect_timeout(SECOND));
    let mut sick = pool.get().await.unwrap();
    sick.passes = Says::Hangs;
    sick.put_back();
    sleep(2 * SECOND).await;
    let (thing, took) = timed(pool.get()).await;
    assert_eq!((thing.unwrap().number, took), (2, SECOND));
}

#[tokio::test(start_paused = true)]
async fn those_that_say_nothing_do_not_take_all_of_the_time_of_whoever_asks_them() {
    for (patience, connecting) in [(5 * SECOND, 5 * SECOND), (100 * MS, 5 * SECOND), (5 * SECOND, 50 * MS)] {
        let plant = Plant::new().nature(Says::Yes, Says::Hangs, Says::No);
        let pool = plant.pool(up_to(10).wait_timeout(patience).connect_timeout(connecting));
        filled(&pool, 10).await;
        sleep(2 * SECOND).await;
        let (thing, took) = timed(pool.get()).await;
        if patience > SECOND {
            // Half of its time, and half of the rest; or as long as connecting may take.
            assert_eq!((took, plant.counts().checks), ((patience * 3 / 4).min(2 * connecting), 2));
            assert_eq!((thing.unwrap().number, pool.stats().open()), (11, 1), "the others are closed");
        } else {
            assert!(thing.map(|thing| thing.number).unwrap_err().is_timeout());
            assert_eq!((took, plant.counts().checks), (patience, 3));
            assert_eq!(pool.stats().idle(), 7, "a caller in a hurry says nothing of them");
            sleep(100 * MS).await;
            assert_eq!(
                (pool.stats().open(), plant.counts().open),
                (1, 1),
                "two said nothing for long enough"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dead_ones_are_passed_over_by_a_look_without_asking_any() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(3).check_after(60 * SECOND));
    let all = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    let [one, mut two, three] = all;
    one.put_back();
    two.usable = Says::No;
    two.put_back();
    three.breaks_later();
    three.put_back();
    assert_eq!(pool.stats().idle(), 2, "the second was seen to be dead when it came back");
    assert_eq!(pool.try_get().map(|thing| thing.number), Some(1));
    assert_eq!(closes(&events), [PoolClose::Broken, PoolClose::Broken, PoolClose::Dropped]);
    assert_eq!(plant.counts().checks, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_closed_unless_its_manager_says_that_it_is_clean() {
    let plant = Plant::new();
    let (pool, events) = plant.observed(up_to(2));
    drop(pool.get().await.unwrap());
    assert_eq!((plant.closed(), closes(&events)), (vec![1], vec![PoolClose::Dropped]));
    let mut clean = pool.get().await.unwrap();
    clean.clean = Says::Yes;
    drop(clean);
    assert_eq!((pool.stats().idle(), pool.get().await.unwrap().number), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn work_with_one_puts_it_back_and_closes_it_when_it_is_cut_off() {
    let plant = Plant::new();
    let pool = plant.pool(up_to(1));
    let number = pool.with(async |thing| thing.number).await.unwrap();
    assert_eq!((number, pool.stats().idle()), (1, 1));
    assert!(timeout(MS, pool.with(async |_| std::future::pending::<()>().await)).await.is_err());
    assert_eq!((plant.closed(), pool.stats().open()), (vec![1], 0));
    let task = tokio::spawn({
        let pool = pool.clone();
        async move { pool.with(async |_| -> u8 { panic!("on purpose") }).await }
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(plant.closed(), [1, 2]);
    assert_whole(&pool, &plant).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_in_the_middle_of_a_check_costs_none_that_is_good() {
    let plant = Plant::new().nature(Says::Yes, Says::After(50 * MS), Says::No);
    let pool = plant.pool(up_to(4).check_after(Duration::ZERO));
    filled(&pool, 4).await;
    for _ in 0..8 {
        assert!(timeout(MS, pool.get()).await.is_err());
    }
    // Nor does whoever has too little time for what it says.
    for _ in 0..4 {
        assert!(Deadline::within(3 * MS).bound(pool.get()).await.unwrap().is_err());
    }
    sleep(50 * MS).await;
    assert_eq!((plant.closed(), pool.stats().idle(), plant.counts().dials), (vec![], 4, 4));
    assert!(Deadline::within(60 * MS).bound(pool.get()).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_asked_when_its_caller_leaves_is_waited_for_by_the_next_as_long_as_that_is_worth_it()
 {
    let plant = Plant::new();
    let pool = plant.pool(up_to(2).check_after(SECOND));
    let mut sick = pool.get().await.unwrap();
    sick.passes = Says::Hangs;
    sick.put_back();
    sleep(2 * SECOND).await;
    assert!(timeout(MS, pool.get()).await.is_err());
    let (thing, took) = timed(Deadline::within(SECOND).bound(pool.get())).await;
    assert_eq!((thing.unwrap().unwrap().number, took), (2, SECOND / 2));
}

#[tokio::test(start_paused = true)]
async fn all_who_come_at_once_have_one_asked_each() {
    let plant = Plant::new().nature(Says::Yes, Says::After(5 * MS), Says::No);
    let pool = plant.pool(up_to(3).check_after(SECOND));
    filled(&pool, 3).await;
    sleep(2 * SECOND).await;
    let callers = [caller(&pool).await, caller(&pool).await, caller(&pool).await];
    assert_eq!((plant.counts().checks, pool.stats().waiting(), pool.stats().in_use()), (3, 3, 3));
    let mut had = Vec::new();
    for caller in callers {
        had.push(got(caller).await);
    }
    assert_eq!(plant.counts().dials, 3, "none was connected");
}

/// Connections to a peer that sends back what it is sent, and takes its time.
struct Echoes;

impl Manage for Echoes {
    type Object = DuplexStream;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<DuplexStream, Self::Error> {
        let (here, mut there) = duplex(64);
        tokio::spawn(async move {
            while let Ok(word) = there.read_u64().await {
                sleep((word % 3) as u32 * MS).await;
                if there.write_u64(word).await.is_err() {
                    return;
                }
            }
        });
        Ok(here)
    }
}

#[tokio::test(start_paused = true)]
async fn the_late_answer_to_a_call_that_was_given_up_reaches_no_other() {
    let pool = Pool::builder(Echoes).settings(up_to(2)).build().unwrap();
    let (mut answered, mut given_up) = (0, 0);
    for word in 0..10_000 {
        let exchange = pool.with(async |wire| {
            wire.write_u64(word).await.unwrap();
            wire.read_u64().await.unwrap()
        });
        // Some of the answers come at the very end of the patience.
        match timeout(MS, exchange).await {
            Ok(answer) => {
                assert_eq!(answer.unwrap(), word);
                answered += 1;
            }
            Err(_) => given_up += 1,
        }
    }
    assert!(answered > 3_000 && given_up > 3_000, "{answered} {given_up}");
    assert_eq!(pool.stats().closed(PoolClose::Dropped), given_up);
}

/// A server whose first connection takes all that is sent, and answers nothing; the others answer each octet with
/// itself.
async fn wedges_the_first() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        for nth in 1.. {
            let (mut wire, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut read = [0];
                while wire.read_exact(&mut read).await.is_ok() {
                    if nth > 1 {
                        wire.write_all(&read).await.unwrap();
                    }
                }
            });
        }
    });
    (address, server)
}

/// Connections to one address.
struct Wires(SocketAddr);

impl Manage for Wires {
    type Object = TcpStream;
    type Error = std::io::Error;

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.0).await
    }
}

#[tokio::test]
async fn a_connection_that_went_dumb_costs_one_call_and_the_rest_go_over_another() {
    let (address, server) = wedges_the_first().await;
    let pool = Pool::builder(Wires(address)).settings(up_to(2)).build().unwrap();
    let echoed = async |sent: u8| {
        pool.with(async |wire| {
            wire.write_all(&[sent]).await.unwrap();
            let mut read = [0];
            wire.read_exact(&mut read).await.unwrap();
            read[0]
        })
        .await
        .unwrap()
    };
    assert!(timeout(100 * MS, echoed(0)).await.is_err());
    assert_eq!((pool.stats().open(), pool.stats().closed(PoolClose::Dropped)), (0, 1));
    for sent in 1..=100 {
        assert_eq!(timeout(10 * SECOND, echoed(sent)).await.unwrap(), sent);
    }
    assert_eq!((pool.stats().open(), pool.stats().closed(PoolClose::Dropped)), (1, 1));
    server.abort();
}
