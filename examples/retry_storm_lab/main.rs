//! What retries do to a service that has a bad hour, on the real layers in virtual time.
//!
//! *The problem:* a retry helps against a fault of one request, and adds to the load exactly when there is too much of it.
//!
//! *What to look at:* in the first table, the load of "blind" beside that of the budgets as more and more attempts fail,
//! and the successes at low failure rates; in the second, what three hops do to a dead service; in the third, when clients
//! come back that failed together.
//!
//! The first experiment is Marc Brooker's of 2022: 100 clients with 10 calls a second each, against a service that fails
//! at random.
//!
//!     cargo run --example retry_storm_lab
//!
//! It takes ten to twenty seconds, and ends with exit code 0 if every claim held.

#[path = "../kit/mod.rs"]
mod kit;
mod model;

use std::process::ExitCode;

use stonework::base::{Backoff, BudgetSettings, Jitter};
use stonework::retry::RetrySettings;

use self::kit::Verdict;
use self::kit::stats::Mean;
use self::model::{Outcome, Storm, attempts_at_a_dead_leaf, returns_in_each_millisecond};

const CLIENTS: u32 = 100;
const CALLS_PER_SECOND: u32 = 10;
const SECONDS: u32 = 10;
const SEEDS: u64 = 4;
const FAILURES: [f64; 7] = [0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0];

fn main() -> ExitCode {
    let mut verdict = Verdict::default();
    budgets(&mut verdict);
    hops(&mut verdict);
    herd(&mut verdict);
    verdict.end()
}

struct Cell {
    outcomes: Vec<Outcome>,
    load: Mean,
    success: Mean,
}

fn play(settings: &RetrySettings, failures: f64) -> Cell {
    let outcomes: Vec<Outcome> = (0..SEEDS)
        .map(|seed| {
            let (clients, calls_per_second, seconds) = (CLIENTS, CALLS_PER_SECOND, SECONDS);
            Storm { clients, calls_per_second, seconds, failures, seed }.run(settings)
        })
        .collect();
    let loads: Vec<f64> = outcomes.iter().map(Outcome::load).collect();
    let successes: Vec<f64> = outcomes.iter().map(Outcome::success).collect();
    Cell { load: Mean::of(&loads), success: Mean::of(&successes), outcomes }
}

/// One failure rate, with each of the policies.
struct Row {
    failures: f64,
    blind: Cell,
    strict: Cell,
    default: Cell,
}

fn budgets(verdict: &mut Verdict) {
    // Four attempts each, so that they differ in the budget and in nothing else: one call and three retries.
    let four = RetrySettings::new().attempts(4);
    let blind = four.clone().without_budget();
    let strict = four.clone().budget(BudgetSettings::default().floor_per_second(0));

    println!(
        "{CLIENTS} clients, {CALLS_PER_SECOND} calls a second each, {SECONDS} s, a budget for each client"
    );
    println!("load: requests at the service for each call; means over {SEEDS} seeds with 95 % intervals");
    println!();
    println!(
        "         | no budget:                      | budget with floor 0:            | default budget:"
    );
    println!(
        "failures | load           success          | load           success          | load           success"
    );
    let mut rows = Vec::new();
    for failures in FAILURES {
        let (blind, strict) = (play(&blind, failures), play(&strict, failures));
        let row = Row { failures, blind, strict, default: play(&four, failures) };
        let both = |cell: &Cell| format!("{:.4} {:.4}", cell.load, cell.success);
        let [blind, strict, default] = [&row.blind, &row.strict, &row.default].map(both);
        println!("{:>7.0}% | {blind} | {strict} | {default}", failures * 100.0);
        rows.push(row);
    }
    println!();
    let strict = rows.iter().map(|row| &row.strict);
    let default = rows.iter().map(|row| &row.default);
    within(verdict, "without a floor no run loads the service more than 1.10 + reserve/calls", 0.0, strict);
    within(verdict, "with the defaults none does more than 1.10 + (reserve + t)/calls", 1.0, default);

    let few = || rows.iter().filter(|row| row.failures <= 0.05);
    let fewest = few().map(|row| row.strict.success.mean.min(row.default.success.mean)).fold(1.0, f64::min);
    verdict.claim(
        fewest >= 0.9996,
        format!("up to 5 % of failures at least 99.96 % of calls succeed: {:.3} %", fewest * 100.0),
    );
    let differences = few().map(|row| (row.blind.success.mean - row.default.success.mean).abs());
    let difference = differences.fold(0.0, f64::max);
    verdict.claim(
        difference <= 0.0004,
        format!("and the default budget costs no more than {:.4} % of them", difference * 100.0),
    );
    let dead = rows.last().map_or(0.0, |row| row.blind.load.mean);
    verdict.claim(
        (dead - 4.0).abs() < 1e-9,
        format!("as many blind retries multiply the load of a dead service by {dead:.2}"),
    );
    println!();
}

fn within<'a>(verdict: &mut Verdict, what: &str, floor: f64, cells: impl Iterator<Item = &'a Cell>) {
    let outcomes: Vec<&Outcome> = cells.flat_map(|cell| &cell.outcomes).collect();
    let bound = |outcome: &Outcome| outcome.bound(CLIENTS, 10.0, floor, 0.1);
    let holds = outcomes.iter().all(|outcome| outcome.load() <= bound(outcome));
    let worst = outcomes.iter().max_by(|a, b| a.load().total_cmp(&b.load())).expect("there are runs");
    verdict.claim(holds, format!("{what}: at worst {:.3} of {:.3}", worst.load(), bound(worst)));
}

fn hops(verdict: &mut Verdict) {
    let (unknowing, knowing) = (attempts_at_a_dead_leaf(3, false), attempts_at_a_dead_leaf(3, true));
    println!("one call through three clients with three attempts each, to a dead service");
    verdict.claim(unknowing == 27, format!("{unknowing} requests where the hops do not know of each other"));
    verdict.claim(knowing == 3, format!("{knowing} where each has the layer that lets them"));
    println!();
}

fn herd(verdict: &mut Verdict) {
    const CLIENTS: u32 = 10_000;
    let constant = Backoff::constant(std::time::Duration::from_millis(100)).expect("more than zero");
    let rigid = RetrySettings::new().backoff(constant.jitter(Jitter::None));
    println!("{CLIENTS} clients fail at the same instant; when they come back");
    let most = |settings: &RetrySettings| {
        let bins = returns_in_each_millisecond(CLIENTS, settings);
        (bins.iter().copied().max().unwrap_or(0), bins.len())
    };
    let (together, _) = most(&rigid);
    verdict.claim(together == CLIENTS, format!("without jitter, {together} of them in one millisecond"));
    let (peak, span) = most(&RetrySettings::new());
    // A hundred a millisecond on average; five standard deviations above that is one chance in 30 000 for all of them.
    verdict.claim(
        peak <= 150 && span <= 101,
        format!(
            "with the default backoff at most {peak}, spread over {span} ms (evenly would be 100 over 100 ms)"
        ),
    );
    println!();
}
