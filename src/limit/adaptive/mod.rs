//! How many at once, found out.

mod baseline;
mod control;
mod gradient;
mod rule;
mod settings;
mod vegas;
mod window;

pub use self::settings::{AdaptiveSettings, Algorithm};

pub(super) use self::control::{Control, Ending};
