//! What does a call see that crosses three services, of which one is killed and another one stops?
//!
//! *The problem:* A asks B, and B asks C. A deadline that is forgotten between two of them lets C work for nobody; a retry at each of them is
//! nine calls at the last; a status that means "never again" is asked again, and one that means "in a moment" is not; and a replica that
//! goes takes those calls with it that it had, and then those that come before anybody has noticed.
//!
//! *What to look at:* [`stack`], through which every service here calls the next one; [`mesh`], where A gets its three Bs and their prober; [`node`], the
//! server that each of them is; and [`services`], what they do, in which nothing of the above is mentioned. The services are tonic's, with messages of prost; what a generator
//! would write stands in [`proto`], by hand, so that nobody needs `protoc`. Then five scenes: [`deadlines`], [`statuses`], [`frozen`], [`killed`],
//! [`drained`].
//!
//! *What it shows:* a deadline that everybody behind it has, less what was used; work that ends everywhere when its caller gives up;
//! `UNAVAILABLE`, `INVALID_ARGUMENT` and `RESOURCE_EXHAUSTED` with a pushback, each as it wants to be taken; retries of several hops that
//! do not multiply; three replicas with probes over gRPC's own health protocol, of which one falls silent, one is killed and comes back, and one
//! is told to stop, says so, finishes what it has, and is missed by nobody.
//!
//!     cargo run --example grpc_mesh
//!
//! It takes about twelve seconds, and ends with exit code 0 if every claim held.

mod deadlines;
mod drained;
mod frozen;
mod killed;
#[path = "../kit/mod.rs"]
mod kit;
mod log;
mod mesh;
mod node;
mod proto;
mod services;
mod stack;
mod statuses;
mod traffic;

use std::process::ExitCode;

use stonework::base::BoxError;

use self::kit::Verdict;
use self::mesh::Mesh;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    let mut mesh = Mesh::start().await?;
    deadlines::play(&mesh, &mut verdict).await?;
    statuses::play(&mesh, &mut verdict).await?;
    frozen::play(&mesh, &mut verdict).await?;
    killed::play(&mut mesh, &mut verdict).await?;
    drained::play(&mut mesh, &mut verdict).await?;
    Ok(verdict)
}
