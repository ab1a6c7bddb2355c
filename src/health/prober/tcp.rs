use tokio::net::TcpStream;

use super::Probe;
use crate::base::EndpointId;
use crate::health::{IntoVerdict, Verdict};

/// Whether a connection of TCP can be made to the endpoint, whose name is an address or a host, and a port. It is closed again at once.
///
/// It says that somebody listens there, which a server may do that can serve nothing: where it can be asked, ask it. Names are looked up by
/// the system, in a thread of tokio's that may block, each time anew.
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
        TcpStream::connect(endpoint.as_str()).await.map(drop).into_verdict()
    }
}
