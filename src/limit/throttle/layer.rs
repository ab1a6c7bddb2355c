use std::fmt;

use tower_layer::Layer;

use super::{AdaptiveThrottle, AdaptiveThrottleService, InvalidThrottle, KeyedAdaptiveThrottle};
use super::{Sent, ThrottleSettings, Throttled};
use crate::base::{ByHost, ClassifyHttp, KeyOf};
use crate::limit::Keyed;

/// Sends a service no more than it can be expected to take: see [`AdaptiveThrottle`], and "A client that holds back" in the
/// [module](crate::limit). For clients; it stands inside of `retry`, so that each attempt counts.
///
/// ```
/// use stonework::limit::{AdaptiveThrottleLayer, KeyedAdaptiveThrottle, ThrottleSettings};
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), stonework::limit::InvalidThrottle> {
/// let throttles = KeyedAdaptiveThrottle::new(ThrottleSettings::new().multiplier(1.5))?;
/// let stack = ServiceBuilder::new().layer(AdaptiveThrottleLayer::from(throttles.clone()));
/// println!("{} hosts", throttles.len());
/// # let _ = stack;
/// # Ok(()) }
/// ```
///
/// *Errors:* of kind [`Overload`](crate::base::Kind::Overload) with [`Throttled`] at the end, not sent, with the request handed back, and
/// not to be repeated; else those of the inner service. *Readiness and cloning:* as ready as the inner service; clones share what was
/// counted.
/// *Cancellation:* a call that is dropped counts for nothing, or as refused if its deadline had passed.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct AdaptiveThrottleLayer<T = Keyed<KeyedAdaptiveThrottle, ByHost>, C = ClassifyHttp> {
    /// Nothing, if the layer is switched off.
    pub(super) throttle: Option<T>,
    pub(super) classify: C,
}

impl AdaptiveThrottleLayer {
    /// With a throttle for each host and port.
    ///
    /// # Errors
    ///
    /// [`InvalidThrottle`], which names the setting.
    pub fn new(settings: ThrottleSettings) -> Result<Self, InvalidThrottle> {
        KeyedAdaptiveThrottle::new(settings).map(Self::from)
    }
}

/// With [`ThrottleSettings::new`], for each host and port.
impl Default for AdaptiveThrottleLayer {
    fn default() -> Self {
        Self::from(KeyedAdaptiveThrottle::default())
    }
}

/// For each host and port.
impl From<KeyedAdaptiveThrottle> for AdaptiveThrottleLayer {
    fn from(throttles: KeyedAdaptiveThrottle) -> Self {
        Self::keyed(throttles, ByHost)
    }
}

/// For a single service.
impl From<AdaptiveThrottle> for AdaptiveThrottleLayer<AdaptiveThrottle> {
    fn from(throttle: AdaptiveThrottle) -> Self {
        Self { throttle: Some(throttle), classify: ClassifyHttp }
    }
}

impl<K, F> AdaptiveThrottleLayer<Keyed<KeyedAdaptiveThrottle<K>, F>> {
    /// With a key of one's own: see [`KeyOf`].
    ///
    /// ```
    /// use http::Request;
    /// use stonework::limit::{AdaptiveThrottleLayer, KeyedAdaptiveThrottle};
    ///
    /// // By the first part of the path.
    /// let service = |request: &Request<()>| request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    /// let throttles: KeyedAdaptiveThrottle<String> = KeyedAdaptiveThrottle::default();
    /// let layer = AdaptiveThrottleLayer::keyed(throttles, service);
    /// # let _ = layer;
    /// ```
    pub const fn keyed(throttles: KeyedAdaptiveThrottle<K>, key: F) -> Self {
        Self { throttle: Some(Keyed { limiter: throttles, key }), classify: ClassifyHttp }
    }
}

impl<T, C> AdaptiveThrottleLayer<T, C> {
    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    pub fn classify<D>(self, classify: D) -> AdaptiveThrottleLayer<T, D> {
        AdaptiveThrottleLayer { throttle: self.throttle, classify }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.throttle = None;
        }
        self
    }
}

impl<T: Clone, C: Clone> Clone for AdaptiveThrottleLayer<T, C> {
    fn clone(&self) -> Self {
        Self { throttle: self.throttle.clone(), classify: self.classify.clone() }
    }
}

impl<T: fmt::Debug, C> fmt::Debug for AdaptiveThrottleLayer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveThrottleLayer").field("throttle", &self.throttle).finish_non_exhaustive()
    }
}

impl<S, T: Clone, C: Clone> Layer<S> for AdaptiveThrottleLayer<T, C> {
    type Service = AdaptiveThrottleService<S, T, C>;

    fn layer(&self, inner: S) -> Self::Service {
        AdaptiveThrottleService::with(inner, self.clone())
    }
}

/// What decides whether a request is sent: an [`AdaptiveThrottle`], or one for each key. There is no need for another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` throttles no requests of type `{Req}`",
    note = "a key is a closure that takes a reference to the request: `|request: &http::Request<_>| …`"
)]
pub trait Throttles<Req>: sealed::Sealed {
    /// Ask whether to send this one.
    ///
    /// # Errors
    ///
    /// [`Throttled`], if it is not to be sent.
    fn try_send(&mut self, request: &Req) -> Result<Sent, Throttled>;
}

impl<Req> Throttles<Req> for AdaptiveThrottle {
    fn try_send(&mut self, _: &Req) -> Result<Sent, Throttled> {
        Self::try_send(self)
    }
}

impl<Req, F: KeyOf<Req>> Throttles<Req> for Keyed<KeyedAdaptiveThrottle<F::Key>, F> {
    fn try_send(&mut self, request: &Req) -> Result<Sent, Throttled> {
        self.limiter.try_send_again(self.key.key_of(request))
    }
}

mod sealed {
    use super::{AdaptiveThrottle, Keyed, KeyedAdaptiveThrottle};

    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed {}
    impl Sealed for AdaptiveThrottle {}
    impl<K, F> Sealed for Keyed<KeyedAdaptiveThrottle<K>, F> {}
}
