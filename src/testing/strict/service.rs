use std::any::{Any, type_name};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::future::Flight;
use super::{Breach, Ledger, StrictFuture};

/// Wraps a service and panics on any breach of the `Service` contract, saying which rule was broken and how to mend it.
///
/// Put it where the network would be, below the layer under test. The rules, each a [`Breach`]:
///
/// - `call` only after `poll_ready` answered `Ready(Ok)` *on this very value*; a clone is never ready;
/// - one `call` for each readiness;
/// - nothing more after `poll_ready` failed, neither `poll_ready` nor `call`;
/// - no poll of a response future that has answered;
/// - and for the service inside: readiness, once given, is not withdrawn.
///
/// It also keeps books. A value that is ready holds a *reservation* until it is called or dropped, and clones never
/// carry it, so a layer that forgets a ready service shows in [`Ledger::reservations_out`]. With a
/// [`capacity`](Self::capacity) the forgotten reservation blocks everybody else, as it would in production.
///
/// # Cancellation
///
/// Dropping a value returns its reservation and its place in the queue; dropping a response future ends the call.
///
/// # Example
///
/// A layer that makes one value ready and calls another. Over a service that is always ready nobody would notice.
///
/// ```should_panic
/// use std::task::{Context, Poll};
/// use stonework::testing::{Scripted, Step, Strict};
/// use tower::{Service, ServiceExt};
///
/// struct Careless<S>(S);
///
/// impl<S: Service<String> + Clone> Service<String> for Careless<S> {
///     type Response = S::Response;
///     type Error = S::Error;
///     type Future = S::Future;
///
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
///         self.0.poll_ready(cx)
///     }
///
///     fn call(&mut self, request: String) -> S::Future {
///         self.0.clone().call(request) // the clone is not ready
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let inner = Scripted::<String, String>::script(|_, name| Step::Answer(format!("hello {name}")));
/// let _ = Careless(Strict::new(inner)).oneshot("Ann".to_owned()).await; // panics, and says why
/// # }
/// ```
///
/// Two at a time, never ready at the first poll:
///
/// ```
/// use stonework::testing::{Scripted, Step, Strict};
/// use tower::{Service, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let inner = Scripted::<u32, u32>::script(|_, n| Step::Answer(n + 1));
/// let mut service = Strict::new(inner).capacity(2).pending_first(1);
/// let ledger = service.ledger();
///
/// service.ready().await.expect("ready at the second poll");
/// assert_eq!(ledger.reservations_out(), 1);
/// assert_eq!(service.call(1).await.expect("answered"), 2);
/// drop(service);
/// ledger.assert_settled();
/// # }
/// ```
pub struct Strict<S> {
    inner: S,
    ledger: Ledger,
    value: u64,
    standing: Standing,
    /// The inner service said `Ready(Ok)` since the last call.
    inner_ready: bool,
    /// How often this readiness has answered `Pending` on purpose.
    stalls: u32,
    /// A `Box<dyn Fn() -> S::Error + Send + Sync>`, without naming `S::Error` in this type.
    failure: Option<Arc<dyn Any + Send + Sync>>,
}

type MakeError<E> = Box<dyn Fn() -> E + Send + Sync>;

/// What may be done with this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// New, not asked yet.
    Unasked,
    /// New, and made by cloning: told apart because it is the most common mistake.
    Clone,
    /// Told to wait.
    Pending,
    /// May be called, and holds a reservation.
    Ready,
    /// Was called; must be made ready again.
    Called,
    /// Readiness failed; finished.
    Failed,
}

impl<S> Strict<S> {
    /// Wraps `inner`. Without further settings, `Strict` is ready whenever `inner` is, for any number of calls.
    #[must_use]
    pub fn new(inner: S) -> Self {
        let ledger = Ledger::new();
        let value = ledger.enroll();
        let standing = Standing::Unasked;
        Self { inner, ledger, value, standing, inner_ready: false, stalls: 0, failure: None }
    }

    /// The books that this value shares with all its clones.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Allows `most` reservations and calls in flight together, over all clones, as a concurrency limit would: others
    /// wait, first come first served. Default: no limit. With `0` nothing ever becomes ready.
    #[must_use]
    pub fn capacity(self, most: usize) -> Self {
        self.ledger.set_capacity(most);
        self
    }

    /// Answers `Pending` the first `times` times, before *every* readiness of every value, and wakes the task at once.
    /// Default: 0. It finds the layers that poll readiness once and then call whatever came of it.
    #[must_use]
    pub fn pending_first(self, times: u32) -> Self {
        self.ledger.set_pending_first(times);
        self
    }

    /// Starts held: no value becomes ready until [`Ledger::release`]. Default: not held.
    #[must_use]
    pub fn held(self) -> Self {
        self.ledger.hold();
        self
    }

    /// Fails the `poll`-th `poll_ready`, counted from 1 over all values, with what `error` makes. Default: none fails.
    ///
    /// `E` must be the `Error` of the wrapped service; that is checked when the failure is due.
    ///
    /// ```
    /// use stonework::testing::{Scripted, Step, Strict};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let inner = Scripted::<(), (), String>::script(|_, ()| Step::Answer(()));
    /// let service = Strict::new(inner).fail_readiness_at(1, || "no more file handles".to_owned());
    /// assert_eq!(service.oneshot(()).await, Err("no more file handles".to_owned()));
    /// # }
    /// ```
    #[must_use]
    pub fn fail_readiness_at<E: 'static>(
        mut self,
        poll: u64,
        error: impl Fn() -> E + Send + Sync + 'static,
    ) -> Self {
        self.ledger.set_fail_at(poll);
        let make: MakeError<E> = Box::new(error);
        self.failure = Some(Arc::new(make));
        self
    }

    fn chosen_failure<E: 'static>(&self) -> E {
        let make = self.failure.as_deref().and_then(|any| any.downcast_ref::<MakeError<E>>());
        make.unwrap_or_else(|| {
            panic!("`fail_readiness_at` must make the error of the wrapped service, `{}`", type_name::<E>())
        })()
    }

    /// Ends this value: whatever it had reserved goes back.
    fn fail(&mut self) {
        if self.standing == Standing::Ready {
            self.ledger.give_back();
        }
        self.ledger.forget(self.value);
        self.standing = Standing::Failed;
    }

    fn poll_inner<R>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<R>,
    {
        match self.inner.poll_ready(cx) {
            Poll::Pending if self.inner_ready => self.ledger.broken(Breach::ReadyWithdrawn),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.inner_ready = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                self.fail();
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S, R> Service<R> for Strict<S>
where
    S: Service<R>,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = StrictFuture<S::Future>;

    #[track_caller]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.standing == Standing::Failed {
            self.ledger.broken(Breach::PolledFailed);
        }
        if self.ledger.polled() {
            let error = self.chosen_failure();
            self.fail();
            return Poll::Ready(Err(error));
        }
        if self.standing == Standing::Ready {
            return self.poll_inner(cx);
        }
        self.standing = Standing::Pending;
        if self.stalls < self.ledger.pending_first() {
            self.stalls += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.ledger.pass_hold(self.value, cx.waker()) {
            return Poll::Pending;
        }
        // The inner service first: a place is taken only by who can use it at once.
        ready!(self.poll_inner(cx))?;
        if !self.ledger.reserve(self.value, cx.waker()) {
            return Poll::Pending;
        }
        self.standing = Standing::Ready;
        Poll::Ready(Ok(()))
    }

    #[track_caller]
    fn call(&mut self, request: R) -> StrictFuture<S::Future> {
        match self.standing {
            Standing::Ready => {}
            Standing::Unasked => self.ledger.broken(Breach::CalledUnasked),
            Standing::Clone => self.ledger.broken(Breach::CalledClone),
            Standing::Pending => self.ledger.broken(Breach::CalledPending),
            Standing::Called => self.ledger.broken(Breach::CalledTwice),
            Standing::Failed => self.ledger.broken(Breach::CalledFailed),
        }
        self.standing = Standing::Called;
        self.inner_ready = false;
        self.stalls = 0;
        let flight = Flight::start(self.ledger.clone());
        StrictFuture::new(self.inner.call(request), flight)
    }
}

/// By hand, since readiness, a place in a queue and the count of stalls belong to one value and are never copied.
impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ledger: self.ledger.clone(),
            value: self.ledger.enroll_clone(),
            standing: Standing::Clone,
            inner_ready: false,
            stalls: 0,
            failure: self.failure.clone(),
        }
    }
}

impl<S> Drop for Strict<S> {
    fn drop(&mut self) {
        if self.standing == Standing::Ready {
            self.ledger.give_back();
        }
        self.ledger.forget(self.value);
    }
}

impl<S> fmt::Debug for Strict<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strict")
            .field("standing", &self.standing)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}
