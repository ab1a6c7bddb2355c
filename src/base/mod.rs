//! What every module stands on: errors and outcomes, deadlines, budgets, bodies, clocks and chance.
//!
//! *What went wrong:* [`Error`] with its [`Kind`] and [`Delivery`]; [`Classify`] and [`Outcome`] judge it; [`Mode`] and
//! [`Refuse`] say how a layer says no. *About one call:* [`Call`] and [`Safety`], [`Deadline`], [`IdempotencyKey`].
//! *How to try again:* [`Backoff`] and any other [`Schedule`], [`Budget`], [`RetryAfter`]. *What happened:*
//! [`Observer`] and [`Event`]. *To test with:* [`Rng`] can be seeded and [`WallClock`] fixed; all other time is tokio's.

#![cfg_attr(
    not(all(
        feature = "balance",
        feature = "breaker",
        feature = "coalesce",
        feature = "fallback",
        feature = "hedge",
        feature = "idempotency",
        feature = "jwt",
        feature = "limit",
        feature = "metrics",
        feature = "oauth",
        feature = "observe",
        feature = "pool",
        feature = "retry",
        feature = "sse",
        feature = "timeout"
    )),
    allow(dead_code, unused_imports, reason = "what one module alone uses is not used without it")
)]

mod alarm;
#[cfg(any(feature = "balance", feature = "breaker"))]
mod anchor;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
mod ask;
mod backoff;
#[cfg(any(feature = "connect", feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
mod basic;
pub mod body;
mod bounded_map;
mod budget;
mod call;
mod caught;
mod circuit;
mod client_address;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
mod client_auth;
mod clock;
#[cfg(feature = "backoff")]
mod compat;
pub(crate) mod context;
pub mod deadline;
mod detach;
#[cfg(any(feature = "hedge", feature = "retry"))]
pub(crate) mod drain;
mod endpoint;
mod error;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
pub(crate) mod form;
mod grpc;
mod health;
mod hop;
mod host;
#[cfg(feature = "serde")]
pub(crate) mod human;
mod ip_network;
mod key;
mod keyed;
mod kind;
mod lane;
mod limited;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) mod line;
mod mode;
pub(crate) mod nesting;
mod observe;
#[cfg(feature = "serde")]
pub(crate) mod or_off;
#[cfg(any(feature = "oauth", all(feature = "balance", feature = "client")))]
mod origin;
mod outbox;
mod outcome;
mod paths;
mod peer;
mod pooled;
mod principal;
mod priority;
mod ratio;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod refuse;
mod request_id;
#[cfg(any(feature = "client", feature = "server"))]
mod reset_early;
mod retry_after;
mod rng;
mod route;
pub(crate) mod scope;
mod served;
#[cfg(any(feature = "hedge", feature = "retry"))]
mod spare;
pub(crate) mod sync;
mod take;
mod timings;
mod token;
mod trace;
mod tracing_observer;
mod trusted_peers;
mod unanswered;
mod waiters;
mod wire;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::InvalidRedis;
pub use backoff::{Backoff, Delays, InvalidBackoff, Jitter, Schedule};
pub use budget::{Budget, BudgetSettings, BudgetStats, Withdrawal};
pub use call::{Attempts, Call, Safety};
pub use caught::Panicked;
pub use circuit::{CircuitReason, CircuitState, ProbeEnding};
pub use client_address::{ByClient, ClientAddress, Network};
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))))]
pub use client_auth::{ClientAuth, Sign};
pub use clock::WallClock;
#[cfg(feature = "backoff")]
#[cfg_attr(docsrs, doc(cfg(feature = "backoff")))]
pub use compat::FromBackoff;
pub use deadline::{Deadline, Elapsed, Phase};
pub use detach::{Detach, DetachFull, Detached};
pub use endpoint::{EndpointId, EndpointReason, EndpointState, Fitness};
pub use error::{BoxError, Error};
pub use grpc::{ClassifyGrpc, GrpcStatus};
pub use health::HealthState;
pub use hop::{ATTEMPT, DO_NOT_RETRY};
pub use host::{ByHost, HostPort, KeyOf};
pub use key::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, IdempotencyKey, InvalidKey, KeyFormat};
pub use keyed::{KeyedFault, KeyedRefused};
pub use kind::{Delivery, Kind};
pub use limited::RateLimited;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "timeout"))]
pub(crate) use mode::unready;
pub use mode::{Answer, Hold, Http, InScope, Mode, Plain};
pub use observe::{CallId, Ending, Event, Observer, Skip};
pub use outcome::{Classify, ClassifyHttp, Outcome};
pub use peer::Peer;
pub use pooled::PoolClose;
pub use principal::{ByPrincipal, Principal, PrincipalId, PrincipalKey};
pub use priority::Priority;
pub use ratio::{InvalidRatio, Ratio};
pub use refuse::{Asked, Problem, Refuse};
pub use request_id::{InvalidRequestId, RequestId, X_REQUEST_ID};
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) use reset_early::ResetEarly;
pub use retry_after::{Pushback, RetryAfter};
pub use rng::Rng;
#[cfg(feature = "limit")]
pub(crate) use rng::UnforeseenHash;
pub use route::Route;
pub use served::{CloseReason, ServerPhase};
pub use timings::Timings;
pub use token::{KeyFault, TokenFault, TokenRefused};
pub use trace::{InvalidTrace, SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use tracing_observer::TracingObserver;
pub use trusted_peers::{InvalidPeers, TrustedPeers};
pub use wire::{InvalidTimeout, TIMEOUT_MS, TimeoutHeader};

#[cfg(any(feature = "balance", feature = "breaker"))]
pub(crate) use self::anchor::{Anchor, Anchored};
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "oauth"))]
pub(crate) use self::ask::{Ask, NotAsked, Prover};
#[cfg(feature = "connect")]
pub(crate) use self::basic::basic;
pub(crate) use self::bounded_map::BoundedMap;
#[cfg(feature = "breaker")]
pub(crate) use self::bounded_map::Forgotten;
#[cfg(feature = "retry")]
pub(crate) use self::call::EndedAt;
pub(crate) use self::call::StandsIn;
pub(crate) use self::caught::{Caught, Panic, caught, caught_with, message};
#[cfg(feature = "server")]
pub(crate) use self::detach::Share as DetachShare;
pub(crate) use self::detach::{Place, spawn};
pub(crate) use self::endpoint::Tried;
pub(crate) use self::hop::{erase_attempt, forbid_retry, read_attempt, says_grpc, write_attempt};
pub(crate) use self::ip_network::{IpNetwork, NetworkFlaw};
pub(crate) use self::lane::{MOST_LANES, lane, lanes};
#[cfg(any(feature = "oauth", all(feature = "balance", feature = "client")))]
pub(crate) use self::origin::Origin;
pub(crate) use self::paths::Paths;
#[cfg(feature = "health")]
pub(crate) use self::peer::OldAt;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
pub(crate) use self::principal::Grants;
#[cfg(feature = "server")]
pub(crate) use self::refuse::{BodyTooSlow, Misaddressed};
#[cfg(any(feature = "hedge", feature = "retry"))]
pub(crate) use self::spare::Spare;
pub(crate) use self::take::take;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
pub(crate) use self::token::is_plain;
pub(crate) use self::waiters::Waiters;
pub(crate) use self::{
    alarm::Alarm, alarm::Limited, alarm::NOBODY, alarm::Then, observe::Observe, outbox::Outbox,
};
