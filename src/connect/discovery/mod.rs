//! Names that are followed to their addresses, for balancers. See [`DnsDiscovery`].

mod dns;
#[cfg(feature = "serde")]
mod file;
mod schedule;
mod settings;

pub use self::dns::{DnsDiscovery, LookAgain};
pub use self::settings::DiscoverySettings;
