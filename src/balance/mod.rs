//! To whom?
mod choice;
mod error;
mod ewma;
#[cfg(feature = "serde")]
mod file;
mod life;
mod outlier;
mod outlier_settings;
mod rendezvous;
mod settings;
mod slow_start;
mod tiers;
mod weighted;

pub use self::error::{AllUnhealthy, NoEndpoints};
pub use self::outlier_settings::OutlierSettings;
pub use self::settings::{BalancerSettings, InvalidBalancer, Pick, WhenUnhealthy};
