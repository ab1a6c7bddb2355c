//! Work that goes on when nobody waits for it any more.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument;

use super::caught::{Caught, Panicked, message};
use super::context;
use super::deadline;
use super::error::Error;
use super::kind::{Delivery, Kind};
use super::sync::{Mutex, MutexGuard};
use super::waiters::Waiters;

/// How much there may be at once, unless it is said otherwise.
const MOST: usize = 1024;
/// When whoever was refused may try again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs work that has to come to its end, whether or not somebody waits for it: as tasks that are bounded in number, and that a server can
/// wait for. Clones are of the same one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::Error> {
/// use stonework::base::{Detach, Panicked};
///
/// let detach = Detach::new(10);
/// let answer = detach.spawn(async { 6 * 7 })?;
/// assert_eq!(answer.await?, 42);
///
/// drop(detach.spawn(async { println!("done, though nobody listens") })?);
/// let lost = detach.spawn(async { panic!("a bug") })?.await.unwrap_err();
/// assert!(lost.cause::<Panicked>().is_some());
///
/// detach.close();
/// detach.ended().await;
/// assert!(detach.spawn(async {}).unwrap_err().is_overload());
/// # Ok(()) }
/// ```
///
/// The work takes along the [deadline](super::Deadline) that is in scope where it is spawned, the [names](super::RequestId) of the request, and the span. It sees the deadline, and is not ended by
/// it. A panic inside is logged, with `tracing::error!`, also if nobody listens.
///
/// A server waits for it when it stops: see [`ServerBuilder::detach`](../server/struct.ServerBuilder.html#method.detach).
#[derive(Clone)]
pub struct Detach {
    shared: Arc<Shared>,
}

struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// The same by the age in which it began. An age ends when a server stops and others go on.
    ages: BTreeMap<u64, usize>,
    age: u64,
    /// How many servers there are that wait for it when they stop.
    servers: usize,
    /// The last of them has stopped, and nobody takes calls until there is another.
    stopped: bool,
    closed: bool,
    /// Those who wait until nothing runs, or nothing of an age.
    waiters: Waiters,
}

impl State {
    /// How much runs that began in this age or before.
    fn until(&self, age: u64) -> usize {
        self.ages.range(..=age).map(|(_, running)| running).sum()
    }
}

impl Detach {
    /// So much at once, at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { shared: Arc::new(Shared { most, state: Mutex::new(State::default()) }) }
    }

    /// Run `work` as a task. Nothing of it has run when this returns, and dropping what it returns leaves it running.
    ///
    /// # Errors
    ///
    /// An error with [`DetachFull`] at the end of its chain: there is as much as there may be, or it was [closed](Self::close). `work` is dropped.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn spawn<F>(&self, work: F) -> Result<Detached<F::Output>, Error>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Ok(self.reserve()?.spawn(work))
    }

    /// A place for work that is to be spawned later.
    pub(crate) fn reserve(&self) -> Result<Place, DetachFull> {
        let mut state = self.shared.state();
        if state.closed || state.stopped || state.running >= self.shared.most {
            return Err(DetachFull);
        }
        state.running += 1;
        let age = state.age;
        *state.ages.entry(age).or_default() += 1;
        drop(state);
        Ok(Place { shared: Arc::clone(&self.shared), age })
    }

    /// How much there is at this moment.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.state().running
    }

    /// Take no more. What runs goes on.
    pub fn close(&self) {
        self.shared.state().closed = true;
    }

    /// Waits until nothing runs. If it is not [closed](Self::close), something new may be running by then.
    ///
    /// *Cancellation:* may be dropped at any time.
    pub async fn ended(&self) {
        self.ended_until(u64::MAX).await;
    }

    /// The same of what began in this age or before.
    async fn ended_until(&self, age: u64) {
        let mut waiting = Waiting { shared: &self.shared, age, number: None };
        poll_fn(|cx| waiting.poll(cx)).await;
    }

    /// The share of a server, which waits for it when it stops.
    #[cfg(feature = "server")]
    pub(crate) fn share(&self) -> Share {
        let mut state = self.shared.state();
        state.servers += 1;
        state.stopped = false;
        drop(state);
        Share { of: self.clone(), stopped: OnceLock::new() }
    }
}

/// See [`Detach::share`]. Several servers can have one each.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct Share {
    of: Detach,
    /// The age that ended when the server stopped.
    stopped: OnceLock<u64>,
}

#[cfg(feature = "server")]
impl Share {
    /// The server takes no more calls: if it is the last, nobody does. May be said more than once.
    pub(crate) fn stop(&self) -> u64 {
        *self.stopped.get_or_init(|| {
            let mut state = self.of.shared.state();
            state.servers -= 1;
            state.stopped = state.servers == 0;
            state.age += 1;
            state.age - 1
        })
    }

    /// The server is gone. If it did not stop before, that closes nothing.
    pub(crate) fn leave(&self) {
        self.stopped.get_or_init(|| {
            self.of.shared.state().servers -= 1;
            0
        });
    }

    /// [Stops](Self::stop), and waits until nothing runs that began before: what comes from other servers may keep on coming.
    pub(crate) async fn ended(&self) {
        self.of.ended_until(self.stop()).await;
    }

    /// How much of that still runs.
    pub(crate) fn running(&self) -> usize {
        let until = self.stop();
        self.of.shared.state().until(until)
    }
}

#[cfg(feature = "server")]
impl Drop for Share {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much as 1024 at once.
impl Default for Detach {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl fmt::Debug for Detach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detach").field("running", &self.running()).field("most", &self.shared.most).finish()
    }
}

/// One of those who wait until nothing runs that began in an age or before.
struct Waiting<'a> {
    shared: &'a Shared,
    age: u64,
    number: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state();
        if state.until(self.age) == 0 {
            return Poll::Ready(());
        }
        let other = match self.number {
            Some(number) => match state.waiters.stay(number, cx.waker()) {
                (true, other) => other,
                // It was called, and something else runs.
                (false, _) => {
                    state.waiters.wait(number, cx.waker());
                    None
                }
            },
            None => {
                self.number = Some(state.waiters.join(cx.waker()));
                None
            }
        };
        drop(state);
        drop(other);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waker = self.number.and_then(|number| self.shared.state().waiters.leave(number));
        drop(waker);
    }
}

/// A place among what may run at once. It is free again when this is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    age: u64,
}

impl Place {
    /// Run `work` here.
    pub(crate) fn spawn<F>(self, work: F) -> Detached<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        spawn(async move {
            // Free when the work is gone, and not only when it has ended.
            let _place = self;
            work.await
        })
    }
}

/// Run `work`, which has a [`Place`] of its own. It must be called where the work belongs: its deadline, its names and its span are those that are in scope
/// there.
pub(crate) fn spawn<F>(work: F) -> Detached<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let work = async move {
        Caught(work).await.map_err(|panic| {
            tracing::error!(panic = message(&*panic), "detached work panicked");
            Panicked
        })
    };
    Detached { task: tokio::spawn(deadline::carry(context::carry(work)).in_current_span()) }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.running -= 1;
        let of_its_age = state.ages.get_mut(&self.age).map_or(0, |running| {
            *running -= 1;
            *running
        });
        let mut called: Vec<Waker> = Vec::new();
        if of_its_age == 0 {
            state.ages.remove(&self.age);
            called.extend(std::iter::from_fn(|| state.waiters.call()).map(|(_, waker)| waker));
        }
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

/// Waits for detached work. Dropping it leaves the work running. See [`Detach::spawn`].
#[derive(Debug)]
#[must_use = "it is not known whether the work has come to its end"]
pub struct Detached<T> {
    task: JoinHandle<Result<T, Panicked>>,
}

/// *Errors:* [`Panicked`] at the end of the chain.
impl<T> Future for Detached<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx).map(|ended| ended.unwrap_or(Err(Panicked)).map_err(Error::from))
    }
}

/// There is as much detached work as there may be, or no more is taken. It stands at the end of the chain of an [`Error`] of kind
/// [`Overload`](Kind::Overload). Example: [`Detach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is too much work that has to come to its end")]
#[non_exhaustive]
pub struct DetachFull;

/// Nothing of it has run.
impl From<DetachFull> for Error {
    fn from(full: DetachFull) -> Self {
        Self::new(Kind::Overload, full).with_delivery(Delivery::NotSent).with_retry_after(AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::base::{Deadline, NOBODY};

    #[tokio::test(start_paused = true)]
    async fn there_is_never_more_than_there_may_be_and_a_place_is_free_when_its_work_is_gone() {
        let detach = Detach::new(2);
        let (one, two) = (detach.spawn(async { 1 }).unwrap(), detach.spawn(pending::<()>()).unwrap());
        let full = detach.spawn(async {}).unwrap_err();
        assert!(full.is_overload() && full.retry_after().is_some() && full.cause::<DetachFull>().is_some());
        assert_eq!(one.await.unwrap(), 1);
        assert_eq!(detach.running(), 1);
        two.task.abort();
        assert!(two.await.is_err());
        assert_eq!(detach.running(), 0, "also if it was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_comes_to_its_end_and_is_waited_for() {
        let detach = Detach::new(1);
        detach.ended().await;
        let second = Duration::from_secs(1);
        drop(detach.spawn(tokio::time::sleep(second)).unwrap());
        let ended = detach.clone();
        let others = [0; 2].map(|_| {
            let detach = detach.clone();
            tokio::spawn(async move { detach.ended().await })
        });
        others[0].abort();
        let mut left = Box::pin(detach.ended());
        assert!(left.as_mut().poll(&mut Context::from_waker(NOBODY)).is_pending());
        drop(left);
        assert_eq!(detach.shared.state().waiters.len(), 0, "who waits no longer has no place");
        detach.close();
        let before = tokio::time::Instant::now();
        ended.ended().await;
        assert_eq!(before.elapsed(), second);
        let [gone, other] = others;
        assert!(gone.await.is_err() && other.await.is_ok());
        assert!(detach.spawn(async {}).is_err(), "it is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_goes_along_and_does_not_end_the_work() {
        let detach = Detach::new(1);
        let limit = Deadline::within(Duration::from_secs(1));
        let spawned = limit.bound(async {
            detach.spawn(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Deadline::current()
            })
        });
        let seen = spawned.await.unwrap().unwrap();
        assert_eq!(seen.await.unwrap(), Some(limit));
    }

    #[cfg(feature = "server")]
    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_waits_for_what_began_before_and_the_last_one_closes_it() {
        let (detach, second) = (Detach::new(9), Duration::from_secs(1));
        let (one, other, dropped) = (detach.share(), detach.share(), detach.share());
        drop(detach.spawn(tokio::time::sleep(second)).unwrap());
        assert_eq!(one.stop(), one.stop(), "it stops once");
        drop(detach.spawn(tokio::time::sleep(60 * second)).expect("others go on"));
        let before = tokio::time::Instant::now();
        assert_eq!((one.running(), detach.running()), (1, 2));
        one.ended().await;
        assert_eq!((before.elapsed(), one.running(), detach.running()), (second, 0, 1));
        drop((one, dropped));
        assert!(detach.spawn(async {}).is_ok(), "who was dropped closes nothing");
        assert_eq!(other.running(), 2);
        assert!(detach.spawn(async {}).is_err(), "nobody takes calls any more");
        other.ended().await;
        assert_eq!((before.elapsed(), detach.running()), (60 * second, 0));
        let next = detach.share();
        assert!(detach.spawn(async {}).is_ok(), "there is one that takes calls again");
        detach.close();
        drop((other, next, detach.share()));
        assert!(detach.spawn(async {}).is_err(), "what was closed stays so");
    }

    #[tokio::test]
    async fn a_panic_is_told_and_frees_the_place() {
        let detach = Detach::new(1);
        let lost = detach.spawn(async { panic!("on purpose") }).unwrap().await.unwrap_err();
        assert_eq!(lost.kind(), Kind::Other);
        assert_eq!(detach.running(), 0);
    }
}
