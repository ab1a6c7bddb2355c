use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Runs what hyper wants to run beside a connection: with HTTP/2, the handlers of its streams.
///
/// The lock is held for a few instructions, by tasks of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// The owner of these tasks: they end when it is dropped, with the connection.
    pub(super) fn owner(&self) -> Owner {
        Owner(self.clone())
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, work: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended would be kept until the connection ends.
        reap(&mut tasks);
        tasks.spawn(async {
            work.await;
        });
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
        let mut tasks = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        reap(&mut tasks);
        tasks.abort_all();
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
        let owner = tasks.owner();
        let (alive, gone) = oneshot::channel::<()>();
        let more = tasks.clone();
        tasks.execute(async move {
            let _kept = (alive, more);
            pending::<()>().await;
        });
        drop((tasks, owner));
        assert!(gone.await.is_err(), "the task was dropped, and with it the sender");
    }
}
