use std::fmt;

/// A rule of the `Service` contract that [`Strict`](super::Strict) saw broken.
///
/// Its `Display` is the message of the panic: the rule, then how to mend the layer.
///
/// ```
/// use stonework::testing::Breach;
///
/// let message = Breach::CalledClone.to_string();
/// assert!(message.contains("a clone is never ready"));
/// assert!(message.contains("std::mem::replace"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breach {
    /// `call` on a fresh clone that was never asked for readiness, even if the original was ready.
    CalledClone,
    /// `call` after `poll_ready` failed.
    CalledFailed,
    /// `call` although the last `poll_ready` answered `Pending`.
    CalledPending,
    /// A second `call` on one readiness.
    CalledTwice,
    /// `call` on a value that was never asked for readiness.
    CalledUnasked,
    /// The response future was polled after it had answered.
    PolledAnswered,
    /// `poll_ready` after `poll_ready` failed.
    PolledFailed,
    /// The service inside `Strict` answered `Pending` after it had answered `Ready(Ok)`, with no call between.
    ReadyWithdrawn,
}

impl Breach {
    const fn rule_and_cure(self) -> (&'static str, &'static str) {
        match self {
            Self::CalledClone => (
                "`call` on a clone that was never made ready: a clone is never ready, whatever its original was",
                "call the value that was made ready: put a clone in its place with `std::mem::replace` \
                 and call what comes out",
            ),
            Self::CalledFailed => (
                "`call` after `poll_ready` returned an error",
                "a service whose readiness failed is finished: return its error and drop it, or go on with a clone",
            ),
            Self::CalledPending => (
                "`call` although `poll_ready` returned `Pending`",
                "return `Pending`, and call only after `Ready(Ok)`",
            ),
            Self::CalledTwice => (
                "a second `call` on one readiness",
                "every call spends the readiness: drive `poll_ready` to `Ready(Ok)` before each further attempt",
            ),
            Self::CalledUnasked => (
                "`call` on a value that was never asked for readiness",
                "drive `poll_ready` of this very value to `Ready(Ok)` first, in `poll_ready` or in the future",
            ),
            Self::PolledAnswered => (
                "a response future was polled after it had answered",
                "forget the future, or move to another state, once it is ready",
            ),
            Self::PolledFailed => (
                "`poll_ready` after `poll_ready` returned an error",
                "a service whose readiness failed is finished: return its error and drop it, or go on with a clone",
            ),
            Self::ReadyWithdrawn => (
                "the service inside `Strict` went from `Ready(Ok)` back to `Pending` with no call between",
                "mend the inner service: until it is called, `poll_ready` may only repeat `Ready(Ok)` or fail",
            ),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, cure) = self.rule_and_cure();
        write!(f, "Service contract broken: {rule}. To mend it: {cure}.")
    }
}
