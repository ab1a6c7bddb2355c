//! A report in words: Markdown, and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::report::{CALLS, Comparison, Cost, Line, ROUNDS, Report, Shared};
use crate::rows::Kind;

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut table = match self.comparison {
            Comparison::Overhead | Comparison::Hedge | Comparison::Stack => self.overhead(),
            Comparison::Breaker => self.shared("that share one breaker", "breaker, closed"),
            Comparison::Limit => self.shared("that share one limit", "limit that is not met"),
            Comparison::Decision => self.shared("that ask one limiter", "limiter"),
            Comparison::Jwt => self.of_tokens(),
            Comparison::Balance => self.shared("that share one set of endpoints", "balancer"),
            Comparison::Pool => self.shared("that share one pool", "pool, an object taken and put back"),
        };
        if self.lines.iter().any(|line| line.costs[0].instructions.is_none()) {
            table.push_str("\nNo instructions: `check` does not count them, and `report` needs valgrind.\n");
        }
        table
    }

    fn overhead(&self) -> String {
        let mut table = format!(
            "comparison `{}`: what one call costs more than the bare call (the bare call: what it costs)\n\n\
             | request | layers, outermost first | ready: ns | × tower | instructions | allocations \
             | pending: ns | × tower | instructions | allocations | timers |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            self.comparison.name(),
        );
        for line in &self.lines {
            let _ = write!(table, "| {} | {} |", line.head, line.name);
            for (case, cost) in line.costs.iter().enumerate() {
                let ratio = self.ratio(line, case).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                let _ = write!(table, " {:.0} | {ratio} | {} |", cost.nanos, counted(cost));
                let _ = write!(table, " {} |", cost.allocations);
            }
            let _ = writeln!(table, " {} |", line.costs[1].timers);
        }
        table
    }

    fn shared(&self, how: &str, what: &str) -> String {
        let (name, [one, other]) = (self.comparison.name(), self.comparison.cases());
        let columns =
            |case| format!("{case}: ns | instructions | allocations | 2 threads: ns | scaling | apart");
        let mut table = format!(
            "comparison `{name}`: what one call costs more than the bare call (the bare call: what it costs), and \
             how it scales to two threads\n{how}, beside the bare call (the bare call: the throughput of two \
             threads over that of one)\n\n\
             | | {what} | {} | {} |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            columns(one),
            columns(other),
        );
        for line in &self.lines {
            let _ = write!(table, "| {} | {} |", line.head, line.name);
            for cost in &line.costs {
                let _ = write!(table, " {:.0} | {} | {} |", cost.nanos, counted(cost), cost.allocations);
                let _ = match cost.shared {
                    Some(Shared { nanos, scaling, apart }) => {
                        write!(table, " {nanos:.0} | {scaling:.2} | {apart:.2} |")
                    }
                    None => write!(table, " - | - | - |"),
                };
            }
            table.push('\n');
        }
        table
    }

    fn of_tokens(&self) -> String {
        let mut table = String::from(
            "comparison `jwt`: what a token costs more than its signature alone, and a call with one more than the bare call (the bare \
             ones: what they cost)\n\n\
             | | verifier | HS256: ns | instructions | allocations | EdDSA: ns | instructions | allocations |\n\
             |---|---|--:|--:|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let _ = write!(table, "| {} | {} |", line.head, line.name);
            for cost in &line.costs {
                let _ = write!(table, " {:.0} | {} | {} |", cost.nanos, counted(cost), cost.allocations);
            }
            table.push('\n');
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let cases = self.comparison.cases();
        let rows = self.lines.iter().map(|line| {
            json!({
                "request": line.head,
                "layers": line.name,
                "bare": line.kind == Kind::Bare,
                cases[0]: self.cost(line, 0),
                cases[1]: self.cost(line, 1),
            })
        });
        let rows = rows.collect::<Vec<_>>();
        json!({ "comparison": self.comparison.name(), "rounds": ROUNDS, "calls": CALLS, "rows": rows })
    }

    fn cost(&self, line: &Line, case: usize) -> Value {
        let Cost { nanos, instructions, allocations, timers, shared } = line.costs[case];
        let mut cost = json!({
            "nanos": nanos,
            "instructions": instructions,
            "allocations": allocations,
            "timers": timers,
        });
        match self.comparison {
            Comparison::Jwt => {}
            Comparison::Overhead | Comparison::Hedge | Comparison::Stack => {
                cost["times_tower"] = json!(self.ratio(line, case))
            }
            Comparison::Breaker
            | Comparison::Limit
            | Comparison::Decision
            | Comparison::Balance
            | Comparison::Pool => {
                cost["two_threads_nanos"] = json!(shared.map(|shared| shared.nanos));
                cost["scaling"] = json!(shared.map(|shared| shared.scaling));
                cost["scaling_apart"] = json!(shared.map(|shared| shared.apart));
            }
        }
        cost
    }
}

fn counted(cost: &Cost) -> String {
    cost.instructions.map_or("-".to_owned(), |count| format!("{count:.0}"))
}
