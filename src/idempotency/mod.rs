//! Have we done it already? A server that does a keyed request once, however often it is sent.
//!
//! A client that was not answered does not know whether its payment was made. If it sends the request again with the same `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header), this layer does it the first time, and answers with what it was answered then from the
//! second on. It is the other half of a [retry](crate::retry) of requests that are not idempotent by themselves.
//!
//! ```
//! use http::{Request, Response};
//! use stonework::Body;
//! use stonework::idempotency::{IdempotencyLayer, MemoryStore};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), stonework::Error> {
//! let charge = service_fn(|request: Request<Body>| async move {
//!     println!("done once");
//!     Ok::<_, stonework::Error>(Response::new(request.into_body()))
//! });
//! let service = ServiceBuilder::new().layer(IdempotencyLayer::new(MemoryStore::new())).service(charge);
//!
//! for replayed in [false, true] {
//!     let request = Request::post("/charges").header("idempotency-key", "\"8e03978e\"").body(Body::from("5 EUR")).unwrap();
//!     let response = service.clone().oneshot(request).await?;
//!     assert_eq!(response.headers().contains_key("idempotency-replayed"), replayed);
//! }
//! let other = Request::post("/charges").header("idempotency-key", "\"8e03978e\"").body(Body::from("500 EUR")).unwrap();
//! assert_eq!(service.oneshot(other).await?.status(), 422);
//! # Ok(()) }
//! ```
//!
//! # What a client is told
//!
//! | | status | |
//! |---|---|---|
//! | it was done | as then | status, fields, body and trailers as they were, and `Idempotency-Replayed: true`; without `Set-Cookie` |
//! | it is being done | 409 | with `Retry-After`; or after a [wait](IdempotencySettings::wait_up_to), with the answer |
//! | the key is that of another request | 422 | another path, query, body or [field](IdempotencySettings::fingerprint_headers) |
//! | it was begun, and nobody knows what was done | 409 | until the record is forgotten; or it is [done again](AfterCrash::Rerun) |
//! | it was done, and its answer was too large to be kept | 409 | |
//! | the key is missing where it has to be, or cannot be read | 400 | |
//! | the request body is larger than [it may be](IdempotencySettings::max_request_body) | 413 | nothing was done |
//! | the store does not answer, or too much is [running](IdempotencyLayer::detach) | 503 | with `Retry-After`; nothing was done |
//!
//! Each 409 and 422 has a problem type of its own: see [`KeyedFault`](crate::base::KeyedFault).
//!
//! # What is promised
//!
//! *Done at most once.* A handler runs once for each key, method, route and sender, over all servers that share a [`Store`]: in any
//! order of retries, crashes and pauses. When it is not known how far it came, it is not run again, unless that was
//! [asked for](AfterCrash). A store that forgets breaks this, so what has to survive a restart is not kept in [memory](MemoryStore).
//!
//! *Exactly once* needs the handler's help: only if it commits the record in one transaction with what it did, by its [`Claim`], there is
//! never a doubt.
//!
//! *Once begun, it comes to its end.* A keyed request runs as a [task of its own](crate::base::Detach), which its client's going away does not
//! end; give the layer's [`detached`](IdempotencyLayer::detached) to the server, and its shutdown waits. Requests without a key are
//! dropped with their clients, as ever.
//!
//! *What its client saw is what is kept.* The record is written before the first byte of the answer is sent, so an answer is read
//! as a whole first, up to [a limit](IdempotencySettings::max_response_body). Only if the store goes away in between, an answer is sent that is not
//! kept yet; it is written as soon as the store is back, or nobody knows.
//!
//! # Who sends it
//!
//! A key belongs to a [`Principal`](crate::base::Principal), so it stands inside of what finds out who it is ([`jwt`](../jwt/index.html)). Where nobody does, all senders are
//! one: **whoever guesses a key and its request is given the answer.** Tell them apart by [`route`](IdempotencyLayer::route) then.
//!
//! # Which store
//!
//! | store | feature | what is known | a handler's transaction |
//! |---|---|---|---|
//! | [`MemoryStore`] | | by one process, until it ends | |
//! | `SqliteStore` | `sqlite` | on one machine, after a crash and a power cut | `complete_in` |
//! | `PostgresStore` | `postgres` | on all machines, as safely as the database keeps it | `complete_in` |
//! | `RedisStore` | `idempotency` and `redis` | on all machines, as safely as the server keeps it, which is often not after a failover | |
//!
//! Each goes by one clock, that of the machine or of the server, so those that ask need not agree on the time. For another one there is [`Entry`], which
//! decides, and [`conformance`], which checks.
//!
//! # Bodies
//!
//! The service inside takes requests with a [`Body`](crate::Body): a keyed one is there as a whole, others pass as they come. Trailers pass, too.

mod body;
mod claim;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod columns;
pub mod conformance;
mod core;
mod digest;
mod entry;
mod error;
mod fate;
#[cfg(feature = "serde")]
mod file;
mod future;
mod key;
mod layer;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod service;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod work;

pub use self::body::KeyedBody;
pub use self::claim::{AfterCrash, Claim, NewClaim, Owner};
pub use self::digest::{Fingerprint, Scope};
pub use self::entry::{Change, Entry, InvalidEntry, State};
pub use self::error::{InvalidIdempotency, StoreAway};
pub use self::fate::Disposition;
pub use self::future::IdempotencyFuture;
pub use self::layer::{ByPath, IdempotencyLayer};
pub use self::memory::{MemoryStore, StoreFull};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use self::postgres::{PostgresError, PostgresStore};
pub use self::record::{InvalidRecord, Record};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use self::service::IdempotencyService;
pub use self::settings::{IdempotencySettings, WhenAway};
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::{SqliteError, SqliteStore};
pub use self::store::{Begun, Final, Held, Store};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::base::InvalidRedis;
