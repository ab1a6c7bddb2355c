use std::sync::Arc;
use std::time::Duration;

use crate::base::HealthState;

/// How much a readiness check has to say.
///
/// | impact | not checked yet | fails from the start | has passed, and fails now | passes |
/// |---|---|---|---|---|
/// | `Hard` | not ready | not ready | not ready | ready |
/// | `Shared` | not ready | not ready | ready, with a warning | ready |
/// | `Soft` | ready, with a warning | ready, with a warning | ready, with a warning | ready |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Impact {
    /// Without it this process can serve nothing, while others may: a volume, a warm cache, a local agent.
    Hard,
    /// Something that all replicas depend on: the database, another service. A replica that never reached it gets no requests,
    /// so that one with a wrong password is not rolled out; when it fails later it fails for all, and to take all of them out
    /// would turn a part of an outage into the whole.
    Shared,
    /// What is better with it, and works without.
    Soft,
}

/// What a check is for: a part of what [`Health::report`](super::Health::report) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckKind {
    /// Whether this process can still do anything.
    Liveness,
    /// Whether it has begun. It passes once.
    Startup,
    /// Whether it can serve requests.
    Readiness(Impact),
}

/// The answers to all questions at one moment. See [`Health::status`](super::Health::status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthStatus {
    /// Somebody said that it is about to stop: see [`Health::drain`](super::Health::drain).
    pub draining: bool,
    /// No liveness check fails.
    pub live: bool,
    /// It has started, may serve requests, and is not draining.
    pub ready: bool,
    /// Every startup check has passed.
    pub started: bool,
}

/// Everything that is known, for a console or a page of your own. See [`Health::report`](super::Health::report).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HealthReport {
    /// The answers.
    pub status: HealthStatus,
    /// [`Pass`](HealthState::Pass) if it is ready; [`Warn`](HealthState::Warn) if it is ready although a check does not pass;
    /// else [`Fail`](HealthState::Fail).
    pub state: HealthState,
    /// Every check, in the order in which they were added: liveness, then the others.
    pub checks: Vec<CheckReport>,
}

/// What is known of one check: a part of what [`Health::report`](super::Health::report) tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// Its name.
    pub name: Arc<str>,
    /// What it is for.
    pub kind: CheckKind,
    /// What counts, thresholds and age considered.
    pub state: HealthState,
    /// The time since its last result; of liveness, since it was last asked in passing.
    pub age: Option<Duration>,
    /// Its last result is older than its time to live, and therefore counts as failed.
    pub is_stale: bool,
    /// What it said last.
    pub output: Option<Arc<str>>,
}
