use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Probe;
use crate::base::EndpointId;
use crate::health::{IntoVerdict, Verdict};

/// Whether a connection of TCP can be made to the endpoint, whose name is an address or a host, and a port. It is closed again at once.
///
/// It says that somebody listens there, which a server may do that can serve nothing: where it can be asked, ask it. Names are looked up by
/// the system, in a thread of tokio's that may block, each time anew, and 16 at once in a process: while name servers do not answer, what else
/// needs such threads has some left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use stonework::base::Fitness;
/// use stonework::health::{Prober, TcpProbe};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let database = listener.local_addr()?.to_string();
///
/// let prober = Prober::builder(TcpProbe).build()?;
/// prober.set([database.as_str()]);
/// assert!(prober.wait_first(Duration::from_secs(5)).await);
/// assert_eq!(prober.fitness(&database.into()), Fitness::Fit);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct TcpProbe;

impl Probe for TcpProbe {
    async fn probe(&self, endpoint: &EndpointId) -> Verdict {
        connect(endpoint.as_str()).await.into_verdict()
    }
}

/// As many lookups as there may be at once. They go on when nobody waits for them any more.
static LOOKUPS: Semaphore = Semaphore::const_new(16);

async fn connect(name: &str) -> io::Result<()> {
    let addresses = match name.parse() {
        Ok(address) => vec![address],
        Err(_) => look_up(&LOOKUPS, name.to_owned(), |name| Ok(name.to_socket_addrs()?.collect())).await?,
    };
    TcpStream::connect(&*addresses).await.map(drop)
}

async fn look_up(
    places: &'static Semaphore,
    name: String,
    look_up: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let place = places.acquire().await.map_err(io::Error::other)?;
    let looking_up = move || {
        let _place = place;
        look_up(&name)
    };
    spawn_blocking(looking_up).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn lookups_that_nobody_waits_for_any_more_keep_their_places() {
        static PLACES: Semaphore = Semaphore::const_new(2);
        let (begun, begins) = mpsc::channel();
        let mut held = Vec::new();
        for _ in 0..5 {
            let (go_on, waits) = mpsc::channel::<()>();
            held.push(go_on);
            let begun = begun.clone();
            let asked = look_up(&PLACES, "db.test:5432".to_owned(), move |_| {
                begun.send(()).unwrap();
                let _ = waits.recv();
                Ok(Vec::new())
            });
            assert!(timeout(Duration::from_millis(20), asked).await.is_err());
        }
        drop((held, begun));
        assert_eq!(begins.iter().count(), 2, "the others were never begun");
        assert!(look_up(&PLACES, "db.test:5432".to_owned(), |_| Ok(Vec::new())).await.is_ok());
    }
}
