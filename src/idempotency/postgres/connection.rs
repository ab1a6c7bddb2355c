//! The one connection, which a task of its own makes: it may take longer than anybody waits.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, Socket};

use super::PostgresError;
use crate::base::line::Line;

/// How long a connection may take to be made, and how long after a question nothing may be heard over it.
const PATIENCE: Duration = Duration::from_secs(5);

/// None as long as it is being made.
type Made = watch::Receiver<Option<Result<Arc<Client>, PostgresError>>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>>;

pub(super) struct Connection {
    connect: Box<dyn Fn() -> Connecting + Send + Sync>,
    line: Line<Made>,
}

impl Connection {
    pub(super) fn new<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connect = move || -> Connecting {
            let (config, tls) = (config.clone(), tls.clone());
            Box::pin(async move {
                let (client, connection) = config.connect(tls).await?;
                // It ends with the client, or when the server hangs up. Whoever uses the client then is told the same.
                tokio::spawn(connection);
                Ok(client)
            })
        };
        Self { connect: Box::new(connect), line: Line::new(PATIENCE) }
    }

    /// The connection, which is made if there is none, and its number.
    pub(super) async fn client(&self) -> Result<(u64, Arc<Client>), PostgresError> {
        let is_usable = |made: &Made| match &*made.borrow() {
            Some(Ok(client)) => !client.is_closed(),
            Some(Err(_)) => false,
            None => made.has_changed().is_ok(),
        };
        let (number, mut made) = self.line.ask(is_usable, || Ok::<_, PostgresError>(self.make()))?;
        // Cut off is one whose runtime has ended.
        let made = made.wait_for(Option::is_some).await.map_err(|_| PostgresError::CutOff)?.clone();
        let client = made.unwrap_or(Err(PostgresError::CutOff)).inspect_err(|_| self.heard(number))?;
        Ok((number, client))
    }

    /// Something was heard over the connection of this number.
    pub(super) fn heard(&self, number: u64) {
        self.line.heard(number);
    }

    /// The connection of this number was lost.
    pub(super) fn lost(&self, number: u64) {
        self.line.lost(number);
    }

    fn make(&self) -> Made {
        let (tell, made) = watch::channel(None);
        let connecting = (self.connect)();
        tokio::spawn(async move {
            let result = match timeout(PATIENCE, connecting).await {
                Ok(Ok(client)) => Ok(Arc::new(client)),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(PostgresError::NoConnection),
            };
            // Those who asked may have gone: the next one finds it.
            let _ = tell.send_replace(Some(result));
        });
        made
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
