//! An attempt that includes reading the response body, up to a cap.

mod body;
mod future;
mod gather;
mod layer;
mod service;

pub use self::body::Collected;
pub use self::future::CollectFuture;
pub use self::layer::CollectLayer;
pub use self::service::Collect;
