//! What is measured, for each row of a comparison.

use std::process::ExitCode;

use crate::comparison::Comparison;
use crate::figure::{Figure, Quantity, Times, Unit};
use crate::groups::Effort;
use crate::measure;
use crate::rows::{self, Kind};
use crate::statistics::median_over;
use crate::threads::{self, Rounds};

const ROUNDS: usize = 401;
/// So few that most rounds pass without an interruption, on a busy machine too.
const CALLS: u64 = 500;

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

/// All rows of a comparison, in both of its cases.
pub(crate) fn measure(comparison: Comparison, effort: &Effort) -> Vec<Figure> {
    let [one, other] = comparison.cases().map(|case| within(|| costs(comparison, case, effort)));
    let lines = within(|| {
        let rows = comparison.rows(comparison.cases()[0]).into_iter();
        let lines = rows.zip(one.into_iter().zip(other)).map(|(row, (one, other))| Line {
            name: row.name,
            head: row.head,
            kind: row.kind,
            peer: row.peer,
            costs: [one, other],
        });
        lines.collect()
    });
    Report { comparison, lines }.figures()
}

/// The calls that callgrind counts, of all rows.
pub(crate) fn count(comparison: &str, case: &str) -> Result<ExitCode, String> {
    let comparison =
        Comparison::named(comparison).ok_or_else(|| format!("no comparison is called {comparison}"))?;
    within(|| measure::count(comparison.rows(case)));
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn figures(&self) -> Vec<Figure> {
        let both = |line| [(line, 0), (line, 1)];
        self.lines.iter().flat_map(both).map(|(line, case)| self.figure(line, case)).collect()
    }

    fn figure(&self, line: &Line, case: usize) -> Figure {
        let Cost { nanos, instructions, allocations, timers, shared } = line.costs[case];
        let names = [self.comparison.name(), line.head, line.name, self.comparison.cases()[case]];
        let mut besides: Vec<(&str, Quantity)> = Vec::new();
        if timers > 0 {
            besides.push(("timers", Unit::Count.of(timers as f64)));
        }
        if let Some(Shared { nanos, scaling, apart }) = shared {
            besides.push(("two threads", Unit::Nanos.of(nanos)));
            besides.push(("scaling", Unit::Ratio.of(scaling)));
            besides.push(("apart", Unit::Ratio.of(apart)));
        }
        Figure {
            times: self.ratio(line, case).into_iter().collect(),
            instructions,
            allocations: Some(allocations),
            besides,
            targets: self.targets(line, case),
            ..Figure::new(names, Unit::Nanos.of(nanos))
        }
    }

    pub(crate) fn line(&self, head: &str, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.head == head && line.name == name)
    }

    fn ratio(&self, line: &Line, case: usize) -> Option<Times> {
        let peer = self.line(line.head, line.peer?)?;
        Some(Times { peer: peer.name, times: line.costs[case].nanos / peer.costs[case].nanos })
    }
}

/// Timers need a runtime around them; nothing is spawned on it.
pub(crate) fn within<T>(work: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    // As in a service with calls in flight, whose timers are due earlier: else each new timer would wake the driver.
    let _in_flight = runtime.block_on(measure::arm(rows::LIMIT / 2));
    let _entered = runtime.enter();
    work()
}

/// The costs of all rows over one no-op, in their order.
fn costs(comparison: Comparison, case: &str, effort: &Effort) -> Vec<Cost> {
    let mut rows = comparison.rows(case);
    // The bare call of the same request stands above each row.
    let bare: Vec<usize> = (0..rows.len())
        .map(|at| (0..=at).rev().find(|above| rows[*above].kind == Kind::Bare).expect("a bare call above"))
        .collect();
    // Not every row can be shared.
    let places: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].shared.is_some()).collect();
    let makes: Vec<_> = rows.iter_mut().filter_map(|row| row.shared.take()).collect();
    let (rounds, calls) = (effort.rounds(ROUNDS), comparison.calls_beside());
    let runs = [0, others()].map(|others| threads::rounds(&makes, others, rounds, calls));
    let place = |at: usize| places.iter().position(|place| *place == at);
    let mut subjects: Vec<_> = rows.into_iter().map(|row| row.subject).collect();
    let timers: Vec<usize> = subjects.iter_mut().map(|subject| subject.timers()).collect();
    let allocations: Vec<f64> = subjects.iter_mut().map(|s| measure::allocations(s.as_mut())).collect();
    let nanos = measure::nanos(&mut subjects, rounds, CALLS);
    let counted = effort.instructions.then(|| measure::instructions(comparison.name(), case, subjects.len()));
    let counted = counted.flatten();
    let nothing = vec![0.0; rounds];
    let absolute: Vec<Cost> = (0..subjects.len())
        .map(|at| {
            let own = bare[at] == at;
            Cost {
                nanos: median_over(&nanos[at], if own { &nothing } else { &nanos[bare[at]] }),
                instructions: counted.as_ref().map(|counted| counted[at]),
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
        nanos: median_over(&row.beside, bare.map_or(&nothing, |bare| &bare.beside)),
        scaling: scaling(next),
        apart: scaling(apart),
    }
}
