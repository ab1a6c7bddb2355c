//! The process that is measured: one client, a single thread, and as many tasks as it is told.

use std::fmt;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::rows::{HyperOne, HyperTwo, HyperUtil, Peer, Reqwest, Row, Stonework, Task};
use crate::measure;
use crate::server::Http;

/// Before those that count, each task makes about so many requests.
const WARM_UP: usize = 10;

/// What the process is told to do: one line.
pub(crate) struct Order {
    pub(crate) requests: usize,
    /// Note how long each takes, which takes some time itself.
    pub(crate) timed: bool,
}

/// What it says when that is done: one line.
pub(crate) struct Done {
    /// Nanoseconds of processor time, of all its threads.
    pub(crate) cpu: u64,
    pub(crate) allocations: u64,
    /// Nanoseconds that half of the requests took at most, 99 of 100, and 999 of 1000; 0 where none was timed.
    pub(crate) latency: [u64; 3],
}

/// Asks this port as often as each line of standard input says, until that is at its end.
pub(crate) fn run(row: Row, port: u16, tasks: usize) {
    let (orders, mut waiting) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order: Order = line.expect("text").parse().expect("an order");
            if orders.send(order).is_err() {
                break;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bare = row.peer == Peer::Bare;
        match (row.peer, row.http) {
            (Peer::Hyper, Http::One) => {
                let mut each = Vec::new();
                for _ in 0..tasks {
                    each.push(HyperOne::new(port).await);
                }
                obey(&mut waiting, each).await;
            }
            (Peer::Hyper, Http::Two) => obey(&mut waiting, vec![HyperTwo::new(port).await; tasks]).await,
            (Peer::HyperUtil, http) => obey(&mut waiting, vec![HyperUtil::new(http, port); tasks]).await,
            (Peer::Reqwest, http) => obey(&mut waiting, vec![Reqwest::new(http, port); tasks]).await,
            (Peer::Bare | Peer::Ours, http) => {
                obey(&mut waiting, vec![Stonework::new(http, port, bare); tasks]).await;
            }
        }
    });
}

async fn obey<T: Task>(orders: &mut mpsc::UnboundedReceiver<Order>, mut tasks: Vec<T>) {
    while let Some(order) = orders.recv().await {
        let turn = Arc::new(Turn::new(&order, tasks.len()));
        let mut asking = JoinSet::new();
        for task in tasks.drain(..) {
            asking.spawn(ask(task, Arc::clone(&turn)));
        }
        let mut latencies = Vec::new();
        for (task, took) in asking.join_all().await {
            tasks.push(task);
            latencies.extend(took);
        }
        println!("{}", turn.done(latencies));
        std::io::stdout().flush().expect("somebody reads");
    }
}

/// The tasks go on until so many requests were begun, together. So it is never the end of one turn, or the beginning of the next,
/// that is measured: a pool may keep fewer connections than there were, and connects again.
struct Turn {
    warm_up: usize,
    last: usize,
    timed: bool,
    begun: AtomicUsize,
    ended: AtomicUsize,
    from: OnceLock<Reading>,
    until: OnceLock<Reading>,
}

#[derive(Debug)]
struct Reading {
    cpu: u64,
    allocations: u64,
}

impl Reading {
    fn now() -> Self {
        Self { allocations: measure::allocated(), cpu: cpu() }
    }
}

impl Turn {
    fn new(order: &Order, tasks: usize) -> Self {
        let warm_up = WARM_UP * tasks;
        Self {
            warm_up,
            last: warm_up + order.requests,
            timed: order.timed,
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            from: OnceLock::new(),
            until: OnceLock::new(),
        }
    }

    fn ended(&self) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if ended == self.warm_up {
            self.from.set(Reading::now()).expect("once");
        } else if ended == self.last {
            self.until.set(Reading::now()).expect("once");
        }
    }

    fn done(&self, mut latencies: Vec<u64>) -> Done {
        latencies.sort_unstable();
        let most = |thousandths: usize| latencies.get(latencies.len() * thousandths / 1000);
        let [from, until] = [&self.from, &self.until].map(|reading| reading.get().expect("it is over"));
        Done {
            cpu: until.cpu - from.cpu,
            allocations: until.allocations - from.allocations,
            latency: [500, 990, 999].map(|thousandths| most(thousandths).copied().unwrap_or(0)),
        }
    }
}

async fn ask<T: Task>(mut task: T, turn: Arc<Turn>) -> (T, Vec<u64>) {
    // Room for all, so that none is made while others are measured.
    let mut took = Vec::with_capacity(if turn.timed { turn.last } else { 0 });
    loop {
        let number = turn.begun.fetch_add(1, Ordering::Relaxed);
        if number >= turn.last {
            return (task, took);
        }
        if turn.timed {
            let start = Instant::now();
            task.ask().await;
            if number >= turn.warm_up {
                took.push(start.elapsed().as_nanos() as u64);
            }
        } else {
            task.ask().await;
        }
        turn.ended();
    }
}

/// Nanoseconds that the threads of this process have had a processor for.
fn cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for what is written there.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(read, 0, "a clock of the process");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.requests, u8::from(self.timed))
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, String> {
        let [requests, timed] = numbers(said)?;
        Ok(Self { requests: requests as usize, timed: timed > 0 })
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, allocations, latency: [p50, p99, p999] } = self;
        write!(f, "{cpu} {allocations} {p50} {p99} {p999}")
    }
}

impl FromStr for Done {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, String> {
        let [cpu, allocations, p50, p99, p999] = numbers(said)?;
        Ok(Self { cpu, allocations, latency: [p50, p99, p999] })
    }
}

fn numbers<const N: usize>(said: &str) -> Result<[u64; N], String> {
    let numbers: Result<Vec<u64>, _> = said.split_whitespace().map(str::parse).collect();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("not {N} numbers: {said}"))
}
