//! Who is asking, behind proxies.

mod entry;
#[cfg(feature = "serde")]
mod file;
mod from_right;
mod layer;
mod proxies;
mod service;

pub use self::layer::ClientAddressLayer;
pub use self::proxies::{ForwardingHeader, InvalidProxies, TrustedProxies};
pub use self::service::ClientAddressService;
