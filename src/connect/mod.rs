//! How do we get there?
//!
//! A [`Connector`] makes a stream of bytes to a [`Target`]: it asks for the addresses of the host, connects by TCP, and speaks TLS. It
//! speaks no HTTP: that is for whoever is given the stream.
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

mod basic;
mod builder;
mod connector;
mod dialed;
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
