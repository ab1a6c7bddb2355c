use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Transaction;
use tokio::task::spawn_blocking;

use super::table;
use super::writer::{self, Writer};
use crate::base::BoxError;
use crate::idempotency::{Begun, Claim, Entry, Final, Held, InvalidEntry, NewClaim, Record, Scope, Store};

/// Keys in a file of SQLite: for one machine, with nothing to run beside it. Cloning it is sharing it; several processes may have the same
/// file open.
///
/// ```
/// use stonework::idempotency::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("stonework-doc-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// # let file = folder.join("keys.db");
/// let store = SqliteStore::open(&file).await?;
/// # drop(store);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(()) }
/// ```
///
/// **What was answered is on the disk.** The file has a write-ahead log, and is written with `synchronous = FULL`: neither a process that is killed
/// nor a power cut takes it back, as far as the disk does what it says. What is asked at the same time is committed at once.
/// The file must be on a disk of this machine, and not on one in the network.
///
/// **A handler that writes into the same file** commits the record with what it does: [`complete_in`](Self::complete_in). SQLite has one
/// writer at a time, so its transaction holds up everybody else's until it ends: it should be short.
///
/// Calls do not block the runtime: they are worked off on a thread of its pool for blocking work, in the order in which they came, over one
/// connection. At most 1024 wait. Whoever else writes into the file is waited for, 5 seconds long.
///
/// *Errors:* [`SqliteError`]. *Cancellation:* a `begin` whose future is dropped while it waits is not done; all else is.
/// *It has no limit of time of its own* beyond these 5 seconds. *Know that* it goes by the machine's clock, the only one that is there after
/// a restart: set forward, leases end earlier and keys are forgotten earlier; set back, later. Each call also
/// deletes a few keys that are to be forgotten, so the file does not grow beyond what was kept at one time.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Arc<Writer>,
}

/// A [`SqliteStore`] could not answer.
///
/// ```
/// use stonework::idempotency::{SqliteError, SqliteStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = SqliteStore::open("/no/such/folder/keys.db").await.unwrap_err();
/// assert!(matches!(error, SqliteError::Sqlite(_)));
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// SQLite says so: the disk is full, the file is no database, or somebody else has written into it for too long.
    #[error("SQLite: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// What is kept cannot be read.
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
    /// As many wait as may.
    #[error("too many wait for SQLite")]
    Full,
    /// It was not done to its end, since the runtime ends.
    #[error("SQLite was cut off")]
    CutOff,
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl SqliteStore {
    /// What [`open`](Self::open) makes in a file that has it not: a table, `stonework_idempotency`, and an index. For those who make their
    /// tables themselves.
    pub const SCHEMA: &str = table::SCHEMA;

    /// In this file, which is made if there is none. It may have other tables, and is given a write-ahead log if it has none.
    ///
    /// # Errors
    ///
    /// [`SqliteError`], if it cannot be opened, or is locked for 5 seconds.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, SqliteError> {
        let path = path.into();
        let connection = spawn_blocking(move || writer::open(&path)).await;
        let connection = connection.map_err(|_| SqliteError::CutOff)??;
        Ok(Self { writer: Arc::new(Writer::new(connection)) })
    }

    /// For a handler that keeps what it does in the same file: the record is committed with that, or not at all. It does not end the
    /// transaction, and it blocks, as SQLite does.
    ///
    /// With [`Held::Yes`] the handler commits, and answers what it has recorded. [`Held::Lost`] is another's by now: roll back, and answer an
    /// error. [`Held::Ended`] is known already and can only be if it was called before.
    ///
    /// Once committed it is what everybody is answered, also if this process dies before it has answered anybody. The transaction
    /// should be [immediate](rusqlite::TransactionBehavior::Immediate): one that has begun by reading cannot write when somebody else has.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use rusqlite::{Connection, TransactionBehavior};
    /// use stonework::idempotency::{Claim, Held, Record, SqliteStore};
    ///
    /// fn charge(
    ///     store: &SqliteStore,
    ///     orders: &mut Connection,
    ///     claim: &Claim,
    /// ) -> Result<Response<Bytes>, Box<dyn std::error::Error>> {
    ///     let transaction = orders.transaction_with_behavior(TransactionBehavior::Immediate)?;
    ///     transaction.execute("INSERT INTO charges (cents) VALUES (?1)", [1999])?;
    ///     let response = Response::new(Bytes::from("charged"));
    ///     match store.complete_in(&transaction, claim, &Record::new(&response))? {
    ///         Held::Lost => return Err("somebody else has it".into()), // and the transaction is rolled back
    ///         Held::Yes | Held::Ended => transaction.commit()?,
    ///     }
    ///     Ok(response)
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use stonework::{base::Rng, idempotency::*};
    /// # let folder = std::env::temp_dir().join(format!("stonework-doc-in-{}", std::process::id()));
    /// # std::fs::create_dir(&folder).unwrap();
    /// # let file = folder.join("keys.db");
    /// # let store = SqliteStore::open(&file).await.unwrap();
    /// # let mut orders = Connection::open(&file).unwrap();
    /// # orders.execute_batch("CREATE TABLE charges (cents INTEGER)").unwrap();
    /// # let new = NewClaim {
    /// #     fingerprint: Fingerprint::from_bytes([0; 32]),
    /// #     owner: Owner::new(&Rng::from_entropy()),
    /// #     lease: Duration::from_secs(30),
    /// #     keep: Duration::from_secs(30),
    /// #     after_crash: AfterCrash::FailClosed,
    /// # };
    /// # let scope = Scope::from_bytes([0; 32]);
    /// # store.begin(scope, &new).await.unwrap();
    /// # let response = charge(&store, &mut orders, &new.won(scope, 1)).unwrap();
    /// # let Begun::Ended(Final::Record(bytes)) = store.begin(scope, &new).await.unwrap() else { panic!() };
    /// # assert_eq!(Record::decode(&bytes).unwrap().response().body(), response.body());
    /// # drop((store, orders));
    /// # let _ = std::fs::remove_dir_all(&folder);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SqliteError`]; there is no such table if the transaction is of another file. Roll back.
    pub fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        claim: &Claim,
        record: &Record,
    ) -> Result<Held, SqliteError> {
        let entry = table::read(transaction, claim.scope())?.transpose()?;
        let end = Final::Record(record.encode());
        let (held, change) = Entry::complete(entry.as_ref(), claim, &end, writer::now());
        table::write(transaction, claim.scope(), &change)?;
        Ok(held)
    }
}

impl Store for SqliteStore {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        let claim = *claim;
        Ok(self.writer.step(scope, false, move |entry, now| Entry::begin(entry, &claim, now)).await?)
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        let claim = *claim;
        Ok(self.writer.step(claim.scope(), true, move |entry, now| Entry::renew(entry, &claim, now)).await?)
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        let (claim, end) = (*claim, end.clone());
        let decide = move |entry: Option<&Entry>, now| Entry::complete(entry, &claim, &end, now);
        Ok(self.writer.step(claim.scope(), true, decide).await?)
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        let claim = *claim;
        Ok(self
            .writer
            .step(claim.scope(), true, move |entry, now| Entry::release(entry, &claim, now))
            .await?)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
