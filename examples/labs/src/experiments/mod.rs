//! What was published, with its numbers, done again with the layers in virtual time. Each of these files begins with what was published.

mod adaptive;
mod black_hole;
mod endpoints;
mod even;
mod in_line;
mod metastable;
mod slow_one;
mod storm;
mod supermarket;
mod tail;
mod throttle;

pub use self::adaptive::ADAPTIVE;
pub use self::black_hole::BLACK_HOLE;
pub use self::even::EVEN;
pub use self::in_line::IN_LINE;
pub use self::metastable::METASTABLE;
pub use self::slow_one::SLOW_ONE;
pub use self::storm::STORM;
pub use self::supermarket::SUPERMARKET;
pub use self::tail::TAIL;
pub use self::throttle::THROTTLE;

use crate::Experiment;

/// All of them, by their letters.
pub const ALL: [Experiment; 10] =
    [SUPERMARKET, SLOW_ONE, TAIL, STORM, METASTABLE, ADAPTIVE, BLACK_HOLE, IN_LINE, EVEN, THROTTLE];
