//! What layers, servers and clients cost: ours beside those of others, in one run; and how others fail. See the README.

mod balance;
mod breaker;
mod client;
mod comparison;
mod figure;
mod flaws;
mod groups;
mod hedge;
mod idempotency;
mod jwt;
mod limit;
mod measure;
mod page;
mod pool;
mod report;
mod rows;
mod scaling;
mod server;
mod stack;
mod statistics;
mod table;
mod targets;
mod threads;
mod words;
mod wrapped;

use std::path::Path;
use std::process::ExitCode;

use tokio::time::Instant;

use self::figure::{Figure, met};
use self::page::{Page, Run};
use self::words::Order;

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["report", words @ ..] => Order::parse(false, words).and_then(|order| run(&order)),
        ["check", words @ ..] => Order::parse(true, words).and_then(|order| run(&order)),
        ["flaws", names @ ..] => return flaws::run(names),
        ["profile", of, row, requests, file] => profile(of, row, requests, file),
        // What this program runs in other processes, for itself.
        ["count", comparison, case] => report::count(comparison, case),
        ["host", row] => server::host(row),
        ["call", row, port, tasks] => client::call(row, port, tasks),
        _ => Err(words::USAGE.to_owned()),
    };
    match done {
        Ok(code) => code,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::from(2)
        }
    }
}

/// Measures what is wanted, and writes it where it is wanted.
fn run(order: &Order) -> Result<ExitCode, String> {
    if cfg!(debug_assertions) && order.page.is_some() {
        return Err("figures of a build for development are for nobody: cargo run --release".to_owned());
    }
    // Before anything is measured, which takes its time.
    let mut page = order.page.as_deref().map(Page::read).transpose()?;
    let run = Run::now();
    let mut figures: Vec<Figure> = Vec::new();
    for group in &order.groups {
        eprint!("{}: ", group.name);
        let start = Instant::now();
        let own = (group.measure)(&order.effort);
        eprintln!("{:.0} s", start.elapsed().as_secs_f64());
        // At once, so that it is not lost if one of the others does not come to its end.
        if let Some(page) = &mut page {
            page.put(&run, group, &own)?;
        }
        figures.extend(own);
    }
    match &order.markdown {
        Some(file) => write(file, &table::markdown(&figures))?,
        None => println!("{}", table::markdown(&figures)),
    }
    if let Some(file) = &order.json {
        write(file, &format!("{:#}\n", table::json(&run, &figures)))?;
    }
    let (met, all) = met(&figures);
    eprintln!("{met} of {all} targets are met");
    for miss in figures.iter().flat_map(Figure::missed) {
        eprintln!("missed: {miss}");
    }
    Ok(if order.check && met < all { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Has callgrind write down what a row, by its number from 0, does with so many requests.
fn profile(of: &str, row: &str, requests: &str, file: &str) -> Result<ExitCode, String> {
    let requests = requests.parse().map_err(|_| format!("{requests} is no number of requests"))?;
    match of {
        "server" => server::profile(row, requests, file),
        "client" => client::profile(row, requests, file),
        _ => Err(format!("there is a profile of server and of client, and none of {of}")),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
