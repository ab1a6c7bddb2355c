//! Over which wire?
//!
//! A [`Pool`] of connections, or of anything that is made slowly and used by one at a time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io;
//! use stonework::pool::{Manage, Pool, PoolSettings};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! struct Wires(std::net::SocketAddr);
//!
//! impl Manage for Wires {
//!     type Object = TcpStream;
//!     type Error = io::Error;
//!
//!     async fn connect(&self) -> io::Result<TcpStream> {
//!         TcpStream::connect(self.0).await
//!     }
//! }
//!
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! # tokio::spawn(async move {
//! #     let (mut stream, _) = listener.accept().await.unwrap();
//! #     let (mut read, mut write) = stream.split();
//! #     tokio::io::copy(&mut read, &mut write).await
//! # });
//! let pool = Pool::builder(Wires(address)).settings(PoolSettings::new().max(4)).name("echo").build()?;
//! let mut wire = pool.get().await?;
//! wire.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! wire.read_exact(&mut answer).await?;
//! wire.put_back(); // nothing is under way: the next one may have it
//! assert_eq!(pool.stats().idle(), 1);
//! # Ok(()) }
//! ```
//!
//! * **A hard limit.** There are never more than [`max`](PoolSettings::max), those that are being connected included.
//! * **In the order of arrival.** An object that comes back goes to whoever has waited longest. Waiting has limits: of
//!   [time](PoolSettings::wait_timeout), of the caller's [deadline](crate::base::Deadline), and of how [many](PoolSettings::max_waiting) wait.
//! * **Connecting belongs to the pool.** A caller who gives up does not cut off what was begun for it: the next one gets it. As many connect as
//!   wait and fit. When nothing can be connected, all who wait are told why; then there is a pause, and one tries at a time.
//! * **What is used is used again.** The one that was used last is next, so that the others can be closed when they are idle for too long.
//!   None gets too old, and those that were made together do not end together. Before it is handed out each is looked at, and asked if nobody
//!   has used it for a while; after two that did not answer, a new one is connected, and the others that lay idle are closed. That belongs to
//!   the pool, too: a caller who gives up meanwhile costs none.
//! * **What was in the middle of something is closed.** Only what is [put back](Pooled::put_back) is used again: a query that was given
//!   up leaves its rows on the wire. [`Pool::with`] puts back what its work was done with.
//!
//! As a service, [`PoolService`], it can stand below the other layers of this crate.
//!
//! *Tasks:* one for each object that is being connected or asked, and one that looks after idle ones; they end with the last handle. *Defaults:*
//! [`PoolSettings::new`]. *Errors:* see [`Pool::get`]. *Panics:* one in a [`Manage`] costs the object that it was called for. Where it
//! connects or asks, that is a failure; elsewhere it goes on in whoever got the object, or put it back. *Cancellation:* any future may be dropped at any point; nothing is lost. *Not for:* many calls at once over one
//! connection, as over HTTP/2.

mod ask;
mod builder;
mod check;
mod core;
mod dial;
mod entry;
mod error;
#[cfg(feature = "serde")]
mod file;
mod future;
mod handle;
mod keeper;
mod manage;
mod pooled;
mod service;
mod settings;
mod slots;
mod state;
mod stats;
mod waiting;

pub use self::builder::PoolBuilder;
pub use self::error::{ConnectFailed, PoolClosed, PoolExhausted};
pub use self::future::{InPool, PoolFuture};
pub use self::handle::Pool;
pub use self::manage::Manage;
pub use self::pooled::Pooled;
pub use self::service::PoolService;
pub use self::settings::{InvalidPool, PoolSettings};
pub use self::stats::PoolStats;
