//! Many callers at once: fair, capped, and whole at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stonework::base::Rng;
use stonework::pool::{Manage, Pool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::kit::{Dial, MS, Plant, up_to};
use crate::support::soon;

/// The waits of so many tasks that take turns, each of them so often, and hold an object for 1 ms.
async fn waits(tasks: usize, objects: usize, turns: usize) -> Vec<Duration> {
    let pool = Plant::new().pool(up_to(objects).max_waiting(tasks).without_wait_timeout());
    let all: Vec<_> = (0..tasks)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for _ in 0..turns {
                    let start = Instant::now();
                    let held = pool.get().await.expect("served");
                    waits.push(start.elapsed());
                    sleep(MS).await;
                    held.put_back();
                }
                // What comes before all are there, and after some have gone, is another story.
                waits.drain(1..turns - 1).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in all {
        waits.extend(task.await.unwrap());
    }
    waits.sort();
    waits
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_much_longer_than_the_others() {
    for (tasks, objects, turns) in [(64, 8, 500), (1_000, 50, 50)] {
        let waits = waits(tasks, objects, turns).await;
        let (median, late) = (waits[waits.len() / 2], waits[waits.len() * 999 / 1000]);
        let ratio = late.as_secs_f64() / median.as_secs_f64();
        assert!(
            ratio <= 1.3,
            "{tasks} tasks on {objects}: half waited {median:?}, one in a thousand {late:?}"
        );
        assert!(waits[waits.len() - 1] <= 2 * median, "{:?}", waits.last());
    }
}

/// A server that counts its sockets.
async fn server() -> (std::net::SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (open, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (address, counts) = (listener.local_addr().unwrap(), (Arc::clone(&open), Arc::clone(&peak)));
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (open, peak) = counts.clone();
            peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut byte = [0];
                while socket.read_exact(&mut byte).await.is_ok() && socket.write_all(&byte).await.is_ok() {}
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open, peak)
}

struct Wires(std::net::SocketAddr);

impl Manage for Wires {
    type Object = TcpStream;
    type Error = std::io::Error;

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.0).await
    }
}

#[tokio::test]
async fn five_hundred_calls_at_once_open_as_many_sockets_as_there_may_be() {
    let (address, open, peak) = server().await;
    let settings = up_to(10).max_waiting(500).without_wait_timeout();
    let pool = Pool::builder(Wires(address)).settings(settings).build().unwrap();
    let tasks: Vec<_> = (0..500_u32)
        .map(|nth| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut wire = pool.get().await.expect("served");
                let sent = [(nth % 251) as u8];
                wire.write_all(&sent).await.unwrap();
                let mut read = [0];
                wire.read_exact(&mut read).await.unwrap();
                assert_eq!(read, sent, "of this call, and of no other");
                wire.put_back();
            })
        })
        .collect();
    tokio::task::yield_now().await;
    // Every second one gives up while it waits.
    tasks.iter().skip(10).step_by(2).for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        assert!(soon(task).await.err().is_none_or(|error| error.is_cancelled()));
    }
    assert_eq!((open.load(Ordering::SeqCst), peak.load(Ordering::SeqCst)), (10, 10));
    assert_eq!((pool.stats().idle(), pool.stats().waiting()), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_are_there_after_a_storm_of_callers_who_give_up_and_of_objects_that_break() {
    let seconds =
        std::env::var("STONEWORK_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let end = Instant::now() + Duration::from_secs(seconds);
    let plant = Plant::script(|nth| match nth % 10 {
        0 => Dial::Fails(Duration::from_micros(200)),
        7 => Dial::Panics(Duration::ZERO),
        _ => Dial::Works(Duration::from_micros(100)),
    });
    std::panic::set_hook(Box::new(quiet(std::panic::take_hook())));
    let backoff = stonework::base::Backoff::constant(MS).unwrap();
    let pool = plant.pool(up_to(8).backoff(backoff).idle_timeout(20 * MS).lifetime(200 * MS));
    let tasks: Vec<_> = (0..64)
        .map(|nth| {
            let (pool, rng) = (pool.clone(), Rng::seeded(nth));
            tokio::spawn(async move {
                let mut served = 0_u64;
                while Instant::now() < end {
                    let patience = rng.duration_below(2 * MS);
                    let Ok(Ok(held)) = timeout(patience, pool.get()).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    served += 1;
                    if rng.duration_below(2 * MS) < MS / 2 {
                        sleep(rng.duration_below(MS)).await;
                    }
                    match rng.duration_below(Duration::from_nanos(19)).subsec_nanos() {
                        0 => drop(held),
                        1 => held.discard(),
                        2 => {
                            held.breaks_later();
                            held.put_back();
                        }
                        _ => held.put_back(),
                    }
                }
                served
            })
        })
        .collect();
    let mut served = Vec::new();
    for task in tasks {
        served.push(task.await.unwrap());
    }
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    assert_eq!((pool.stats().in_use(), pool.stats().waiting()), (0, 0));
    assert!(plant.counts().peak <= 8, "{}", plant.counts().peak);
    // Connecting still fails now and then.
    let mut all = Vec::new();
    while all.len() < 8 {
        all.extend(soon(pool.get()).await.ok());
    }
    let stats = pool.stats();
    assert_eq!((stats.in_use(), stats.open(), plant.counts().open), (8, 8, 8));
    drop(all);
    pool.close().await;
    assert_eq!((pool.stats().open(), plant.counts().open, plant.counts().dialing), (0, 0, 0));
    assert!(pool.stats().waits().map(|(_, count)| count).sum::<u64>() > 0);
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;

/// Without what panics on purpose.
fn quiet(hook: Hook) -> impl Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync {
    move |info| {
        if info.payload().downcast_ref() != Some(&"on purpose") {
            hook(info);
        }
    }
}
