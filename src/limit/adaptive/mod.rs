//! How many at once, found out.

mod baseline;
mod control;
mod gradient;
mod rule;
mod settings;
mod vegas;
mod window;

pub(in crate::limit) use self::control::{Control, Ending};
pub use self::settings::{AdaptiveSettings, Algorithm};
