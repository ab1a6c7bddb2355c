//! Keys that are somewhere else: fetched over any client, and again before they are old.

mod builder;
mod core;
mod document;
mod error;
mod fetch;
#[cfg(feature = "serde")]
mod file;
mod handle;
mod max_age;
mod missing;
mod refresh;
mod schedule;
mod settings;

pub use self::builder::RemoteKeysBuilder;
pub(super) use self::document::{address, issuer_address};
use self::error::NotKeys;
pub use self::handle::RemoteKeys;
pub use self::settings::RemoteKeysSettings;
