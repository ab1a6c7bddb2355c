use std::fmt;
use std::future::{pending, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::DiscoverySettings;
use super::schedule::Schedule;
use crate::base::{Alarm, EndpointReason, Error, Event, Kind, Observer, Rng};
use crate::connect::error::ResolverSaid;
use crate::connect::resolve::AnyResolve;
use crate::connect::{ConnectError, InvalidConnector, Resolve, Resolved, Target};

/// Follows a name to its addresses: looks it up again when its time to live is over, a while after a lookup that failed, and
/// [when somebody asks for it](Self::look_again).
///
/// It is the discovery of a `Balancer`, with the features `client` and `balance`: each address is a member, as `10.0.0.7:8080`. A name
/// that is not found, has no address or cannot be looked up changes nothing: the last good addresses stay in use, the balancer says so in
/// an event, and the name is looked up again after a pause. If only a part of those who were asked answers, as the name servers of one
/// family of addresses, what they say is added, and nothing is taken away.
///
/// Unlike a [`Connector`](crate::connect::Connector), which asks when there is something to connect, it asks all the time, so that new
/// addresses get their share while all the old ones work.
///
#[cfg_attr(
    all(feature = "client", feature = "balance"),
    doc = r#"
```
# #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
use stonework::balance::Balancer;
use stonework::connect::{DnsDiscovery, SystemResolver};

let discovery = DnsDiscovery::new(SystemResolver::new(), "orders.internal", 8080);
// When an endpoint cannot be reached, its name may have moved.
let look_again = discovery.look_again();
let balancer = Balancer::builder(|endpoint| endpoint.to_string())
    .discover(discovery)
    .observer(look_again)
    .build()?;
# let _ = balancer;
# Ok(()) }
```
"#
)]
/// *Cancellation:* a lookup that is dropped is made anew the next time. *Tasks:* one for each lookup, which ends with it.
pub struct DnsDiscovery {
    resolver: Arc<dyn AnyResolve>,
    target: Target,
    schedule: Schedule,
    hurry: LookAgain,
    rng: Rng,
}

impl DnsDiscovery {
    /// Follow this host, and say its addresses with this port. An address instead of a name is what it is, for ever.
    #[must_use]
    pub fn new(resolver: impl Resolve, host: &str, port: u16) -> Self {
        Self {
            resolver: Arc::new(resolver),
            target: Target::new(host, port, false),
            schedule: Schedule::new(DiscoverySettings::new()),
            hurry: LookAgain(Arc::new(Notify::new())),
            rng: Rng::default(),
        }
    }

    /// Everything that is data. Default: [`DiscoverySettings::new`].
    ///
    /// # Errors
    ///
    /// [`InvalidConnector`], if a setting is out of its range.
    pub fn settings(mut self, settings: DiscoverySettings) -> Result<Self, InvalidConnector> {
        settings.check()?;
        self.schedule.settings = settings;
        Ok(self)
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// What asks for a lookup before its time.
    #[must_use]
    pub fn look_again(&self) -> LookAgain {
        self.hurry.clone()
    }

    /// Waits until there are other addresses than before, and says all of them, in order. At first, those that there are.
    ///
    /// # Errors
    ///
    /// For each lookup that found none, of the kind [`Connect`](Kind::Connect), with a [`ConnectError`]. What was said before still
    /// holds, and the next call waits for a while before it looks again.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing but the lookup that was under way.
    pub async fn changed(&mut self) -> Result<Vec<SocketAddr>, Error> {
        let port = self.target.port();
        if let Ok(address) = self.target.host().parse::<IpAddr>() {
            if self.schedule.next().is_some() {
                return pending().await;
            }
            self.schedule.found(Resolved::new([address]), Instant::now(), &self.rng);
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        loop {
            self.wait().await;
            let found = self.look_up().await;
            let now = Instant::now();
            match found {
                Ok(found) => {
                    if let Some(news) = self.schedule.found(found, now, &self.rng) {
                        return Ok(news.iter().map(|address| SocketAddr::new(*address, port)).collect());
                    }
                }
                Err(error) => {
                    self.schedule.failed(now, &self.rng);
                    return Err(error.into());
                }
            }
        }
    }

    /// Until it is time for the next lookup, which somebody may bring forward.
    async fn wait(&mut self) {
        loop {
            let hurry = self.hurry.clone();
            let Some(until) = self.schedule.next() else { return };
            let (mut alarm, mut hurried) = (pin!(Alarm::new()), pin!(hurry.0.notified()));
            let is_time = poll_fn(|cx| {
                if alarm.as_mut().poll_until(cx, until).is_ready() {
                    return Poll::Ready(true);
                }
                hurried.as_mut().poll(cx).map(|()| false)
            });
            if is_time.await {
                return;
            }
            self.schedule.hurry(Instant::now());
        }
    }

    /// In a task of its own, so that a resolver that panics has failed and nothing else.
    async fn look_up(&self) -> Result<Resolved, ConnectError> {
        let (resolver, host) = (Arc::clone(&self.resolver), Box::<str>::from(self.target.host()));
        let limit = self.schedule.settings.timeout;
        let mut lookup = JoinSet::new();
        lookup.spawn(timeout(limit, async move { resolver.ask(&host).await }));
        let host = || self.target.host().into();
        let said =
            |why: Error| ConnectError::NotResolved { host: host(), source: ResolverSaid(Arc::new(why)) };
        match lookup.join_next().await {
            Some(Ok(Ok(Ok(found)))) if found.addresses.is_empty() => {
                Err(ConnectError::NoAddress { host: host() })
            }
            Some(Ok(Ok(found))) => found.map_err(said),
            Some(Ok(Err(_))) => Err(said(Error::new(Kind::Connect, "there was no answer"))),
            Some(Err(_)) | None => Err(said(Error::new(Kind::Connect, "the lookup was given up"))),
        }
    }
}

impl fmt::Debug for DnsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsDiscovery")
            .field("host", &self.target.host())
            .field("port", &self.target.port())
            .finish_non_exhaustive()
    }
}

/// Asks for a lookup before its time: see [`look_again`](DnsDiscovery::look_again) of [`DnsDiscovery`]. It is an [`Observer`], too, for a balancer: it asks when an endpoint could
/// not be reached.
///
/// ```
/// use stonework::connect::{DnsDiscovery, SystemResolver};
///
/// let discovery = DnsDiscovery::new(SystemResolver::new(), "orders.internal", 8080);
/// let look_again = discovery.look_again();
/// look_again.now(); // an operator has moved it
/// ```
#[derive(Clone)]
pub struct LookAgain(Arc<Notify>);

impl LookAgain {
    /// Look the name up now, or as soon as the [shortest interval](DiscoverySettings::min_interval) since the last lookup is over.
    /// However often it is asked for, it is one lookup.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

impl Observer for LookAgain {
    fn observe(&self, event: &Event) {
        if let Event::EndpointChanged { why: EndpointReason::ConnectFailed, .. } = event {
            self.now();
        }
    }
}

impl fmt::Debug for LookAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookAgain")
    }
}
