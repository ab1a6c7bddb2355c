//! What every module stands on: errors, outcomes, deadlines, budgets, bodies and clocks.

mod alarm;
mod backoff;
pub mod body;
mod budget;
mod call;
mod clock;
#[cfg(feature = "backoff")]
mod compat;
pub mod deadline;
mod error;
#[cfg(feature = "serde")]
pub(crate) mod human;
mod key;
mod mode;
mod observe;
mod outcome;
mod ratio;
mod refuse;
mod retry_after;
mod rng;
mod scope;
mod wire;

pub use backoff::{Backoff, Delays, InvalidBackoff, Jitter, Schedule};
pub use budget::{Budget, BudgetSettings, BudgetStats, Withdrawal};
pub use clock::WallClock;
#[cfg(feature = "backoff")]
#[cfg_attr(docsrs, doc(cfg(feature = "backoff")))]
pub use compat::FromBackoff;
pub use key::{IDEMPOTENCY_KEY, IdempotencyKey, InvalidKey, KeyFormat};
pub use ratio::{InvalidRatio, Ratio};
pub use retry_after::{Pushback, RetryAfter};
pub use rng::Rng;
pub use wire::{InvalidTimeout, TimeoutHeader};
