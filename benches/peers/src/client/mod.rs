//! What a client's shell costs: processor time, allocations and instructions for each request, and how long requests take.

mod caller;
mod process;
mod rows;

use std::process::{Command, ExitCode, Stdio};

use self::caller::Order;
use self::process::Caller;
use self::rows::{Peer, Row};
use crate::figure::{Bound, Figure, Target, Times, Unit};
use crate::groups::Effort;
use crate::server::{self, Host, Http, Process};
use crate::statistics::{median, median_times};

/// In each, all rows in turn.
const ROUNDS: usize = 31;
/// Requests of each row in a round, once for its processor time and once more for how long they take.
const REQUESTS: usize = 16_000;
/// Each has one request in flight.
const TASKS: usize = 64;

/// How much more than bare hyper our client without layers may take, over HTTP/1.1 and over HTTP/2; and with them, than hyper-util's.
const WIRES: [f64; 2] = [1.10, 1.15];
const CLIENT: f64 = 1.0;

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    let rounds = rounds(effort);
    let figure = |row: Row| {
        let own = &rounds[row.at()];
        let peers = [Peer::Hyper, Peer::HyperUtil].into_iter().filter(|peer| *peer != row.peer);
        let times = peers.map(|peer| {
            let peer = Row { peer, ..row };
            Times { peer: peer.name(), times: median_times(&own.seconds, &rounds[peer.at()].seconds) }
        });
        let times: Vec<Times> = times.collect();
        let middle = |numbers: &Vec<f64>| median(numbers.iter().copied());
        let [p50, p99, p999] = own.latency.each_ref().map(middle).map(|micros| Unit::Micros.of(micros));
        Figure {
            targets: target(row, &times).into_iter().collect(),
            times,
            instructions: effort.instructions.then(|| instructions(row)).flatten(),
            allocations: Some(middle(&own.allocations)),
            besides: vec![("p50", p50), ("p99", p99), ("p99.9", p999)],
            ..Figure::new(
                ["client", row.http.name(), row.name(), "a request"],
                Unit::Seconds.of(middle(&own.seconds)),
            )
        }
    };
    Row::ALL.into_iter().map(figure).collect()
}

fn target(row: Row, times: &[Times]) -> Option<Target> {
    let (what, peer, most) = match row.peer {
        Peer::Bare => ("× hyper", Peer::Hyper, WIRES[usize::from(row.http == Http::Two)]),
        Peer::Ours => ("× hyper-util", Peer::HyperUtil, CLIENT),
        Peer::Hyper | Peer::HyperUtil | Peer::Reqwest => return None,
    };
    let peer = Row { peer, ..row }.name();
    let found = Unit::Ratio.of(times.iter().find(|times| times.peer == peer)?.times);
    Some(Target { what, found, bound: Bound::AtMost(most) })
}

/// What the other process does.
pub(crate) fn call(at: &str, port: &str, tasks: &str) -> Result<ExitCode, String> {
    let number = |word: &str| word.parse::<usize>().map_err(|error| format!("{word}: {error}"));
    let port = port.parse().map_err(|error| format!("{port}: {error}"))?;
    caller::run(row(at)?, port, number(tasks)?);
    Ok(ExitCode::SUCCESS)
}

/// Has callgrind write down there what so many requests take.
pub(crate) fn profile(at: &str, requests: usize, out: &str) -> Result<ExitCode, String> {
    let collected = collected(row(at)?, requests, out).ok_or("valgrind is needed")?;
    println!("{collected} instructions");
    Ok(ExitCode::SUCCESS)
}

fn row(at: &str) -> Result<Row, String> {
    let row = at.parse::<usize>().ok().and_then(|at| Row::ALL.get(at)).copied();
    row.ok_or_else(|| format!("{at} is not the number of a client: there are {}", Row::ALL.len()))
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

fn rounds(effort: &Effort) -> Vec<Spent> {
    let requests = effort.many(REQUESTS);
    let hosts = [Http::One, Http::Two].map(host);
    let port = |http| hosts[usize::from(http == Http::Two)].port;
    let mut callers: Vec<_> =
        Row::ALL.map(|row| Caller::start(row, port(row.http), TASKS, &["taskset", "-c", "1"])).into();
    let mut rounds: Vec<Spent> = Row::ALL.map(|_| Spent::default()).into();
    // The first round warms up and is not counted.
    for round in 0..=effort.rounds(ROUNDS) {
        for (caller, spent) in callers.iter_mut().zip(&mut rounds) {
            let bare = caller.ask(&Order { requests, timed: false });
            let timed = caller.ask(&Order { requests, timed: true });
            if round == 0 {
                continue;
            }
            spent.seconds.push(bare.cpu as f64 / 1e9 * 100_000.0 / requests as f64);
            spent.allocations.push(bare.allocations as f64 / requests as f64);
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
