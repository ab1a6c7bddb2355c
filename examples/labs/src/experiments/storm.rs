//! What retries cost. Marc Brooker, "Fixing retries with token buckets and circuit breakers", 2022: a hundred clients with ten calls a second
//! each, of a service that fails at random. N retries make Σ p^i requests of a call, of which 1 − p^(N+1) succeed. With a token bucket of
//! a tenth, a model of the same has 1.098, 1.106 and 1.075 requests a call at p = 0.1, 0.2 and 0.5, and 98.6 %, 88.2 % and 53.9 % of the calls
//! succeed. Of hops that each try three times, K make 3^K requests of one, and 1.1^K where each has a budget of a tenth: "Handling
//! Overload", in *Site Reliability Engineering*, 2016, has both numbers for one of them.

use std::fmt::Write as _;

use stonework::base::BudgetSettings;
use stonework::retry::RetrySettings;

use self::model::{Outcome, Storm, load_of_a_dead_leaf};
use crate::{Bar, Chart, Experiment, Figure, Finding, Line, Mean, each_seed};

#[path = "../../../retry_storm_lab/model.rs"]
#[allow(dead_code, unreachable_pub, reason = "the example has more use for it")]
mod model;

const CLIENTS: u32 = 100;
const CALLS_PER_SECOND: u32 = 10;
/// So that a budget's reserve of ten is a twentieth of a client's calls.
const SECONDS: u32 = 20;
const RESERVE: f64 = 10.0;
const FAILURES: [f64; 6] = [0.01, 0.05, 0.1, 0.2, 0.5, 1.0];
/// What a model of a token bucket of a tenth comes to: the rate of failures, requests for each call, and the percentage of calls that succeed.
const BUCKET: [(f64, f64, f64); 4] =
    [(0.1, 1.098, 98.6), (0.2, 1.106, 88.2), (0.5, 1.075, 53.9), (1.0, 1.025, 0.0)];
const HOPS: u32 = 3;
/// So many that what budgets have in reserve is next to nothing.
const HOP_CALLS: u32 = 2_000;

pub const STORM: Experiment = Experiment {
    letter: 'E',
    name: "storm",
    title: "what retries cost: requests for each call, and calls that succeed, where each attempt fails by chance",
    published: "Brooker (\"Fixing retries with token buckets and circuit breakers\", 2022) has a hundred clients of a service that fails at random: \
                three retries quadruple the load of a dead service, a token bucket of a tenth adds a tenth at most. By the \
                arithmetic of the SRE book (2016), three hops that each try three times make 27 requests of one, and 1.33 with budgets.",
    examine,
};

/// A policy, at one of the rates of failure.
struct Cell {
    load: Mean,
    /// In percent.
    success: Mean,
    /// The load, by what its budget allows.
    of_bound: Mean,
}

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    // Four attempts each, so that they differ in the budget and in nothing else: one call and three retries.
    let four = RetrySettings::new().attempts(4);
    let strict = BudgetSettings::default().floor_per_second(0);
    let policies = [
        ("3 retries, no budget", four.clone().without_budget(), f64::INFINITY),
        ("a budget without a floor", four.clone().budget(strict), 0.0),
        ("the default budget", four.clone(), 1.0),
    ];
    let mut line = String::from("    fail  ");
    policies.iter().for_each(|(name, ..)| _ = write!(line, "| {name:<34}"));
    finding.say(line);
    finding.say(format!("          {}", "| load            success            ".repeat(3)));
    let mut rows = Vec::new();
    for failures in FAILURES {
        let cells = [0, 1, 2].map(|at| {
            let (_, settings, floor) = &policies[at];
            play(settings, *floor, failures, seeds)
        });
        let mut line = format!("    {:>4.0} %", failures * 100.0);
        for Cell { load, success, .. } in &cells {
            let _ = write!(line, "| {:<15} {:<18}", format!("{load:.3}"), format!("{success:.2} %"));
        }
        finding.say(line);
        rows.push((failures, cells));
    }
    hold(&mut finding, &rows);
    hops(&mut finding, seeds, &four.attempts(3).budget(strict));

    for (what, least, of) in [
        ("requests for each call", None, (|cell| cell.load.mean) as fn(&Cell) -> f64),
        ("% of the calls that succeed", Some(100.0), |cell| cell.success.mean),
    ] {
        let lines = policies.iter().enumerate().map(|(at, (name, ..))| Line {
            name: (*name).into(),
            points: rows.iter().map(|(failures, cells)| (100.0 * failures, of(&cells[at]))).collect(),
        });
        finding.charts.push(Chart {
            title: what.into(),
            x: "% of the attempts that fail".into(),
            y: what.into(),
            most: least,
            lines: lines.collect(),
        });
    }
    finding
}

fn hold(finding: &mut Finding, rows: &[(f64, [Cell; 3])]) {
    for (failures, [blind, strict, default]) in rows {
        let of = format!("where {:.0} % fail", 100.0 * failures);
        let success = |cell: &Cell| Figure::mean(cell.success, 2, " %");
        // Load and success by the model of a token bucket.
        let Some((_, load, least)) = BUCKET.iter().find(|(rate, ..)| rate == failures) else {
            let published = format!("{:.3} % (3 retries)", 100.0 * (1.0 - failures.powi(4)));
            let what = format!("calls that succeed with the default budget, {of}");
            finding.hold(what, published, success(default), Bar::AtLeast(99.96));
            continue;
        };
        let all = 1.0 + failures + failures.powi(2) + failures.powi(3);
        finding.hold(
            format!("requests for each call with 3 retries, {of}"),
            format!("{all:.3}"),
            Figure::mean(blind.load, 3, ""),
            Bar::Between(all * 0.99, all * 1.01),
        );
        finding.hold(
            format!("with a budget of a tenth, {of}"),
            format!("{load} (model of a token bucket)"),
            Figure::every(strict.load, 3, ""),
            // A tenth, and what is there at the beginning.
            Bar::AtMost(1.1 + RESERVE / f64::from(CALLS_PER_SECOND * SECONDS)),
        );
        if *least > 0.0 {
            let published = format!("{least} % (model of a token bucket)");
            finding.hold(
                format!("calls that succeed with it, {of}"),
                published,
                success(strict),
                Bar::AtLeast(*least),
            );
        }
        finding.hold(
            format!("with the default budget, by what it allows (a tenth, one a second, and ten), {of}"),
            "at most 1",
            Figure::every(default.of_bound, 3, ""),
            Bar::AtMost(1.0),
        );
    }
    let [.., (half, [half_blind, half_strict, _]), (_, [blind, strict, default])] = rows else { return };
    finding.words = format!(
        "With the layer here three retries make {:.2} requests of each call to a dead service, a budget of a tenth {:.2}, the default one, which has \
         one a second for each client as well, {:.2}; a twentieth is what clients have in reserve at the beginning. Where {:.0} % of the attempts \
         fail, the load is {:.2} and {:.2}.",
        blind.load.mean,
        strict.load.mean,
        default.load.mean,
        100.0 * half,
        half_blind.load.mean,
        half_strict.load.mean
    );
}

fn play(settings: &RetrySettings, floor: f64, failures: f64, seeds: u64) -> Cell {
    let outcomes = each_seed(seeds, |seed| {
        let (clients, calls_per_second, seconds) = (CLIENTS, CALLS_PER_SECOND, SECONDS);
        Storm { clients, calls_per_second, seconds, failures, seed }.play(settings)
    });
    let over = |what: fn(&Outcome) -> f64| Mean::of(&outcomes.iter().map(what).collect::<Vec<_>>());
    let of_bound = |outcome: &Outcome| outcome.load() / outcome.bound(CLIENTS, RESERVE, floor, 0.1);
    let of_bound: Vec<_> = outcomes.iter().map(of_bound).collect();
    Cell {
        load: over(Outcome::load),
        success: over(|outcome| 100.0 * outcome.success()),
        of_bound: Mean::of(&of_bound),
    }
}

/// What a dead service sees behind several that each try three times.
fn hops(finding: &mut Finding, seeds: u64, budgeted: &RetrySettings) {
    let blind = budgeted.clone().without_budget();
    finding.say(format!(
        "\n    {HOPS} hops before a dead service, each with three attempts: requests there for each call"
    ));
    for (name, settings, knowing, published, bar) in [
        ("that know nothing of each other", &blind, false, "27", Bar::Between(27.0, 27.0)),
        ("that know of each other", &blind, true, "", Bar::Between(3.0, 3.0)),
        ("with a budget of a tenth each", budgeted, false, "1.33", Bar::AtMost(1.35)),
        ("with both", budgeted, true, "1.33", Bar::AtMost(1.11)),
    ] {
        let loads = each_seed(seeds, |seed| load_of_a_dead_leaf(HOPS, knowing, settings, HOP_CALLS, seed));
        let load = Mean::of(&loads);
        finding.say(format_args!("    {name:<34} | {load:.3}"));
        finding.hold(
            format!("requests at a dead service for each call, {HOPS} hops {name}"),
            published,
            Figure::mean(load, 3, ""),
            bar,
        );
    }
}
