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
    /// The service is not ready until there is room, and keeps it for the next call. **A caller who waits for readiness without a limit
    /// waits without a limit**, and axum and hyper wait for it inside of the call: on a server this is a queue without bounds. It is for
    /// clients that choose between services by their readiness. What is kept of a rate lapses if no call comes in the time in which
    /// another is earned; that call waits for its turn.
    Backpressure,
}
