//! What happened, as typed values.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::circuit::{CircuitReason, CircuitState, ProbeEnding};
use super::endpoint::{EndpointId, EndpointReason, EndpointState, Fitness};
use super::health::HealthState;
use super::keyed::KeyedFault;
use super::kind::{Delivery, Kind};
use super::outcome::Outcome;
use super::pooled::PoolClose;
use super::served::{CloseReason, ServerPhase};
use super::timings::Timings;
use super::token::{KeyFault, TokenFault};

/// Receives every [`Event`] of the layers it was given to.
///
/// It is called in the middle of a poll: do not block. A layer without an observer builds no event.
///
/// ```
/// use stonework::base::{Event, Observer};
///
/// struct Print;
/// impl Observer for Print {
///     fn observe(&self, event: &Event) {
///         println!("{event:?}");
///     }
/// }
/// ```
///
/// A panic in an observer unwinds through the call that it watched, or, where it watched what many calls share, through one of those.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no observer",
    label = "this has to observe events",
    note = "an observer is a type with `impl stonework::base::Observer` and one method, `fn observe(&self, event: &Event)`"
)]
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event);
}

/// Names one call in its [events](Event::AttemptStarted): unique within the process, and no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl CallId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A change of state somewhere in a stack. An [`Observer`] takes out of it what it wants:
///
/// ```
/// use stonework::base::{CircuitState, Event, Observer};
///
/// struct Pager;
/// impl Observer for Pager {
///     fn observe(&self, event: &Event) {
///         if let Event::CircuitChanged { circuit, to: CircuitState::Open, why, .. } = event {
///             eprintln!("{circuit} is not called any more: {why}");
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A request was handed to the service below. Attempts count from 1.
    #[non_exhaustive]
    AttemptStarted {
        /// Which call.
        call: CallId,
        /// Which attempt of it.
        attempt: u32,
    },
    /// The response head or an error came back, or the call was dropped.
    #[non_exhaustive]
    AttemptEnded {
        /// Which call.
        call: CallId,
        /// Which attempt of it.
        attempt: u32,
        /// What came back, if anything did.
        ending: Ending,
        /// How it was judged.
        outcome: Outcome,
        /// How far the request got.
        delivery: Delivery,
        /// Time since the attempt started.
        elapsed: Duration,
    },
    /// The request will be sent again after `delay`.
    #[non_exhaustive]
    RetryScheduled {
        /// Which call.
        call: CallId,
        /// The attempt that will be made.
        attempt: u32,
        /// How long it waits until then.
        delay: Duration,
    },
    /// The attempt failed and will not be repeated.
    #[non_exhaustive]
    RetrySkipped {
        /// Which call.
        call: CallId,
        /// The attempt that failed.
        attempt: u32,
        /// Why there is no other.
        why: Skip,
    },
    /// A circuit changed its state.
    #[non_exhaustive]
    CircuitChanged {
        /// The name of the circuit; empty if it was given none.
        circuit: Arc<str>,
        /// What it was.
        from: CircuitState,
        /// What it is.
        to: CircuitState,
        /// Why.
        why: CircuitReason,
        /// How long it stays open, if it opened by itself.
        open_for: Option<Duration>,
    },
    /// A call that was let through to see whether the service works again came to its end.
    #[non_exhaustive]
    CircuitProbed {
        /// The name of the circuit; empty if it was given none.
        circuit: Arc<str>,
        /// How the probe ended.
        ending: ProbeEnding,
    },
    /// A balancer could not learn which endpoints there are. Those that it knows stay in use.
    #[non_exhaustive]
    DiscoveryFailed {
        /// The name of the balancer; empty if it was given none.
        balancer: Arc<str>,
        /// What went wrong: `Other`, if the list had nothing in it.
        kind: Kind,
    },
    /// An endpoint of a balancer changed its state.
    #[non_exhaustive]
    EndpointChanged {
        /// The name of the balancer; empty if it was given none.
        balancer: Arc<str>,
        /// The endpoint.
        endpoint: EndpointId,
        /// What it was.
        from: EndpointState,
        /// What it is.
        to: EndpointState,
        /// Why.
        why: EndpointReason,
    },
    /// A request came back unsent from an endpoint of a balancer, and goes to another one. That is no retry.
    #[non_exhaustive]
    FailedOver {
        /// The name of the balancer; empty if it was given none.
        balancer: Arc<str>,
        /// The endpoint that it came back from.
        endpoint: EndpointId,
        /// What it came back with.
        kind: Kind,
    },
    /// So few endpoints of a tier are ready that the balancer does not believe it, or no longer so few.
    #[non_exhaustive]
    PanicChanged {
        /// The name of the balancer; empty if it was given none.
        balancer: Arc<str>,
        /// The tier.
        tier: u8,
        /// Whether it begins.
        begins: bool,
    },
    /// A call failed, and a fallback is asked instead.
    #[non_exhaustive]
    FellBack {
        /// What the call failed with.
        kind: Kind,
        /// How far the request had got.
        delivery: Delivery,
    },
    /// A request is sent once more, while it is waited for or after it has failed.
    #[non_exhaustive]
    HedgeFired {
        /// The number of that attempt.
        attempt: u32,
        /// How long the first one was waited for.
        waited: Duration,
    },
    /// A request is not sent once more, although it would be time.
    #[non_exhaustive]
    HedgeSkipped {
        /// Why.
        why: Skip,
    },
    /// An attempt that was sent beside or after the first one had the answer.
    #[non_exhaustive]
    HedgeWon {
        /// Its number.
        attempt: u32,
    },
    /// A client takes a connection for a request.
    #[non_exhaustive]
    ConnectionTaken {
        /// The host and its port.
        host: Arc<str>,
        /// Whether it speaks HTTP/2.
        http2: bool,
        /// Whether it had carried a request before, or carries others now.
        reused: bool,
        /// How long the request waited for it, connecting included.
        waited: Duration,
    },
    /// A client has made a connection, for whoever needs it now.
    #[non_exhaustive]
    ConnectionOpened {
        /// The host and its port.
        host: Arc<str>,
        /// Whether it speaks HTTP/2.
        http2: bool,
        /// What was done, and how long it took.
        timings: Timings,
        /// How long all of it took.
        took: Duration,
    },
    /// A client could not make a connection.
    #[non_exhaustive]
    ConnectFailed {
        /// The host and its port.
        host: Arc<str>,
        /// What went wrong.
        kind: Kind,
        /// What was done, and how long it took; the last of it failed.
        timings: Timings,
    },
    /// A connection was closed before a request had been sent over it: the request goes out over another one.
    #[non_exhaustive]
    RequestReplayed {
        /// The host and its port.
        host: Arc<str>,
    },
    /// A server closes a connection that has waited, or served, too long, or takes none from its address.
    #[non_exhaustive]
    ConnectionClosed {
        /// What was too long, or too many.
        why: CloseReason,
    },
    /// A handler panicked. Its client was answered with 500, if it had no answer yet.
    #[non_exhaustive]
    HandlerPanicked {
        /// What the panic said, if it was a text.
        message: Arc<str>,
    },
    /// A key of a set cannot be used, and is left out.
    #[non_exhaustive]
    KeySkipped {
        /// Why.
        why: KeyFault,
    },
    /// The keys of an issuer could not be fetched. Those that are there stay in use.
    #[non_exhaustive]
    KeysNotFetched {
        /// The issuer, or the address.
        from: Arc<str>,
        /// What went wrong: `Invalid`, if something was fetched that is no keys.
        kind: Kind,
        /// How long it is until they are fetched again, unless somebody asks for them.
        again_in: Duration,
    },
    /// Tokens are now verified with these keys.
    #[non_exhaustive]
    KeysReplaced {
        /// How many can be used.
        usable: usize,
        /// How many were left out.
        skipped: usize,
    },
    /// The answer to a keyed request that was done before was given again.
    #[non_exhaustive]
    KeyedReplayed {},
    /// A keyed request was refused, and not done.
    #[non_exhaustive]
    KeyedRefused {
        /// Why.
        why: KeyedFault,
    },
    /// A keyed request was taken for lost while it was being done, since its store had not heard of it for too long, or has forgotten it. Whoever
    /// asks again may find it done by somebody else, or that nobody knows; where nobody else has asked by then, its own answer.
    #[non_exhaustive]
    KeyedLost {},
    /// A pool has closed an object.
    #[non_exhaustive]
    PoolClosed {
        /// The name of the pool; empty if it was given none.
        pool: Arc<str>,
        /// Why.
        why: PoolClose,
    },
    /// A pool has connected an object.
    #[non_exhaustive]
    PoolConnected {
        /// The name of the pool; empty if it was given none.
        pool: Arc<str>,
        /// How long that took.
        took: Duration,
    },
    /// A pool could not connect an object.
    #[non_exhaustive]
    PoolConnectFailed {
        /// The name of the pool; empty if it was given none.
        pool: Arc<str>,
        /// What went wrong.
        kind: Kind,
        /// How long nobody tries again.
        again_in: Duration,
    },
    /// A server is one phase nearer to its end.
    #[non_exhaustive]
    ServerPhaseChanged {
        /// The phase that begins.
        to: ServerPhase,
    },
    /// A request was refused because of its token, or because it has none. It says more than the answer.
    #[non_exhaustive]
    TokenRefused {
        /// Why.
        why: TokenFault,
        /// The member of its header or the claim that is to blame, if it is one.
        field: Option<Arc<str>>,
    },
    /// A health check says something else than before, thresholds considered.
    #[non_exhaustive]
    HealthChanged {
        /// The name of the check.
        check: Arc<str>,
        /// What was known of it.
        from: HealthState,
        /// What is known of it now.
        to: HealthState,
        /// What the check had to say about it: its first bytes.
        output: Option<Arc<str>>,
    },
    /// Probes of an endpoint say something else than before, thresholds considered; or it is not probed any more.
    #[non_exhaustive]
    FitnessChanged {
        /// The name of the prober; empty if it was given none.
        prober: Arc<str>,
        /// Which endpoint.
        endpoint: EndpointId,
        /// What was known of it.
        from: Fitness,
        /// What is known of it now.
        to: Fitness,
        /// What the last probe had to say about it: its first bytes.
        output: Option<Arc<str>>,
    },
}

/// How an attempt ended. See [`Event::AttemptEnded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With its caller, who dropped the call.
    Dropped,
    /// With a response of this status.
    Status(StatusCode),
    /// With an error of this kind.
    Error(Kind),
}

/// Why a failed attempt was not repeated. See [`Event::RetrySkipped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// All attempts were used.
    Attempts,
    /// The body was larger than the replay cap, or could not be read a second time.
    Body,
    /// The retry budget is spent.
    Budget,
    /// The next attempt could not begin before the deadline.
    Deadline,
    /// Another retry repeats this already, or has repeated it: one outside of this one, one inside, or one at an
    /// earlier hop.
    Nested,
    /// The caller said: never.
    Never,
    /// Whoever refused asked not to be tried again here.
    Pushback,
    /// The server asked for a longer pause than the ceiling allows.
    RetryAfter,
    /// The schedule of delays came to its end.
    Schedule,
    /// The request may have been received, and sending it twice might do its work twice.
    Unsafe,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "all attempts are used",
            Self::Body => "the body cannot be sent again",
            Self::Budget => "the retry budget is spent",
            Self::Deadline => "the next attempt could not begin before the deadline",
            Self::Nested => "another retry repeats it already",
            Self::Never => "the caller asked for a single attempt",
            Self::Pushback => "whoever refused asked not to be tried again",
            Self::RetryAfter => "the server asked for a longer pause than allowed",
            Self::Schedule => "the schedule of delays ended",
            Self::Unsafe => "it may have been received and is not safe to repeat",
        })
    }
}

/// The observer of a layer, or nobody.
#[derive(Clone, Default)]
pub(crate) struct Observe(Option<Arc<dyn Observer>>);

impl Observe {
    pub(crate) fn by(observer: impl Observer + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// This one too.
    #[cfg(all(feature = "balance", feature = "client"))]
    pub(crate) fn and(self, observer: Arc<dyn Observer>) -> Self {
        match self.0 {
            Some(first) => Self::by((first, observer)),
            None => Self(Some(observer)),
        }
    }

    /// A name for the next call, if anyone is listening.
    pub(crate) fn begin(&self) -> Option<CallId> {
        self.0.as_ref().map(|_| CallId::next())
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tell the observer of something that belongs to no single call.
    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.0 {
            observer.observe(&event());
        }
    }

    /// Tell the observer; the event is built only when there is one and the call has a name.
    pub(crate) fn tell(&self, call: Option<CallId>, event: impl FnOnce(CallId) -> Event) {
        if let (Some(observer), Some(call)) = (&self.0, call) {
            observer.observe(&event(call));
        }
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "observed" } else { "unobserved" })
    }
}

/// Both are told, one after the other.
///
/// ```
/// use stonework::base::TracingObserver;
/// use stonework::retry::RetryLayer;
/// # use stonework::testing::Recorder;
///
/// let recorder = Recorder::new();
/// let layer = RetryLayer::new().observer((TracingObserver, recorder.clone()));
/// # let _ = layer;
/// ```
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, event: &Event) {
        self.0.observe(event);
        self.1.observe(event);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Event) {
        (**self).observe(event);
    }
}
