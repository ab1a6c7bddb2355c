//! How large bodies may be.

mod future;
mod layer;
mod limited;
mod service;
mod size;

pub use self::future::{RequestLimitFuture, ResponseLimitFuture};
pub use self::layer::{RequestBodyLimitLayer, ResponseBodyLimitLayer};
pub use self::limited::LimitedBody;
pub use self::service::{RequestBodyLimit, ResponseBodyLimit};
