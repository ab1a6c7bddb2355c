//! What layers cost a call that goes well: ours beside those of others, in one run. See the README.

mod balance;
mod breaker;
mod client;
mod flaws;
mod hedge;
mod idempotency;
mod jwt;
mod limit;
mod measure;
mod pool;
mod report;
mod rows;
mod scaling;
mod server;
mod stack;
mod table;
mod targets;
mod wrapped;

use std::process::ExitCode;

use report::{Comparison, Report};

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

const USAGE: &str = "usage: stonework-peers report [--json FILE] [NAME…] | check [NAME…] | memory [KEYS] | \
                     queue | server | client | idempotency | flaws [NAME…]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["flaws", names @ ..] = words.as_slice() {
        return flaws::run(names);
    }
    match words.as_slice() {
        ["server"] => {
            let report = server::Report::measure();
            println!("{}", report.markdown());
            return verdict(&report.missed());
        }
        ["client"] => {
            let report = client::Report::measure();
            println!("{}", report.markdown());
            return verdict(&report.missed());
        }
        // On runtimes of their own.
        ["idempotency"] => {
            println!("{}", idempotency::Report::measure().markdown());
            return ExitCode::SUCCESS;
        }
        ["queue"] => {
            let report = pool::queue::Report::measure();
            println!("{}", report.markdown());
            return verdict(&report.missed());
        }
        ["memory"] => return remembers(limit::memory::KEYS),
        ["memory", keys] => return remembers(keys.parse().expect("a number of keys")),
        // For a profile of one row, by its number from 0.
        ["server", "profile", row, requests, out] => {
            server::profile(row, requests.parse().expect("a number of requests"), out);
            return ExitCode::SUCCESS;
        }
        ["client", "profile", row, requests, out] => {
            client::profile(row, requests.parse().expect("a number of requests"), out);
            return ExitCode::SUCCESS;
        }
        // What `server` and `client` run in other processes.
        ["host", row] => {
            server::host(row);
            return ExitCode::SUCCESS;
        }
        ["call", row, port, tasks] => {
            client::call(row, port, tasks);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // Timers need a runtime around them; nothing is spawned on it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    // As in a service with calls in flight, whose timers are due earlier: else each new timer would wake the driver.
    let _in_flight = runtime.block_on(measure::arm(rows::LIMIT / 2));
    let _entered = runtime.enter();
    match words.as_slice() {
        ["report", "--json", file, names @ ..] => {
            let Some(chosen) = chosen(names) else { return ExitCode::FAILURE };
            let reports: Vec<_> = reports(chosen, true).collect();
            for report in &reports {
                println!("{}", report.markdown());
            }
            let reports = serde_json::Value::from_iter(reports.iter().map(Report::json));
            std::fs::write(file, format!("{reports:#}\n")).expect("a file that can be written");
        }
        ["report", names @ ..] => {
            let Some(chosen) = chosen(names) else { return ExitCode::FAILURE };
            for report in reports(chosen, true) {
                println!("{}", report.markdown());
            }
        }
        ["check", names @ ..] => {
            let Some(chosen) = chosen(names) else { return ExitCode::FAILURE };
            let mut missed = Vec::new();
            for report in reports(chosen, false) {
                println!("{}", report.markdown());
                missed.extend(report.missed());
            }
            if names.is_empty() {
                let report = limit::memory::Report::measure(limit::memory::KEYS);
                println!("{}", report.markdown());
                missed.extend(report.missed());
                // Not within the runtime that is entered here.
                let report = std::thread::scope(|scope| {
                    scope.spawn(pool::queue::Report::measure).join().expect("no panic")
                });
                println!("{}", report.markdown());
                missed.extend(report.missed());
            }
            return verdict(&missed);
        }
        // What `report` runs under callgrind.
        ["calls", comparison, case, index, calls] => {
            let comparison = Comparison::ALL.into_iter().find(|known| known.name() == *comparison);
            let index: usize = index.parse().expect("the number of a row");
            let mut row = comparison.expect("a comparison").rows(case).swap_remove(index);
            measure::counted(row.subject.as_mut(), calls.parse().expect("a number of calls"));
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn verdict(missed: &[String]) -> ExitCode {
    for target in missed {
        eprintln!("missed: {target}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All comparisons, or those that are named.
fn chosen(names: &[&str]) -> Option<Vec<Comparison>> {
    let known = |name: &&str| Comparison::ALL.iter().any(|comparison| comparison.name() == *name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let known: Vec<_> = Comparison::ALL.iter().map(|comparison| comparison.name()).collect();
        eprintln!("no comparison is called {name}; there are: {}", known.join(", "));
        return None;
    }
    let wanted = |comparison: &Comparison| names.is_empty() || names.contains(&comparison.name());
    Some(Comparison::ALL.into_iter().filter(wanted).collect())
}

fn reports(comparisons: Vec<Comparison>, with_instructions: bool) -> impl Iterator<Item = Report> {
    comparisons.into_iter().map(move |comparison| Report::measure(comparison, with_instructions))
}

fn remembers(keys: u32) -> ExitCode {
    let report = limit::memory::Report::measure(keys);
    println!("{}", report.markdown());
    verdict(&report.missed())
}
