//! What a client's shell costs: processor time, allocations and instructions for each request, and how long requests take.

mod caller;
mod process;
mod rows;

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use self::caller::Order;
use self::process::Caller;
pub(crate) use self::rows::{Peer, Row};
use crate::server::{self, Host, Http, Process};

/// In each, all rows in turn.
const ROUNDS: usize = 31;
/// Requests of each row in a round, once for its processor time and once more for how long they take.
const REQUESTS: usize = 16_000;
/// Each has one request in flight.
const TASKS: usize = 64;

pub(crate) struct Line {
    pub(crate) row: Row,
    /// Seconds of processor time for 100 000 requests.
    pub(crate) seconds: f64,
    /// The median of what it took, by what hyper took in the same round; and by what hyper-util took.
    pub(crate) times_hyper: f64,
    pub(crate) times_hyper_util: f64,
    allocations: f64,
    instructions: Option<f64>,
    /// Microseconds: the medians, over the rounds, of what half of the requests took at most, 99 of 100, and 999 of 1000.
    latency: [f64; 3],
}

pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
}

/// What the other process does.
pub(crate) fn call(at: &str, port: &str, tasks: &str) {
    let number = |word: &str| word.parse().expect("a number");
    caller::run(row(at), port.parse().expect("a port"), number(tasks));
}

/// Has callgrind write down there what so many requests take.
pub(crate) fn profile(at: &str, requests: usize, out: &str) {
    println!("{} instructions", collected(row(at), requests, out).expect("valgrind"));
}

fn row(at: &str) -> Row {
    Row::ALL[at.parse::<usize>().expect("the number of a row")]
}

/// A process that answers, on the first processor.
fn host(http: Http) -> Process {
    Process::start(server::Row { http, host: Host::Hyper }, &["taskset", "-c", "0"])
}

/// What one row took, one number a round.
#[derive(Default)]
struct Spent {
    seconds: Vec<f64>,
    allocations: Vec<f64>,
    latency: [Vec<f64>; 3],
}

impl Report {
    pub(crate) fn measure() -> Self {
        let rounds = rounds();
        let lines = Row::ALL.into_iter().map(|row| {
            let own = &rounds[row.at()];
            let times = |peer| {
                let peer = &rounds[Row { peer, ..row }.at()];
                server::median(own.seconds.iter().zip(&peer.seconds).map(|(own, peer)| own / peer))
            };
            let median = |numbers: &Vec<f64>| server::median(numbers.iter().copied());
            Line {
                row,
                seconds: median(&own.seconds),
                times_hyper: times(Peer::Hyper),
                times_hyper_util: times(Peer::HyperUtil),
                allocations: median(&own.allocations),
                instructions: instructions(row),
                latency: own.latency.each_ref().map(median),
            }
        });
        Self { lines: lines.collect() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut table = format!(
            "comparison `client`: what {TASKS} tasks cost the process that asks for five bytes, over and over\n\n\
             | HTTP | client | CPU s for 100 000 | × hyper | × hyper-util | allocations | instructions \
             | p50 µs | p99 µs | p99.9 µs |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let http = if line.row.http == Http::One { "1.1" } else { "2" };
            let counted = line.instructions.map_or("-".to_owned(), |count| format!("{count:.0}"));
            let (name, seconds, allocations) = (line.row.name(), line.seconds, line.allocations);
            let (hyper, hyper_util) = (line.times_hyper, line.times_hyper_util);
            let [p50, p99, p999] = line.latency;
            let _ = writeln!(
                table,
                "| {http} | {name} | {seconds:.3} | {hyper:.3} | {hyper_util:.3} | {allocations:.1} \
                 | {counted} | {p50:.0} | {p99:.0} | {p999:.0} |"
            );
        }
        table
    }
}

fn rounds() -> Vec<Spent> {
    let hosts = [Http::One, Http::Two].map(host);
    let port = |http| hosts[usize::from(http == Http::Two)].port;
    let mut callers: Vec<_> =
        Row::ALL.map(|row| Caller::start(row, port(row.http), TASKS, &["taskset", "-c", "1"])).into();
    let mut rounds: Vec<Spent> = Row::ALL.map(|_| Spent::default()).into();
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for (caller, spent) in callers.iter_mut().zip(&mut rounds) {
            let bare = caller.ask(&Order { requests: REQUESTS, timed: false });
            let timed = caller.ask(&Order { requests: REQUESTS, timed: true });
            if round == 0 {
                continue;
            }
            spent.seconds.push(bare.cpu as f64 / 1e9 * 100_000.0 / REQUESTS as f64);
            spent.allocations.push(bare.allocations as f64 / REQUESTS as f64);
            for (all, nanos) in spent.latency.iter_mut().zip(timed.latency) {
                all.push(nanos as f64 / 1e3);
            }
        }
    }
    rounds
}

/// Of one request of one task on a connection that is warm: N requests and 2 N, and the difference.
fn instructions(row: Row) -> Option<f64> {
    const REQUESTS: usize = 1_000;
    let once = collected(row, REQUESTS, "/dev/null")?;
    let twice = collected(row, 2 * REQUESTS, "/dev/null")?;
    Some((twice - once) as f64 / REQUESTS as f64)
}

/// Instructions as callgrind collects them while so many requests are made.
fn collected(row: Row, requests: usize, out: &str) -> Option<i64> {
    let out = format!("--callgrind-out-file={out}");
    let valgrind = ["valgrind", "--tool=callgrind", &out];
    let present = Command::new(valgrind[0]).arg("--version").stdout(Stdio::null()).status().is_ok();
    let host = present.then(|| host(row.http))?;
    let mut caller = Caller::start(row, host.port, 1, &valgrind);
    caller.ask(&Order { requests, timed: false });
    let said = caller.end();
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}
