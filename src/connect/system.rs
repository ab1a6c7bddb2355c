use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Resolve, Resolved};
use crate::base::{Error, Kind};

/// How many look something up at once.
const AT_ONCE: usize = 16;

/// Asks the system, as `getaddrinfo` does: files such as `/etc/hosts`, then name servers. It does not say how long an answer is good for.
///
/// Each lookup has a thread of tokio's that may block, for as long as the system likes; at most 16 are under way at once, so that a name
/// server that does not answer takes no more of them. Clones share that limit.
#[derive(Clone)]
pub struct SystemResolver {
    places: Arc<Semaphore>,
}

impl SystemResolver {
    /// With a limit of its own.
    #[must_use]
    pub fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let host = host.to_owned();
        // A lookup goes on when nobody waits for it any more, and so its place goes with it.
        let lookup = spawn_blocking(move || {
            let _place = place;
            // The port is of no interest.
            (host.as_str(), 0)
                .to_socket_addrs()
                .map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())
        });
        match lookup.await {
            Ok(Ok(addresses)) => Ok(Resolved::new(addresses)),
            Ok(Err(error)) => Err(Error::new(Kind::Connect, error)),
            Err(_) => Err(Error::new(Kind::Connect, "the runtime is being shut down")),
        }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}
