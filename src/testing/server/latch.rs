use std::sync::Arc;

use tokio::sync::watch;

/// Something to wait for until a test opens it. Clones are the same latch; it never closes again.
///
/// ```
/// use stonework::testing::{Latch, Reaction, ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let answer_now = Latch::new();
/// let held = answer_now.clone();
/// let server = ScriptedServer::start(move |_| Reaction::new().read_body().wait(&held).reply(respond(200))).await;
/// // send a request to `server.addr()`, look at what is in flight, and then:
/// answer_now.open();
/// # drop(server);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Latch(Arc<watch::Sender<bool>>);

impl Latch {
    /// A closed latch.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open. Dropping the future has no effect on the latch.
    pub async fn opened(&self) {
        // The sender is alive as long as `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}
