use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use stonework::pool::Manage;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls};

/// How long a session has to say goodbye. One with a query under way does not, until that has ended.
const GOODBYE: Duration = Duration::from_millis(20);
/// How long a server has to end a query that it was told to.
const CANCELLED: Duration = Duration::from_secs(1);

/// Sessions with a server of PostgreSQL.
#[derive(Clone, Debug)]
pub struct Postgres {
    config: Config,
    first: Arc<str>,
}

impl Postgres {
    /// With this server: `postgres://user@host/database`, or `host=… user=…`.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self { config: url.parse()?, first: "".into() })
    }

    /// What the sessions call themselves: the server shows it in `pg_stat_activity`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    /// What each session says first, such as `SET search_path TO orders`. Only what outlives transactions makes sense.
    #[must_use]
    pub fn first(mut self, statements: impl Into<Arc<str>>) -> Self {
        self.first = statements.into();
        self
    }
}

impl Manage for Postgres {
    type Object = Session;
    type Error = Error;

    async fn connect(&self) -> Result<Session, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let (open, closed) = oneshot::channel();
        tokio::spawn(serve(connection, closed, client.cancel_token()));
        let session = Session { client, _open: open };
        // The task runs already, or this would wait for ever. Dropped in between, the session ends like any other.
        if !self.first.is_empty() {
            session.batch_execute(&self.first).await?;
        }
        Ok(session)
    }

    fn is_usable(&self, session: &Session) -> bool {
        !session.is_closed()
    }

    /// There and back, and no query.
    async fn check(&self, session: &mut Session) -> Result<(), Error> {
        session.check_connection().await
    }

    // `is_clean` stays as it is. A client knows neither whether a query whose future was dropped has ended, nor whether a transaction is
    // open: whoever has come to an end says so with `put_back`.
}

/// A session of a [`Postgres`]. When it is dropped in the middle of a query, the server is told to end that, for otherwise it would go on,
/// with its locks and its place among the server's connections.
#[derive(Debug)]
pub struct Session {
    client: Client,
    /// Dropped with it, and after the client.
    _open: oneshot::Sender<()>,
}

impl Session {
    /// What the server knows it by.
    ///
    /// # Errors
    ///
    /// As any query.
    pub async fn pid(&self) -> Result<i32, Error> {
        Ok(self.client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// What moves the bytes of a session. It ends with the client, or when the server hangs up.
async fn serve(
    connection: impl Future<Output = Result<(), Error>>,
    closed: oneshot::Receiver<()>,
    token: CancelToken,
) {
    let mut connection = pin!(connection);
    tokio::select! {
        // Whoever uses the client is told the same.
        _ = &mut connection => return,
        _ = closed => {}
    }
    if timeout(GOODBYE, &mut connection).await.is_err() && token.cancel_query(NoTls).await.is_ok() {
        let _ = timeout(CANCELLED, connection).await;
    }
}
