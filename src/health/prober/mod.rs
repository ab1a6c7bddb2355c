//! Probes of endpoints: what a client wants to know of those whom it might call. See the [module](crate::health).

mod builder;
mod grpc;
mod handle;
mod http;
mod judge;
mod pace;
mod probe;
mod roster;
mod settings;
mod state;
mod stats;
mod streak;
mod task;
mod tcp;

pub use self::builder::ProberBuilder;
pub use self::grpc::GrpcProbe;
pub use self::handle::Prober;
pub use self::http::HttpProbe;
pub use self::probe::{Probe, ProbeFn, probe_fn};
pub use self::settings::ProberSettings;
pub use self::stats::{ProbedEndpoint, ProberStats};
pub use self::tcp::TcpProbe;
