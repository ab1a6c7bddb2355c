//! What is measured, for each row of a comparison.

use crate::limit;
use crate::measure;
use crate::pool;
use crate::rows::{self, Kind, Row};
use crate::scaling::{self, Rounds};

/// The no-op answers at the first poll, or at the second.
const POLLS: [&str; 2] = ["ready", "pending"];
/// What the limit says.
const DECISIONS: [&str; 2] = ["admitted", "refused"];
/// What a pool does with an object before it hands it out.
const CARE: [&str; 2] = ["looked at", "asked"];
/// How a token is signed.
const SIGNED: [&str; 2] = ["HS256", "EdDSA"];
pub(crate) const ROUNDS: usize = 401;
/// So few that most rounds pass without an interruption, on a busy machine too.
pub(crate) const CALLS: u64 = 500;

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Overhead,
    Breaker,
    Limit,
    Decision,
    Pool,
    Jwt,
    Balance,
    Hedge,
    Stack,
}

impl Comparison {
    pub(crate) const ALL: [Self; 9] = [
        Self::Overhead,
        Self::Breaker,
        Self::Limit,
        Self::Decision,
        Self::Pool,
        Self::Jwt,
        Self::Balance,
        Self::Hedge,
        Self::Stack,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overhead => "overhead",
            Self::Breaker => "breaker",
            Self::Limit => "limit",
            Self::Decision => "decision",
            Self::Pool => "pool",
            Self::Jwt => "jwt",
            Self::Balance => "balance",
            Self::Hedge => "hedge",
            Self::Stack => "stack",
        }
    }

    /// Each row is measured in both.
    pub(crate) fn cases(self) -> [&'static str; 2] {
        match self {
            Self::Overhead | Self::Breaker | Self::Limit | Self::Balance | Self::Hedge | Self::Stack => POLLS,
            Self::Decision => DECISIONS,
            Self::Pool => CARE,
            Self::Jwt => SIGNED,
        }
    }

    /// By each thread. More, for the threads do not start in the same nanosecond.
    fn calls_beside(self) -> u64 {
        match self {
            Self::Overhead
            | Self::Breaker
            | Self::Limit
            | Self::Pool
            | Self::Jwt
            | Self::Balance
            | Self::Hedge
            | Self::Stack => 2_000,
            // A nanosecond each, without a limiter.
            Self::Decision => 20_000,
        }
    }

    pub(crate) fn rows(self, case: &str) -> Vec<Row> {
        let waits = case == POLLS[1];
        match self {
            Self::Overhead => rows::rows(waits),
            Self::Breaker => crate::breaker::rows(waits),
            Self::Limit => limit::layers::rows(waits),
            Self::Decision => limit::decisions::rows(case == DECISIONS[0]),
            Self::Pool => pool::checkout::rows(case == CARE[1]),
            Self::Jwt => crate::jwt::rows(case),
            Self::Balance => crate::balance::rows(waits),
            Self::Hedge => crate::hedge::rows(waits),
            Self::Stack => crate::stack::rows(waits),
        }
    }
}

/// What one call costs; over the bare call, unless it is the bare call.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) nanos: f64,
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) timers: usize,
    pub(crate) shared: Option<Shared>,
}

/// The same where two threads share what is called.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) nanos: f64,
    /// Throughput of two threads over that of one; divided by the bare call's, unless it is the bare call's.
    pub(crate) scaling: f64,
    /// The same for two threads that were not started one after the other.
    pub(crate) apart: f64,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) head: &'static str,
    pub(crate) kind: Kind,
    pub(crate) peer: Option<&'static str>,
    /// One for each case.
    pub(crate) costs: [Cost; 2],
}

pub(crate) struct Report {
    pub(crate) comparison: Comparison,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    pub(crate) fn measure(comparison: Comparison, with_instructions: bool) -> Self {
        let costs = |case| costs(comparison, case, with_instructions);
        let cases = comparison.cases();
        let (one, other) = (costs(cases[0]), costs(cases[1]));
        let lines = comparison.rows(cases[0]).into_iter().zip(one.into_iter().zip(other));
        let lines = lines.map(|(row, (one, other))| Line {
            name: row.name,
            head: row.head,
            kind: row.kind,
            peer: row.peer,
            costs: [one, other],
        });
        Self { comparison, lines: lines.collect() }
    }

    pub(crate) fn line(&self, head: &str, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.head == head && line.name == name)
    }

    pub(crate) fn ratio(&self, line: &Line, case: usize) -> Option<f64> {
        let peer = self.line(line.head, line.peer?)?;
        Some(line.costs[case].nanos / peer.costs[case].nanos)
    }
}

/// The costs of all rows over one no-op, in their order.
fn costs(comparison: Comparison, case: &str, with_instructions: bool) -> Vec<Cost> {
    let mut rows = comparison.rows(case);
    // The bare call of the same request stands above each row.
    let bare: Vec<usize> = (0..rows.len())
        .map(|at| (0..=at).rev().find(|above| rows[*above].kind == Kind::Bare).expect("a bare call above"))
        .collect();
    // Not every row can be shared.
    let places: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].shared.is_some()).collect();
    let makes: Vec<_> = rows.iter_mut().filter_map(|row| row.shared.take()).collect();
    let calls = comparison.calls_beside();
    let runs = [0, others()].map(|others| scaling::rounds(&makes, others, ROUNDS, calls));
    let place = |at: usize| places.iter().position(|place| *place == at);
    let mut subjects: Vec<_> = rows.into_iter().map(|row| row.subject).collect();
    let timers: Vec<usize> = subjects.iter_mut().map(|subject| subject.timers()).collect();
    let allocations: Vec<f64> = subjects.iter_mut().map(|s| measure::allocations(s.as_mut())).collect();
    let nanos = measure::nanos(&mut subjects, ROUNDS, CALLS);
    let nothing = vec![0.0; ROUNDS];
    let absolute: Vec<Cost> = (0..subjects.len())
        .map(|at| {
            let own = bare[at] == at;
            let instructions = || measure::instructions(comparison.name(), case, at);
            Cost {
                nanos: measure::median_over(&nanos[at], if own { &nothing } else { &nanos[bare[at]] }),
                instructions: with_instructions.then(instructions).flatten(),
                allocations: allocations[at],
                timers: timers[at],
                shared: place(at).map(|here| {
                    let bare = (!own).then(|| place(bare[at]).expect("a bare call that is shared"));
                    let [next, apart] = runs.each_ref().map(|run| (&run[here], bare.map(|bare| &run[bare])));
                    compare(next, apart)
                }),
            }
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

/// Threads between two that a breaker with a counter for each core may mistake for one.
fn others() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).next_power_of_two() - 1
}

fn compare(next: (&Rounds, Option<&Rounds>), apart: (&Rounds, Option<&Rounds>)) -> Shared {
    let scaling = |(row, bare): (&Rounds, Option<&Rounds>)| row.speedup() / bare.map_or(1.0, Rounds::speedup);
    let (row, bare) = next;
    let nothing = vec![0.0; row.beside.len()];
    Shared {
        nanos: measure::median_over(&row.beside, bare.map_or(&nothing, |bare| &bare.beside)),
        scaling: scaling(next),
        apart: scaling(apart),
    }
}
