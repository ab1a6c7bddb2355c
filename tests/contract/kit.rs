//! What a stack is, and how the script runs over it.

use std::any::Any;
use std::future::Future;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use stonework::base::{BoxError, Error};
use stonework::fallback::FallbackFailed;
use stonework::testing::{Ledger, Scripted, Step, Strict};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// Of virtual time: a case that takes longer sleeps for ever.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What requests and answers are. The script itself knows neither.
pub(crate) trait Wire: Sized + 'static {
    type Request: Send + 'static;
    /// What the service at the bottom answers.
    type Bottom: Send + 'static;
    /// What a caller gets, of one type whatever the layers do to the body.
    type Answer: Send + 'static;

    /// A request that may be repeated.
    fn request() -> Self::Request;
    /// One that may not, whatever happens.
    fn once() -> Self::Request;
    fn good() -> Self::Bottom;
    fn bad() -> Self::Bottom;
    fn seal(bottom: Inner<Self>) -> Boxed<Self>;
    fn read(answer: &Self::Answer) -> Seen;
}

pub(crate) type Inner<W> = Strict<Scripted<<W as Wire>::Request, <W as Wire>::Bottom>>;

/// The type of every service between two layers. The box passes readiness, calls, clones and drops on as they are.
pub(crate) type Boxed<W> = BoxCloneSyncService<<W as Wire>::Request, <W as Wire>::Answer, BoxError>;

pub(crate) type Answering<A> = Pin<Box<dyn Future<Output = Result<A, BoxError>> + Send>>;

/// How a call ended, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Good,
    /// The bottom answered that it failed.
    Bad,
    /// A limit ran out, told by an error or an answer.
    Late,
    /// Any other error.
    Failed,
}

/// What a layer is expected to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) always_ready: bool,
    pub(crate) limit: Option<Duration>,
    pub(crate) retries: bool,
    /// Whether a second call begins before the first has ended, if that takes long; and at once, if it has failed.
    pub(crate) hedges: bool,
}

/// Puts a layer around a service.
type Wrap<W> = fn(Boxed<W>) -> Boxed<W>;

/// One layer in one mode.
pub(crate) struct Row<W: Wire> {
    pub(crate) layer: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) traits: Traits,
    pub(crate) wrap: Wrap<W>,
}

/// Layers, outermost first.
pub(crate) struct Stack<W: Wire> {
    pub(crate) name: String,
    layers: Vec<(Traits, Wrap<W>)>,
}

impl<W: Wire> Clone for Stack<W> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), layers: self.layers.clone() }
    }
}

pub(crate) fn alone<W: Wire>(rows: &[Row<W>]) -> Vec<Stack<W>> {
    rows.iter().map(|row| Stack::of(&[row])).collect()
}

pub(crate) fn pairs<W: Wire>(rows: &[Row<W>]) -> Vec<Stack<W>> {
    over(rows, rows)
}

/// Each of the first over each of the others.
pub(crate) fn over<W: Wire>(outer: &[Row<W>], inner: &[Row<W>]) -> Vec<Stack<W>> {
    outer.iter().flat_map(|outer| inner.iter().map(move |inner| Stack::of(&[outer, inner]))).collect()
}

impl<W: Wire> Stack<W> {
    fn of(rows: &[&Row<W>]) -> Self {
        let names: Vec<_> = rows.iter().map(|row| format!("{}{}", row.layer, row.mode)).collect();
        let layers = rows.iter().map(|row| (row.traits, row.wrap)).collect();
        Self { name: names.join(" over "), layers }
    }

    /// The stack over a service that follows `script`, made stricter by `tune`.
    pub(crate) fn over(
        &self,
        mut script: impl FnMut(usize) -> Step<W::Bottom> + Send + 'static,
        tune: impl FnOnce(Inner<W>) -> Inner<W>,
    ) -> (Boxed<W>, Ledger) {
        let bottom = tune(Strict::new(Scripted::script(move |call, _| script(call))));
        let ledger = bottom.ledger();
        let service = self.layers.iter().rev().fold(W::seal(bottom), |inner, (_, wrap)| wrap(inner));
        (service, ledger)
    }

    pub(crate) fn always_ready(&self) -> bool {
        self.layers.iter().any(|(traits, _)| traits.always_ready)
    }

    pub(crate) fn retries(&self) -> bool {
        self.layers.iter().any(|(traits, _)| traits.retries)
    }

    pub(crate) fn hedges(&self) -> bool {
        self.layers.iter().any(|(traits, _)| traits.hedges)
    }

    /// The limit that runs out first, where all begin together.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.layers.iter().filter_map(|(traits, _)| traits.limit).min()
    }

    /// Innermost first.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = Traits> + '_ {
        self.layers.iter().rev().map(|(traits, _)| *traits)
    }
}

pub(crate) fn seen<W: Wire>(result: Result<W::Answer, BoxError>) -> Seen {
    match result {
        Ok(answer) => W::read(&answer),
        Err(error) => {
            let error = Error::wrap(error);
            // Of two that failed, the second is the one below which the script runs.
            let second = error.cause::<FallbackFailed>().map(FallbackFailed::backup);
            if second.unwrap_or(&error).is_timeout() { Seen::Late } else { Seen::Failed }
        }
    }
}

/// One poll, with the waker of this task.
pub(crate) async fn polled<F: Future + ?Sized>(
    future: &mut Pin<impl DerefMut<Target = F>>,
) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// One call, readiness first, as users write it.
pub(crate) async fn call<W: Wire>(service: &mut Boxed<W>, request: W::Request) -> Seen {
    match service.ready().await {
        Ok(ready) => {
            let answer = ready.call(request);
            seen::<W>(answer.await)
        }
        Err(error) => seen::<W>(Err(error)),
    }
}

pub(crate) type Case<W> = fn(Stack<W>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Cases, by the names that complaints carry.
pub(crate) type Script<W> = fn() -> Vec<(&'static str, Case<W>)>;

/// Every case over every stack; one line for each that failed. Each core has its share of them.
pub(crate) fn run<W: Wire>(stacks: &[Stack<W>], script: Script<W>) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let shares = stacks.chunks(stacks.len().div_ceil(cores).max(1));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || run_here(share, script))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn run_here<W: Wire>(stacks: &[Stack<W>], script: Script<W>) -> Vec<String> {
    let mut complaints = Vec::new();
    for stack in stacks {
        for (name, case) in script() {
            if let Err(why) = attempt(stack.clone(), case) {
                complaints.push(format!("{}: {name}: {why}", stack.name));
            }
        }
    }
    complaints
}

fn attempt<W: Wire>(stack: Stack<W>, case: Case<W>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let bounded = async { tokio::time::timeout(PATIENCE, case(stack)).await };
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(bounded))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("it never ended".to_owned()),
        Err(panic) => Err(message(&*panic)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
