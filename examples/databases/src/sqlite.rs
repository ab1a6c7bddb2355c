use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use stonework::pool::{Manage, Pooled};
use tokio::task::spawn_blocking;

/// How long a statement waits for a lock that another connection has.
const BUSY: Duration = Duration::from_secs(5);

/// Connections to a file of SQLite: with a write-ahead log, so that readers and the one writer are not in each other's way; with foreign
/// keys; and with a time for which they wait for a lock.
#[derive(Clone, Debug)]
pub struct Sqlite {
    path: PathBuf,
    durable: bool,
}

impl Sqlite {
    /// To this file, which is made if there is none.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), durable: false }
    }

    /// Have each commit on the disk before it is answered for, so that a power cut takes nothing back, as
    /// [`SqliteStore`](stonework::idempotency::SqliteStore) has it for its keys. Without this the last commits may be lost by a power cut, and none
    /// by a process that is killed.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(&self.path)?;
        // First of all: already the next line may have to wait for others who open it.
        connection.busy_timeout(BUSY)?;
        // It stays so in the file. To say it again would ask for a lock.
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            connection.pragma_update(None, "journal_mode", "wal")?;
        }
        connection.pragma_update(None, "synchronous", if self.durable { "full" } else { "normal" })?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }
}

/// Why a file could not be opened, or is no longer good.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite says so.
    #[error("the file could not be used")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread that opened it panicked, or the runtime ends.
    #[error("opening it was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

impl Manage for Sqlite {
    type Object = Connection;
    type Error = OpenError;

    async fn connect(&self) -> Result<Connection, OpenError> {
        let this = self.clone();
        Ok(spawn_blocking(move || this.open()).await??)
    }

    /// Where a connection was that its user has closed, there is one over no file.
    fn is_usable(&self, connection: &Connection) -> bool {
        connection.path().is_some_and(|path| !path.is_empty())
    }

    /// Reads one page: so little that it is not worth a thread.
    async fn check(&self, connection: &mut Connection) -> Result<(), OpenError> {
        Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?)
    }

    /// Statements end before their user does, see [`blocking`], so that only a transaction can be left.
    fn is_clean(&self, connection: &mut Connection) -> bool {
        connection.is_autocommit()
    }
}

/// Do something that blocks with a connection, on a thread where that does no harm. It comes along by value: if the caller gives up, the
/// work goes on to its end with a connection that is its own, and gives it back then.
///
/// It is back in the caller's hands with the result, for a transaction may have more than one step.
///
/// # Panics
///
/// If the work does; the connection is closed then.
pub async fn blocking<T: Send + 'static>(
    mut connection: Pooled<Sqlite>,
    work: impl FnOnce(&mut Connection) -> T + Send + 'static,
) -> (Pooled<Sqlite>, T) {
    let done = spawn_blocking(move || {
        let result = work(&mut connection);
        (connection, result)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("the runtime ends: {error}"),
        },
    }
}
