//! What a server's shell costs: processor time and instructions for each request, memory for each idle connection.

mod client;
mod host;

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use self::client::Clients;
pub(crate) use self::client::Process;
pub(crate) use self::host::{HELLO, Host, Http, Row};

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

pub(crate) struct Line {
    pub(crate) row: Row,
    /// Seconds of processor time for 100 000 requests.
    pub(crate) seconds: f64,
    /// The median of what it took, by what hyper took in the same round; and by what `axum::serve` took.
    pub(crate) times_hyper: f64,
    times_axum: f64,
    instructions: Option<f64>,
    pub(crate) memory: Option<Memory>,
}

/// Bytes for each idle connection.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) fresh: usize,
    right_after: usize,
    pub(crate) after: usize,
    resident_fresh: usize,
    resident_after: usize,
}

pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
}

/// What the other process does.
pub(crate) fn host(at: &str) {
    host::host(row(at));
}

/// Has callgrind write there what so many requests take.
pub(crate) fn profile(at: &str, requests: usize, out: &str) {
    println!("{} instructions", collected(row(at), requests, out).expect("valgrind"));
}

fn row(at: &str) -> Row {
    Row::ALL[at.parse::<usize>().expect("the number of a row")]
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

impl Report {
    pub(crate) fn measure() -> Self {
        // The one who asks is not to be in the way of the one who answers.
        let own = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-p", "-c", "0", &own]).stdout(Stdio::null()).status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset is needed");
        let rounds = runtime().block_on(processor_time());
        let at = |row: Row| &rounds[Row::ALL.iter().position(|known| *known == row).expect("a row")];
        let lines = Row::ALL.into_iter().map(|row| {
            let times = |host| {
                let peer = at(Row { host, ..row });
                median(at(row).iter().zip(peer).map(|(own, peer)| own / peer))
            };
            Line {
                row,
                seconds: median(at(row).iter().copied()),
                times_hyper: times(Host::Hyper),
                times_axum: times(Host::Axum),
                instructions: instructions(row),
                memory: (row.http == Http::One).then(|| runtime().block_on(memory(row))),
            }
        });
        Self { lines: lines.collect() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut table = String::from(
            "comparison `server`: what an answer of five bytes costs the process that serves it\n\n\
             | HTTP | server | CPU s for 100 000 | × hyper | × axum::serve | instructions |\n\
             |---|---|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let http = if line.row.http == Http::One { "1.1" } else { "2" };
            let counted = line.instructions.map_or("-".to_owned(), |count| format!("{count:.0}"));
            let (name, seconds) = (line.row.name(), line.seconds);
            let (hyper, axum) = (line.times_hyper, line.times_axum);
            let _ =
                writeln!(table, "| {http} | {name} | {seconds:.3} | {hyper:.3} | {axum:.3} | {counted} |");
        }
        let _ = write!(
            table,
            "\nbytes for each idle connection, HTTP/1.1: heap of {CONNECTIONS} (right after the answer: of \
             {AT_ONCE}), and resident set of {CONNECTIONS}\n\n\
             | server | fresh | right after an answer | {} s after it | resident: fresh | {0} s after it |\n\
             |---|--:|--:|--:|--:|--:|\n",
            PAUSE.as_secs(),
        );
        for line in &self.lines {
            let Some(memory) = line.memory else { continue };
            let Memory { fresh, right_after, after, resident_fresh, resident_after } = memory;
            let name = line.row.name();
            let _ = writeln!(
                table,
                "| {name} | {fresh} | {right_after} | {after} | {resident_fresh} | {resident_after} |"
            );
        }
        let explained = runtime().block_on(async {
            let ours = host::whole().bind("127.0.0.1:0").await.expect("a port");
            ours.explain()
        });
        let _ = write!(table, "\nthe server with more:\n\n```text\n{explained}```\n");
        table
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Seconds for 100 000 requests: one list a row, one number a round.
async fn processor_time() -> Vec<Vec<f64>> {
    let processes = Row::ALL.map(|row| Process::start(row, &["taskset", "-c", "1"]));
    let mut clients = Vec::new();
    for (row, process) in Row::ALL.iter().zip(&processes) {
        let connections = if row.http == Http::One { CLIENTS } else { CLIENTS / STREAMS };
        clients.push(Clients::connect(process, row.http, connections, STREAMS).await);
    }
    let mut spent = vec![Vec::with_capacity(ROUNDS); Row::ALL.len()];
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for ((clients, process), spent) in clients.iter_mut().zip(&processes).zip(&mut spent) {
            // Ours has given its buffers back while it was the others' turn.
            clients.ask(2).await;
            let before = process.cpu();
            clients.ask(REQUESTS / CLIENTS).await;
            if round > 0 {
                spent.push((process.cpu() - before) as f64 / 1e9 * 100_000.0 / REQUESTS as f64);
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

async fn memory(row: Row) -> Memory {
    let right_after = {
        let process = Process::start(row, &["taskset", "-c", "1"]);
        let empty = process.heap().await;
        let mut clients = Clients::connect(&process, row.http, AT_ONCE, 1).await;
        clients.ask_in_turn().await;
        process.heap().await.saturating_sub(empty) / AT_ONCE
    };
    let process = Process::start(row, &["taskset", "-c", "1"]);
    let empty = (process.heap().await, process.resident());
    let over = |now: (usize, usize)| {
        [now.0.saturating_sub(empty.0) / CONNECTIONS, now.1.saturating_sub(empty.1) / CONNECTIONS]
    };
    let mut clients = Clients::connect(&process, row.http, CONNECTIONS, 1).await;
    sleep(PAUSE).await;
    let [fresh, resident_fresh] = over((process.heap().await, process.resident()));
    clients.ask_in_turn().await;
    sleep(PAUSE).await;
    let [after, resident_after] = over((process.heap().await, process.resident()));
    Memory { fresh, right_after, after, resident_fresh, resident_after }
}
