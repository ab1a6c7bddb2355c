//! The targets that our rows have to meet.

use crate::balance;
use crate::client::{self, Peer};
use crate::limit::memory;
use crate::pool::queue;
use crate::report::Report;
use crate::rows::{Kind, STACK, TOWER_BOTH};
use crate::server::{self, Host, Http};
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
/// How much longer than most the slowest may wait for their turn in it.
const SPREAD: f64 = 1.3;
/// How much more processor time than bare hyper our server may take for a request.
const SHELL: f64 = 1.05;
/// Processor time of a server with names, a deadline, limits and somebody who listens, by hyper's.
const WHOLE: f64 = 1.2;
/// How much more than bare hyper our client without layers may take, over HTTP/1.1 and over HTTP/2; and with them, than hyper-util's.
const WIRES: [f64; 2] = [1.10, 1.15];
const CLIENT: f64 = 1.0;
/// Bytes of heap that an idle connection may take: one that has sent nothing, and one that has been answered.
const FRESH: usize = 2_400;
const ANSWERED: usize = 10_000;

impl Report {
    /// What is not as it should be.
    pub(crate) fn missed(&self) -> Vec<String> {
        [
            self.allocations(),
            self.stacks(),
            self.whole_stacks(),
            self.breakers(),
            self.limits(),
            self.pools(),
            self.tokens(),
            self.balancers(),
        ]
        .concat()
    }

    fn allocations(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let (name, head) = (line.name, line.head);
            let copied = self.lines.iter().find(|copy| copy.head == head && copy.kind == Kind::Copy);
            for (case, cost) in line.costs.iter().enumerate() {
                let allowed = match line.kind {
                    Kind::Guard | Kind::Balance | Kind::Breaker { .. } | Kind::Limit { .. } | Kind::Pool => {
                        0.0
                    }
                    Kind::Keeper => copied.expect("each request is copied once").costs[case].allocations,
                    Kind::Bare | Kind::Copy | Kind::Peer | Kind::Fields | Kind::Token { .. } => continue,
                };
                if cost.allocations != allowed {
                    let (case, found) = (self.comparison.cases()[case], cost.allocations);
                    missed.push(format!("{name}, {head}, {case}: {found} allocations and not {allowed}"));
                }
            }
        }
        missed
    }

    fn stacks(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (ours, case) in self.lines.iter().filter(|line| line.name == STACK).flat_map(|l| [(l, 0), (l, 1)])
        {
            let theirs = self.line(ours.head, TOWER_BOTH).expect("tower's row").costs[case].nanos;
            let (head, case, ours) = (ours.head, self.comparison.cases()[case], ours.costs[case].nanos);
            if ours > TARGET * theirs && ours - theirs > NOISE {
                missed.push(format!("{STACK}, {head}, {case}: {ours:.0} ns > {TARGET} × {theirs:.0} ns"));
            }
        }
        missed
    }

    fn whole_stacks(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for ours in self.lines.iter().filter(|line| line.name == stack::OURS) {
            for (peer, most) in [(stack::TOWER, ALL), (stack::RESILIENCE, ALL_RESILIENCE)] {
                let theirs = self.line(ours.head, peer).expect("the peer's row");
                for (case, name) in self.comparison.cases().iter().enumerate() {
                    let times = ours.costs[case].nanos / theirs.costs[case].nanos;
                    if times > most {
                        missed.push(format!("the whole stack, {name}: {times:.2} times {peer} > {most}"));
                    }
                }
            }
        }
        missed
    }

    fn breakers(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let Kind::Breaker { nanos: most } = line.kind else { continue };
            for (case, cost) in self.comparison.cases().iter().zip(&line.costs) {
                let (name, nanos) = (line.name, cost.nanos);
                if nanos > f64::from(most) {
                    missed.push(format!("{name}, {case}: {nanos:.0} ns > {most} ns"));
                }
                let shared = cost.shared.expect("each breaker is shared");
                for (scaling, threads) in [(shared.scaling, "next to each other"), (shared.apart, "apart")] {
                    if scaling < SCALING {
                        missed.push(format!(
                            "{name}, {case}, threads {threads}: scaling of {scaling:.2} < {SCALING}"
                        ));
                    }
                }
            }
        }
        missed
    }
}

impl Report {
    fn limits(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let Kind::Limit { nanos: Some(most) } = line.kind else { continue };
            for (case, cost) in self.comparison.cases().iter().zip(&line.costs) {
                let (name, head, nanos) = (line.name, line.head, cost.nanos);
                if nanos > f64::from(most) {
                    missed.push(format!("{name}, {head}, {case}: {nanos:.0} ns > {most} ns"));
                }
            }
        }
        missed
    }
}

impl Report {
    fn balancers(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in self.lines.iter().filter(|line| line.kind == Kind::Balance) {
            let (name, head) = (line.name, line.head);
            let few = self.line(balance::FEW, name).expect("a row of each size");
            for (case, cost) in line.costs.iter().enumerate() {
                let (case, most) = (self.comparison.cases()[case], GROWTH * few.costs[case].nanos);
                if head == balance::MANY && cost.nanos > most {
                    missed.push(format!("{name}, {head}, {case}: {:.0} ns > {most:.0} ns", cost.nanos));
                }
                let shared = cost.shared.expect("each balancer is shared");
                for (scaling, threads) in [(shared.scaling, "next to each other"), (shared.apart, "apart")] {
                    if scaling < SCALING {
                        missed.push(format!(
                            "{name}, {head}, {case}, threads {threads}: scaling of {scaling:.2} < {SCALING}"
                        ));
                    }
                }
            }
        }
        missed
    }
}

impl Report {
    fn pools(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in self.lines.iter().filter(|line| line.kind == Kind::Pool) {
            // Where it is only looked at: the other one asks nothing.
            let times = self.ratio(line, 0).expect("the least pool is a row");
            if times > CHECKOUT {
                let (name, case, nanos) = (line.name, self.comparison.cases()[0], line.costs[0].nanos);
                missed.push(format!(
                    "{name}, {case}: {nanos:.0} ns, {times:.2} times the least pool > {CHECKOUT}"
                ));
            }
        }
        missed
    }
}

impl Report {
    fn tokens(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let Kind::Token { nanos, allocations } = line.kind else { continue };
            for (case, cost) in self.comparison.cases().iter().zip(&line.costs) {
                let (name, head) = (line.name, line.head);
                // What a signature costs with a public key is too much for differences of this size to be seen above it.
                let nanos = nanos.filter(|_| *case == "HS256" || head == "a request");
                if nanos.is_some_and(|most| cost.nanos > f64::from(most)) {
                    missed.push(format!("{name}, {head}, {case}: {:.0} ns > {nanos:?}", cost.nanos));
                }
                if allocations.is_some_and(|most| cost.allocations > f64::from(most)) {
                    missed.push(format!(
                        "{name}, {head}, {case}: {} allocations > {allocations:?}",
                        cost.allocations
                    ));
                }
            }
        }
        missed
    }
}

impl queue::Report {
    /// As above.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in self.lines.iter().filter(|line| line.name == queue::OURS) {
            let (program, spread, least) = (line.program, line.spread, line.least);
            if line.held && spread > SPREAD {
                missed.push(format!(
                    "{program}: the slowest wait {spread:.2} times as long as most > {SPREAD}"
                ));
            }
            if line.held && (line.starved > 0 || least < 0.5) {
                missed.push(format!("{program}: somebody got {least:.2} times what others got"));
            }
        }
        missed
    }
}

impl memory::Report {
    /// As above.
    pub(crate) fn missed(&self) -> Vec<String> {
        let over = |line: &&memory::Line| line.most.is_some_and(|most| line.entries > most);
        let say = |line: &memory::Line| format!("{}, {}: {} entries", line.name, line.arrival, line.entries);
        self.lines.iter().filter(over).map(say).collect()
    }
}

impl server::Report {
    /// As above.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in self.lines.iter().filter(|line| line.row.host == Host::OursWhole) {
            let (http, times) = (line.row.http, line.times_hyper);
            if times > WHOLE {
                missed.push(format!("server with more, HTTP {http:?}: {times:.3} times hyper > {WHOLE}"));
            }
        }
        for line in self.lines.iter().filter(|line| line.row.host == Host::Ours) {
            let (http, times) = (line.row.http, line.times_hyper);
            if times > SHELL {
                missed.push(format!("server, HTTP {http:?}: {times:.3} times hyper > {SHELL}"));
            }
            let Some(memory) = line.memory else { continue };
            for (found, most) in [(memory.fresh, FRESH), (memory.after, ANSWERED)] {
                if found > most {
                    missed.push(format!("server, HTTP {http:?}: {found} bytes a connection > {most}"));
                }
            }
        }
        missed
    }
}

impl client::Report {
    /// As above.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for line in &self.lines {
            let (name, http) = (line.row.name(), line.row.http);
            let (times, beside, most) = match line.row.peer {
                Peer::Bare => (line.times_hyper, "hyper", WIRES[usize::from(http == Http::Two)]),
                Peer::Ours => (line.times_hyper_util, "hyper-util", CLIENT),
                Peer::Hyper | Peer::HyperUtil | Peer::Reqwest => continue,
            };
            if times > most {
                missed.push(format!("client, HTTP {http:?}, {name}: {times:.3} times {beside} > {most}"));
            }
        }
        missed
    }
}
