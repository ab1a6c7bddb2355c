use std::fmt::{self, Display};
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;

use super::{SharedRateLimiter, Taken};
use crate::base::{Answer, Http, KeyOf, Plain, Problem};
use crate::limit::gate::sealed::Sealed;
use crate::limit::gate::{
    Entered, Entry, Except, Fields, Gate, Gated, Keyed, Settings, Standing, Turned, Wait,
};
use crate::limit::rate::{Costs, Plan};

/// Limits how many calls there are in which time, for each key and over all machines that share the store. See the
/// [module](crate::limit) and [`SharedRateLimiter`].
///
/// A call waits for the store, as long as the limiter allows that to take, and is then admitted or refused.
///
/// ```
/// use stonework::base::ByClient;
/// use stonework::limit::{MemoryStore, Quota, SharedRateLimitLayer, SharedRateLimiter};
///
/// # fn main() -> Result<(), stonework::limit::InvalidSharedLimit> {
/// // For several machines: RedisStore::open("redis://quotas.internal")?, with the feature `redis`.
/// let limiter = SharedRateLimiter::named("client", MemoryStore::new(), [Quota::per_second(50)])?;
/// let layer = SharedRateLimitLayer::keyed(limiter, ByClient).answer();
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct SharedRateLimitLayer<L, M = Http> {
    settings: Settings<SharedRate<L>, M>,
}

impl<F> SharedRateLimitLayer<Keyed<SharedRateLimiter, F>> {
    /// With a limit for each key: see [`KeyOf`]. The text of the key is what the store sees.
    pub const fn keyed(limiter: SharedRateLimiter, key: F) -> Self {
        Self { settings: Settings::new(SharedRate(Keyed { limiter, key }), Http) }
    }
}

impl<L, M> SharedRateLimitLayer<L, M> {
    /// What a request takes of each quota. Default: 1.
    pub fn cost<F>(self, cost: F) -> SharedRateLimitLayer<Costs<L, F>, M> {
        let settings = self.settings.map(|SharedRate(limit)| SharedRate(Costs::new(limit, cost)));
        SharedRateLimitLayer { settings }
    }

    /// Exempt requests for which `exempt` is true. The store is not asked.
    pub fn except<F>(self, exempt: F) -> SharedRateLimitLayer<Except<L, F>, M> {
        let settings = self.settings.map(|SharedRate(limit)| SharedRate(Except { limit, exempt }));
        SharedRateLimitLayer { settings }
    }

    /// Refuse with a response, a [`Problem`] with status 429 and `Retry-After`, or 503 if the store is away and that is to refuse; and leave
    /// the inner error type alone: for servers. Every response says how the quotas stand, as for
    /// [`RateLimitLayer`](crate::limit::RateLimitLayer::answer); that of several is the one with the least left.
    pub fn answer(self) -> SharedRateLimitLayer<L, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> SharedRateLimitLayer<L, Answer<R>> {
        SharedRateLimitLayer { settings: self.settings.mode(Answer::with(refuse)) }
    }

    /// Keep to yourself how things stand: responses get no field `RateLimit`, and no `RateLimit-Policy`.
    pub fn without_fields(mut self) -> Self {
        self.settings.tells = false;
        self
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> SharedRateLimitLayer<L, Plain> {
        SharedRateLimitLayer { settings: self.settings.mode(Plain) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.settings.gate = None;
        }
        self
    }
}

impl<L: Clone, M: Clone> Clone for SharedRateLimitLayer<L, M> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<L: fmt::Debug, M> fmt::Debug for SharedRateLimitLayer<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimitLayer").field("limit", &self.settings.gate).finish_non_exhaustive()
    }
}

impl<S, L: Clone, M: Clone> Layer<S> for SharedRateLimitLayer<L, M> {
    type Service = Gated<S, SharedRate<L>, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated::with(inner, self.settings.clone())
    }
}

/// What is asked of a [`SharedRateLimiter`] for a request. There is no need for another.
pub trait SharedLimit<Req>: Sealed {
    /// The limiter, the key and the cost; nothing, if it is exempt.
    #[doc(hidden)]
    fn question(&self, request: &Req) -> Option<(SharedRateLimiter, String, u32)>;
}

impl<Req, F: KeyOf<Req, Key: Display>> SharedLimit<Req> for Keyed<SharedRateLimiter, F> {
    fn question(&self, request: &Req) -> Option<(SharedRateLimiter, String, u32)> {
        Some((self.limiter.clone(), self.key.key_of(request).to_string(), 1))
    }
}

impl<Req, L: SharedLimit<Req>, F: Fn(&Req) -> u32> SharedLimit<Req> for Costs<L, F> {
    fn question(&self, request: &Req) -> Option<(SharedRateLimiter, String, u32)> {
        let (limiter, key, _) = self.limit.question(request)?;
        Some((limiter, key, (self.cost)(request)))
    }
}

impl<Req, L: SharedLimit<Req>, F: Fn(&Req) -> bool> SharedLimit<Req> for Except<L, F> {
    fn question(&self, request: &Req) -> Option<(SharedRateLimiter, String, u32)> {
        if (self.exempt)(request) { None } else { self.limit.question(request) }
    }
}

/// Lets calls in at a rate that machines share. See [`SharedRateLimitLayer`].
#[derive(Clone, Debug)]
pub struct SharedRate<L>(L);

impl<L> Sealed for SharedRate<L> {}

impl<Req, L: SharedLimit<Req>> Gate<Req> for SharedRate<L> {
    type Pass = ();
    type Turn = StoreTurn;

    fn enter(&self, request: &Req, _: Wait, tells: bool) -> Entered<(), StoreTurn> {
        Entered::silently(match self.0.question(request) {
            None => Entry::In(()),
            Some((limiter, key, cost)) => Entry::Wait(StoreTurn(Box::pin(async move {
                let taken = match limiter.taken(&key, cost).await {
                    Ok((taken, _)) => taken,
                    Err(error) => return Turned::silently(Err(error)),
                };
                let fields = if tells { fields(&limiter, &taken) } else { None };
                let result = match taken {
                    Taken::All(_) => Ok(()),
                    Taken::Nothing(short) => Err(limiter.refuse(short)),
                };
                Turned { result, fields }
            }))),
        })
    }
}

/// How the tightest of the quotas stands, as far as anybody knows.
fn fields(limiter: &SharedRateLimiter, taken: &Taken) -> Option<Box<Fields>> {
    let (place, left, more_in) = match taken {
        Taken::All(quotas) => {
            let (place, stands) = quotas.iter().enumerate().min_by_key(|(_, stands)| stands.left())?;
            (place, stands.left(), stands.full_in())
        }
        // Its `t` is not later than `Retry-After`, as the draft wants it.
        Taken::Nothing(short) => (short.quota(), short.left(), short.retry_after().unwrap_or_default()),
    };
    let (amount, per) = Plan::of(limiter.quotas().get(place)?).policy();
    let standing = Standing { name: limiter.name(), amount, per, left, more_in };
    Some(Fields::of(std::iter::once(standing)))
}

/// Waits for the answer of a store.
#[allow(unnameable_types, reason = "only those inside handle it")]
pub struct StoreTurn(Pin<Box<dyn Future<Output = Turned<()>> + Send>>);

impl Future for StoreTurn {
    type Output = Turned<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for StoreTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreTurn")
    }
}
