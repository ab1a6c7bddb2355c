use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project::pin_project;
use tokio::task::JoinSet;

use super::shared::Shared;
use super::stall::Watched;

/// Runs what hyper wants to run beside a connection: with HTTP/2, the handlers of its streams.
///
/// The lock is held for a few instructions, by tasks of one connection.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    connection: Arc<Shared>,
}

impl Tasks {
    pub(super) fn new(connection: Arc<Shared>) -> Self {
        Self { set: Arc::default(), connection }
    }

    /// The owner of these tasks: they end when it is dropped, with the connection. Who are still on their way out then
    /// are among the leavers of the server.
    pub(super) fn owner(&self) -> Owner {
        Owner(self.clone())
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, work: F) {
        let mut tasks = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended would be kept until the connection ends.
        reap(&mut tasks);
        // A limit beyond what a clock can count is none.
        let limit = self.connection.control.settings.stall_timeout.unwrap_or(Duration::MAX);
        let at_work = AtWork::begin(Arc::clone(&self.connection));
        // What a stream is about is large, and would be moved many times on its way to where it runs.
        tasks.spawn(Box::pin(Stream { work: Watched::new(work, limit), at_work }));
    }
}

/// What a task does. An `async` block would hold the work twice: as what it was given, and as what it waits for.
#[pin_project]
struct Stream<F> {
    // Before the rest, so that it is gone when it is no longer at work.
    #[pin]
    work: Watched<F>,
    at_work: AtWork,
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let _within = Within(WITHIN.replace(Some(this.at_work.refuses)));
        let polled = this.work.poll(cx);
        this.at_work.answered |= ANSWERED.take();
        polled.map(|output| {
            this.at_work.done = output.is_some();
            if output.is_none() {
                tracing::debug!("a client took nothing of its answer for too long");
            }
        })
    }
}

/// The connection has something to do for as long as this is kept: the answer that a task was given may not be taken yet, and a tunnel begins
/// where the answer is over.
struct AtWork {
    connection: Arc<Shared>,
    /// It is not: all that this task does is to refuse.
    refuses: bool,
    /// The answer is over, but for what the task still has of it.
    answered: bool,
    /// The task came to its end.
    done: bool,
}

thread_local! {
    /// Whether the task that is polled does nothing but refuse.
    static WITHIN: Cell<Option<bool>> = const { Cell::new(None) };
    /// The answer of the task that is polled, or was dropped just now, was over.
    static ANSWERED: Cell<bool> = const { Cell::new(false) };
}

/// A task is polled, until this is dropped. What is begun meanwhile is part of it: a tunnel, where it was answered.
struct Within(Option<bool>);

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.set(self.0);
    }
}

/// The task that runs here has given the last of its answer, which is sent when the task ends.
pub(super) fn answered() {
    ANSWERED.set(true);
}

impl AtWork {
    fn begin(connection: Arc<Shared>) -> Self {
        let refuses = WITHIN.get().unwrap_or_else(|| connection.pulse.defies());
        if !refuses {
            connection.pulse.begin_task();
        }
        Self { connection, refuses, answered: false, done: false }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // Taken in any case: the next one that is dropped here is another one's.
        if ANSWERED.take() || self.answered {
            self.connection.count(1, self.done);
        }
        if !self.refuses {
            self.connection.pulse.end_task();
        }
    }
}

/// Forgets the tasks that have ended. A panic is a bug of the service, and hyper only sees that the stream is gone.
fn reap(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        if let Err(error) = ended {
            tracing::error!(%error, "a stream was lost");
        }
    }
}

/// See [`Tasks::owner`]. Not every clone of `Tasks` may own them: each task has one itself.
#[derive(Debug)]
pub(super) struct Owner(Tasks);

impl Drop for Owner {
    fn drop(&mut self) {
        let Tasks { set, connection } = &self.0;
        let mut tasks = mem::take(&mut *set.lock().unwrap_or_else(PoisonError::into_inner));
        reap(&mut tasks);
        tasks.abort_all();
        connection.control.leavers.take(tasks);
    }
}

/// Tasks that were told to end and may not have done so: each is dropped by whichever thread runs it next.
#[derive(Debug, Default)]
pub(super) struct Leavers(Mutex<Vec<JoinSet<()>>>);

impl Leavers {
    fn take(&self, tasks: JoinSet<()>) {
        if tasks.is_empty() {
            return;
        }
        let mut sets = self.sets();
        sets.retain_mut(|set| left(set) > 0);
        sets.push(tasks);
    }

    /// Waits until all are gone. One that blocks its thread is not, for as long as it does.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| {
            let mut sets = self.sets();
            for set in &mut *sets {
                while let Poll::Ready(Some(_)) = set.poll_join_next(cx) {}
            }
            sets.retain(|set| !set.is_empty());
            if sets.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// How many have not gone yet.
    pub(super) fn count(&self) -> usize {
        let mut sets = self.sets();
        sets.iter_mut().map(left).sum()
    }

    fn sets(&self) -> MutexGuard<'_, Vec<JoinSet<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many are not gone, of those that were told to end.
pub(super) fn left(tasks: &mut JoinSet<()>) -> usize {
    while tasks.try_join_next().is_some() {}
    tasks.len()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::super::ServerSettings;
    use super::super::control::Control;
    use super::*;
    use crate::base::{Observe, Peer};

    #[tokio::test]
    async fn tasks_end_with_their_owner_although_each_of_them_could_start_more() {
        let control = Control::new(ServerSettings::new(), None, Observe::default(), None, Vec::new(), None);
        let connection = Shared::new(Peer::default(), Arc::clone(&control), Instant::now(), None);
        let at_work = || connection.pulse.facts(None, None).in_flight;
        let tasks = Tasks::new(Arc::clone(&connection));
        let owner = tasks.owner();
        let (alive, gone) = oneshot::channel::<()>();
        let more = tasks.clone();
        tasks.execute(async move {
            let _kept = (alive, more);
            pending::<()>().await;
        });
        assert_eq!(at_work(), 1);
        drop((tasks, owner));
        control.leavers.gone().await;
        assert!(gone.await.is_err(), "the task was dropped, and with it the sender");
        assert!(control.leavers.0.lock().unwrap().is_empty());
        assert_eq!(at_work(), 0);
    }
}
