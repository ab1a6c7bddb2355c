use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project::pin_project;
use tokio::task::JoinSet;

use super::stall::Watched;

/// Runs what hyper wants to run beside a connection: with HTTP/2, the handlers of its streams.
///
/// The lock is held for a few instructions, by tasks of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    stall_timeout: Option<Duration>,
}

impl Tasks {
    /// Each of them may wait for its client for so long.
    pub(super) fn new(stall_timeout: Option<Duration>) -> Self {
        Self { stall_timeout, ..Self::default() }
    }

    /// The owner of these tasks: they end when it is dropped, with the connection. Who are still on their way out then
    /// are among these leavers.
    pub(super) fn owner(&self, leavers: Arc<Leavers>) -> Owner {
        Owner { tasks: self.clone(), leavers }
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
        let limit = self.stall_timeout.unwrap_or(Duration::MAX);
        tasks.spawn(Stream(Watched::new(work, limit)));
    }
}

/// What a task does. An `async` block would hold the work twice: as what it was given, and as what it waits for.
#[pin_project]
struct Stream<F>(#[pin] Watched<F>);

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().0.poll(cx).map(|output| {
            if output.is_none() {
                tracing::debug!("a client took nothing of its answer for too long");
            }
        })
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
pub(super) struct Owner {
    tasks: Tasks,
    leavers: Arc<Leavers>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut tasks = mem::take(&mut *self.tasks.set.lock().unwrap_or_else(PoisonError::into_inner));
        reap(&mut tasks);
        tasks.abort_all();
        self.leavers.take(tasks);
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
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for set in &mut *sets {
            while set.try_join_next().is_some() {}
        }
        sets.retain(|set| !set.is_empty());
        sets.push(tasks);
    }

    /// Waits until those of now are gone.
    pub(super) async fn gone(&self) {
        let sets = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for mut set in sets {
            while set.join_next().await.is_some() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_their_owner_although_each_of_them_could_start_more() {
        let tasks = Tasks::default();
        let leavers = Arc::new(Leavers::default());
        let owner = tasks.owner(Arc::clone(&leavers));
        let (alive, gone) = oneshot::channel::<()>();
        let more = tasks.clone();
        tasks.execute(async move {
            let _kept = (alive, more);
            pending::<()>().await;
        });
        drop((tasks, owner));
        leavers.gone().await;
        assert!(gone.await.is_err(), "the task was dropped, and with it the sender");
        assert!(leavers.0.lock().unwrap().is_empty());
    }
}
