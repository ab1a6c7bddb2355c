use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Uri};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::connection::Connection;
use super::record::Record;
use super::{Reaction, Reception, SeenRequest};

/// How long [`ScriptedServer::wait_until`] waits, of real time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on `127.0.0.1`, on a free port, that speaks raw HTTP/1 and follows a script.
///
/// It reads the head of a request, asks the script for a [`Reaction`], and does exactly that: half an answer, a
/// reset after `n` bytes, silence. It records what it read, even from requests that were never finished.
///
/// Dropping it stops it: the port is closed, and so is every connection, when the runtime next has a turn. It needs a Tokio runtime with the network
/// enabled, and **a clock that runs**: see [`testing`](crate::testing) for why sockets and a paused clock do not mix.
///
/// # Example
///
/// A client that keeps a connection, and a server that closes it just then:
///
/// ```
/// use stonework::testing::{ScriptedServer, close_on_next_head};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::TcpStream;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = ScriptedServer::start(close_on_next_head()).await;
///
/// let mut client = TcpStream::connect(server.addr()).await?;
/// let mut buffer = [0; 256];
/// client.write_all(b"GET /1 HTTP/1.1\r\nhost: test\r\n\r\n").await?;
/// let read = client.read(&mut buffer).await?;
/// assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
///
/// client.write_all(b"GET /2 HTTP/1.1\r\nhost: test\r\n\r\n").await?;
/// assert_eq!(client.read(&mut buffer).await?, 0); // closed, and nobody knows whether /2 was done
/// assert_eq!(server.heads_of(&http::Method::GET), 2);
/// # Ok(())
/// # }
/// ```
///
/// A script of one's own sees the request that it reacts to:
///
/// ```
/// use stonework::testing::{Reaction, ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = ScriptedServer::start(|request| match (request.method.as_str(), request.number) {
///     ("POST", _) => Reaction::read_all_then_close(),
///     (_, 1) => respond(429).header("retry-after", "1").keep_alive(),
///     _ => respond(200).body("ok").keep_alive(),
/// })
/// .await;
/// assert!(server.uri("/orders").to_string().starts_with("http://127.0.0.1:"));
/// # }
/// ```
#[derive(Debug)]
pub struct ScriptedServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: AbortHandle,
}

type ReceptionScript = Box<dyn FnMut(usize) -> Reception + Send>;
type RequestScript = Box<dyn FnMut(&SeenRequest) -> Reaction + Send>;

pub(super) struct Shared {
    pub(super) record: Record,
    reception: Mutex<ReceptionScript>,
    script: Mutex<RequestScript>,
}

impl Shared {
    pub(super) fn receive(&self, connection: usize) -> Reception {
        (self.reception.lock().unwrap_or_else(PoisonError::into_inner))(connection)
    }

    pub(super) fn react(&self, request: &SeenRequest) -> Reaction {
        (self.script.lock().unwrap_or_else(PoisonError::into_inner))(request)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("record", &self.record).finish_non_exhaustive()
    }
}

impl ScriptedServer {
    /// Starts a server that serves every connection and asks `script` about every request.
    ///
    /// The script is asked when a head was read, one request at a time; the body is unread then.
    ///
    /// # Panics
    ///
    /// If no port of the loopback interface can be opened. A panic of the script closes the connection.
    pub async fn start<R: Into<Reaction>>(script: impl FnMut(&SeenRequest) -> R + Send + 'static) -> Self {
        Self::start_with(|_| Reception::Serve, script).await
    }

    /// As [`start`](Self::start), and asks `reception` what to do with each connection, by its number from 1.
    ///
    /// ```
    /// use stonework::testing::{Reception, ScriptedServer, respond};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// // The first connection is reset before a byte is read; the others are served.
    /// let server = ScriptedServer::start_with(
    ///     |connection| if connection == 1 { Reception::Reset } else { Reception::Serve },
    ///     |_| respond(200),
    /// )
    /// .await;
    /// # drop(server);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_with<R: Into<Reaction>>(
        reception: impl FnMut(usize) -> Reception + Send + 'static,
        mut script: impl FnMut(&SeenRequest) -> R + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port on 127.0.0.1");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            record: Record::default(),
            reception: Mutex::new(Box::new(reception)),
            script: Mutex::new(Box::new(move |request| script(request).into())),
        });
        let acceptor = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Self { addr, shared, acceptor }
    }

    /// Starts a server that accepts connections and never reads or writes.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn mute() -> Self {
        Self::start_with(|_| Reception::Mute, |_| Reaction::new()).await
    }

    /// Starts a server that reads every request and never answers.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn silent() -> Self {
        Self::start(|_| Reaction::read_body_then_stall()).await
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port` and `path`, which starts with a slash.
    ///
    /// # Panics
    ///
    /// If that is not a valid URI.
    #[must_use]
    pub fn uri(&self, path: &str) -> Uri {
        let text = format!("http://{}{path}", self.addr);
        text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    /// Every request whose head was read, in order, with as much of its body as was read so far.
    #[must_use]
    pub fn seen(&self) -> Vec<SeenRequest> {
        self.shared.record.log().requests.clone()
    }

    /// How many heads with this method were read.
    #[must_use]
    pub fn heads_of(&self, method: &Method) -> usize {
        self.shared.record.log().requests.iter().filter(|request| request.method == *method).count()
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.record.log().connections
    }

    /// How many connections are open. One that hangs over an unread body, or is [mute](Self::mute), counts as open
    /// even if the client has closed it.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.record.log().open
    }

    /// The largest number of connections open at one moment.
    #[must_use]
    pub fn peak_open(&self) -> usize {
        self.shared.record.log().peak
    }

    /// What clients sent that is not HTTP/1, each with the number of its connection. Such a connection is closed.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.shared.record.log().faults.clone()
    }

    /// Waits until the heads of `requests` requests were read, and returns [`seen`](Self::seen).
    ///
    /// # Panics
    ///
    /// After ten seconds, with a list of what came.
    pub async fn wait_for(&self, requests: usize) -> Vec<SeenRequest> {
        let what = format!("{requests} requests");
        self.wait_until(&what, |server| server.shared.record.log().requests.len() >= requests).await;
        self.seen()
    }

    /// Waits until `done` holds. It is looked at after each change of the record; `what` names it in the panic.
    ///
    /// ```
    /// # use stonework::testing::{ScriptedServer, respond};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = ScriptedServer::start(|_| respond(200)).await;
    /// drop(tokio::net::TcpStream::connect(server.addr()).await);
    /// server.wait_until("a connection came and went", |s| s.connections() == 1 && s.open() == 0).await;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// After ten seconds, with a list of what came.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                // Made before the look: it hears of every change from here on.
                let changed = self.shared.record.changed.notified();
                if done(self) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited {PATIENCE:?} in vain for {what}; {}", self.story());
        }
    }

    /// Everything in the record, one line each.
    fn story(&self) -> String {
        let log = self.shared.record.log();
        let mut story = format!("{} connections, {} of them open", log.connections, log.open);
        for request in &log.requests {
            let _ = write!(story, "\n  request {request}");
        }
        for fault in &log.faults {
            let _ = write!(story, "\n  fault on {fault}");
        }
        story
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Owns the connections: aborting this task drops them all.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small pieces must go out as the script sends them.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(Connection::new(stream, shared.clone()).serve());
                }
                // Out of sockets, most likely: they come back when connections end, so do not spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
