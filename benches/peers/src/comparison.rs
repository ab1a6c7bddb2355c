//! What is called in this process, and in which cases.

use crate::limit;
use crate::pool;
use crate::rows::{self, Row};

/// The no-op answers at the first poll, or at the second.
const POLLS: [&str; 2] = ["ready", "pending"];
/// What the limit says.
const DECISIONS: [&str; 2] = ["admitted", "refused"];
/// What a pool does with an object before it hands it out.
const CARE: [&str; 2] = ["looked at", "asked"];
/// How a token is signed.
const SIGNED: [&str; 2] = ["HS256", "EdDSA"];

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
    const ALL: [Self; 9] = [
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

    /// The one that has this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

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
    pub(crate) fn calls_beside(self) -> u64 {
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
