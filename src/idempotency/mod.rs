//! Have we done it already? A server that does a keyed request once, however often it is sent.

mod claim;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod columns;
pub mod conformance;
mod digest;
mod entry;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use self::claim::{AfterCrash, Claim, NewClaim, Owner};
pub use self::digest::{Fingerprint, Scope};
pub use self::entry::{Change, Entry, InvalidEntry, State};
pub use self::memory::{MemoryStore, StoreFull};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use self::postgres::{PostgresError, PostgresStore};
pub use self::record::{InvalidRecord, Record};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::{SqliteError, SqliteStore};
pub use self::store::{Begun, Final, Held, Store};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::base::InvalidRedis;
