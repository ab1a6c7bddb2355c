use std::time::Duration;

/// What happens to a call for which there is no room.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{Admission, ConcurrencyLimitLayer};
///
/// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// let layer = ConcurrencyLimitLayer::new(100)?.admission(Admission::WaitUpTo(Duration::from_millis(250)));
/// # let _ = layer;
/// # Ok(()) }
/// ```
///
/// Whether there is room is tried in the call itself, and never concluded from something that is not ready at the moment: a task that
/// has used up its share of the scheduler's time is not refused for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It is refused at once. The default.
    #[default]
    Reject,
    /// It waits in the order of arrival, so long at most and until the [deadline](crate::base::Deadline) in scope; then, or at once if
    /// too many wait already or it would take longer, it is refused. A limiter says how many may wait.
    WaitUpTo(Duration),
    /// It waits in a queue that never gets old, so that a service which was overwhelmed is well again as soon as it can be, whatever its
    /// clients do. As long as the queue is empty now and then, calls wait in the order of arrival, for a tenth of a second or so. When it was
    /// not for as long as that, the last comes first, since its caller is still there, and nobody waits longer than a few milliseconds. A
    /// call whose [deadline](crate::base::Deadline) leaves it less time than calls take does not wait, nor begin after that; where there is
    /// room it comes in, since what calls take is learnt from those that do. What is
    /// [less important](crate::limit::ConcurrencyLimitLayer::priority) comes last. Those times, 5 and 100 ms, are longer where calls leave
    /// less often: eight turns and 160, up to 100 ms and 2 s. As many may wait as can be served in the longer time, unless the limiter
    /// [says](crate::limit::ConcurrencySettings::queue) how many.
    ///
    /// It is for limits on how much is in flight; a limit on rates refuses at once.
    Queue,
    /// The service is not ready until there is room, and keeps it for the next call. **A caller who waits for readiness without a limit
    /// waits without a limit**, and axum and hyper wait for it inside of the call: on a server this is a queue without bounds. It is for
    /// clients that choose between services by their readiness. What is kept of a rate lapses if no call comes in the time in which
    /// another is earned; that call waits for its turn.
    Backpressure,
}
