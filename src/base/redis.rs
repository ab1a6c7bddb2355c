use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult, ScriptInvocation,
    ServerErrorKind,
};

use super::line::Line;

const LONGEST_PREFIX: usize = 128;

/// How long a connection may take to be made, however short a time its callers have.
const CONNECTING: Duration = Duration::from_secs(1);

/// So long after a question that nothing was heard of, the connection is given up for a new one.
const SILENCE: Duration = Duration::from_secs(1);

/// Settings of a store in Redis that cannot be. None quotes the URL, in which there may be a password.
///
/// ```
/// use stonework::limit::{InvalidRedis, RedisStore};
///
/// assert_eq!(RedisStore::open("quotas.internal").unwrap_err(), InvalidRedis::Url);
/// assert_eq!(RedisStore::open("rediss://quotas.internal").unwrap_err(), InvalidRedis::Tls);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedis {
    /// The prefix has a brace, or more than 128 bytes.
    #[error("a prefix has no braces, and at most {LONGEST_PREFIX} bytes")]
    Prefix,
    /// The URL asks for TLS.
    #[error("TLS is not possible here: the URL begins with `redis:`, `valkey:` or `unix:`")]
    Tls,
    /// The URL is none of a Redis server.
    #[error("the URL is not of the form `redis://user:password@host:port/database`")]
    Url,
}

/// What keys begin with.
pub(crate) fn valid_prefix(prefix: &str) -> Result<&str, InvalidRedis> {
    let valid = prefix.len() <= LONGEST_PREFIX && !prefix.contains(['{', '}']);
    valid.then_some(prefix).ok_or(InvalidRedis::Prefix)
}

/// A server, and the one connection to it.
pub(crate) struct Redis {
    client: Client,
    line: Line<ConnectionManager>,
}

impl Redis {
    /// Nothing is connected before the first question.
    pub(crate) fn open(url: &str) -> Result<Self, InvalidRedis> {
        if ["rediss:", "valkeys:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(InvalidRedis::Tls);
        }
        let info = url.into_connection_info().map_err(|_| InvalidRedis::Url)?;
        // Questions are small, and each is waited for.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(|_| InvalidRedis::Url)?;
        Ok(Self { client, line: Line::new(SILENCE) })
    }

    /// What a script answers. It may be asked twice, and do twice what it does.
    pub(crate) async fn ask<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> RedisResult<T> {
        let mut asked_again = false;
        loop {
            let (number, mut manager) = self.line.ask(|_| true, || self.connect())?;
            match script.invoke_async(&mut manager).await {
                Err(error) if is_to_be_repeated(&error) && !asked_again => asked_again = true,
                answer => {
                    self.line.heard(number);
                    return answer;
                }
            }
        }
    }

    fn connect(&self) -> RedisResult<ConnectionManager> {
        // Once: the next question tries again, and only one that has time does.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_number_of_retries(0)
            .set_response_timeout(None);
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

/// The connection was lost; or the server was told to forget its scripts, just after it had been given this one.
fn is_to_be_repeated(error: &RedisError) -> bool {
    let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
    error.is_connection_dropped() || error.kind() == no_script
}

/// The server answered something else than what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the server answered something else than what was asked")]
pub(crate) struct Misread;

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client, in which there is a password.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}
