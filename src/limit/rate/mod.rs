//! How much in which time.

mod allowed;
mod bucket;
mod gate;
mod holes;
mod in_force;
mod keyed;
mod layer;
mod limiter;
mod log;
mod pace;
mod policy;
mod quota;
mod reservation;

pub use self::allowed::Allowed;
#[cfg(feature = "server")]
pub(super) use self::gate::fields;
pub use self::gate::{Both, Costs, Rate, RateLimit};
pub use self::keyed::KeyedRateLimiter;
pub use self::layer::RateLimitLayer;
pub use self::limiter::RateLimiter;
pub use self::quota::{InvalidQuota, Quota};
pub use self::reservation::Reservation;

pub(super) use self::bucket::Plan;
use self::gate::Paid;
pub(super) use self::pace::{Denied, Pace};
pub(super) use self::policy::Policy;
