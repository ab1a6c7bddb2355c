//! Figures in words: a table in Markdown, and JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::figure::{Bound, Figure, Target};
use crate::page::Run;

const COLUMNS: [&str; 8] =
    ["of", "row", "case", "cost", "times a peer", "instructions", "allocations", "also"];

/// All figures in one table.
pub(crate) fn markdown(figures: &[Figure]) -> String {
    table(figures, true)
}

/// Those of one group, under a heading that has its name.
pub(crate) fn section(figures: &[Figure]) -> String {
    table(figures, false)
}

fn table(figures: &[Figure], with_group: bool) -> String {
    let group = if with_group { "| group " } else { "" };
    let dashes = if with_group { "|---" } else { "" };
    let mut table = format!(
        "{group}| {} | target |\n{dashes}|---|---|---|--:|--:|--:|--:|---|---|\n",
        COLUMNS.join(" | ")
    );
    for figure in figures {
        if with_group {
            let _ = write!(table, "| {} ", figure.group);
        }
        let Figure { of, row, case, cost, .. } = figure;
        let _ = writeln!(
            table,
            "| {of} | {row} | {case} | {cost} | {} | {} | {} | {} | {} |",
            list(figure.times.iter().map(|beside| format!("{:.2} × {}", beside.times, beside.peer))),
            figure.instructions.map_or("-".to_owned(), |count| format!("{count:.0}")),
            figure.allocations.map_or("-".to_owned(), places),
            list(figure.besides.iter().map(|(name, quantity)| format!("{name} {quantity}"))),
            list(figure.targets.iter().map(verdict)),
        );
    }
    table
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("; ")
}

/// Those of a layer are whole numbers, those of a process are means.
fn places(number: f64) -> String {
    if number.fract().abs() < 0.005 { format!("{number:.0}") } else { format!("{number:.1}") }
}

fn verdict(target: &Target) -> String {
    if target.is_met() {
        format!("{}: met", target.bound())
    } else {
        format!("{}: **missed**, {}", target.bound(), target.found)
    }
}

pub(crate) fn json(run: &Run, figures: &[Figure]) -> Value {
    let figures: Vec<Value> = figures.iter().map(one).collect();
    json!({ "date": run.date, "commit": run.commit, "machine": run.machine, "figures": figures })
}

fn one(figure: &Figure) -> Value {
    let Figure { group, of, row, case, cost, instructions, allocations, .. } = figure;
    let besides = figure.besides.iter().map(|(name, quantity)| (name.to_string(), json!(quantity.value)));
    let times = figure.times.iter().map(|beside| (beside.peer.to_owned(), json!(beside.times)));
    let targets = figure.targets.iter().map(|target| {
        let (bound, number) = match target.bound {
            Bound::AtLeast(number) => ("at least", number),
            Bound::AtMost(number) => ("at most", number),
            Bound::Exactly(number) => ("exactly", number),
        };
        json!({ "of": target.what, "found": target.found.value, "bound": bound, "number": number, "met": target.is_met() })
    });
    json!({
        "group": group,
        "of": of,
        "row": row,
        "case": case,
        "cost": cost.value,
        "unit": cost.unit.name(),
        "times": times.collect::<Map<_, _>>(),
        "instructions": instructions,
        "allocations": allocations,
        "besides": besides.collect::<Map<_, _>>(),
        "targets": targets.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Times, Unit};

    fn figure() -> Figure {
        Figure {
            times: vec![Times { peer: "theirs", times: 1.275 }],
            allocations: Some(2.0),
            besides: vec![("scaling", Unit::Ratio.of(0.5))],
            targets: vec![
                Target { what: "", found: Unit::Nanos.of(51.0), bound: Bound::AtMost(45.0) },
                Target { what: "scaling", found: Unit::Ratio.of(0.5), bound: Bound::AtLeast(0.4) },
            ],
            ..Figure::new(["breaker", "a request", "ours", "ready"], Unit::Nanos.of(51.0))
        }
    }

    #[test]
    fn a_line_says_what_it_costs_and_what_it_should() {
        let said = "| a request | ours | ready | 51 ns | 1.27 × theirs | - | 2 | scaling 0.50 \
                    | at most 45 ns: **missed**, 51 ns; at least 0.4 scaling: met |";
        assert_eq!(section(&[figure()]).lines().last(), Some(said));
        assert_eq!(markdown(&[figure()]).lines().last(), Some(&*format!("| breaker {said}")));
    }

    #[test]
    fn every_line_has_as_many_columns_as_the_head() {
        for table in [section(&[figure()]), markdown(&[figure()])] {
            let columns: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(columns.iter().all(|count| *count == columns[0]), "{table}");
        }
    }

    #[test]
    fn json_has_what_the_table_has_with_all_places() {
        let run = Run { date: "22 Nov 2026".into(), commit: "abc".into(), machine: "2 cores".into() };
        let value = json(&run, &[figure()]);
        let one = &value["figures"][0];
        assert_eq!(one["times"]["theirs"], 1.275);
        assert_eq!(one["targets"][0]["met"], false);
        assert_eq!(one["instructions"], Value::Null);
    }
}
