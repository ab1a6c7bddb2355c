//! How do we get there?
//!
//! A [`Connector`] makes a stream of bytes to a [`Target`]: it asks for the addresses of the host, connects by TCP, asks a proxy for a tunnel
//! where there is one, and speaks TLS. It speaks no HTTP: that is for whoever is given the stream.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use stonework::connect::{Connector, Offer, Progress, Target};
//! use tokio::io::AsyncReadExt;
//!
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let port = listener.local_addr()?.port();
//! # tokio::spawn(async move {
//! #     use tokio::io::AsyncWriteExt;
//! #     listener.accept().await.unwrap().0.write_all(b"hello").await
//! # });
//! let target = Target::new("127.0.0.1", port, false);
//! let progress = Progress::default();
//! let mut dialed = Connector::new().dial(&target, Offer::Http1, &progress).await?;
//! let mut greeting = String::new();
//! dialed.io.read_to_string(&mut greeting).await?;
//! assert_eq!(greeting, "hello");
//! assert_eq!(progress.peer().unwrap().port(), port);
//! # Ok(()) }
//! ```
//!
//! Customized, with settings that could as well come from a file, proxies from the environment, and everything in a limit of time:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use stonework::connect::{Connector, Offer, Progress, Proxy, Target, TcpSettings};
//! use tokio::time::timeout;
//!
//! let settings = TcpSettings::new().user_timeout(Duration::from_secs(10));
//! let connector = Connector::builder().tcp(settings).proxy(Proxy::from_env()?).build()?;
//! let (target, progress) = (Target::new("example.com", 443, true), Progress::default());
//! match timeout(Duration::from_secs(5), connector.dial(&target, Offer::Either, &progress)).await {
//!     Ok(dialed) => println!("{:?} after {:?}", dialed?.protocol, progress.timings()),
//!     Err(_) => println!("given up at {:?}", progress.step()),
//! }
//! # Ok(()) }
//! ```
//!
//! # What each step does
//!
//! | step | does | instead of it |
//! |---|---|---|
//! | addresses | remembers them for as long as they are good, and the last good ones for an hour while no others are found; asks once for all who wait | [`Resolve`], [`SystemResolver`], `HickoryResolver` (feature `dns`) |
//! | TCP | tries them one after the other and side by side (RFC 8305), the families in turn, beginning with the next one each time | [`TcpSettings`]; [`Connect`], [`connect_fn`], `Unix` |
//! | proxy | asks for a tunnel to those who speak TLS, or nothing but HTTP/2; to others, requests are [passed on](Forward) | [`Proxy`]; none unless it is said |
//! | TLS | trusts whom Mozilla trusts, checks the name, offers HTTP/2 and HTTP/1.1 | `ClientTls` (feature `tls`) |
//!
//! A [`DnsDiscovery`] follows a name all the time, for a balancer: what a connector makes of a name is one host.
//!
//! *Errors:* of the kind [`Connect`](crate::base::Kind::Connect), not sent, with a [`ConnectError`] that says which step it was. Where one end does
//! not trust the other, it [says](crate::base::Error::forbids_retry) that trying again is in vain; a name that does not exist may exist the
//! next time. *Limits:* none of its own but on lookups, which end within 30 s; whoever dials has one for all of it. *Panics:* outside a
//! Tokio runtime with network and timers. *Cancellation:* dropping the future closes every socket that was opened; a lookup goes on for
//! others who wait and for those who come next. *Tasks:* one for each lookup. Nothing else outlives a dial.
//! *Not for:* SOCKS, proxies that are set by script, or names as they are found on the way (SVCB and HTTPS records).

mod basic;
mod builder;
mod connector;
mod dialed;
mod discovery;
mod error;
mod eyeballs;
#[cfg(feature = "serde")]
mod file;
mod head;
#[cfg(feature = "dns")]
mod hickory;
mod lookups;
mod names;
mod no_proxy;
mod progress;
mod proxy;
mod race;
mod resolve;
mod settings;
mod stream;
mod system;
mod target;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod tunnel;
#[cfg(unix)]
mod unix;

pub use self::builder::ConnectorBuilder;
pub use self::connector::Connector;
pub use self::dialed::{Alpn, Dialed, Forward, Offer};
pub use self::discovery::{DiscoverySettings, DnsDiscovery, LookAgain};
pub use self::error::{ConnectError, ResolverSaid};
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use self::hickory::HickoryResolver;
pub use self::progress::Progress;
pub use self::proxy::{InvalidProxy, Proxy};
pub use self::resolve::{Resolve, Resolved};
pub use self::settings::{InvalidConnector, TcpSettings};
pub use self::stream::Stream;
pub use self::system::SystemResolver;
pub use self::target::Target;
pub use self::tcp::Tcp;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use self::tls::{ClientTls, InvalidTls};
pub use self::transport::{Connect, ConnectFn, connect_fn};
#[cfg(unix)]
pub use self::unix::Unix;
pub use crate::base::Timings;
