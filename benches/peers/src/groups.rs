//! What can be measured, by the names that `report` and `check` know.

use crate::comparison::Comparison;
use crate::figure::Figure;
use crate::limit::memory;
use crate::pool::queue;
use crate::report::measure;
use crate::{client, idempotency, scaling, server};

/// Rows that are compared with each other.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// What its costs are.
    pub(crate) about: &'static str,
    pub(crate) measure: fn(&Effort) -> Vec<Figure>,
}

const CALL: &str = "what one call costs more than the bare call; the bare one: what it costs";

pub(crate) const ALL: &[Group] = &[
    Group { name: "overhead", about: CALL, measure: |effort| measure(Comparison::Overhead, effort) },
    Group { name: "stack", about: CALL, measure: |effort| measure(Comparison::Stack, effort) },
    Group { name: "breaker", about: CALL, measure: |effort| measure(Comparison::Breaker, effort) },
    Group { name: "limit", about: CALL, measure: |effort| measure(Comparison::Limit, effort) },
    Group {
        name: "decision",
        about: "what asking a limiter costs more than a loop that asks nobody; the bare one: what it costs",
        measure: |effort| measure(Comparison::Decision, effort),
    },
    Group {
        name: "memory",
        about: "a decision about a key that comes once, over the first tenth of the keys",
        measure: memory::figures,
    },
    Group {
        name: "pool",
        about: "what it costs to take an object and put it back, more than a loop that takes none; the bare one: what it costs",
        measure: |effort| measure(Comparison::Pool, effort),
    },
    Group {
        name: "queue",
        about: "how long half of the tasks wait at most for their turn with an object",
        measure: queue::figures,
    },
    Group {
        name: "jwt",
        about: "what a token costs more than its signature alone, and a call with one more than the bare call; the bare ones: what they cost",
        measure: |effort| measure(Comparison::Jwt, effort),
    },
    Group { name: "balance", about: CALL, measure: |effort| measure(Comparison::Balance, effort) },
    Group { name: "hedge", about: CALL, measure: |effort| measure(Comparison::Hedge, effort) },
    Group {
        name: "idempotency",
        about: "what a keyed request costs more than the same request to the same handler; the bare one: what it costs",
        measure: idempotency::figures,
    },
    Group {
        name: "scaling",
        about: "how often what clones share is asked in a second, by all who ask",
        measure: scaling::figures,
    },
    Group {
        name: "server",
        about: "processor time for 100 000 requests of the process that answers them, and memory for each idle connection",
        measure: server::figures,
    },
    Group {
        name: "client",
        about: "processor time for 100 000 requests of the process that makes them",
        measure: client::figures,
    },
];

/// How much is done to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Count instructions, too.
    pub(crate) instructions: bool,
    /// Whoever changes this program wants to see that it runs: a few rounds, whose figures say nothing.
    pub(crate) quick: bool,
    /// How many keys `memory` has.
    pub(crate) keys: u32,
}

impl Effort {
    /// As many of these rounds as are worth their time.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.quick { rounds.min(3) } else { rounds }
    }

    /// As many of these requests or connections.
    pub(crate) fn many(&self, number: usize) -> usize {
        if self.quick { number / 16 } else { number }
    }
}
