use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Socket, Transaction};

use super::connection::Connection;
use super::table;
use crate::base::BoxError;
use crate::idempotency::{
    Begun, Change, Claim, Entry, Final, Held, InvalidEntry, NewClaim, Record, Scope, Store,
};

/// How soon it is looked again at what somebody else is about to change.
const AGAIN: Duration = Duration::from_millis(5);

/// Keys in a PostgreSQL database, of version 13 or later: for several machines, and as lasting as what is done. Cloning it is sharing it.
///
/// ```
/// use stonework::idempotency::PostgresStore;
/// use tokio_postgres::{Config, NoTls};
///
/// # fn main() -> Result<(), tokio_postgres::Error> {
/// let config: Config = "host=db.internal user=shop password=secret dbname=shop".parse()?;
/// let store = PostgresStore::new(config, NoTls); // nothing is connected yet
/// # let _ = store;
/// # Ok(()) }
/// ```
///
/// It needs a table, `stonework_idempotency`, in the first schema of the `search_path`: [`create_table`](Self::create_table), or
/// [`SCHEMA`](Self::SCHEMA) for those who make their tables themselves. The user needs to be allowed to select, insert, update and delete there.
///
/// **A handler that writes into the same database** commits the record with what it does: [`complete_in`](Self::complete_in).
///
/// It has one connection, by its own, which is made with the first question, and over which many questions are under way at once. One
/// that was lost is made anew with the next question; a question under which it was lost is asked once more. Nothing waits within the server: who
/// wants to change what a transaction is about to change looks again every 5 milliseconds. A connection that takes longer than 5 seconds to
/// be made is given up, and so is one over which nothing was heard for so long.
///
/// *Errors:* [`PostgresError`]. *Cancellation:* as every [`Store`]; the connection goes on. *It has no limit of time of its own.*
/// *Know that* it goes by the server's clock: set forward, leases end earlier and keys are forgotten earlier; set back, later. What was
/// answered is on the server's disk, unless `synchronous_commit` is off there; a copy that takes over may lag behind. With each new key a few are
/// deleted that are to be forgotten, so the table does not grow beyond what was kept at one time.
#[derive(Clone)]
pub struct PostgresStore {
    connection: Arc<Connection>,
}

/// A [`PostgresStore`] could not answer.
///
/// ```
/// use stonework::idempotency::{PostgresError, PostgresStore};
/// use tokio_postgres::NoTls;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let nobody = PostgresStore::new("host=127.0.0.1 port=1 user=nobody".parse().unwrap(), NoTls);
/// assert!(matches!(nobody.create_table().await, Err(PostgresError::Postgres(_))));
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The server says so, or it could not be reached.
    #[error("PostgreSQL: {}", said(.0))]
    Postgres(Arc<tokio_postgres::Error>),
    /// No connection could be made in 5 seconds.
    #[error("PostgreSQL: there was no connection in time")]
    NoConnection,
    /// What is kept cannot be read.
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
    /// The runtime ends on which the connection was to be made.
    #[error("PostgreSQL was cut off")]
    CutOff,
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(Arc::new(error))
    }
}

/// An error of this crate says where it was, and only its cause says what.
fn said(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl PostgresStore {
    /// What [`create_table`](Self::create_table) makes, for those who make their tables themselves.
    pub const SCHEMA: &str = table::SCHEMA;

    /// In this database; without TLS, if it is given `NoTls`. Nothing is connected before the first question, so it may be down.
    ///
    /// What the configuration says holds for its connection, such as `application_name` and `connect_timeout`.
    ///
    /// # Panics
    ///
    /// Not here. Questions have to be asked on a runtime of tokio.
    #[must_use]
    pub fn new<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        Self { connection: Arc::new(Connection::new(config, tls)) }
    }

    /// Makes the table, if it is not there. Any number of processes may do that at once. The user has to be allowed to make tables.
    ///
    /// # Errors
    ///
    /// [`PostgresError`].
    pub async fn create_table(&self) -> Result<(), PostgresError> {
        let (number, client) = self.connection.client().await?;
        let created = client.batch_execute(&table::create()).await;
        self.connection.heard(number);
        Ok(created?)
    }

    /// For a handler that keeps what it does in the same database: the record is committed with that, or not at all. It does not end the
    /// transaction.
    ///
    /// With [`Held::Yes`] the handler commits, and answers what it has recorded. [`Held::Lost`] is another's by now: roll back, and answer an
    /// error. [`Held::Ended`] can only be if it was called before.
    ///
    /// Once committed it is what everybody is answered, also if this process dies before it has answered anybody. Until then nobody else can
    /// change this key, and whoever has to waits. A transaction that is more than `READ COMMITTED` may fail to be serialized
    /// because the lease was renewed in between, and be tried again, as always.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use stonework::idempotency::{Claim, Held, PostgresStore, Record};
    /// use tokio_postgres::Client;
    ///
    /// async fn charge(
    ///     store: &PostgresStore,
    ///     orders: &mut Client,
    ///     claim: &Claim,
    /// ) -> Result<Response<Bytes>, Box<dyn std::error::Error>> {
    ///     let transaction = orders.transaction().await?;
    ///     transaction.execute("INSERT INTO charges (cents) VALUES ($1)", &[&1999_i64]).await?;
    ///     let response = Response::new(Bytes::from("charged"));
    ///     match store.complete_in(&transaction, claim, &Record::new(&response)).await? {
    ///         Held::Lost => return Err("somebody else has it".into()), // and the transaction is rolled back
    ///         Held::Yes | Held::Ended => transaction.commit().await?,
    ///     }
    ///     Ok(response)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostgresError`]; there is no such table if the transaction is of another database. Roll back.
    pub async fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        claim: &Claim,
        record: &Record,
    ) -> Result<Held, PostgresError> {
        let Some((now, entry)) = table::read_locked(transaction, claim.scope()).await? else {
            return Ok(Held::Lost);
        };
        let (entry, end) = (entry?, Final::Record(record.encode()));
        let (held, change) = Entry::complete(Some(&entry), claim, &end, now);
        let written = table::write(transaction, claim.scope(), Some(&entry), now, &change).await?;
        // It is locked, so it is as it was read.
        Ok(if written { held } else { Held::Lost })
    }

    /// What is decided about an entry: it is read, and what it becomes is written if it is still the same. If not, once more.
    async fn step<T>(
        &self,
        scope: Scope,
        decide: impl Fn(Option<&Entry>, u64) -> (T, Change),
    ) -> Result<T, PostgresError> {
        let (mut asked_again, mut changed) = (false, false);
        loop {
            let (number, client) = self.connection.client().await?;
            let tried = attempt(&client, scope, &decide).await;
            match &tried {
                Err(PostgresError::Postgres(error)) if is_lost(error) => {
                    self.connection.lost(number);
                    // The server may have done what it was asked. It does no harm to do it twice.
                    if !std::mem::replace(&mut asked_again, true) {
                        continue;
                    }
                }
                _ => self.connection.heard(number),
            }
            match tried {
                Ok(Some(answer)) => return Ok(answer),
                // Somebody was quicker, and has done it; or does it at this moment.
                Ok(None) if !std::mem::replace(&mut changed, true) => {}
                Ok(None) => sleep(AGAIN).await,
                Err(PostgresError::Postgres(error)) if is_not_serialized(&error) => sleep(AGAIN).await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Nothing, if somebody else was quicker.
async fn attempt<T>(
    client: &Client,
    scope: Scope,
    decide: impl Fn(Option<&Entry>, u64) -> (T, Change),
) -> Result<Option<T>, PostgresError> {
    let (now, entry) = table::read(client, scope).await?;
    let entry = entry.transpose()?;
    let (answer, change) = decide(entry.as_ref(), now);
    let written = table::write(client, scope, entry.as_ref(), now, &change).await?;
    Ok(written.then_some(answer))
}

/// The connection has ended, or the server ends it, which is the last that it says.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    error.is_closed() || matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// Where transactions are isolated more than they are by default, one that was quicker is an error.
fn is_not_serialized(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

impl Store for PostgresStore {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        Ok(self.step(scope, |entry, now| Entry::begin(entry, claim, now)).await?)
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |entry, now| Entry::renew(entry, claim, now)).await?)
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |entry, now| Entry::complete(entry, claim, end, now)).await?)
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |entry, now| Entry::release(entry, claim, now)).await?)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the configuration, in which there is a password.
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
