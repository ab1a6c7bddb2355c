//! The call scope: what the layers of one task tell each other during one `call` or one `poll`.
//!
//! It lives in a thread-local for exactly that long, so a deadline costs about a nanosecond to pass on, allocates
//! nothing, and cannot leak into another task: whoever enters it leaves it before returning, also by a panic.

use std::cell::Cell;
use std::task::{Context, RawWakerVTable};

use tokio::time::Instant;

/// Identifies the waker of a poll without cloning it. Only meaningful while that poll is on the stack, which is as
/// long as a scope lives; never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct WakerId(*const (), *const RawWakerVTable);

impl WakerId {
    pub(crate) fn of(cx: &Context<'_>) -> Self {
        Self(cx.waker().data(), cx.waker().vtable())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// The latest instant at which the call in progress is of use to anybody.
    pub(crate) deadline: Option<Instant>,
    /// The same without the limits on attempts, for what goes on after them: a response body.
    pub(crate) whole: Option<Instant>,
    /// The clock, as read by the outermost layer whose `call` is on the stack.
    pub(crate) called_at: Option<Instant>,
    /// The waker of the poll in which some limit owns a timer: see [`Alarm`](super::alarm::Alarm).
    pub(crate) owner: Option<WakerId>,
    /// An instant that the owner's timer is known to have reached.
    pub(crate) reached: Option<Instant>,
    /// The earliest instant at which anything inside asked to be polled again.
    pub(crate) wanted: Option<Instant>,
}

impl Scope {
    const NONE: Self =
        Self { deadline: None, whole: None, called_at: None, owner: None, reached: None, wanted: None };
}

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope::NONE) };
}

#[inline]
pub(crate) fn current() -> Scope {
    SCOPE.get()
}

/// The deadline in force, and nothing else of it.
#[inline]
pub(crate) fn deadline() -> Option<Instant> {
    SCOPE.with(|scope| scope.get().deadline)
}

/// The deadline of what outlives the attempt, and nothing else of the scope.
#[inline]
pub(crate) fn whole() -> Option<Instant> {
    SCOPE.with(|scope| scope.get().whole)
}

/// A scope in force, until this is dropped, also by a panic. It never outlives the function that entered it.
///
/// Not a function around a closure: what a call returns is large, and would be moved once more on its way out.
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct Entered {
    outer: Scope,
}

/// Put `scope` in force.
#[inline]
pub(crate) fn enter(scope: Scope) -> Entered {
    Entered { outer: SCOPE.replace(scope) }
}

impl Entered {
    /// End it, and say what became of it.
    #[inline]
    pub(crate) fn leave(self) -> Scope {
        SCOPE.get()
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        SCOPE.set(self.outer);
    }
}

/// Enter a `call`, with `deadline` if that is earlier than the one in force. Where the clock was just read, the layers
/// below need not read it again.
#[inline]
pub(crate) fn call(now: Option<Instant>, deadline: Option<Instant>) -> Entered {
    let outer = current();
    let whole = earlier(outer.whole, deadline);
    let deadline = earlier(outer.deadline, deadline);
    enter(Scope { deadline, whole, called_at: now, ..outer })
}

/// Enter the `call` of an attempt, with `deadline` if that is earlier than the one in force.
#[inline]
pub(crate) fn attempt(now: Instant, deadline: Option<Instant>) -> Entered {
    let outer = current();
    let deadline = earlier(outer.deadline, deadline);
    enter(Scope { deadline, called_at: Some(now), ..outer })
}

/// In a poll that an attempt's limit has entered: what outlives the attempt has this deadline.
#[inline]
pub(crate) fn outlive_attempt(whole: Option<Instant>) {
    SCOPE.set(Scope { whole, ..current() });
}

/// Poll something under exactly this deadline, passing on to the owner of the timer what it asks for.
pub(crate) fn poll<R>(deadline: Option<Instant>, poll: impl FnOnce() -> R) -> R {
    poll_attempt(deadline, deadline, poll)
}

/// The same for a part of an attempt, where what outlives that has another deadline.
fn poll_attempt<R>(deadline: Option<Instant>, whole: Option<Instant>, poll: impl FnOnce() -> R) -> R {
    let entered = enter(Scope { deadline, whole, ..current() });
    let result = poll();
    if let Some(at) = entered.leave().wanted {
        want(at);
    }
    result
}

/// Whether the deadline in scope is known to have passed. It is known as soon as the timer of an owner has fired.
#[inline]
pub(crate) fn expired() -> bool {
    current().deadline.is_some_and(has_reached)
}

/// Whether the timer of an owner has fired at this instant or later.
pub(crate) fn has_reached(at: Instant) -> bool {
    current().reached >= Some(at)
}

/// The clock at the edge of a `call`: the reading of an outer layer whose `call` is still on the stack, or a new one.
///
/// A `poll` never passes its reading on to a `call`: user code may have run for long in between, and an old reading
/// would cut a limit short.
#[inline]
pub(crate) fn now() -> Instant {
    current().called_at.unwrap_or_else(Instant::now)
}

thread_local! {
    static HASTY: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A deadline that somebody named whom nobody knows, and so near that it says nothing of whoever is called: until this is dropped, in a `call` or
/// a `poll`.
#[must_use = "it is forgotten when this is dropped"]
pub(crate) struct Hasty(Option<Instant>);

/// This deadline is such a one.
pub(crate) fn hasty(at: Instant) -> Hasty {
    Hasty(HASTY.replace(Some(at)))
}

impl Drop for Hasty {
    fn drop(&mut self) {
        HASTY.set(self.0);
    }
}

/// The deadline in force, if a call that has not ended by then took too long, and its caller did not only have too little time.
#[inline]
pub(crate) fn fair_deadline() -> Option<Instant> {
    deadline().filter(|at| !is_hasty(Some(*at)))
}

/// Whether the deadline in force has passed, and is none to blame anybody for.
#[cold]
pub(crate) fn was_hasty() -> bool {
    deadline().filter(|at| is_hasty(Some(*at))).is_some_and(|at| has_reached(at) || at <= Instant::now())
}

/// Whether this one is such a deadline.
#[inline]
pub(crate) fn is_hasty(at: Option<Instant>) -> bool {
    at.is_some() && at == HASTY.get()
}

/// The deadlines that work is under which goes on elsewhere: in another task, or when a body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Along {
    deadline: Option<Instant>,
    whole: Option<Instant>,
    hasty: Option<Instant>,
}

impl Along {
    /// Those in force.
    pub(crate) fn here() -> Self {
        let Scope { deadline, whole, .. } = current();
        Self { deadline, whole, hasty: HASTY.get() }
    }

    /// This one, for what goes on after the attempt.
    pub(crate) fn until(whole: Option<Instant>, hasty: bool) -> Self {
        Self { deadline: whole, whole, hasty: whole.filter(|_| hasty) }
    }

    /// Poll it under these, or under those in force where they are earlier.
    pub(crate) fn poll<R>(self, poll: impl FnOnce() -> R) -> R {
        let outside = current();
        let deadline = earlier(outside.deadline, self.deadline);
        let _haste = self.hasty.filter(|at| deadline == Some(*at)).map(hasty);
        poll_attempt(deadline, earlier(outside.whole, self.whole), poll)
    }
}

thread_local! {
    static ENDED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// To be called before a poll whose end one wants to know the [time](ended_at) of.
#[inline]
pub(crate) fn forget_end() {
    ENDED_AT.set(None);
}

/// The clock was read, since work has just ended.
#[inline]
pub(crate) fn note_end(now: Instant) {
    ENDED_AT.set(Some(now));
}

/// When the work ended that was just polled, if a layer inside has read the clock for that. What is between the two has not waited,
/// since it is the same poll; so the reading is as good as another.
#[inline]
pub(crate) fn ended_at() -> Option<Instant> {
    ENDED_AT.get()
}

/// Ask the owner of the timer to be polled at `at` or before.
pub(crate) fn want(at: Instant) {
    let mut scope = SCOPE.get();
    scope.wanted = earlier(scope.wanted, Some(at));
    SCOPE.set(scope);
}

#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_scope_ends_with_the_work_also_by_a_panic() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let entered = call(Some(now), Some(soon));
        assert_eq!(current().deadline, Some(soon));
        drop(entered);
        assert!(current().deadline.is_none());

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _entered = call(Some(now), Some(soon));
            panic!("on purpose")
        }));
        assert!(panicked.is_err());
        assert!(current().deadline.is_none() && current().called_at.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_read_for_a_call_is_that_of_the_calls_within_and_of_nothing_else() {
        let read = Instant::now() + Duration::from_secs(1);
        let outer = call(Some(read), None);
        assert_eq!(now(), read);
        let inner = call(None, None);
        assert_eq!(now(), Instant::now(), "a poll has no reading to pass on");
        drop((inner, outer));
        assert_eq!(now(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_can_only_shorten_the_deadline() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let outer = call(Some(now), Some(soon));
        for inner in [Some(late), None] {
            let _inner = call(Some(now), inner);
            assert_eq!(current().deadline, Some(soon));
        }
        drop(outer);
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlives_an_attempt_has_the_time_of_the_whole_call() {
        let read = Instant::now() + Duration::from_secs(1);
        let (soon, late) = (read + Duration::from_secs(1), read + Duration::from_secs(2));
        let _call = call(None, Some(late));
        let attempt = attempt(read, Some(soon));
        assert_eq!((deadline(), whole(), now()), (Some(soon), Some(late), read));
        outlive_attempt(Some(soon));
        assert_eq!(whole(), Some(soon));
        drop(attempt);
        assert_eq!((deadline(), whole()), (Some(late), Some(late)));
        assert_eq!(poll(Some(soon), || (deadline(), whole())), (Some(soon), Some(soon)));
        assert_eq!(poll(None, || (deadline(), whole())), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hasty_deadline_is_no_fair_one_and_one_before_it_is() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_millis(1), now + Duration::from_millis(2));
        let _call = call(Some(now), Some(late));
        assert_eq!((fair_deadline(), was_hasty()), (Some(late), false));
        let hasty = hasty(late);
        assert_eq!((fair_deadline(), was_hasty()), (None, false), "it is to come");
        let attempt = attempt(now, Some(soon));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!((fair_deadline(), was_hasty()), (Some(soon), false), "another one was before it");
        drop(attempt);
        assert_eq!((fair_deadline(), was_hasty()), (None, true));
        drop(hasty);
        assert_eq!((fair_deadline(), was_hasty()), (Some(late), false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_work_is_known_until_the_next_is_polled() {
        let now = Instant::now();
        forget_end();
        assert_eq!(ended_at(), None);
        note_end(now);
        assert_eq!(ended_at(), Some(now));
        forget_end();
        assert_eq!(ended_at(), None);
    }
}
