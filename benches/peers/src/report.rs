//! The table, and the targets that it has to meet.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measure;
use crate::rows::{self, Kind, STACK, TOWER_BOTH};

/// The no-op answers at the first poll, or at the second.
pub(crate) const CASES: [&str; 2] = ["ready", "pending"];
const ROUNDS: usize = 401;
/// So few that most rounds pass without an interruption, on a busy machine too.
const CALLS: u64 = 500;
/// Differences below this many nanoseconds are noise.
const NOISE: f64 = 25.0;
/// How much more than tower's timeout and retry our deadline, retry and attempt timeout may cost.
const TARGET: f64 = 1.15;

/// What one call costs; over the bare call, unless it is the bare call.
#[derive(Clone, Copy)]
struct Cost {
    nanos: f64,
    instructions: Option<f64>,
    allocations: f64,
    timers: usize,
}

struct Line {
    name: &'static str,
    head: &'static str,
    kind: Kind,
    peer: Option<&'static str>,
    /// One for each case.
    costs: [Cost; 2],
}

pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn measure(with_instructions: bool) -> Self {
        let (ready, pending) = (costs(CASES[0], with_instructions), costs(CASES[1], with_instructions));
        let lines = rows::rows(false).into_iter().zip(ready.into_iter().zip(pending));
        let lines = lines.map(|(row, (ready, pending))| Line {
            name: row.name,
            head: row.head,
            kind: row.kind,
            peer: row.peer,
            costs: [ready, pending],
        });
        Self { lines: lines.collect() }
    }

    fn line(&self, head: &str, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.head == head && line.name == name)
    }

    fn ratio(&self, line: &Line, case: usize) -> Option<f64> {
        let peer = self.line(line.head, line.peer?)?;
        Some(line.costs[case].nanos / peer.costs[case].nanos)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut table = String::from(
            "comparison `overhead`: what one call costs more than the bare call (the bare call: what it costs)\n\n\
             | request | layers, outermost first | ready: ns | × tower | instructions | allocations \
             | pending: ns | × tower | instructions | allocations | timers |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let _ = write!(table, "| {} | {} |", line.head, line.name);
            for (case, cost) in line.costs.iter().enumerate() {
                let ratio = self.ratio(line, case).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let instructions = cost.instructions.map_or("-".to_owned(), |count| format!("{count:.0}"));
                let _ = write!(table, " {:.0} | {ratio} | {instructions} |", cost.nanos);
                let _ = write!(table, " {} |", cost.allocations);
            }
            let _ = writeln!(table, " {} |", line.costs[1].timers);
        }
        if self.lines.iter().any(|line| line.costs[0].instructions.is_none()) {
            table.push_str("\nNo instructions: `check` does not count them, and `report` needs valgrind.\n");
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.lines.iter().map(|line| {
            let cost = |case: usize| {
                let Cost { nanos, instructions, allocations, timers } = line.costs[case];
                json!({
                    "nanos": nanos,
                    "times_tower": self.ratio(line, case),
                    "instructions": instructions,
                    "allocations": allocations,
                    "timers": timers,
                })
            };
            json!({
                "request": line.head,
                "layers": line.name,
                "bare": line.kind == Kind::Bare,
                CASES[0]: cost(0),
                CASES[1]: cost(1),
            })
        });
        json!({ "comparison": "overhead", "rounds": ROUNDS, "calls": CALLS, "rows": rows.collect::<Vec<_>>() })
    }

    /// What is not as it should be.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let &Line { name, head, .. } = line;
            let copied = self.lines.iter().find(|copy| copy.head == head && copy.kind == Kind::Copy);
            for (case, cost) in line.costs.iter().enumerate() {
                let allowed = match line.kind {
                    Kind::Guard => 0.0,
                    Kind::Keeper => copied.expect("each request is copied once").costs[case].allocations,
                    Kind::Bare | Kind::Copy | Kind::Peer => continue,
                };
                if cost.allocations != allowed {
                    let (case, found) = (CASES[case], cost.allocations);
                    missed.push(format!("{name}, {head}, {case}: {found} allocations and not {allowed}"));
                }
            }
        }
        for (ours, case) in self.lines.iter().filter(|line| line.name == STACK).flat_map(|l| [(l, 0), (l, 1)])
        {
            let theirs = self.line(ours.head, TOWER_BOTH).expect("tower's row").costs[case].nanos;
            let (head, case, ours) = (ours.head, CASES[case], ours.costs[case].nanos);
            if ours > TARGET * theirs && ours - theirs > NOISE {
                missed.push(format!("{STACK}, {head}, {case}: {ours:.0} ns > {TARGET} × {theirs:.0} ns"));
            }
        }
        missed
    }
}

/// The costs of all rows over one no-op, in their order.
fn costs(case: &str, with_instructions: bool) -> Vec<Cost> {
    let rows = rows::rows(case == CASES[1]);
    // The bare call of the same request stands above each row.
    let bare: Vec<usize> = (0..rows.len())
        .map(|at| (0..=at).rev().find(|above| rows[*above].kind == Kind::Bare).expect("a bare call above"))
        .collect();
    let mut subjects: Vec<_> = rows.into_iter().map(|row| row.subject).collect();
    let timers: Vec<usize> = subjects.iter_mut().map(|subject| subject.timers()).collect();
    let allocations: Vec<f64> = subjects.iter_mut().map(|s| measure::allocations(s.as_mut())).collect();
    let nanos = measure::nanos(&mut subjects, ROUNDS, CALLS);
    let nothing = vec![0.0; ROUNDS];
    let absolute: Vec<Cost> = (0..subjects.len())
        .map(|at| Cost {
            nanos: measure::median_over(&nanos[at], if bare[at] == at { &nothing } else { &nanos[bare[at]] }),
            instructions: with_instructions.then(|| measure::instructions(case, at)).flatten(),
            allocations: allocations[at],
            timers: timers[at],
        })
        .collect();
    let over = |at: usize| {
        let (mut cost, bare) = (absolute[at], (bare[at] != at).then(|| absolute[bare[at]]));
        if let Some(bare) = bare {
            cost.allocations -= bare.allocations;
            cost.instructions = cost.instructions.zip(bare.instructions).map(|(one, bare)| one - bare);
        }
        cost
    };
    (0..absolute.len()).map(over).collect()
}
