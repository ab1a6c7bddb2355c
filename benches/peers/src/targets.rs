//! The targets of what is called in this process, one row at a time. Those of whole processes stand with them.

use crate::balance;
use crate::figure::{Bound, Target, Unit};
use crate::pool;
use crate::report::{Cost, Line, Report};
use crate::rows::{Kind, STACK, TOWER_BOTH};
use crate::stack;

/// Differences below this many nanoseconds are noise.
const NOISE: f64 = 25.0;
/// How much more than tower's timeout and retry our deadline, retry and attempt timeout may cost.
const TARGET: f64 = 1.15;
/// How much a whole client's stack may cost, by tower's four layers without a breaker, and by tower-resilience's.
const ALL: f64 = 1.2;
const ALL_RESILIENCE: f64 = 0.3;
/// How well a breaker or a balancer that two threads share has to scale, beside the bare call.
const SCALING: f64 = 0.8;
/// How much more than a semaphore and a vector our pool may cost where nobody waits.
const CHECKOUT: f64 = 1.5;
/// How much more than one of few endpoints one of many may cost.
const GROWTH: f64 = 2.0;

impl Report {
    /// What this row is held to in this case.
    pub(crate) fn targets(&self, line: &Line, case: usize) -> Vec<Target> {
        let cost = &line.costs[case];
        let mut targets = self.allocations(line, case);
        if line.name == STACK {
            let theirs = self.line(line.head, TOWER_BOTH).expect("tower's row").costs[case].nanos;
            targets.extend(self.beside(
                line,
                case,
                [TOWER_BOTH, "× tower's two"],
                TARGET.max(1.0 + NOISE / theirs),
            ));
        }
        if line.name == stack::OURS {
            targets.extend(self.beside(line, case, [stack::TOWER, "× tower"], ALL));
            targets.extend(self.beside(
                line,
                case,
                [stack::RESILIENCE, "× tower-resilience"],
                ALL_RESILIENCE,
            ));
        }
        match line.kind {
            Kind::Balance => {
                targets.extend(self.growth(line, case));
                targets.extend(scaling(cost));
            }
            Kind::Breaker { nanos } => {
                targets.push(at_most(cost, nanos));
                targets.extend(scaling(cost));
            }
            Kind::Limit { nanos } => targets.extend(nanos.map(|most| at_most(cost, most))),
            // Where it is only looked at: the least pool asks nothing.
            Kind::Pool if case == 0 => {
                targets.extend(self.beside(line, case, [pool::checkout::LEAST, "× the least pool"], CHECKOUT))
            }
            Kind::Token { nanos, allocations } => {
                // What a signature costs with a public key is too much for differences of this size to be seen above it.
                let is_seen = self.comparison.cases()[case] == "HS256" || line.head == "a request";
                targets.extend(nanos.filter(|_| is_seen).map(|most| at_most(cost, most)));
                targets.extend(allocations.map(|most| Target {
                    what: "allocations",
                    found: Unit::Count.of(cost.allocations),
                    bound: Bound::AtMost(most.into()),
                }));
            }
            Kind::Bare
            | Kind::Copy
            | Kind::Fields
            | Kind::Free
            | Kind::Guard
            | Kind::Keeper
            | Kind::Peer
            | Kind::Pool => {}
        }
        targets
    }

    /// None for what keeps nothing; for what keeps a copy of the request, as many as that takes.
    fn allocations(&self, line: &Line, case: usize) -> Vec<Target> {
        let copied = || {
            let copy = self.lines.iter().find(|copy| copy.head == line.head && copy.kind == Kind::Copy);
            copy.expect("each request is copied once").costs[case].allocations
        };
        let allowed = match line.kind {
            Kind::Guard | Kind::Balance | Kind::Breaker { .. } | Kind::Limit { .. } | Kind::Pool => 0.0,
            Kind::Keeper => copied(),
            Kind::Bare | Kind::Copy | Kind::Peer | Kind::Fields | Kind::Free | Kind::Token { .. } => {
                return Vec::new();
            }
        };
        let found = Unit::Count.of(line.costs[case].allocations);
        vec![Target { what: "allocations", found, bound: Bound::Exactly(allowed) }]
    }

    /// At most so many times as much as that row, which is called like this in words.
    fn beside(&self, line: &Line, case: usize, [peer, what]: [&'static str; 2], most: f64) -> Option<Target> {
        let theirs = self.line(line.head, peer)?.costs[case].nanos;
        let found = Unit::Ratio.of(line.costs[case].nanos / theirs);
        Some(Target { what, found, bound: Bound::AtMost(most) })
    }

    /// The largest set of endpoints beside a small one.
    fn growth(&self, line: &Line, case: usize) -> Option<Target> {
        let few = self.line(balance::FEW, line.name).filter(|_| line.head == balance::MANY)?;
        let found = Unit::Ratio.of(line.costs[case].nanos / few.costs[case].nanos);
        Some(Target { what: "× ten endpoints", found, bound: Bound::AtMost(GROWTH) })
    }
}

fn at_most(cost: &Cost, nanos: u32) -> Target {
    Target { what: "", found: Unit::Nanos.of(cost.nanos), bound: Bound::AtMost(nanos.into()) }
}

fn scaling(cost: &Cost) -> impl Iterator<Item = Target> {
    let shared = cost.shared.into_iter();
    shared
        .flat_map(|shared| [("scaling", shared.scaling), ("apart", shared.apart)])
        .map(|(what, found)| Target { what, found: Unit::Ratio.of(found), bound: Bound::AtLeast(SCALING) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Comparison;
    use crate::report::Shared;
    use crate::rows::{FOUR_HEADERS, NO_HEADERS};

    fn line(name: &'static str, head: &'static str, kind: Kind, nanos: f64, allocations: f64) -> Line {
        let shared = Some(Shared { nanos, scaling: 0.8, apart: 0.79 });
        let cost = Cost { nanos, instructions: None, allocations, timers: 0, shared };
        Line { name, head, kind, peer: None, costs: [cost; 2] }
    }

    /// What the last row misses, in the first case.
    fn missed(comparison: Comparison, lines: Vec<Line>) -> Vec<String> {
        let report = Report { comparison, lines };
        let targets = report.targets(report.lines.last().expect("a row"), 0);
        targets.iter().filter(|target| !target.is_met()).map(Target::bound).collect()
    }

    #[test]
    fn whoever_keeps_a_copy_may_allocate_what_the_copy_of_that_request_does() {
        let keeps = |allocations| {
            missed(
                Comparison::Overhead,
                vec![
                    line("copy", NO_HEADERS, Kind::Copy, 70.0, 0.0),
                    line("copy", FOUR_HEADERS, Kind::Copy, 80.0, 2.0),
                    line("ours", FOUR_HEADERS, Kind::Keeper, 100.0, allocations),
                ],
            )
        };
        assert!(keeps(2.0).is_empty());
        assert_eq!(keeps(3.0), ["2 allocations"]);
        assert_eq!(
            missed(Comparison::Overhead, vec![line("ours", "", Kind::Guard, 1.0, 0.5)]),
            ["0 allocations"]
        );
    }

    #[test]
    fn a_few_nanoseconds_more_than_two_layers_are_noise_and_many_are_not() {
        let beside = |theirs, ours| {
            let copy = line("copy", NO_HEADERS, Kind::Copy, 70.0, 0.0);
            let towers = line(TOWER_BOTH, NO_HEADERS, Kind::Peer, theirs, 0.0);
            missed(Comparison::Overhead, vec![copy, towers, line(STACK, NO_HEADERS, Kind::Keeper, ours, 0.0)])
        };
        // A quarter more than little, and a tenth more than much.
        assert!(beside(100.0, 125.0).is_empty() && beside(1_000.0, 1_100.0).is_empty());
        assert_eq!(beside(100.0, 126.0), ["at most 1.25 × tower's two"]);
        assert_eq!(beside(1_000.0, 1_160.0), ["at most 1.15 × tower's two"]);
    }

    #[test]
    fn a_breaker_is_held_to_its_cost_and_to_how_it_scales_in_both_ways() {
        let breaker = |nanos| {
            let lines = vec![line("ours", NO_HEADERS, Kind::Breaker { nanos: 45 }, nanos, 0.0)];
            missed(Comparison::Breaker, lines)
        };
        assert_eq!(breaker(45.0), ["at least 0.8 apart"]);
        assert_eq!(breaker(46.0), ["at most 45 ns", "at least 0.8 apart"]);
    }
}
