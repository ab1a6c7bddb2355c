//! Handles that are asked by themselves.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::RateLimiter as Governor;
use http::{Request, Response};
use stonework::Body;
use stonework::base::{Budget, BudgetSettings, ClientAuth, Outcome};
use stonework::breaker::{Breaker, BreakerSettings, Breakers};
use stonework::health::Health;
use stonework::idempotency::{self, Begun, Store};
use stonework::jwt::{IntrospectSettings, Introspector, JwtSettings};
use stonework::limit::{
    AdaptiveThrottle, ConcurrencyLimiter, KeyedConcurrencyLimiter, KeyedRateLimiter, MemoryStore,
    RateLimiter, SharedRateLimiter, ThrottleSettings,
};
use stonework::oauth::TokenSource;
use stonework::pool::PoolSettings;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::service_fn;

use super::kit::{Handle, asks};
use super::own::Own;
use super::{PERMITS, adaptive};
use crate::limit::{address, governors, ours};
use crate::pool::kit::{By, Deadpool, Least, Lends, Numbers, Ours};
use crate::rows::Broken;

/// More than there are tasks: none ever waits for one.
const OBJECTS: usize = 128;

/// Where something has to be asked for first, it is asked for within this runtime.
pub(super) fn handles(runtime: &Runtime) -> Vec<Handle> {
    [limits(), pools(), clients(runtime), servers(runtime)].into_iter().flatten().collect()
}

/// What decides whether something may be done.
fn limits() -> Vec<Handle> {
    let permit = ConcurrencyLimiter::new(PERMITS).expect("a valid limit");
    let adaptive = ConcurrencyLimiter::new(adaptive());
    let rate = RateLimiter::new(ours(true)).expect("a valid quota");
    let keyed = KeyedRateLimiter::new(ours(true)).expect("a valid quota");
    let theirs = Arc::new(Governor::dashmap(governors(true)));
    let shared = SharedRateLimiter::new(MemoryStore::new(), [ours(true)]).expect("a valid quota");
    vec![
        asks!("bare, a reading of the clock", (), |_nothing, pause| {
            pause().await;
            Instant::now()
        }),
        asks!("an atomic number", Arc::new(AtomicU64::new(0)), |number, pause| {
            pause().await;
            number.fetch_add(1, Ordering::Relaxed)
        }),
        asks!("a lock", Arc::new(Mutex::new(0_u64)), |number, pause| {
            pause().await;
            *number.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }),
        asks!("governor", Arc::new(Governor::direct(governors(true))), |limiter, pause| {
            pause().await;
            assert!(limiter.check().is_ok(), "the quota is never used up");
        }),
        asks!("stonework RateLimiter", rate, |limiter, pause| {
            pause().await;
            assert!(limiter.try_take(1).is_ok(), "the quota is never used up");
        }),
        asks!("governor, one key", (theirs.clone(), address(0)), |limiter, pause| {
            pause().await;
            assert!(limiter.0.check_key(&limiter.1).is_ok(), "the quota is never used up");
        }),
        asks!("stonework KeyedRateLimiter, one key", (keyed.clone(), address(0)), |limiter, pause| {
            pause().await;
            assert!(limiter.0.try_take(&limiter.1, 1).is_ok(), "the quota is never used up");
        }),
        asks!("governor, a key for each", Own::of(theirs), |limiter, pause| {
            pause().await;
            assert!(limiter.shared.check_key(&limiter.key).is_ok(), "the quota is never used up");
        }),
        asks!("stonework KeyedRateLimiter, a key for each", Own::of(keyed), |limiter, pause| {
            pause().await;
            assert!(limiter.shared.try_take(&limiter.key, 1).is_ok(), "the quota is never used up");
        }),
        asks!("stonework SharedRateLimiter in memory, one key", shared, |limiter, pause| {
            pause().await;
            assert!(limiter.take("key", 1).await.is_ok(), "the quota is never used up");
        }),
        asks!("tokio Semaphore", Arc::new(Semaphore::new(PERMITS)), |semaphore, pause| {
            let permit = Arc::clone(&semaphore).try_acquire_owned().expect("there are more");
            pause().await;
            drop(permit);
        }),
        asks!("stonework ConcurrencyLimiter", permit, |limiter, pause| {
            let permit = limiter.try_acquire().expect("there are more");
            pause().await;
            drop(permit);
        }),
        asks!(
            "stonework ConcurrencyLimiter, adaptive",
            adaptive.expect("valid settings"),
            |limiter, pause| {
                let mut permit = limiter.try_acquire().expect("there are more");
                pause().await;
                permit.answered();
                drop(permit);
            }
        ),
        asks!("stonework KeyedConcurrencyLimiter, a key for each", Own::of(per_key()), |limiter, pause| {
            let permit = limiter.shared.try_acquire(&limiter.key).expect("there are more");
            pause().await;
            drop(permit);
        }),
    ]
}

fn per_key() -> KeyedConcurrencyLimiter<IpAddr> {
    KeyedConcurrencyLimiter::new(PERMITS).expect("a valid limit")
}

/// Objects that are taken and put back.
fn pools() -> Vec<Handle> {
    let settings = PoolSettings::new().max(OBJECTS);
    let ours = Ours::builder(By(Numbers)).settings(settings).build().expect("valid settings");
    (0..OBJECTS).for_each(|_| ours.add(7).expect("there is a place"));
    let deadpool = Deadpool::builder(By(Numbers)).max_size(OBJECTS).build().expect("no timeouts");
    vec![
        asks!("tokio Semaphore, Mutex<Vec>", Least::new(OBJECTS), |pool, pause| {
            let object = pool.take().await.expect("there are more");
            pause().await;
            drop(object);
        }),
        asks!("deadpool", deadpool, |pool, pause| {
            let object = pool.take().await.expect("there are more");
            pause().await;
            drop(object);
        }),
        asks!("stonework Pool", ours, |pool, pause| {
            let object = pool.get().await.expect("there are more");
            pause().await;
            object.put_back();
        }),
    ]
}

/// What a client asks before it sends something.
fn clients(runtime: &Runtime) -> Vec<Handle> {
    let budget = Budget::new(BudgetSettings::default().reserve(PERMITS as u32));
    let breaker = Breaker::new(BreakerSettings::new()).expect("valid settings");
    let throttle = AdaptiveThrottle::new(ThrottleSettings::new()).expect("valid settings");
    vec![
        asks!("stonework Budget, deposit", budget.clone(), |budget, pause| {
            pause().await;
            budget.deposit();
        }),
        asks!("stonework Budget, withdraw and refund", budget, |budget, pause| {
            let withdrawn = budget.try_withdraw(Instant::now(), 1).expect("there are more");
            pause().await;
            drop(withdrawn);
        }),
        asks!("stonework Breaker", breaker, |breaker, pause| {
            let permit = breaker.try_acquire().expect("it is closed");
            pause().await;
            permit.settle(Outcome::Success);
        }),
        asks!(
            "stonework Breakers, a key for each",
            Own::of(Breakers::<IpAddr>::default()),
            |breakers, pause| {
                pause().await;
                breakers.shared.get(&breakers.key)
            }
        ),
        asks!("stonework AdaptiveThrottle", throttle, |throttle, pause| {
            let sent = throttle.try_send().expect("nothing is refused");
            pause().await;
            sent.settle(Outcome::Success);
        }),
        asks!("stonework TokenSource", token_source(runtime), |source, pause| {
            pause().await;
            source.token().await.expect("there is one")
        }),
    ]
}

/// What a server asks before it answers.
fn servers(runtime: &Runtime) -> Vec<Handle> {
    let (verifier, token) = crate::jwt::verifier(JwtSettings::new());
    let (remembers, _) = crate::jwt::verifier(JwtSettings::new().cache(1_000));
    let health = Health::builder().build().expect("valid settings");
    vec![
        asks!("stonework Verifier", (verifier, token), |verifier, pause| {
            pause().await;
            verifier.0.verify(verifier.1).await.expect("it is good")
        }),
        asks!("stonework Verifier, remembered", (remembers, token), |verifier, pause| {
            pause().await;
            verifier.0.verify(verifier.1).await.expect("it is good")
        }),
        asks!("stonework Introspector, remembered", introspector(runtime), |introspector, pause| {
            pause().await;
            introspector.check("a-token").await.expect("it is good")
        }),
        asks!(
            "stonework idempotency MemoryStore, begun and given back, a key for each",
            Own::of(Arc::new(idempotency::MemoryStore::new())),
            |store, pause| {
                let (scope, claim) = store.claim();
                let begun = store.shared.begin(scope, &claim).await.expect("it is there");
                let Begun::Run { fence } = begun else { panic!("nobody else has this key: {begun:?}") };
                pause().await;
                store.shared.release(&claim.won(scope, fence)).await.expect("it is there")
            }
        ),
        asks!("stonework Health", health, |health, pause| {
            pause().await;
            health.ready()
        }),
    ]
}

fn token_source(runtime: &Runtime) -> TokenSource {
    let provider = service_fn(|_: Request<Body>| async {
        let said = r#"{ "access_token": "abc", "token_type": "Bearer", "expires_in": 86400 }"#;
        Ok::<_, Broken>(Response::new(Body::from(said)))
    });
    let source = TokenSource::builder("https://id.example/token", ClientAuth::basic("orders", "a secret"));
    let source = source.build(provider).expect("a valid address");
    runtime.block_on(source.token()).expect("the provider has one");
    source
}

fn introspector(runtime: &Runtime) -> Introspector {
    let server = service_fn(|_: Request<Body>| async {
        let said = r#"{ "active": true, "sub": "alice", "aud": "https://api.example", "exp": 4102444800 }"#;
        Ok::<_, Broken>(Response::new(Body::from(said)))
    });
    let builder =
        Introspector::builder("https://id.example/introspect", ClientAuth::basic("api", "a secret"));
    let settings = IntrospectSettings::new().cache_ttl(Duration::from_secs(60 * 60));
    let built = builder.audiences(["https://api.example"]).settings(settings).build(server);
    let introspector = built.expect("valid settings");
    runtime.block_on(introspector.check("a-token")).expect("it is good");
    introspector
}
