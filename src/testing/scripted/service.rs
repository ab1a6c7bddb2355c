use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::seen::Running;
use super::{ScriptedFuture, Seen, Step};
use crate::base::BoxError;

/// A service that does what a script says, and records the requests it saw. Clones share script and record.
///
/// The script is a list of [steps](Self::steps), or a [closure](Self::script) that decides by the number of the call
/// and the request. All pauses are tokio's, so a paused clock governs them; no thread ever sleeps.
///
/// It takes any call, ready or not. Put [`Strict`](crate::testing::Strict) around it to have that checked.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use stonework::testing::{Scripted, Step};
/// use tower::{Service, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let mut service: Scripted<String, u16> = Scripted::steps([
///     Step::fail("connection reset"),
///     Step::AnswerAfter(Duration::from_secs(3), 503),
///     Step::Answer(200),
/// ]);
/// let seen = service.seen();
///
/// let start = tokio::time::Instant::now();
/// assert!(service.ready().await.unwrap().call("a".to_owned()).await.is_err());
/// assert_eq!(service.call("b".to_owned()).await.unwrap(), 503);
/// assert_eq!(service.call("c".to_owned()).await.unwrap(), 200);
/// assert_eq!(start.elapsed(), Duration::from_secs(3)); // of the paused clock
/// assert_eq!(seen.requests(), ["a", "b", "c"]);
/// # }
/// ```
pub struct Scripted<Req, Res, E = BoxError> {
    shared: Arc<Shared<Req, Res, E>>,
    seen: Seen<Req>,
    /// The stall that this value waits for. Never cloned: a timer wakes one task.
    stall: Option<(Instant, Pin<Box<Sleep>>)>,
    /// It was said to be ready, which is not taken back whatever others call. Nor cloned.
    is_ready: bool,
}

type Play<Req, Res, E> = Box<dyn FnMut(usize, &Req) -> Step<Res, E> + Send>;

struct Shared<Req, Res, E> {
    play: Mutex<Play<Req, Res, E>>,
    readiness: Mutex<Vec<Readiness<E>>>,
}

/// What happens in `poll_ready` while `call` is the next call to come.
struct Readiness<E> {
    call: usize,
    what: Obstacle<E>,
}

enum Obstacle<E> {
    /// Counts from the first `poll_ready` that meets it.
    Stall { pause: Duration, until: Option<Instant> },
    /// Happens once.
    Failure(Option<E>),
}

impl<Req, Res, E> Scripted<Req, Res, E> {
    /// One step for each call, in order.
    ///
    /// # Panics
    ///
    /// A call beyond the last step panics: a call that nobody planned is what such a test looks for. For a step that
    /// repeats, use [`script`](Self::script).
    #[must_use]
    pub fn steps(steps: impl IntoIterator<Item = Step<Res, E>>) -> Self
    where
        Res: Send + 'static,
        E: Send + 'static,
    {
        let mut steps: VecDeque<_> = steps.into_iter().collect();
        let planned = steps.len();
        Self::script(move |call, _| match steps.pop_front() {
            Some(step) => step,
            None => panic!("call {call} came, but the script has only {planned} steps"),
        })
    }

    /// Asks `script` at each call, with the number of the call (from 1, over all clones) and the request.
    ///
    /// The script is asked one call at a time. It may look at [`seen`](Self::seen), but must not use the service.
    #[must_use]
    pub fn script(script: impl FnMut(usize, &Req) -> Step<Res, E> + Send + 'static) -> Self {
        let shared = Shared { play: Mutex::new(Box::new(script)), readiness: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), seen: Seen::new(), stall: None, is_ready: false }
    }

    /// Keeps `poll_ready` pending for `pause` before call number `call` (from 1), counted from the first `poll_ready`
    /// after the call before it. Default: always ready.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::testing::{Scripted, Step};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let service = Scripted::<(), (), String>::script(|_, ()| Step::Answer(()))
    ///     .stall_ready(1, Duration::from_secs(5));
    /// let impatient = tokio::time::timeout(Duration::from_secs(4), service.oneshot(())).await;
    /// assert!(impatient.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn stall_ready(self, call: usize, pause: Duration) -> Self {
        self.obstacle(call, Obstacle::Stall { pause, until: None })
    }

    /// Fails `poll_ready` once with `error` before call number `call` (from 1). Default: readiness never fails.
    #[must_use]
    pub fn fail_ready(self, call: usize, error: E) -> Self {
        self.obstacle(call, Obstacle::Failure(Some(error)))
    }

    /// The record of what the service saw.
    #[must_use]
    pub fn seen(&self) -> Seen<Req> {
        self.seen.clone()
    }

    fn obstacle(self, call: usize, what: Obstacle<E>) -> Self {
        locked(&self.shared.readiness).push(Readiness { call, what });
        self
    }

    /// When the next call may come, or why it never will.
    fn readiness(&self) -> Result<Option<Instant>, E> {
        let next = self.seen.count() + 1;
        let mut obstacles = locked(&self.shared.readiness);
        let mut wait = None;
        for obstacle in obstacles.iter_mut().filter(|obstacle| obstacle.call == next) {
            match &mut obstacle.what {
                Obstacle::Stall { pause, until } => {
                    wait = wait.max(Some(*until.get_or_insert_with(|| far(*pause))));
                }
                Obstacle::Failure(error) => error.take().map_or(Ok(()), Err)?,
            }
        }
        Ok(wait)
    }
}

/// `pause` from now, or so far away that nobody waits for it.
fn far(pause: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + pause.min(YEARS)
}

/// A script that panicked is part of the test; the assertions after it must still see the rest.
fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Req, Res, E> Service<Req> for Scripted<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = ScriptedFuture<Req, Res, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        if self.is_ready {
            return Poll::Ready(Ok(()));
        }
        if let Some(until) = self.readiness()? {
            let (armed, sleep) =
                self.stall.get_or_insert_with(|| (until, Box::pin(tokio::time::sleep_until(until))));
            if *armed != until {
                *armed = until;
                sleep.as_mut().reset(until);
            }
            ready!(sleep.as_mut().poll(cx));
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.is_ready = false;
        let mut play = locked(&self.shared.play);
        // Numbered under the lock of the script, so that calls and numbers are in one order.
        let step = play(self.seen.count() + 1, &request);
        self.seen.began(request);
        drop(play);
        ScriptedFuture::new(step, Running::new(self.seen.clone()))
    }
}

impl<Req, Res, E> Clone for Scripted<Req, Res, E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen.clone(), stall: None, is_ready: false }
    }
}

impl<Req, Res, E> fmt::Debug for Scripted<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("calls", &self.seen.count()).finish_non_exhaustive()
    }
}
