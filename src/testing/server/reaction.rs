use std::time::Duration;

use bytes::Bytes;

use super::{Latch, Reply, respond};

/// What a [`ScriptedServer`](super::ScriptedServer) does once it has read the head of a request: a list of actions, in
/// the order they are added.
///
/// After the last action, whatever is left of the request body is read, and then the next head on the same connection.
/// A reaction that closes, resets, abandons or hangs ends the connection; actions added behind that are never reached.
///
/// ```
/// use std::time::Duration;
/// use stonework::testing::{Reaction, respond};
///
/// // Whole behaviours …
/// let cut_off = Reaction::half_response();
/// let refused_early = Reaction::read_then(1024, respond(503).header("retry-after", "1"));
/// // … and one made by hand.
/// let continued = Reaction::new()
///     .send("HTTP/1.1 100 Continue\r\n\r\n")
///     .read_body()
///     .stall(Duration::from_millis(20))
///     .reply(respond(201))
///     .keep_alive_for(Duration::from_secs(1));
/// # drop((cut_off, refused_early, continued));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a reaction does nothing unless the script returns it"]
pub struct Reaction {
    pub(super) actions: Vec<Action>,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Abandon,
    Close,
    Hang,
    KeepAliveFor(Duration),
    /// The head, and half of the body.
    HalfReply(Reply),
    Read(u64),
    Reply(Reply),
    Reset,
    Send(Bytes),
    Stall(Duration),
    Wait(Latch),
}

/// What a [`ScriptedServer`](super::ScriptedServer) does with a new connection, before it has read anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// Reads requests, and asks the script about each.
    #[default]
    Serve,
    /// Closes the connection at once.
    Close,
    /// Keeps the connection open, and never reads or writes.
    Mute,
    /// Resets the connection at once.
    Reset,
}

impl Reaction {
    /// No action: the body is read and never answered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the whole request, then closes without an answer.
    pub fn read_all_then_close() -> Self {
        Self::new().read_body().close()
    }

    /// Reads the whole request and never answers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::client::Client;
    /// use stonework::testing::{Reaction, ScriptedServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = ScriptedServer::start(|_| Reaction::read_body_then_stall()).await;
    /// let request = Client::new().post(server.uri("/")).body("content").deadline(Duration::from_millis(50));
    /// assert!(request.send().await.unwrap_err().is_timeout());
    /// # }
    /// ```
    pub fn read_body_then_stall() -> Self {
        Self::new().read_body().hang()
    }

    /// Reads `bytes` of the body, or all if it is shorter, then answers.
    pub fn read_then(bytes: u64, reply: Reply) -> Self {
        Self::new().read(bytes).reply(reply)
    }

    /// Reads the whole request, sends a 200 with half of its body, and closes.
    pub fn half_response() -> Self {
        respond(200).body("0123456789").half()
    }

    /// Closes as soon as the head was read.
    ///
    /// ```
    /// use stonework::base::Delivery;
    /// use stonework::client::Client;
    /// use stonework::testing::{Reaction, ScriptedServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = ScriptedServer::start(|_| Reaction::close_on_head()).await;
    /// let error = Client::new().post(server.uri("/")).body("content").send().await.unwrap_err();
    /// assert_eq!(error.delivery(), Delivery::Unknown);
    /// # }
    /// ```
    pub fn close_on_head() -> Self {
        Self::new().close()
    }

    /// Resets the connection as soon as the head was read.
    ///
    /// ```
    /// use stonework::base::Delivery;
    /// use stonework::client::Client;
    /// use stonework::testing::{Reaction, ScriptedServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = ScriptedServer::start(|_| Reaction::reset_on_head()).await;
    /// let error = Client::new().post(server.uri("/")).body("content").send().await.unwrap_err();
    /// assert_eq!(error.delivery(), Delivery::Unknown);
    /// # }
    /// ```
    pub fn reset_on_head() -> Self {
        Self::new().reset()
    }

    /// Reads what is left of the request body.
    pub fn read_body(self) -> Self {
        self.read(u64::MAX)
    }

    /// Reads exactly `bytes` more of the request body, or up to its end. Framing is not counted. More may lie in the
    /// buffers of the system, but no more is taken into the record.
    pub fn read(self, bytes: u64) -> Self {
        self.then(Action::Read(bytes))
    }

    /// Sends these very bytes.
    pub fn send(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Action::Send(bytes.into()))
    }

    /// Sends a response. A body that is still unread is read afterwards.
    pub fn reply(self, reply: Reply) -> Self {
        self.then(Action::Reply(reply))
    }

    pub(super) fn half_reply(self, reply: Reply) -> Self {
        self.then(Action::HalfReply(reply))
    }

    /// Does nothing for this long, of real time.
    pub fn stall(self, pause: Duration) -> Self {
        self.then(Action::Stall(pause))
    }

    /// Does nothing until the latch is opened.
    pub fn wait(self, latch: &Latch) -> Self {
        self.then(Action::Wait(latch.clone()))
    }

    /// Does nothing for ever. If the request was read to its end, the connection ends when the client closes it.
    pub fn hang(self) -> Self {
        self.then(Action::Hang)
    }

    /// Closes in an orderly way: says that no more will come, and discards what the client still sends, for five
    /// seconds and 64 MiB at most. Without that, unread bytes would turn the close into a reset, and the client could
    /// lose an answer that was sent in full.
    pub fn close(self) -> Self {
        self.then(Action::Close)
    }

    /// Resets the connection: the client sees an error even if it only reads.
    pub fn reset(self) -> Self {
        self.then(Action::Reset)
    }

    /// Drops the connection without reading what is left, as a process that ends does. The client sees an orderly
    /// close if everything it sent was read, and otherwise a reset.
    pub fn abandon(self) -> Self {
        self.then(Action::Abandon)
    }

    /// Waits for the next request no longer than `pause` of real time, then closes. Default: for ever.
    pub fn keep_alive_for(self, pause: Duration) -> Self {
        self.then(Action::KeepAliveFor(pause))
    }

    fn then(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }
}

/// Reads the whole request, answers, and waits for the next one.
impl From<Reply> for Reaction {
    fn from(reply: Reply) -> Self {
        Self::new().read_body().reply(reply)
    }
}
