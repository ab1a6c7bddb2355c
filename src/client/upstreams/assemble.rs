use std::fmt;
use std::sync::Arc;

use tower::util::Either;

use super::endpoint::PerEndpoint;
use super::service::{Route, ToUpstreams};
use super::settings::no_origin;
use super::{Endpoint, UpstreamSettings};
use crate::balance::{Balancer, BalancerBuilder};
use crate::base::{Observer, Origin, Rng};
use crate::client::builder::Judge;
use crate::client::service::Guarded;
use crate::client::{Client, ClientBuilder, ClientSettings, InvalidClient};

type Tune = dyn Fn(BalancerBuilder<Endpoint>) -> BalancerBuilder<Endpoint> + Send + Sync;

/// What a builder was told of services with several endpoints, in addition to the settings.
#[derive(Clone, Default)]
pub(in crate::client) struct Wanted(Vec<(String, Arc<Tune>)>);

/// The services of a client that have several endpoints.
#[derive(Clone, Debug, Default)]
pub(in crate::client) struct Upstreams(Vec<(Origin, Balancer<Endpoint>)>);

impl ClientBuilder {
    /// Send what goes to this origin, that is, a scheme, a host and maybe a port, to one of several endpoints: see
    /// [`balance`](crate::balance). They are set up here, or partly in the settings' [`upstream`](crate::client::ClientSettings::upstream): which there are, how that is
    /// heard of, who looks after them. What is given here begins with the origin for its name and with the settings', the observer and the
    /// random numbers of this client; its observer is told all the same where another is given.
    ///
    /// The name of the origin is never looked up; TLS and `host` say it all the same. A member is named by its host and port, as `"10.0.0.7:8080"`; without a port it is
    /// the origin's. Each has its own circuit, limits and connections. Through a proxy, each is reached by a tunnel. Default: none.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// let client = Client::builder()
    ///     .upstream("http://orders.internal", |balancer| balancer.members(["10.0.0.7:8080", "10.0.0.8:8080"]))
    ///     .build()?;
    /// println!("{:?}", client.upstream("http://orders.internal").map(|balancer| balancer.stats()));
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    ///
    /// With endpoints that a name has, and a prober that follows them:
    #[cfg_attr(
        feature = "health",
        doc = r#"
```
# #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::client::InvalidClient> {
use stonework::client::{Client, ClientSettings};
use stonework::connect::{DnsDiscovery, SystemResolver};
use stonework::health::{HttpProbe, Prober};

// Without a circuit, which would keep probes from finding out that an endpoint is well again.
let probes = Client::builder().settings(ClientSettings::new().without_breaker()).build()?;
let client = Client::builder()
    .upstream("http://orders.internal", move |balancer| {
        let discovery = DnsDiscovery::new(SystemResolver::new(), "orders.internal", 8080);
        balancer
            .observer(discovery.look_again())
            .discover(discovery)
            .inspect(Prober::builder(HttpProbe::get(probes.clone(), "/readyz")))
    })
    .build()?;
# let _ = client;
# Ok(()) }
```
"#
    )]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    pub fn upstream<F>(mut self, origin: impl Into<String>, set_up: F) -> Self
    where
        F: Fn(BalancerBuilder<Endpoint>) -> BalancerBuilder<Endpoint> + Send + Sync + 'static,
    {
        self.upstreams.0.push((origin.into(), Arc::new(set_up)));
        self
    }
}

impl Client {
    /// The balancer of this origin, if the client has one: for what is known of its endpoints, or to have others.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// assert!(Client::new().upstream("http://orders.internal").is_none());
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[must_use]
    pub fn upstream(&self, origin: &str) -> Option<&Balancer<Endpoint>> {
        let origin = Origin::parse(origin)?;
        let mut all = self.shared.parts.upstreams.0.iter();
        all.find(|(other, _)| *other == origin).map(|(_, balancer)| balancer)
    }
}

/// What is known of one of them.
struct Plan<'a> {
    origin: Origin,
    settings: Option<&'a UpstreamSettings>,
    tunes: Vec<Arc<Tune>>,
}

impl Wanted {
    /// With the settings, which were checked.
    pub(in crate::client) fn build(
        self,
        settings: &ClientSettings,
        per_endpoint: &PerEndpoint,
        observer: Option<&Arc<dyn Observer>>,
        rng: Option<&Rng>,
    ) -> Result<Upstreams, InvalidClient> {
        let plans = self.plans(settings)?;
        let build = |plan: Plan<'_>| {
            let balancer = plan.build(per_endpoint, observer, rng)?;
            Ok((plan.origin, balancer))
        };
        plans.into_iter().map(build).collect::<Result<_, _>>().map(Upstreams)
    }

    fn plans(self, settings: &ClientSettings) -> Result<Vec<Plan<'_>>, InvalidClient> {
        let parse = |text: &str| Origin::parse(text).ok_or_else(|| no_origin(text));
        let mut plans = Vec::new();
        for (text, settings) in &settings.upstreams {
            plans.push(Plan { origin: parse(text)?, settings: Some(settings), tunes: Vec::new() });
        }
        for (text, tune) in self.0 {
            let origin = parse(&text)?;
            match plans.iter_mut().find(|plan| plan.origin == origin) {
                Some(plan) => plan.tunes.push(tune),
                None => plans.push(Plan { origin, settings: None, tunes: vec![tune] }),
            }
        }
        Ok(plans)
    }
}

impl Plan<'_> {
    fn build(
        &self,
        per_endpoint: &PerEndpoint,
        observer: Option<&Arc<dyn Observer>>,
        rng: Option<&Rng>,
    ) -> Result<Balancer<Endpoint>, InvalidClient> {
        let Self { origin, settings, tunes } = self;
        if tunes.is_empty() && settings.is_none_or(|settings| settings.members.is_empty()) {
            return Err(InvalidClient::UpstreamEmpty { origin: origin.to_string() });
        }
        let (make, at) = (per_endpoint.clone(), origin.clone());
        let mut builder = Balancer::builder(move |id| make.of(&at, id)).name(origin.to_string());
        if let Some(settings) = settings {
            builder = builder.members(settings.members.clone()).settings(settings.balancer.clone());
        }
        if let Some(rng) = rng {
            builder = builder.rng(rng.clone());
        }
        builder = tunes.iter().fold(builder, |builder, tune| tune(builder));
        if let Some(observer) = observer {
            builder = builder.and_observer(Arc::clone(observer));
        }
        builder.build().map_err(|why| InvalidClient::Upstream { origin: origin.to_string(), why })
    }
}

impl Upstreams {
    pub(in crate::client) fn around(&self, others: Guarded, judge: &Judge) -> Either<ToUpstreams, Guarded> {
        if self.0.is_empty() {
            return Either::Right(others);
        }
        let route = |(origin, balancer): &(Origin, Balancer<Endpoint>)| Route {
            origin: origin.clone(),
            service: balancer.service().classify(judge.clone()),
        };
        Either::Left(ToUpstreams { routes: self.0.iter().map(route).collect(), others })
    }

    /// Each in words.
    pub(in crate::client) fn told(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(origin, balancer)| format!("{origin} by endpoint; {}", balancer.told()))
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(origin, _)| origin)).finish()
    }
}
