//! What every module stands on: errors, outcomes, deadlines, budgets, bodies and clocks.

mod alarm;
mod backoff;
pub mod body;
mod budget;
mod call;
mod clock;
pub mod deadline;
mod error;
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
