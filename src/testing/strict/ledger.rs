use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::Breach;

/// What all clones of one [`Strict`](super::Strict) have done so far. Cloning it gives another view of the same books.
///
/// ```
/// use stonework::testing::{Scripted, Step, Strict};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = Strict::new(Scripted::<&str, &str>::script(|_, _| Step::Answer("pong")));
/// let ledger = service.ledger();
/// assert_eq!(service.oneshot("ping").await.expect("answered"), "pong");
/// assert_eq!((ledger.calls(), ledger.answered(), ledger.peak_in_flight()), (1, 1, 1));
/// ledger.assert_settled();
/// # }
/// ```
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    polls: u64,
    calls: u64,
    clones: u64,
    answered: u64,
    dropped: u64,
    reserved: usize,
    in_flight: usize,
    peak: usize,
    breaches: Vec<Breach>,

    values: u64,
    capacity: Option<usize>,
    held: bool,
    pending_first: u32,
    fail_at: Option<u64>,
    /// Values that wait for a place, first come first. An entry stays until its value takes the place or is dropped.
    queue: VecDeque<(u64, Waker)>,
    /// Values that wait for `release`.
    held_back: Vec<(u64, Waker)>,
}

impl Books {
    fn has_place(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.reserved + self.in_flight < capacity)
    }

    fn next_in_queue(&self) -> Option<Waker> {
        let (_, waker) = self.queue.front()?;
        self.has_place().then(|| waker.clone())
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Books::default())))
    }

    /// Reservations held at this moment: values whose `poll_ready` answered `Ready(Ok)` and that were neither called
    /// nor dropped since.
    #[must_use]
    pub fn reservations_out(&self) -> usize {
        self.books().reserved
    }

    /// Calls whose future is alive and has not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.books().in_flight
    }

    /// The largest number of calls in flight at one moment.
    #[must_use]
    pub fn peak_in_flight(&self) -> usize {
        self.books().peak
    }

    /// Values that were told `Pending` by [`capacity`](super::Strict::capacity) or [`hold`](Self::hold) and still wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let books = self.books();
        books.queue.len() + books.held_back.len()
    }

    /// How often `poll_ready` was asked, of all values together.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.books().polls
    }

    /// How often `call` was called.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.books().calls
    }

    /// How often the service was cloned.
    #[must_use]
    pub fn clones(&self) -> u64 {
        self.books().clones
    }

    /// Calls whose future answered, with a response or with an error.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.books().answered
    }

    /// Calls whose future was dropped before it answered.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.books().dropped
    }

    /// Every breach so far, in order. Each has also panicked; a panic in a spawned task is easily lost.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        self.books().breaches.clone()
    }

    /// From now on, no value becomes ready until [`release`](Self::release). Values that are ready stay so.
    pub fn hold(&self) {
        self.books().held = true;
    }

    /// Lets values become ready again, and wakes those that were held back.
    ///
    /// Each value keeps the waker of its last `poll_ready` only, as the contract allows: a layer that moved to another
    /// task without polling again is not woken.
    pub fn release(&self) {
        let mut books = self.books();
        books.held = false;
        let wakers = std::mem::take(&mut books.held_back);
        drop(books);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Asserts that everything came home: no reservation is held, no call is in flight, nothing waits for a place, and
    /// no rule was broken.
    ///
    /// A layer that is alive and was made ready holds its reservation rightly. Drop the stack under test first. One that
    /// answered a request itself has no use for it, and keeps it from others: ask [`reservations_out`](Self::reservations_out) while it lives.
    ///
    /// # Panics
    ///
    /// If anything is still out, or if a breach was seen, even one whose panic was swallowed.
    #[track_caller]
    pub fn assert_settled(&self) {
        let breaches = self.breaches();
        assert!(breaches.is_empty(), "{} (seen {} in all)", breaches[0], breaches.len());
        let (reserved, in_flight, waiting) = (self.reservations_out(), self.in_flight(), self.waiting());
        assert!(
            (reserved, in_flight, waiting) == (0, 0, 0),
            "not settled: {reserved} reservations held (made ready, then neither called nor dropped), \
             {in_flight} calls in flight, {waiting} values waiting to become ready"
        );
    }

    pub(super) fn enroll(&self) -> u64 {
        let mut books = self.books();
        books.values += 1;
        books.values
    }

    pub(super) fn enroll_clone(&self) -> u64 {
        self.books().clones += 1;
        self.enroll()
    }

    pub(super) fn set_capacity(&self, most: usize) {
        self.books().capacity = Some(most);
    }

    pub(super) fn set_pending_first(&self, times: u32) {
        self.books().pending_first = times;
    }

    pub(super) fn set_fail_at(&self, poll: u64) {
        self.books().fail_at = Some(poll);
    }

    /// Counts a `poll_ready`; true if this is the one that was chosen to fail.
    pub(super) fn polled(&self) -> bool {
        let mut books = self.books();
        books.polls += 1;
        books.fail_at == Some(books.polls)
    }

    pub(super) fn pending_first(&self) -> u32 {
        self.books().pending_first
    }

    /// False if the value must wait for `release`; its waker is kept.
    pub(super) fn pass_hold(&self, value: u64, waker: &Waker) -> bool {
        let mut books = self.books();
        books.held_back.retain(|(waiting, _)| *waiting != value);
        if books.held {
            books.held_back.push((value, waker.clone()));
        }
        !books.held
    }

    /// Takes a place, or keeps the waker at the value's own position in the queue.
    pub(super) fn reserve(&self, value: u64, waker: &Waker) -> bool {
        let mut books = self.books();
        let position = books.queue.iter().position(|(waiting, _)| *waiting == value);
        // A newcomer may not overtake: it waits even if there is a place, as long as somebody else was first.
        let first = position == Some(0) || books.queue.is_empty();
        if first && books.has_place() {
            books.queue.pop_front();
            books.reserved += 1;
            Self::wake_next(books);
            return true;
        }
        match position {
            Some(at) => books.queue[at].1.clone_from(waker),
            None => books.queue.push_back((value, waker.clone())),
        }
        false
    }

    /// Turns the reservation of one value into a call.
    pub(super) fn started(&self) {
        let mut books = self.books();
        books.reserved -= 1;
        books.calls += 1;
        books.in_flight += 1;
        books.peak = books.peak.max(books.in_flight);
    }

    pub(super) fn ended(&self, answered: bool) {
        let mut books = self.books();
        books.in_flight -= 1;
        *(if answered { &mut books.answered } else { &mut books.dropped }) += 1;
        Self::wake_next(books);
    }

    pub(super) fn give_back(&self) {
        let mut books = self.books();
        books.reserved -= 1;
        Self::wake_next(books);
    }

    /// Takes a value that is going away out of every queue.
    pub(super) fn forget(&self, value: u64) {
        let mut books = self.books();
        books.held_back.retain(|(waiting, _)| *waiting != value);
        let queued = books.queue.len();
        books.queue.retain(|(waiting, _)| *waiting != value);
        // It may have been woken for a place and have left without taking it: the next one has to hear of it.
        if books.queue.len() < queued {
            Self::wake_next(books);
        }
    }

    /// Panics where the caller stands, so that a test shows the line of the layer.
    #[track_caller]
    pub(super) fn broken(&self, breach: Breach) -> ! {
        self.books().breaches.push(breach);
        panic!("{breach}");
    }

    /// Wakes outside the lock: a waker may run code that comes back here.
    fn wake_next(books: MutexGuard<'_, Books>) {
        let next = books.next_in_queue();
        drop(books);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// A panic of the code under test must not hide the books from the assertions after it.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = self.books();
        f.debug_struct("Ledger")
            .field("reservations_out", &books.reserved)
            .field("in_flight", &books.in_flight)
            .field("peak_in_flight", &books.peak)
            .field("polls", &books.polls)
            .field("calls", &books.calls)
            .field("clones", &books.clones)
            .field("answered", &books.answered)
            .field("dropped", &books.dropped)
            .field("breaches", &books.breaches)
            .finish_non_exhaustive()
    }
}
