//! Tokens that are issued here: keys of our own, which change, and where others find them.

mod builder;
mod claims;
mod error;
#[cfg(feature = "serde")]
mod file;
mod handle;
mod key;
mod paths;
mod rotation;
mod service;
mod settings;

pub use self::builder::IssuerBuilder;
pub use self::error::NotSigned;
pub use self::handle::Issuer;
pub use self::key::SigningKey;
pub use self::service::IssuerService;
pub use self::settings::IssuerSettings;
