//! Retries for anything that is not an HTTP request.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::base::nesting::{self, Nesting, Within};
use crate::base::{Backoff, Budget, Deadline, Rng, Schedule, Tried};

/// Run `op` until it succeeds, or the policy says stop; then its last error is returned.
///
/// Every error is retried unless the policy has a [`when`](Policy::when): with an operation that has side effects, say
/// which errors prove that nothing was done. Between attempts it sleeps; no sleep begins that would end after the
/// [`Deadline`] in scope. Retries do not multiply: what a retry inside of `op` gave up on is not begun again, and what
/// is itself part of another's second attempt is run once.
/// *Not across hops:* an operation is no request, so nothing here says to the next hop which attempt it is, and what a
/// response says of coming back is for [`when`](Policy::when) to read. For requests there is the layer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use stonework::retry::{Policy, retry};
///
/// let mut tries = 0;
/// let result: Result<u32, &str> = retry(
///     || {
///         tries += 1;
///         let tries = tries;
///         async move { if tries < 3 { Err("not yet") } else { Ok(tries) } }
///     },
///     Policy::new(),
/// )
/// .await;
/// assert_eq!(result, Ok(3));
/// # }
/// ```
///
/// *Panics:* when it has to sleep outside a Tokio runtime with timers. *Cancellation:* dropping the future drops the
/// attempt or the sleep.
pub async fn retry<T, E, Op, F, W>(mut op: Op, policy: Policy<W>) -> Result<T, E>
where
    Op: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
    W: When<E>,
{
    let Policy { attempts, schedule, budget, rng, mut when } = policy;
    let outside = nesting::current().attempt;
    // What somebody outside repeats is counted there: repetitions are to earn none.
    if let (Some(budget), 1) = (&budget, outside) {
        budget.deposit();
    }
    let mut delays = None;
    let (mut made, mut tried) = (1, Tried::default());
    loop {
        let attempt = outside.max(made);
        let entered = nesting::enter(Nesting { tried: Some(tried), ..Nesting::or_part_of(attempt) });
        let work = op();
        let inside = entered.leave();
        let (called_in_vain, called_with) = (inside.spent, inside.tried.unwrap_or_default());
        let (result, polled_in_vain, polled_with) = Within::new(work, attempt, called_with).await;
        tried = polled_with;
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if called_in_vain || polled_in_vain || outside > 1 {
            // Another retry, inside or outside, has done or will do the same.
            return Err(gave_up(error, called_in_vain || polled_in_vain));
        }
        if made >= attempts || !when.retries(&error) {
            return Err(gave_up(error, made > 1));
        }
        let delays = delays.get_or_insert_with(|| schedule.start());
        let Some(pause) = delays.next(&rng) else { return Err(gave_up(error, made > 1)) };
        let now = Instant::now();
        if Deadline::current().is_some_and(|deadline| pause >= deadline.remaining(now)) {
            return Err(gave_up(error, made > 1));
        }
        let charge = match &budget {
            Some(budget) => match budget.try_withdraw(now, 1) {
                Some(charge) => Some(charge),
                None => return Err(gave_up(error, true)),
            },
            None => None,
        };
        drop(error);
        if pause > Duration::ZERO {
            sleep(pause).await;
        }
        if let Some(charge) = charge {
            charge.spend();
        }
        made += 1;
    }
}

/// The end. If a retry outside would only repeat what was done, or what there is no budget for, it is told.
fn gave_up<E>(error: E, is_spent: bool) -> E {
    if is_spent {
        nesting::tell_spent();
    }
    error
}

/// How [`retry`] goes about it: three attempts, exponential backoff with full jitter, every error, no budget.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::Backoff;
/// use stonework::retry::Policy;
///
/// let policy = Policy::new()
///     .attempts(5)
///     .schedule(Backoff::exponential(Duration::from_millis(20), Duration::from_secs(1))?)
///     .when(|error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock);
/// # let _ = policy;
/// # Ok::<(), stonework::base::InvalidBackoff>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a policy does nothing until it is given to `retry`"]
pub struct Policy<W = Always> {
    attempts: u32,
    schedule: Arc<dyn Schedule>,
    budget: Option<Budget>,
    rng: Rng,
    when: W,
}

impl Policy {
    /// The defaults.
    pub fn new() -> Self {
        let schedule = Arc::new(Backoff::default());
        Self { attempts: 3, schedule, budget: None, rng: Rng::default(), when: Always }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Policy<W> {
    /// How many attempts to make, the first included. Default: 3.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: the first attempt cannot be left out.
    pub fn attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0, "attempts count the first one, so there is at least one");
        self.attempts = attempts;
        self
    }

    /// How the pauses grow. Default: [`Backoff`].
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Arc::new(schedule);
        self
    }

    /// Share this budget. Each operation adds to it, unless it is part of another's second attempt. Default: none, since an
    /// operation says nothing about whom it burdens.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Retry only the errors for which this says yes. Default: all.
    pub fn when<E, F: FnMut(&E) -> bool>(self, when: F) -> Policy<F> {
        let Self { attempts, schedule, budget, rng, when: _ } = self;
        Policy { attempts, schedule, budget, rng, when }
    }
}

/// Says which errors [`retry`] repeats: any closure `FnMut(&E) -> bool`, or [`Always`]. A [`Policy`] has one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which errors of type `{E}` are retried",
    note = "a closure does: `|error: &_| true`"
)]
pub trait When<E> {
    /// Whether to try again after this error.
    fn retries(&mut self, error: &E) -> bool;
}

impl<E, F: FnMut(&E) -> bool> When<E> for F {
    fn retries(&mut self, error: &E) -> bool {
        self(error)
    }
}

/// Retry every error: what a [`Policy`] does unless it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct Always;

impl<E> When<E> for Always {
    fn retries(&mut self, _: &E) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::base::Delays;

    /// Repeat at once.
    #[derive(Debug)]
    struct AtOnce;

    impl Schedule for AtOnce {
        fn start(&self) -> Box<dyn Delays> {
            Box::new(Self)
        }
    }

    impl Delays for AtOnce {
        fn next(&mut self, _: &Rng) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }

    #[test]
    fn where_it_never_sleeps_it_needs_no_runtime() {
        let policy = Policy::new().schedule(AtOnce);
        let failed = pin!(retry(|| ready(Err::<(), _>("no")), policy));
        assert_eq!(failed.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err("no")));
    }
}
