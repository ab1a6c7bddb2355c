//! To whom? One of several endpoints: one that can be reached, works, and has the least to do.
//!
//! A [`Balancer`] has a set of endpoints, each with a service of its own: its circuit, its limit, its connections. Its
//! [service](BalancerService) sends each call to one of them. It stands inside of `retry`, so that the next attempt goes to another
//! endpoint, and outside of whatever belongs to one endpoint, so that a sick one opens no circuit but its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use stonework::balance::Balancer;
//! use stonework::base::EndpointId;
//! use stonework::retry::RetryLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! // In earnest: a client that connects there, below a circuit.
//! let connect = |id: &EndpointId| {
//!     let id = id.to_string();
//!     service_fn(move |_: Request<Full<Bytes>>| {
//!         let answer = Response::builder().header("server", &id).body(Full::<Bytes>::default());
//!         async move { Ok::<_, std::convert::Infallible>(answer.unwrap()) }
//!     })
//! };
//! let balancer = Balancer::builder(connect).members(["10.0.0.1:80", "10.0.0.2:80"]).build().unwrap();
//! let service = RetryLayer::new().layer(balancer.service());
//!
//! let answer = service.oneshot(Request::get("/").body(Full::default()).unwrap()).await.unwrap();
//! assert!(answer.headers()["server"].to_str().unwrap().starts_with("10.0.0."));
//! println!("{:?}", balancer.stats());
//! # }
//! ```
//!
//! Customized: weights and tiers, sticky sessions, a check, and a list that changes:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use stonework::balance::{Balancer, BalancerSettings, Member, Pick, StickyCookie, WhenUnhealthy, watch};
//! use stonework::base::TracingObserver;
//!
//! # #[derive(Clone)] struct Transport;
//! # impl Transport { async fn connect(self) -> std::io::Result<()> { Ok(()) } }
//! let settings = BalancerSettings::new()
//!     .pick(Pick::LeastLoaded)
//!     .slow_start(Duration::from_secs(60))
//!     .when_unhealthy(WhenUnhealthy::FailFast);
//! let (sender, members) = watch();
//! let balancer = Balancer::builder(|id| Transport)
//!     .name("orders")
//!     .discover(members)
//!     .check(Transport::connect)
//!     .settings(settings)
//!     .observer(TracingObserver)
//!     .build()?;
//! let service = balancer.service().sticky(StickyCookie::new("session"));
//!
//! sender.send([Member::new("10.0.0.1:80").weight(2), Member::new("10.1.0.1:80").tier(1)]);
//! # let _ = service;
//! # Ok(()) }
//! ```
//!
//! # Who is picked
//!
//! Of the endpoints that are [`Ready`](crate::base::EndpointState::Ready), in the first [tier](Member::tier) that can take the call: of two that
//! are drawn by weight, the one that will cost less time ([`Pick`] has other ways, a [`Picker`] yours), or the one that a [key](Sticky) sticks to. One that
//! has just come, or come back, gets [little at first](BalancerSettings::slow_start). If its service is not ready, as below a limit that is
//! reached, a second one is asked, and the first of the two to become ready gets the call; if one of them fails, the other keeps its place. A pick takes no lock, allocates nothing, and looks at two
//! endpoints; with a key, at all.
//!
//! | how a call ended | what it says about the endpoint |
//! |---|---|
//! | well | how fast it is |
//! | with a [`Failure`](crate::base::Outcome::Failure), by [`ClassifyHttp`](crate::base::ClassifyHttp) or another classifier | that it is slow, from the second in a row on; and that it may be an outlier |
//! | with [`Overload`](crate::base::Outcome::Overload) | that it is slow |
//! | dropped by its caller | that it is no faster than that |
//! | dropped when its deadline had passed | as a failure |
//! | with a body that broke off, or trailers that say that it failed | as a failure, but for the speed |
//! | unsent, since the deadline passed while it was being connected to | as a failure |
//! | unsent, since it could not be reached; or it failed to become ready | that it is left alone for a while |
//! | unsent for another reason, as a circuit's | nothing |
//!
//! # What becomes of an endpoint
//!
//! | state | calls | until |
//! |---|---|---|
//! | [`Connecting`](crate::base::EndpointState::Connecting) | none | a [check](BalancerBuilder::check) says that it can be reached; without one, not at all |
//! | [`Ready`](crate::base::EndpointState::Ready) | its share | something is found against it |
//! | [`Backoff`](crate::base::EndpointState::Backoff) | none | its [pause](BalancerSettings::backoff) is over, which grows until it answers |
//! | [`Ejected`](crate::base::EndpointState::Ejected) | none | its [time](OutlierSettings::base_ejection) is over, or it is [found](Balancer::found) to be well |
//! | [`Draining`](crate::base::EndpointState::Draining) | none but those under way | the last of them has ended |
//!
//! A task goes from one to the next when it is time, and no call has to come for it. None is ever lost: only a list without it
//! removes it.
//!
//! # When it cannot be sent there
//!
//! A request that came back unsent goes to another endpoint at once, whatever its method, up to [so
//! often](BalancerSettings::failovers): the endpoint hands it back with its error, so that no copy is kept. That is no attempt of a
//! `retry`, and costs no budget. What may have been sent comes back as an error, for `retry` to decide about; its next attempt
//! avoids the endpoints that were tried, if both are in one task.
//!
//! When fewer than [half](BalancerSettings::panic_threshold) are ready, it is taken for more likely that the checks are wrong, and all are
//! called but those that cannot be reached; [another choice](WhenUnhealthy) is to call none that is not ready. Never are more left out for what
//! calls found than [their share](OutlierSettings::max_ejected): of two or three, one; of one, none.
//!
//! *Defaults:* see [`BalancerSettings::new`] and [`OutlierSettings::new`]. *Not for:* a single address behind which somebody else balances.
//! *Not covered:* what other processes know; each finds out for itself.
//!
//! *Errors:* of kind [`NoEndpoint`](crate::base::Kind::NoEndpoint) with [`NoEndpoints`] or [`AllUnhealthy`] at the end, not sent, with the request
//! handed back; of kind [`Timeout`](crate::base::Kind::Timeout) with [`Elapsed`](crate::base::Elapsed) at the end, not sent and with the request
//! too, if the deadline passes before an endpoint is ready for it; else that of the last endpoint. *Panics:* none of its own. *Cancellation:* dropping a future drops the call inside, and counts
//! as above. *Readiness and cloning:* always ready; clones share the set. *Events:*
//! [`EndpointChanged`](crate::base::Event::EndpointChanged), [`FailedOver`](crate::base::Event::FailedOver),
//! [`PanicChanged`](crate::base::Event::PanicChanged), [`DiscoveryFailed`](crate::base::Event::DiscoveryFailed).

mod builder;
mod choice;
mod core;
mod discover;
mod driver;
mod endpoint;
mod error;
mod ewma;
#[cfg(feature = "serde")]
mod file;
mod fleet;
mod flight;
mod future;
mod handle;
mod inspect;
mod life;
mod load;
mod member;
mod outlier;
mod outlier_settings;
mod picker;
mod record;
mod rendezvous;
mod service;
mod set;
mod settings;
mod shelf;
mod slow_start;
mod stats;
mod sticky;
mod tiers;
mod turns;
mod weighted;

pub use self::builder::BalancerBuilder;
pub use self::discover::{Discover, MemberSender, MemberWatch, watch};
pub use self::error::{AllUnhealthy, NoEndpoints};
pub use self::flight::InUse;
pub use self::future::BalancerFuture;
pub use self::handle::Balancer;
pub use self::inspect::{Found, Inspect};
pub use self::member::Member;
pub use self::outlier_settings::OutlierSettings;
pub use self::picker::{Candidate, Candidates, Picker};
pub use self::service::BalancerService;
pub use self::settings::{BalancerSettings, InvalidBalancer, Pick, WhenUnhealthy};
pub use self::stats::{BalancerStats, EndpointStats};
pub use self::sticky::{NotSticky, Sticky, StickyCookie, StickyHeader, StickyKey};
