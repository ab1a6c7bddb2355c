use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
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
///
/// ```
/// use stonework::connect::{Connector, SystemResolver};
///
/// // Two connectors that ask 16 times at once, together.
/// let resolver = SystemResolver::new();
/// let one = Connector::builder().resolver(resolver.clone()).build()?;
/// let other = Connector::builder().resolver(resolver).build()?;
/// # let _ = (one, other);
/// # Ok::<(), stonework::connect::InvalidConnector>(())
/// ```
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
        // The port is of no interest.
        self.ask(host.to_owned(), |host| (host, 0).to_socket_addrs().map(|found| found.collect())).await
    }
}

impl SystemResolver {
    /// Have a thread do this, when there is a place.
    async fn ask(
        &self,
        host: String,
        lookup: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> Result<Resolved, Error> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        // A lookup goes on when nobody waits for it any more, and so its place goes with it.
        let lookup = spawn_blocking(move || {
            let _place = place;
            lookup(&host)
        });
        match lookup.await {
            Ok(Ok(found)) => Ok(Resolved::new(found.iter().map(SocketAddr::ip))),
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A lookup that lasts until it is let go, and says when it has begun.
    fn begin(
        resolver: &SystemResolver,
        began: &mpsc::Sender<()>,
    ) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (let_go, wait) = mpsc::channel();
        let (resolver, began) = (resolver.clone(), began.clone());
        let task = tokio::spawn(async move {
            let asked = resolver.ask("orders.test".to_owned(), move |_| {
                began.send(()).unwrap();
                let _ = wait.recv();
                Ok(Vec::new())
            });
            asked.await.unwrap();
        });
        (let_go, task)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn no_more_than_sixteen_lookups_of_the_system_are_under_way_at_once() {
        let resolver = SystemResolver::new();
        let (began, begun) = mpsc::channel();
        let all: Vec<_> = (0..20).map(|_| begin(&resolver, &began)).collect();
        let (soon, no_time) = (Duration::from_secs(10), Duration::from_millis(50));
        for _ in 0..AT_ONCE {
            begun.recv_timeout(soon).expect("there is a place");
        }
        // Whoever does not wait for it any more does not make room: its thread is still there.
        for (_, task) in &all {
            task.abort();
        }
        let (_held, _) = begin(&resolver, &began);
        assert!(begun.recv_timeout(no_time).is_err());
        drop(all);
        begun.recv_timeout(soon).expect("and now there is room");
    }
}
