//! Is it well? What a server says to those who ask whether to restart it, and whether to send it requests.
//!
//! The two questions are kept apart, since a wrong answer to either makes an outage worse. A process that is restarted because
//! its database is down does not repair the database; and if each replica refuses requests because something fails that all of
//! them share, there is none left.
//!
//! | path | gRPC name | asks | who asks | checks that have a say |
//! |---|---|---|---|---|
//! | `/livez` | `liveness` | shall it be restarted? | `livenessProbe` | liveness: plain functions, which cannot ask a database |
//! | `/readyz` | `readiness`, or none | shall it get requests? | `readinessProbe`, load balancers | startup, and readiness by their [`Impact`] |
//! | `/startupz` | `startup` | has it begun? | `startupProbe` | startup, until each has passed once |
//!
//! A [`HealthLayer`] around everything else of a server answers these, and `grpc.health.v1.Health` with `Check`, `Watch` and
//! `List`, so that no limit refuses a probe. A [`HealthService`] answers nothing else, on a port or a route of its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use stonework::health::{Health, Impact};
//! use tower::ServiceExt;
//!
//! let health = Health::builder()
//!     .startup("schema", || async { true })
//!     .readiness("disk", Impact::Hard, || async { std::fs::metadata(".").map(|_| ()) })
//!     .readiness("database", Impact::Shared, || async { Err("connection refused") as Result<(), _> })
//!     .build()
//!     .unwrap();
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(health.layer());
//!
//! let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
//! assert_eq!(ask("/livez").await.unwrap().status(), 200);
//! assert_eq!(ask("/readyz").await.unwrap().status(), 503); // nothing was checked yet
//! tokio::time::sleep(std::time::Duration::from_secs(2)).await;
//! assert_eq!(ask("/startupz").await.unwrap().status(), 200);
//! assert_eq!(ask("/readyz").await.unwrap().status(), 503); // the database was never reached
//! # }
//! ```
//!
//! In Kubernetes, with the defaults on this side; a probe's own `failureThreshold` comes on top:
//!
//! ```yaml
//! startupProbe:   { httpGet: { path: /startupz, port: 8080 }, periodSeconds: 1, failureThreshold: 300 }
//! livenessProbe:  { httpGet: { path: /livez, port: 8080 }, periodSeconds: 10, failureThreshold: 3 }
//! readinessProbe: { httpGet: { path: /readyz, port: 8080 }, periodSeconds: 5, failureThreshold: 1 }
//! # or over gRPC, for instance:
//! # livenessProbe: { grpc: { port: 8080, service: liveness } }
//! ```
//!
//! Customized, and taken out of service before it stops:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use std::time::Duration;
//! use stonework::base::TracingObserver;
//! use stonework::health::{Health, HealthSettings, Impact, Verdict};
//!
//! let health = Health::builder()
//!     .settings(HealthSettings::new().interval(Duration::from_secs(5)).failures(3))
//!     .readiness("cache", Impact::Soft, || async { Verdict::warn("a quarter of it is cold") })
//!     .grpc_service("orders.v1.Orders")
//!     .observer(TracingObserver)
//!     .build()
//!     .unwrap();
//! assert!(health.wait_ready().await);
//!
//! health.drain(); // then wait until load balancers have noticed, and stop
//! assert!(!health.ready() && health.live());
//! # }
//! ```
//!
//! # How checks run
//!
//! In one task, which ends with the last handle: each at its own pace, with a limit on its time, and never twice at the same time. A
//! check that hangs is dropped when its time is over, and so is what it waits for; what it has handed to another thread it has to end
//! itself. A check that panics has failed. A result that is too old counts as failed. What clients of this crate do for a check has
//! the check's limit as its deadline.
//!
//! A probe runs no check but those of liveness, and waits for nothing: it reads what is known, and a thousand of them a second ask
//! nothing more of a database than none.
//!
//! # What a probe is told
//!
//! 200 or 503, with `Cache-Control: no-store`, and one word: `pass`, `warn` (it is ready although a check is not well) or `fail`.
//! `?verbose` adds a line for each check; `Accept: application/health+json` or `application/json` asks for the form of
//! draft-inadarei-api-health-check-06. What checks said is left out of both unless [`show_output`](HealthSettings::show_output)
//! is on, since anybody may ask. Any method but GET and HEAD is answered 405. gRPC's `Check` of a name that nobody knows is
//! `NOT_FOUND`; `Watch` of it says `SERVICE_UNKNOWN` and stays open. Of one registry 1024 may watch at once, more are told `RESOURCE_EXHAUSTED`; on a
//! connection of a [`Server`](crate::server::Server) that is [old](crate::server::ServerSettings::max_age) a watch ends with `UNAVAILABLE`.
//!
//! *Errors:* none of its own; a check that cannot be is refused by [`HealthBuilder::build`]. *Panics:* of checks and observers are
//! caught. *Cancellation:* see [`Health::wait_ready`] and [`HealthWatch::changed`]. *Readiness and cloning:* a [`HealthService`] is
//! always ready, and waits for the inner service within the call. *Not for:* what calls themselves say about those whom a client
//! calls; for that see `breaker` and `balance`.
//!
//! # How are the others?
//!
//! A [`Prober`] asks the endpoints that a client might call, and tells a balancer which of them are fit:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use stonework::base::Fitness;
//! use stonework::health::{HttpProbe, Prober};
//! use stonework::testing::{ScriptedServer, respond};
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # let client = Client::builder(TokioExecutor::new()).build_http::<stonework::Body>();
//!
//! let good = ScriptedServer::start(|_| respond(200).keep_alive()).await;
//! let starting = ScriptedServer::start(|_| respond(503).keep_alive()).await;
//! let endpoints = [good.uri("").authority().unwrap().to_string(), starting.uri("").authority().unwrap().to_string()];
//!
//! let prober = Prober::builder(HttpProbe::get(client, "/readyz"))
//!     .on_change(|endpoint, fitness| println!("{endpoint} is {fitness}")) // `balancer.found(endpoint, fitness)`
//!     .build()?;
//! prober.set(endpoints.clone());
//! assert!(prober.wait_first(Duration::from_secs(5)).await);
//! assert_eq!(prober.fitness(&endpoints[0].as_str().into()), Fitness::Fit);
//! assert_eq!(prober.fitness(&endpoints[1].as_str().into()), Fitness::Unfit);
//! # Ok(()) }
//! ```
//!
//! To follow the endpoints that a balancer discovers, it is given to that: `BalancerBuilder::inspect`, with the features `balance` and `client`.
//!
//! Customized, over gRPC, with settings that could as well come from a file:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use stonework::Body;
//! use stonework::base::TracingObserver;
//! use stonework::health::{GrpcProbe, Prober, ProberSettings};
//!
//! let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
//! let prober = Prober::builder(GrpcProbe::new(client).service("orders.v1.Orders"))
//!     .settings(ProberSettings::new().interval(Duration::from_secs(5)).fall(2))
//!     .name("orders")
//!     .observer(TracingObserver)
//!     .build()?;
//! prober.set(["10.0.0.7:8080", "10.0.0.8:8080"]);
//! # Ok(()) }
//! ```
//!
//! | probe | asks | is well |
//! |---|---|---|
//! | [`HttpProbe`] | a path, or with a request of your own, over any client | answers 200 to 299, or as you say |
//! | [`GrpcProbe`] | `grpc.health.v1.Health/Check`, over any client that speaks HTTP/2 | serves, or has no such method |
//! | [`TcpProbe`] | for a connection | can be connected to |
//! | [`probe_fn`], [`Probe`] | whatever you like | as you say |
//!
//! - *What counts.* The first result counts at once; after that [three failures](ProberSettings::fall) in a row make an endpoint unfit,
//!   and [two successes](ProberSettings::rise) fit: one that passes and fails by turns never changes. A probe that takes too long is dropped, and
//!   has failed; so has one that panics. Before the first result, and when nobody probes it any more, an endpoint is `Unknown`.
//! - *When.* With `n` endpoints a probe starts every `interval / n`, of whoever was asked the longest time ago: spread evenly, give or take
//!   a tenth, however endpoints come and go, and in an order that each prober draws for itself. Those that are new go first, one every 50 ms if that is
//!   quicker, so that of a few endpoints one knows soon. No more than [a hundred](ProberSettings::max_at_once) run at once.
//! - *Tasks.* One for all, which ends with the last handle, and one for each probe that is under way. *Panics:* outside a Tokio runtime, when a
//!   prober is built; those of probes and of whoever hears of changes are caught. *Cancellation:* see [`Prober::wait_first`].

mod answer;
mod body;
mod builder;
mod future;
mod grpc;
mod handle;
mod layer;
mod prober;
mod probing;
mod report;
mod service;
mod settings;
mod state;
mod tally;
mod verdict;
mod watch;

#[cfg(feature = "server")]
pub(crate) use self::answer::is_asked;
pub use self::body::HealthBody;
pub use self::builder::HealthBuilder;
pub use self::future::HealthFuture;
pub use self::handle::Health;
pub use self::layer::HealthLayer;
pub use self::prober::{
    GrpcProbe, HttpProbe, Probe, ProbeFn, ProbedEndpoint, Prober, ProberBuilder, ProberSettings, ProberStats,
    TcpProbe, probe_fn,
};
pub use self::report::{CheckKind, CheckReport, HealthReport, HealthStatus, Impact};
pub use self::service::{HealthService, NotFound};
pub use self::settings::{HealthSettings, InvalidHealth};
pub use self::verdict::{IntoVerdict, Verdict};
pub use self::watch::HealthWatch;
