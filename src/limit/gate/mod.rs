//! What all layers have in common that let calls in or not: one service and one future.

mod entry;
mod fields;
mod future;
mod key;
mod service;

pub use self::entry::Gate;
pub use self::future::GatedFuture;
pub use self::key::{Except, Keyed};
pub use self::service::Gated;

pub(super) use self::entry::{Entered, Entry, Pass, Reserved, Seen, Slot, Turned, Wait, sealed};
pub(super) use self::fields::{Fields, Standing};
pub(super) use self::service::Settings;
