//! A rate limit that several machines share.

mod away;
pub mod conformance;
mod decide;
mod error;
mod layer;
mod limiter;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod store;

pub use self::error::{InvalidSharedLimit, KeyTooLong, StoreAway};
pub use self::layer::{SharedLimit, SharedRate, SharedRateLimitLayer};
pub use self::limiter::{DecidedBy, SharedAllowed, SharedRateLimiter};
pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use self::settings::{SharedLimitSettings, WhenAway};
pub use self::store::{QuotaStore, Refill, Shortage, Standing, Taken};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::base::InvalidRedis;
