use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::future::{Judging, State};
use super::{Breaker, Breakers, Permit, ResponseFuture};
use crate::base::{
    Answer, ByHost, Classify, ClassifyHttp, Hold, HostPort, Http, KeyOf, Plain, Problem, take,
};

/// Guards a service by a circuit for each key, by default for each host and port. See the [module](super).
///
/// ```
/// use stonework::breaker::{BreakerSettings, Breakers, BreakersLayer};
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), stonework::breaker::InvalidBreaker> {
/// let breakers = Breakers::new(BreakerSettings::new().min_calls(50))?;
/// let layer = BreakersLayer::from(breakers.clone());
/// let stack = ServiceBuilder::new().layer(layer);
/// println!("{:?}", breakers.states());
/// # let _ = stack;
/// # Ok(()) }
/// ```
///
/// It cannot be [not ready](super::BreakerLayer::not_ready_when_open) for an open circuit: which one it is, is known by the
/// request alone.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BreakersLayer<K = HostPort, F = ByHost, C = ClassifyHttp, M = Http> {
    breakers: Option<Breakers<K>>,
    key: F,
    classify: C,
    mode: M,
}

impl BreakersLayer {
    /// With circuits of its own by host and port, and the defaults: see [`BreakerSettings`](super::BreakerSettings).
    pub fn new() -> Self {
        Self::from(Breakers::default())
    }
}

impl Default for BreakersLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Breakers<HostPort>> for BreakersLayer {
    fn from(breakers: Breakers<HostPort>) -> Self {
        Self::keyed(breakers, ByHost)
    }
}

impl<K, F> BreakersLayer<K, F> {
    /// With a key of one's own: see [`KeyOf`]. The keys name the circuits.
    ///
    /// ```
    /// use http::Request;
    /// use stonework::breaker::{Breakers, BreakersLayer};
    ///
    /// // A circuit for each tenant, which is the first part of the path.
    /// let tenant = |request: &Request<()>| request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    /// let breakers: Breakers<String> = Breakers::default();
    /// let layer = BreakersLayer::keyed(breakers, tenant);
    /// # let _ = layer;
    /// ```
    pub const fn keyed(breakers: Breakers<K>, key: F) -> Self {
        Self { breakers: Some(breakers), key, classify: ClassifyHttp, mode: Http }
    }
}

impl<K, F, C, M> BreakersLayer<K, F, C, M> {
    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    pub fn classify<D>(self, classify: D) -> BreakersLayer<K, F, D, M> {
        let Self { breakers, key, classify: _, mode } = self;
        BreakersLayer { breakers, key, classify, mode }
    }

    /// Refuse with a response, a [`Problem`] with status 503 and `Retry-After`, and leave the inner error type alone: for
    /// servers. An error of the inner service is then a failure, whatever it is.
    pub fn answer(self) -> BreakersLayer<K, F, C, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> BreakersLayer<K, F, C, Answer<R>> {
        self.mode(Answer::with(refuse))
    }

    /// Refuse with an error, whatever the type of the response; a call is over when its response is returned.
    pub fn plain(self) -> BreakersLayer<K, F, C, Plain> {
        self.mode(Plain)
    }

    fn mode<N>(self, mode: N) -> BreakersLayer<K, F, C, N> {
        let Self { breakers, key, classify, mode: _ } = self;
        BreakersLayer { breakers, key, classify, mode }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.breakers = None;
        }
        self
    }

    /// The circuits, unless the layer is switched off.
    #[must_use]
    pub fn breakers(&self) -> Option<&Breakers<K>> {
        self.breakers.as_ref()
    }
}

impl<K, F: Clone, C: Clone, M: Clone> Clone for BreakersLayer<K, F, C, M> {
    fn clone(&self) -> Self {
        Self {
            breakers: self.breakers.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
            mode: self.mode.clone(),
        }
    }
}

impl<K, F, C, M> fmt::Debug for BreakersLayer<K, F, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakersLayer").field("breakers", &self.breakers).finish_non_exhaustive()
    }
}

impl<S, K, F: Clone, C: Clone, M: Clone> Layer<S> for BreakersLayer<K, F, C, M> {
    type Service = BreakersService<S, K, F, C, M>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakersService { inner, layer: self.clone(), last: None }
    }
}

/// Calls a service as long as the circuit of the request's key is closed. See [`BreakersLayer`].
pub struct BreakersService<S, K = HostPort, F = ByHost, C = ClassifyHttp, M = Http> {
    inner: S,
    layer: BreakersLayer<K, F, C, M>,
    /// The circuit that was used last: as a rule it is the one that is used next, and no lock has to be taken to find it.
    last: Option<(K, Breaker)>,
}

impl<S: Clone, K: Clone, F: Clone, C: Clone, M: Clone> Clone for BreakersService<S, K, F, C, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone(), last: self.last.clone() }
    }
}

impl<S, Req, F, C, M> Service<Req> for BreakersService<S, F::Key, F, C, M>
where
    S: Service<Req> + Clone,
    Req: Send + 'static,
    F: KeyOf<Req, Key: fmt::Display>,
    C: Classify<S::Response> + Clone,
    M: Hold<Req, S::Response, S::Error, Option<Judging<C>>> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = ResponseFuture<S::Future, Req, C, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.layer.mode.err(error))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let BreakersLayer { breakers, key, classify, mode } = &self.layer;
        let asked = mode.note(&request);
        let permit = match breakers {
            None => Ok(Permit::uncounted()),
            Some(breakers) => {
                let key = key.key_of(&request);
                match &self.last {
                    Some((last, breaker)) if *last == key => breaker.try_acquire(),
                    _ => {
                        let breaker = breakers.get(&key);
                        let permit = breaker.try_acquire();
                        self.last = Some((key, breaker));
                        permit
                    }
                }
            }
        };
        match permit {
            Ok(permit) => {
                let answer = self.inner.call(request);
                let call = State::Called { answer, permit, classify: Some(classify.clone()) };
                ResponseFuture { call, asked, mode: mode.clone(), request: PhantomData }
            }
            Err(open) => {
                // What it reserved when it became ready is not kept while the circuit is open.
                drop(take(&mut self.inner));
                ResponseFuture::refused(open, request, asked, mode.clone())
            }
        }
    }
}

impl<S: fmt::Debug, K, F, C, M> fmt::Debug for BreakersService<S, K, F, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakersService")
            .field("inner", &self.inner)
            .field("breakers", &self.layer.breakers)
            .finish_non_exhaustive()
    }
}
