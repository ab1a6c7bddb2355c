use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use tower::util::{Either, option_layer};
use tower_layer::Layer;
use tower_service::Service;

use super::auth::Auth;
use super::instead::Instead;
use super::limits::Limits;
use super::per_host::PerHost;
use super::redirect::Redirect;
use super::restraint::Restraint;
use super::service::{Parts, Resuming};
use super::stacks::InLanes;
use super::transport::Transport;
use super::unified::Unified;
#[cfg(feature = "balance")]
use super::upstreams::PerEndpoint;
use super::{Client, ClientSettings, InvalidClient};
use crate::base::body::Body;
use crate::base::{
    BoxError, Budget, ByHost, Classify, ClassifyHttp, Error, HostPort, Observe, Observer, Outcome, Rng,
    TIMEOUT_MS, WallClock,
};
use crate::breaker::Breakers;
use crate::connect::Connector;
use crate::hedge::HedgeLayer;
use crate::limit::{KeyedAdaptiveThrottle, KeyedConcurrencyLimiter, KeyedRateLimiter, ServerQuotas};
use crate::observe::{PropagateLayer, Propagation, SpanLayer};
use crate::retry::{CollectLayer, ResumeLayer, RetryLayer, RetrySettings};
use crate::timeout::{AttemptTimeoutLayer, SendDeadlineLayer, TimeoutLayer};

/// Builds a [`Client`]. The order of the setters does not matter: the stack is always the same.
///
/// What can be written down in a file is in the [`ClientSettings`], limits on time and the number of attempts included; what is left, is set here.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    settings: ClientSettings,
    pub(super) auth: Auth,
    breakers: Option<Breakers>,
    budget: Option<Budget>,
    fallback: Option<Instead>,
    classify: Option<Judge>,
    connector: Option<Connector>,
    concurrency: Option<KeyedConcurrencyLimiter<HostPort>>,
    observer: Option<Arc<dyn Observer>>,
    rates: Option<KeyedRateLimiter<HostPort>>,
    restraint: Restraint,
    rng: Option<Rng>,
    #[cfg(feature = "balance")]
    pub(super) upstreams: super::upstreams::Wanted,
    wall: WallClock,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Everything that is data. Default: [`ClientSettings::new`].
    pub fn settings(mut self, settings: ClientSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Send each attempt that goes to one of the layer's origins with a token of its source: see [`BearerLayer`](crate::oauth::BearerLayer). A
    /// request that has an `authorization` keeps that, and a redirect to another origin carries none. Default: none.
    ///
    /// ```
    /// use stonework::base::ClientAuth;
    /// use stonework::client::Client;
    /// use stonework::oauth::{BearerLayer, TokenSource};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The client that asks for tokens is another one, or it would wait for itself.
    /// let source = TokenSource::builder("https://id.example/token", ClientAuth::basic("orders", "a secret"))
    ///     .scope("stock:read")
    ///     .build(Client::new())?;
    /// let client = Client::builder().bearer(BearerLayer::new(source, ["https://stock.example"])?).build()?;
    /// assert!(client.explain().contains("auth: tokens for https://stock.example:443\n"));
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "oauth")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    pub fn bearer(mut self, layer: crate::oauth::BearerLayer) -> Self {
        self.auth = Auth::by(layer);
        self
    }

    /// Ask these circuits whether a host may be called, instead of ones of the client's own. Give all clients of the same hosts a
    /// clone of the same. The settings' are then of no account, but for whether there are any; and they tell the observer that they
    /// were given, not that of this client.
    ///
    /// ```
    /// use stonework::breaker::Breakers;
    /// use stonework::client::Client;
    ///
    /// let breakers = Breakers::default();
    /// let client = Client::builder().breakers(breakers.clone()).build()?;
    /// println!("{:?}", breakers.states());
    /// # let _ = client;
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn breakers(mut self, breakers: Breakers) -> Self {
        self.breakers = Some(breakers);
        self
    }

    /// Ask this service when a call has failed for one of the [reasons](ClientSettings::fallback) that are stated in the settings,
    /// after all attempts: see [`FallbackLayer::service`](crate::fallback::FallbackLayer::service). In place of another fallback, if one was given. Default: none.
    ///
    /// ```
    /// use stonework::client::Client;
    ///
    /// let archive = Client::new();
    /// let client = Client::builder().fallback(archive).build()?;
    /// # let _ = client;
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn fallback<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.fallback = Some(Instead::service(service));
        self
    }

    /// Answer with what `value` makes of the error when a call has failed for one of the [reasons](ClientSettings::fallback) that
    /// are stated in the settings, after all attempts: see [`FallbackLayer::value`](crate::fallback::FallbackLayer::value). In place of another fallback, if one was
    /// given. Default: none.
    ///
    /// ```
    /// use stonework::Body;
    /// use stonework::client::Client;
    ///
    /// let client = Client::builder().fallback_value(|_| http::Response::new(Body::from("[]"))).build()?;
    /// # let _ = client;
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn fallback_value(
        mut self,
        value: impl Fn(&Error) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        self.fallback = Some(Instead::value(value));
        self
    }

    /// Take the cost of retries from this budget, instead of from one of the client's own. Give all clients of one
    /// service a clone of the same.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Judge by this whether an attempt failed, and so whether another may help. Default: [`ClassifyHttp`].
    ///
    /// ```
    /// use http::StatusCode;
    /// use stonework::Body;
    /// use stonework::base::{Classify, ClassifyHttp, Error, Outcome};
    /// use stonework::client::Client;
    ///
    /// let client = Client::builder()
    ///     .classify(|result: Result<&http::Response<Body>, &Error>| match result {
    ///         Ok(response) if response.status() == StatusCode::LOCKED => Outcome::Failure,
    ///         other => ClassifyHttp.classify(other),
    ///     })
    ///     .build()?;
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn classify(mut self, classify: impl Classify<Response<Body>> + Send + Sync + 'static) -> Self {
        self.classify = Some(Judge(Arc::new(classify)));
        self
    }

    /// Make connections with this connector: with another resolver, certificates of one's own, a proxy, or over something else than TCP.
    /// Default: [`Connector::new`]. Clients that are given clones of the same one share the addresses that it remembers.
    ///
    /// ```
    /// use stonework::client::Client;
    /// use stonework::connect::{Connector, TcpSettings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let connector = Connector::builder().tcp(TcpSettings::new().nodelay(false)).build()?;
    /// let client = Client::builder().connector(connector).build()?;
    /// # let _ = client;
    /// # Ok(()) }
    /// ```
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Limit how many attempts are in flight to each host and port with this limiter, in place of one of the client's own. Give all
    /// clients of the same hosts a clone of the same. The settings' [`concurrency`](ClientSettings::concurrency) is then of no account.
    ///
    /// ```
    /// use stonework::client::Client;
    /// use stonework::limit::KeyedConcurrencyLimiter;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = KeyedConcurrencyLimiter::new(20)?;
    /// let client = Client::builder().concurrency_limiter(limiter.clone()).build()?;
    /// println!("{:?}", limiter.in_flight());
    /// # let _ = client;
    /// # Ok(()) }
    /// ```
    pub fn concurrency_limiter(mut self, limiter: KeyedConcurrencyLimiter<HostPort>) -> Self {
        self.concurrency = Some(limiter);
        self
    }

    /// Limit the rate of attempts to each host and port with this limiter, in place of one of the client's own: to share it between
    /// clients, or to change the quota later. The settings' [`rate_limit`](ClientSettings::rate_limit) is then of no account.
    ///
    /// ```
    /// use stonework::client::Client;
    /// use stonework::limit::{KeyedRateLimiter, Quota};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = KeyedRateLimiter::new(Quota::per_second(10))?;
    /// let client = Client::builder().rate_limiter(limiter.clone()).build()?;
    /// limiter.set_quota(Quota::per_second(5))?;
    /// # let _ = client;
    /// # Ok(()) }
    /// ```
    pub fn rate_limiter(mut self, limiter: KeyedRateLimiter<HostPort>) -> Self {
        self.rates = Some(limiter);
        self
    }

    /// Keep to what servers say of their limits with this handle, in place of one of the client's own: to share it between clients, or for
    /// [more](ServerQuotas::longest) than the settings' [`server_quotas`](ClientSettings::server_quotas) say, which is then of no account.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::client::Client;
    /// use stonework::limit::ServerQuotas;
    ///
    /// let quotas = ServerQuotas::new().longest(Duration::from_secs(300));
    /// let client = Client::builder().server_quotas(quotas.clone()).build()?;
    /// println!("{} servers", quotas.len());
    /// # let _ = client;
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn server_quotas(mut self, quotas: ServerQuotas) -> Self {
        self.restraint.quotas = Some(quotas);
        self
    }

    /// Hold back by this throttle what hosts would refuse, in place of one of the client's own. Give all clients of the same hosts a
    /// clone of the same. The settings' [`throttle`](ClientSettings::throttle) is then of no account.
    ///
    /// ```
    /// use stonework::client::Client;
    /// use stonework::limit::{KeyedAdaptiveThrottle, ThrottleSettings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let throttle = KeyedAdaptiveThrottle::new(ThrottleSettings::new())?;
    /// let client = Client::builder().throttle(throttle.clone()).build()?;
    /// println!("{} hosts", throttle.len());
    /// # let _ = client;
    /// # Ok(()) }
    /// ```
    pub fn throttle(mut self, throttle: KeyedAdaptiveThrottle) -> Self {
        self.restraint.throttle = Some(throttle);
        self
    }

    /// Tell this observer what happens to every attempt. Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Draw jitter and generated keys from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = Some(rng);
        self
    }

    /// Read the date in a `Retry-After` by this clock. Default: the system's.
    pub fn wall_clock(mut self, wall: WallClock) -> Self {
        self.wall = wall;
        self
    }

    /// Build the client. Nothing is connected before the first request.
    ///
    /// # Errors
    ///
    /// [`InvalidClient`], with the name of the setting, if the settings are impossible.
    pub fn build(mut self) -> Result<Client, InvalidClient> {
        self.settings.check()?;
        self.auth.complete(&self.settings)?;
        self.assemble()
    }

    /// The settings were checked, or are the defaults.
    pub(super) fn assemble(self) -> Result<Client, InvalidClient> {
        let Self {
            settings,
            auth,
            breakers,
            budget,
            fallback,
            classify,
            concurrency,
            connector,
            observer,
            rates,
            restraint,
            rng,
            #[cfg(feature = "balance")]
            upstreams,
            wall,
        } = self;
        let classify = classify.unwrap_or_default();
        let shared = budget.clone();
        let resumes = shared.is_some() && settings.resume.is_some();
        let dice = rng.clone();
        // What both take from is made here, so that it is one.
        let own = || settings.retry.as_ref().and_then(RetrySettings::own_budget).map(Budget::new);
        let budget = if settings.hedge.is_some() { budget.or_else(own) } else { budget };
        let retry = settings.retry.clone().map(|settings| {
            let mut layer = RetryLayer::from(settings).wall_clock(wall.clone());
            if let Some(budget) = &budget {
                layer = layer.budget(budget.clone());
            }
            if let Some(observer) = &observer {
                layer = layer.observer(Arc::clone(observer));
            }
            if let Some(rng) = dice {
                layer = layer.rng(rng);
            }
            layer.classify(classify.clone())
        });
        let counts = retry.is_none();
        let hedge = settings.hedge.clone().map(|settings| {
            let mut layer = HedgeLayer::from(settings).wall_clock(wall.clone());
            if let Some(budget) = &budget {
                layer = layer.budget(budget.clone()).counting(counts && !resumes);
            }
            if let Some(observer) = &observer {
                layer = layer.observer(Arc::clone(observer));
            }
            layer.classify(classify.clone())
        });
        let learns = hedge.as_ref().map(HedgeLayer::hedge);
        let resume = settings.resume.map(|settings| {
            let mut layer = ResumeLayer::from(settings);
            if let Some(budget) = &shared {
                layer = layer.budget(budget.clone()).counting(counts);
            }
            if let Some(rng) = &rng {
                layer = layer.rng(rng.clone());
            }
            layer
        });
        let resume = resume.unwrap_or_else(|| ResumeLayer::new().when(false));
        let own = settings.breaker.clone().map(|settings| {
            let mut breakers = Breakers::with(settings);
            if let Some(observer) = &observer {
                breakers = breakers.observer(Arc::clone(observer));
            }
            if let Some(rng) = &rng {
                breakers = breakers.rng(rng.clone());
            }
            breakers
        });
        let shares_breakers = breakers.is_some();
        let breakers = own.map(|own| breakers.unwrap_or(own));
        let attempt = settings.attempt_timeout;
        let attempt = AttemptTimeoutLayer::new(attempt.unwrap_or_default()).when(attempt.is_some());
        let whole = settings.deadline;
        let whole = TimeoutLayer::new(whole.unwrap_or_default()).when(whole.is_some());

        // The limit on an attempt is inside `retry`, so that there is time for another; the limit on the call is
        // outside, so that it covers all of them and the pauses.
        let observe = observer.clone().map_or_else(Observe::default, Observe::by);
        let transport = Transport::new(
            &settings,
            connector.unwrap_or_default(),
            observe,
            rng.clone().unwrap_or_else(Rng::from_entropy),
        );
        let limits = Limits::new(&settings, concurrency, rates);
        let per_host = PerHost::new(&settings, limits.clone(), breakers.clone(), classify.clone());
        let wire = per_host.around(transport.clone(), ByHost);
        // Inside of what a service as a whole asks for, outside of what belongs to one of its endpoints.
        #[cfg(feature = "balance")]
        let upstreams = {
            let per_endpoint = PerEndpoint { per_host, transport: transport.clone() };
            upstreams.build(&settings, &per_endpoint, observer.as_ref(), rng.as_ref())?
        };
        #[cfg(feature = "balance")]
        let wire = upstreams.around(wire, &classify);
        // Outside of the circuit, so that what is held back is neither a call nor a probe.
        let restraint = restraint.or_of(&settings, rng.as_ref(), &wall);
        let wire = restraint.around(&settings, &classify, wire);
        let collect = CollectLayer::new(settings.collect_within.unwrap_or_default());
        let collect = collect.when(settings.collect_within.is_some());
        // Inside of the limit on an attempt, which is what the server has; outside of the circuit, which is not to blame for a call without time.
        let header = settings.deadline_header.clone();
        let tell = SendDeadlineLayer::by_kind(header.clone().unwrap_or(TIMEOUT_MS)).when(header.is_some());
        let one = attempt.layer(tell.layer(Unified(collect.layer(wire))));
        // Outside of the limit on an attempt: who waits for a token does not wait for the server.
        let one = auth.around(one);
        let named = |layer: PropagateLayer| match &rng {
            Some(rng) => layer.rng(rng.clone()),
            None => layer,
        };
        let names = named(PropagateLayer::attempt()).when(settings.propagation != Propagation::Off);
        // Outside of the limit on an attempt, so that each of those under way has its own; inside of `retry`, which sees one result.
        let attempts = option_layer(hedge).layer(names.layer(SpanLayer::attempt().layer(one)));
        let attempts = InLanes::new(attempts);
        let calls = option_layer(retry).layer(attempts);
        // Outside of `retry`, so that each hop has attempts of its own; inside of the rest, which sees one call.
        let calls = Redirect::new(calls, settings.redirects, settings.resume.is_some());
        // Outside of `retry`, so that what another attempt can help is helped so.
        let calls = match &fallback {
            Some(fallback) => Either::Left(fallback.around(calls, settings.fallback.clone(), observer)),
            None => Either::Right(calls),
        };
        // Outside of the limit on the call, or a span whose call ran out of time would say that it was dropped.
        let begins = named(PropagateLayer::call()).when(settings.propagation == Propagation::Begin);
        let calls = begins.layer(SpanLayer::call().layer(whole.layer(calls)));
        let stack: Resuming = Unified(resume.layer(calls));
        #[cfg(feature = "decompression")]
        let stack = super::decode::Decode::new(stack, settings.decompression);
        let shared_budget = shared.is_some();
        let fallback = fallback.map(|fallback| fallback.told);
        let parts = Parts {
            settings,
            auth,
            breakers,
            shares_breakers,
            hedge: learns,
            shared_budget,
            fallback,
            limits,
            restraint,
            transport,
            #[cfg(feature = "balance")]
            upstreams,
            wall,
        };
        Ok(Client::of(stack, parts))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("settings", &self.settings)
            .field("budget", &self.budget)
            .field("observed", &self.observer.is_some())
            .finish_non_exhaustive()
    }
}

/// Any classifier, behind one type.
#[derive(Clone)]
pub(super) struct Judge(Arc<dyn Classify<Response<Body>> + Send + Sync>);

impl Default for Judge {
    fn default() -> Self {
        Self(Arc::new(ClassifyHttp))
    }
}

impl Classify<Response<Body>> for Judge {
    fn classify(&self, result: Result<&Response<Body>, &Error>) -> Outcome {
        self.0.classify(result)
    }

    fn classify_trailers(&self, trailers: &HeaderMap) -> Option<Outcome> {
        self.0.classify_trailers(trailers)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}
