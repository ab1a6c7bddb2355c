use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::{Check, Checking, Core, Discovering, Make};
use super::discover::discover;
use super::inspect::{Begin, Inspection};
use super::{Balancer, BalancerSettings, Discover, Inspect, InvalidBalancer, Member, Picker};
use crate::base::{Anchored, BoxError, Observe, Observer, Rng};

/// Begins to hear of members, once there is somebody who wants to know.
type Listen<S> = Box<dyn FnOnce(std::sync::Weak<Core<S>>) -> Discovering + Send>;

/// Builds a [`Balancer`]. The order of the setters does not matter.
#[must_use = "a builder does nothing until `build` is called"]
pub struct BalancerBuilder<S> {
    make: Make<S>,
    members: Vec<Member>,
    listen: Option<Listen<S>>,
    check: Option<Check<S>>,
    inspect: Option<Box<dyn Begin>>,
    picker: Option<Arc<dyn Picker>>,
    settings: BalancerSettings,
    name: Arc<str>,
    observe: Observe,
    rng: Rng,
}

impl<S: Clone + Send + Sync + 'static> BalancerBuilder<S> {
    pub(super) fn new(make: Make<S>) -> Self {
        Self {
            make,
            members: Vec::new(),
            listen: None,
            check: None,
            inspect: None,
            picker: None,
            settings: BalancerSettings::new(),
            name: "".into(),
            observe: Observe::default(),
            rng: Rng::default(),
        }
    }

    /// The endpoints that there are at first. Default: none.
    pub fn members(mut self, members: impl IntoIterator<Item = impl Into<Member>>) -> Self {
        self.members = members.into_iter().map(Into::into).collect();
        self
    }

    /// Hear from here which endpoints there are, and again whenever that changes. Those that were [given](Self::members) are there until the
    /// first list comes.
    pub fn discover(mut self, discovery: impl Discover) -> Self {
        self.listen = Some(Box::new(|core| Box::pin(discover(core, discovery))));
        self
    }

    /// How to find out whether an endpoint can be reached: it connects, or asks for something that costs nothing. An endpoint
    /// gets no calls before this has gone well, and after a call that could not reach it not before it has gone well again.
    ///
    /// Default: nothing is asked. An endpoint is taken to be reachable until a call finds that it is not, which then goes to
    /// another; and again after each [pause](BalancerSettings::backoff).
    ///
    /// ```
    /// use stonework::balance::Balancer;
    /// use stonework::pool::{Manage, Pool};
    ///
    /// # #[derive(Clone)] struct Connections;
    /// # impl Manage for Connections {
    /// #     type Object = ();
    /// #     type Error = std::convert::Infallible;
    /// #     async fn connect(&self) -> Result<(), Self::Error> { Ok(()) }
    /// # }
    /// let balancer = Balancer::builder(|id| Pool::new(Connections)).check(|pool: Pool<_>| async move {
    ///     pool.get().await.map(drop)
    /// });
    /// # let _ = balancer;
    /// ```
    pub fn check<F, E>(mut self, check: impl Fn(S) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.check = Some(Arc::new(move |service| -> Checking {
            let check = check(service);
            Box::pin(async move { check.await.map_err(Into::into) })
        }));
        self
    }

    /// Have this look at the endpoints that there are, whichever those are at the time, and say how they are: with the features `client` and
    /// `health`, a prober. It begins with the balancer, or with its first call if there is no runtime yet, and ends with it. Default: nobody does.
    ///
    #[cfg_attr(
        all(feature = "client", feature = "health"),
        doc = r#"
```
# #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
use stonework::balance::{Balancer, watch};
use stonework::health::{Prober, TcpProbe};

let (sender, members) = watch();
let balancer = Balancer::builder(|endpoint| endpoint.to_string())
    .discover(members)
    .inspect(Prober::builder(TcpProbe))
    .build()?;
# let _ = (sender, balancer);
# Ok(()) }
```
"#
    )]
    pub fn inspect(mut self, inspect: impl Inspect) -> Self {
        self.inspect = Some(Box::new(inspect));
        self
    }

    /// Pick in a way of one's own, in place of the settings' [`pick`](BalancerSettings::pick). What [sticks](super::BalancerService::sticky) goes by its
    /// key all the same. Default: none.
    pub fn picker(mut self, picker: impl Picker) -> Self {
        self.picker = Some(Arc::new(picker));
        self
    }

    /// Everything that is data. Default: [`BalancerSettings::new`].
    pub fn settings(mut self, settings: BalancerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What to call it in events. Default: nothing.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Tell this observer what happens: [`EndpointChanged`](crate::base::Event::EndpointChanged),
    /// [`PanicChanged`](crate::base::Event::PanicChanged), [`FailedOver`](crate::base::Event::FailedOver),
    /// [`DiscoveryFailed`](crate::base::Event::DiscoveryFailed). Default: nobody. It is told with no lock held, so it may ask the handle; and
    /// after the fact, of endpoints in the order of what happened, one event at a time: by whichever thread is about it already.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Tell this one too.
    #[cfg(feature = "client")]
    pub(crate) fn and_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observe = self.observe.and(observer);
        self
    }

    /// Draw from here: which endpoints are compared, and jitter. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Build it.
    ///
    /// # Errors
    ///
    /// [`InvalidBalancer`], which names the setting.
    ///
    /// # Panics
    ///
    /// If making a service does.
    pub fn build(self) -> Result<Balancer<S>, InvalidBalancer> {
        let Self { make, members, listen, check, inspect, picker, settings, name, observe, rng } = self;
        settings.check()?;
        if let Some(Err(why)) = inspect.as_ref().map(|inspect| inspect.check()) {
            return Err(InvalidBalancer::Inspect { why: why.to_string() });
        }
        let others = (picker, Inspection::by(inspect));
        let core = Core::new((settings, name), (observe, rng), (make, check), others, Instant::now());
        core.set(members);
        if let Some(listen) = listen {
            core.discover(listen(Arc::downgrade(&core)));
        }
        Ok(Balancer::of(Anchored::new(core)))
    }
}

impl<S> fmt::Debug for BalancerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancerBuilder")
            .field("name", &self.name)
            .field("members", &self.members)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
