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
        let mut is_first = true;
        loop {
            let (number, mut made) = self.line.ask(is_usable, || Ok::<_, PostgresError>(self.make()))?;
            // Cut off is one whose runtime has ended. That may be another's than this one, where it can be made anew.
            let made = match made.wait_for(Option::is_some).await {
                Ok(made) => made.clone(),
                Err(_) if std::mem::take(&mut is_first) => continue,
                Err(_) => None,
            };
            let client = made.unwrap_or(Err(PostgresError::CutOff)).inspect_err(|_| self.heard(number))?;
            return Ok((number, client));
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;
    use tokio_postgres::NoTls;

    use super::*;

    #[test]
    fn a_connection_that_ends_with_its_runtime_is_made_anew_in_that_of_who_waits_for_it() {
        let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (ends, goes_on) = (runtime(), runtime());
        let listener = goes_on.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let mut config = Config::new();
        config.host("127.0.0.1").port(listener.local_addr().unwrap().port()).user("nobody");
        let connection = Arc::new(Connection::new(config, NoTls));
        let asks = |connection: Arc<Connection>| async move { connection.client().await.map(|_| ()) };

        drop(ends.spawn(asks(Arc::clone(&connection))));
        let mut waits = Box::pin(asks(Arc::clone(&connection)));
        let mut first = goes_on.block_on(async {
            let (first, _) = listener.accept().await.unwrap();
            assert!(timeout(Duration::ZERO, waits.as_mut()).await.is_err(), "nobody answers");
            first
        });
        drop(ends);
        let said = goes_on.block_on(async {
            // The first has gone, without an answer to what it asked.
            let mut asked = Vec::new();
            first.read_to_end(&mut asked).await.unwrap();
            // The second is refused.
            tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
            waits.await.unwrap_err()
        });
        assert!(!matches!(said, PostgresError::CutOff), "{said}");
    }
}
