//! What a server's shell costs: processor time and instructions for each request, memory for each idle connection.

mod client;
mod host;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use self::client::Clients;
pub(crate) use self::client::Process;
pub(crate) use self::host::{HELLO, Host, Http, Row};
use crate::figure::{Bound, Figure, Target, Times, Unit};
use crate::groups::Effort;
use crate::statistics::{median, median_times};

/// Of processor time. In each, all rows in turn.
const ROUNDS: usize = 31;
/// Requests of each row in a round.
const REQUESTS: usize = 16_000;
/// Over HTTP/2 four connections with 16 streams each.
const CLIENTS: usize = 64;
const STREAMS: usize = 16;
/// Idle ones. The memory right after a request is that of fewer, which are all served before the first has been idle for long.
const CONNECTIONS: usize = 9_000;
const AT_ONCE: usize = 1_000;
/// After this a connection is idle for good.
const PAUSE: Duration = Duration::from_secs(3);

/// How much more processor time than bare hyper our server may take for a request.
const SHELL: f64 = 1.05;
/// The same with names, a deadline, limits and somebody who listens.
const WHOLE: f64 = 1.2;
/// Bytes of heap that an idle connection may take: one that has sent nothing, and one that has been answered.
const FRESH: f64 = 2_400.0;
const ANSWERED: f64 = 10_000.0;

/// Bytes for each idle connection.
#[derive(Clone, Copy)]
struct Memory {
    fresh: usize,
    right_after: usize,
    after: usize,
    resident_fresh: usize,
    resident_after: usize,
}

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    // The one who asks is not to be in the way of the one who answers. What is measured after this may go where it wants.
    let measure = || {
        let thread = std::fs::read_link("/proc/thread-self").expect("Linux");
        let thread = thread.file_name().expect("a number").to_owned();
        let pinned =
            Command::new("taskset").args(["-p", "-c", "0"]).arg(thread).stdout(Stdio::null()).status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset is needed");
        on_one_core(effort)
    };
    std::thread::scope(|scope| scope.spawn(measure).join().expect("no panic"))
}

fn on_one_core(effort: &Effort) -> Vec<Figure> {
    let rounds = runtime().block_on(processor_time(effort));
    let at = |row: Row| &rounds[Row::ALL.iter().position(|known| *known == row).expect("a row")];
    let of = |row: Row| {
        let hosts = [Host::Hyper, Host::Axum].into_iter().filter(|host| *host != row.host);
        let times = hosts.map(|host| {
            let peer = Row { host, ..row };
            Times { peer: peer.name(), times: median_times(at(row), at(peer)) }
        });
        let times: Vec<Times> = times.collect();
        let most = match row.host {
            Host::Ours => Some(SHELL),
            Host::OursWhole => Some(WHOLE),
            Host::Auto | Host::Axum | Host::Hyper | Host::OursRouter | Host::HyperTls | Host::OursTls => None,
        };
        let target = most.and_then(|most| {
            let hyper = times.first()?;
            Some(Target { what: "× hyper", found: Unit::Ratio.of(hyper.times), bound: Bound::AtMost(most) })
        });
        let seconds = Unit::Seconds.of(median(at(row).iter().copied()));
        Figure {
            times,
            instructions: effort.instructions.then(|| instructions(row)).flatten(),
            targets: target.into_iter().collect(),
            ..Figure::new(["server", row.http.name(), row.name(), "a request"], seconds)
        }
    };
    let idle = |row: Row| runtime().block_on(memory(row, effort)).figure(row);
    let first = Row::every().filter(|row| row.http == Http::One);
    Row::ALL.into_iter().map(of).chain(first.map(idle)).collect()
}

impl Memory {
    fn figure(self, row: Row) -> Figure {
        let bytes = |bytes: usize| Unit::Bytes.of(bytes as f64);
        let (fresh, after) = (bytes(self.fresh), bytes(self.after));
        let mut targets = Vec::new();
        if row.host == Host::Ours {
            targets.push(Target { what: "", found: fresh, bound: Bound::AtMost(FRESH) });
            targets.push(Target {
                what: "3 s after an answer",
                found: after,
                bound: Bound::AtMost(ANSWERED),
            });
        }
        Figure {
            besides: vec![
                ("right after an answer", bytes(self.right_after)),
                ("3 s after an answer", after),
                ("resident", bytes(self.resident_fresh)),
                ("resident 3 s after an answer", bytes(self.resident_after)),
            ],
            targets,
            ..Figure::new(["server", row.http.name(), row.name(), "an idle connection"], fresh)
        }
    }
}

/// What the other process does.
pub(crate) fn host(at: &str) -> Result<ExitCode, String> {
    host::host(row(at)?);
    Ok(ExitCode::SUCCESS)
}

/// Has callgrind write there what so many requests take.
pub(crate) fn profile(at: &str, requests: usize, out: &str) -> Result<ExitCode, String> {
    let collected = collected(row(at)?, requests, out).ok_or("valgrind is needed")?;
    println!("{collected} instructions");
    Ok(ExitCode::SUCCESS)
}

fn row(at: &str) -> Result<Row, String> {
    let row = at.parse().ok().and_then(|at| Row::every().nth(at));
    row.ok_or_else(|| format!("{at} is not the number of a server: there are {}", Row::every().count()))
}

/// Instructions as callgrind collects them while so many requests are answered.
fn collected(row: Row, requests: usize, out: &str) -> Option<i64> {
    let out = format!("--callgrind-out-file={out}");
    let valgrind = ["valgrind", "--tool=callgrind", &out];
    let present = Command::new(valgrind[0]).arg("--version").stdout(Stdio::null()).status().is_ok();
    let process = present.then(|| Process::start(row, &valgrind))?;
    runtime().block_on(async {
        Clients::connect(&process, row.http, 1, 1).await.ask(requests).await;
    });
    let said = process.end();
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Seconds for 100 000 requests: one list a row, one number a round.
async fn processor_time(effort: &Effort) -> Vec<Vec<f64>> {
    let (rounds, requests) = (effort.rounds(ROUNDS), effort.many(REQUESTS));
    let processes = Row::ALL.map(|row| Process::start(row, &["taskset", "-c", "1"]));
    let mut clients = Vec::new();
    for (row, process) in Row::ALL.iter().zip(&processes) {
        let connections = if row.http == Http::One { CLIENTS } else { CLIENTS / STREAMS };
        clients.push(Clients::connect(process, row.http, connections, STREAMS).await);
    }
    let mut spent = vec![Vec::with_capacity(rounds); Row::ALL.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for ((clients, process), spent) in clients.iter_mut().zip(&processes).zip(&mut spent) {
            // Ours has given its buffers back while it was the others' turn.
            clients.ask(2).await;
            let before = process.cpu();
            clients.ask(requests / CLIENTS).await;
            if round > 0 {
                spent.push((process.cpu() - before) as f64 / 1e9 * 100_000.0 / requests as f64);
            }
        }
    }
    spent
}

/// Of one request on a connection that is warm: N requests and 2 N, and the difference.
fn instructions(row: Row) -> Option<f64> {
    const REQUESTS: usize = 1_000;
    let once = collected(row, REQUESTS, "/dev/null")?;
    let twice = collected(row, 2 * REQUESTS, "/dev/null")?;
    Some((twice - once) as f64 / REQUESTS as f64)
}

async fn memory(row: Row, effort: &Effort) -> Memory {
    let (connections, at_once) = (effort.many(CONNECTIONS), effort.many(AT_ONCE));
    let right_after = {
        let process = Process::start(row, &["taskset", "-c", "1"]);
        let empty = process.heap().await;
        let mut clients = Clients::connect(&process, row.http, at_once, 1).await;
        clients.ask_in_turn().await;
        process.heap().await.saturating_sub(empty) / at_once
    };
    let process = Process::start(row, &["taskset", "-c", "1"]);
    let empty = (process.heap().await, process.resident());
    let over = |now: (usize, usize)| {
        [now.0.saturating_sub(empty.0) / connections, now.1.saturating_sub(empty.1) / connections]
    };
    let mut clients = Clients::connect(&process, row.http, connections, 1).await;
    sleep(PAUSE).await;
    let [fresh, resident_fresh] = over((process.heap().await, process.resident()));
    clients.ask_in_turn().await;
    sleep(PAUSE).await;
    let [after, resident_after] = over((process.heap().await, process.resident()));
    Memory { fresh, right_after, after, resident_fresh, resident_after }
}
