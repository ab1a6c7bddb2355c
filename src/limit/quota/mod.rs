//! A client that keeps to what a server says of its limits.

mod announced;
mod error;
mod future;
mod gate;
mod handle;
mod layer;
mod ledger;
mod service;

pub use self::error::QuotaUsedUp;
pub use self::future::HeardFuture;
pub use self::gate::{QuotaWait, ServerQuota};
pub use self::handle::ServerQuotas;
pub use self::layer::ServerQuotaLayer;
pub use self::service::Heard;
