//! Services that have several endpoints: which they are, and a service below `retry` that sends each attempt to one of them.

mod assemble;
mod endpoint;
#[cfg(feature = "serde")]
mod file;
mod service;
mod settings;

pub use self::endpoint::Endpoint;
pub use self::settings::UpstreamSettings;

pub(super) use self::assemble::{Upstreams, Wanted};
pub(super) use self::endpoint::PerEndpoint;
pub(super) use self::service::ToUpstreams;
pub(super) use self::settings::check;
