//! The one who writes: one at a time, on a thread where it does no harm that it waits.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Error, TransactionBehavior};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{SqliteError, table};
use crate::base::WallClock;
use crate::idempotency::{Change, Entry, Scope};

/// How long it is waited for others who write.
const BUSY: Duration = Duration::from_secs(5);

/// So many may wait.
const MOST_WAITING: usize = 1024;

/// So many are committed at once: a disk needs as long for one.
const MOST_AT_ONCE: usize = 64;

/// So many that are over are deleted for each that is asked, so that there are not more and more of them.
const FORGOTTEN_EACH: usize = 4;

/// A connection that is made ready; what it does waits.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    // First of all: already the next line may have to wait for others who open it.
    connection.busy_timeout(BUSY)?;
    // It stays so in the file. To say it again would ask for a lock.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    // What is committed is on the disk before anybody is told.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(table::SCHEMA)?;
    Ok(connection)
}

/// Milliseconds since 1970. Before that it is 1970.
pub(super) fn now() -> u64 {
    let since = WallClock::system().now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is asked, and the one who is to be told.
trait Step: Send {
    /// Nobody waits for it any more, and it need not be done.
    fn is_given_up(&self) -> bool;
    /// In a transaction. What is wrong with this one alone is kept for the one who asked.
    fn take(&mut self, connection: &Connection, now: u64) -> Result<(), Error>;
    /// How the transaction has ended.
    fn tell(self: Box<Self>, ended: Result<(), SqliteError>);
}

struct Asked<T, D> {
    scope: Scope,
    /// Also if nobody waits for it any more.
    always: bool,
    decide: Option<D>,
    answer: Result<T, SqliteError>,
    tell: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T: Send, D: FnOnce(Option<&Entry>, u64) -> (T, Change) + Send> Step for Asked<T, D> {
    fn is_given_up(&self) -> bool {
        self.tell.is_closed() && !self.always
    }

    fn take(&mut self, connection: &Connection, now: u64) -> Result<(), Error> {
        let Some(decide) = self.decide.take() else { return Ok(()) };
        let entry = match table::read(connection, self.scope)?.transpose() {
            Ok(entry) => entry,
            Err(invalid) => {
                self.answer = Err(invalid.into());
                return Ok(());
            }
        };
        let (answer, change) = decide(entry.as_ref(), now);
        self.answer = Ok(answer);
        table::write(connection, self.scope, &change)
    }

    fn tell(self: Box<Self>, ended: Result<(), SqliteError>) {
        let _ = self.tell.send(ended.and(self.answer));
    }
}

pub(super) struct Writer {
    connection: Mutex<Connection>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Each with the runtime of the one who waits for it.
    steps: VecDeque<(Handle, Box<dyn Step>)>,
    /// Somebody is at work.
    at_work: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(connection), waiting: Mutex::default() }
    }

    /// What is decided about an entry, in the order in which it is asked. If it is `always` done, then also when its future is dropped.
    pub(super) async fn step<T: Send + 'static>(
        self: &Arc<Self>,
        scope: Scope,
        always: bool,
        decide: impl FnOnce(Option<&Entry>, u64) -> (T, Change) + Send + 'static,
    ) -> Result<T, SqliteError> {
        let (tell, told) = oneshot::channel();
        let answer = Err(SqliteError::CutOff);
        self.push(Box::new(Asked { scope, always, decide: Some(decide), answer, tell }))?;
        told.await.unwrap_or(Err(SqliteError::CutOff))
    }

    fn push(self: &Arc<Self>, step: Box<dyn Step>) -> Result<(), SqliteError> {
        let mut waiting = self.waiting();
        if waiting.steps.len() >= MOST_WAITING {
            return Err(SqliteError::Full);
        }
        let runtime = Handle::current();
        waiting.steps.push_back((runtime.clone(), step));
        if !std::mem::replace(&mut waiting.at_work, true) {
            drop(waiting);
            self.work(runtime);
        }
        Ok(())
    }

    fn work(self: &Arc<Self>, runtime: Handle) {
        let work = Work { writer: Arc::clone(self), runtime: runtime.clone(), done: false };
        drop(runtime.spawn_blocking(move || work.run()));
    }

    /// Those that are next; or nobody is at work any more.
    fn next(&self) -> Option<Vec<Box<dyn Step>>> {
        let mut waiting = self.waiting();
        let many = waiting.steps.len().min(MOST_AT_ONCE);
        waiting.at_work = many > 0;
        (many > 0).then(|| waiting.steps.drain(..many).map(|(_, step)| step).collect())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_or_none(&self, steps: &mut [Box<dyn Step>]) -> Result<(), Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // At once: one that had only read before could not go on when somebody else has written.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = now();
        table::forget(&transaction, now, steps.len().saturating_mul(FORGOTTEN_EACH))?;
        // Some may have been given up while this was waited for.
        for step in steps.iter_mut().filter(|step| !step.is_given_up()) {
            step.take(&transaction, now)?;
        }
        transaction.commit()
    }
}

/// Works off what waits.
struct Work {
    writer: Arc<Writer>,
    runtime: Handle,
    done: bool,
}

impl Work {
    fn run(mut self) {
        while let Some(mut steps) = self.writer.next() {
            let ended = self.writer.all_or_none(&mut steps).map_err(SqliteError::from);
            steps.into_iter().for_each(|step| step.tell(ended.clone()));
        }
        self.done = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            // It was cut off: by a panic, or since its runtime has ended. Who waits in that one is told so. For the others it begins anew, in
            // the runtime of the first; if that has ended too, this is called again, with fewer.
            let mut waiting = self.writer.waiting();
            let ended = self.runtime.id();
            let (cut_off, others): (VecDeque<_>, _) = std::mem::take(&mut waiting.steps)
                .into_iter()
                .partition(|(runtime, _)| runtime.id() == ended);
            waiting.steps = others;
            let next = waiting.steps.front().map(|(runtime, _)| runtime.clone());
            waiting.at_work = next.is_some();
            drop(waiting);
            drop(cut_off);
            if let Some(next) = next {
                self.writer.work(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_is_committed_is_on_the_disk() {
        let file = std::env::temp_dir().join(format!("stonework-writer-{}.db", std::process::id()));
        let connection = open(&file).unwrap();
        let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!((number("synchronous"), number("busy_timeout")), (2, 5_000), "2 is `full`");
        drop(connection);
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn who_waits_in_a_runtime_that_goes_on_is_served_when_the_one_that_works_for_all_ends() {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let (ends, goes_on) = (runtime(), runtime());
        let file = std::env::temp_dir().join(format!("stonework-runtimes-{}.db", std::process::id()));
        let writer = Arc::new(Writer::new(open(&file).unwrap()));
        let asks = |number: u8| {
            let writer = Arc::clone(&writer);
            let decide = move |_: Option<&Entry>, _| (number, Change::Keep);
            let scope = Scope::new(None, &http::Method::POST, "/", &number.to_string());
            Box::pin(async move { writer.step(scope, false, decide).await })
        };
        // Its work is about to begin, and never will.
        writer.waiting().at_work = true;
        let work = Work { writer: Arc::clone(&writer), runtime: ends.handle().clone(), done: false };
        let [mut cut_off, mut waits] = [1, 2].map(asks);
        for (runtime, asked) in [(&ends, &mut cut_off), (&goes_on, &mut waits)] {
            assert!(
                runtime.block_on(async { timeout(Duration::ZERO, asked).await }).is_err(),
                "nobody does it"
            );
        }
        drop(work);
        assert!(matches!(ends.block_on(cut_off), Err(SqliteError::CutOff)));
        let served = goes_on.block_on(async { timeout(Duration::from_secs(10), waits).await });
        assert_eq!(served.expect("it is worked on").unwrap(), 2);
        // All that may still hold the connection, which takes its other files with it.
        drop((ends, goes_on, writer));
        std::fs::remove_file(&file).unwrap();
        let beside = ["-wal", "-shm"].map(|end| std::path::PathBuf::from(format!("{}{end}", file.display())));
        assert!(beside.iter().all(|file| !file.exists()));
    }
}
