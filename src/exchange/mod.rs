//! What the transports over hyper's connections share: which requests can be sent, how they are framed, and what an
//! error proves about them.

mod check;
mod delivery;
mod framing;
mod invalid;
mod outgoing;

pub(crate) use self::check::sendable;
pub(crate) use self::delivery::Facts;
pub(crate) use self::framing::frame;
pub use self::invalid::InvalidRequest;
pub(crate) use self::outgoing::Outgoing;
pub use self::outgoing::RequestBodyFailed;
