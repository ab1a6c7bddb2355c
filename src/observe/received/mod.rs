//! A request that a server was sent: what it is called, and what becomes of it.

mod exchange;
mod future;
mod layers;
mod log;
#[cfg(feature = "metrics")]
mod metrics;
mod parts;
mod record;
mod service;
mod span;

pub use self::exchange::Exchange;
pub use self::future::ReceivedFuture;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::layers::ServerMetricsLayer;
pub use self::layers::{AccessLogLayer, RequestIdLayer, RequestSpanLayer, TraceLayer};
#[cfg(feature = "server")]
pub(crate) use self::parts::{Log, Naming, Parts, Tracing};
pub use self::service::Received;
