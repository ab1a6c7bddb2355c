use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use stonework::Error;
use stonework::base::{BoxError, Delivery, Kind, RateLimited};
use stonework::limit::conformance::{Promise, check};
use stonework::limit::{
    Costs, DecidedBy, Except, InvalidQuota, InvalidSharedLimit, KeyTooLong, Keyed, MemoryStore, Quota,
    QuotaStore, Refill, SharedAllowed, SharedLimitSettings, SharedRateLimitLayer, SharedRateLimiter,
    Shortage, Standing, StoreAway, Taken, WhenAway,
};
use stonework::testing::Scripted;
use stonework::timeout::TimeoutLayer;
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Backend, Content, Everything, SECOND, answered, timed};

const MS: Duration = Duration::from_millis(1);

/// A store that can be taken away.
#[derive(Clone, Default)]
struct Moody(Arc<MoodyState>);

#[derive(Default)]
struct MoodyState {
    store: MemoryStore,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Well,
    Fails,
    Hangs,
    /// Decides at once, and says so after so long.
    Slow(Duration),
}

impl Moody {
    fn be(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl QuotaStore for Moody {
    async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mood = *self.0.mood.lock().unwrap();
        match mood {
            Mood::Fails => return Err("no route to host".into()),
            Mood::Hangs => std::future::pending().await,
            Mood::Well | Mood::Slow(_) => {}
        }
        let taken = self.0.store.take(key, quotas, cost).await;
        if let Mood::Slow(time) = mood {
            sleep(time).await;
        }
        taken
    }
}

/// Ten an hour, with this policy.
fn limiter(store: &Moody, when_away: WhenAway) -> SharedRateLimiter {
    let settings = SharedLimitSettings::new().when_away(when_away);
    let quota = Quota::new(10, 3600 * SECOND);
    SharedRateLimiter::named("api", store.clone(), [quota]).unwrap().settings(settings).unwrap()
}

fn by(allowed: Result<SharedAllowed, Error>) -> DecidedBy {
    allowed.unwrap().decided_by()
}

#[tokio::test(start_paused = true)]
async fn limiters_of_one_name_on_one_store_share_what_is_counted_and_others_do_not() {
    let store = Moody::default();
    let (one, other) = (limiter(&store, WhenAway::Local), limiter(&store, WhenAway::Local));
    for left in (0..10).rev() {
        let limiter = if left % 2 == 0 { &one } else { &other };
        assert_eq!(limiter.take("key", 1).await.unwrap().quotas()[0].left(), left);
    }
    let error = other.take("key", 1).await.unwrap_err();
    assert!(one.take("another key", 1).await.is_ok());
    let elsewhere = SharedRateLimiter::named("web", store.clone(), one.quotas().to_vec()).unwrap();
    assert!(elsewhere.take("key", 1).await.is_ok());

    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!(error.retry_after(), Some(360 * SECOND));
    let limited = error.cause::<RateLimited>().unwrap();
    assert_eq!((limited.policy(), limited.left()), ("api", 0));
    assert_eq!((one.refused(), other.refused(), one.store_failures()), (0, 1, 0));
    assert!(one.is_same(&one.clone()) && !one.is_same(&other));
}

#[tokio::test(start_paused = true)]
async fn all_of_the_quotas_are_taken_of_or_none() {
    let quotas = [Quota::per_second(10), Quota::per_hour(12)];
    let limiter = SharedRateLimiter::new(MemoryStore::new(), quotas).unwrap();
    let allowed = limiter.take("key", 10).await.unwrap();
    assert_eq!(allowed.quotas(), [Standing::new(0, SECOND), Standing::new(2, 3000 * SECOND)]);
    assert_eq!(allowed.tightest(), Some(Standing::new(0, SECOND)));
    advance(SECOND).await;
    let refused = limiter.take("key", 3).await.unwrap_err();
    assert_eq!(refused.cause::<RateLimited>().unwrap().left(), 2);
    let left: Vec<u32> = limiter.take("key", 0).await.unwrap().quotas().iter().map(Standing::left).collect();
    assert_eq!(left, [10, 2], "nothing was taken of the first");
    assert!(limiter.take("key", 13).await.unwrap_err().retry_after().is_none(), "there are never 13");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_each_process_holds_the_quotas_for_itself() {
    let store = Moody::default();
    let (one, other) = (limiter(&store, WhenAway::Local), limiter(&store, WhenAway::Local));
    assert_eq!(by(one.take("key", 10).await), DecidedBy::Store);
    store.be(Mood::Fails);
    for limiter in [&one, &other] {
        assert_eq!(by(limiter.take("key", 10).await), DecidedBy::Local);
        let refused = limiter.take("key", 1).await.unwrap_err();
        assert!(refused.cause::<RateLimited>().is_some());
        assert!(limiter.is_away());
    }
    store.be(Mood::Well);
    sleep(SECOND).await;
    let refused = one.take("key", 10).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(3599 * SECOND), "the store had not forgotten");
    assert!(!one.is_away() && other.is_away());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_all_or_nothing_is_admitted_if_that_is_wanted() {
    let store = Moody::default();
    store.be(Mood::Fails);
    let admit = limiter(&store, WhenAway::Admit);
    for _ in 0..20 {
        let allowed = admit.take("key", 10).await.unwrap();
        assert_eq!((allowed.decided_by(), allowed.quotas()), (DecidedBy::Nobody, &[][..]));
    }
    assert_eq!((store.asked(), admit.refused()), (1, 0));

    let refuse = limiter(&store, WhenAway::Refuse);
    let error = refuse.take("key", 1).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!((error.retry_after(), error.forbids_retry()), (Some(SECOND), false));
    assert_eq!(error.cause::<StoreAway>().unwrap().retry_after(), SECOND);
    sleep(300 * MS).await;
    assert_eq!(refuse.take("key", 1).await.unwrap_err().retry_after(), Some(700 * MS));
    assert_eq!((refuse.refused(), refuse.store_failures()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_waited_for_100_ms_and_left_alone_for_a_second() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Hangs);
    let (allowed, time) = timed(limiter.take("key", 1)).await;
    assert_eq!((by(allowed), time), (DecidedBy::Local, 100 * MS));
    for _ in 0..9 {
        let (allowed, time) = timed(limiter.take("key", 1)).await;
        assert_eq!((by(allowed), time), (DecidedBy::Local, Duration::ZERO));
    }
    sleep(SECOND - MS).await;
    assert_eq!(store.asked(), 1);
    let _ = limiter.take("key", 0).await;
    assert_eq!(store.asked(), 1, "not before the pause is over");
    sleep(MS).await;
    let (_, time) = timed(limiter.take("key", 0)).await;
    assert_eq!((store.asked(), time, limiter.store_failures()), (2, 100 * MS, 2));
    store.be(Mood::Well);
    sleep(SECOND).await;
    assert_eq!(by(limiter.take("key", 0).await), DecidedBy::Store);
    assert!(!limiter.is_away());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_with_the_end_of_the_timeout_is_taken() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Refuse);
    store.be(Mood::Slow(100 * MS));
    assert_eq!(by(limiter.take("key", 1).await), DecidedBy::Store);
    store.be(Mood::Slow(101 * MS));
    assert!(limiter.take("key", 1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn after_the_pause_one_call_asks_and_the_others_do_not_wait_for_it() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Refuse);
    store.be(Mood::Fails);
    let _ = limiter.take("key", 1).await;
    sleep(SECOND).await;
    store.be(Mood::Hangs);
    let mut probe = pin!(limiter.take("key", 1));
    assert!(probe.as_mut().now_or_never().is_none());
    for _ in 0..5 {
        let refused = limiter.take("key", 1).now_or_never().expect("at once").unwrap_err();
        assert_eq!(refused.retry_after(), Some(100 * MS), "then it is known");
    }
    assert_eq!(store.asked(), 2);
    assert!(probe.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_after_the_pause_and_is_dropped_leaves_it_to_the_next() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Fails);
    let _ = limiter.take("key", 1).await;
    sleep(SECOND).await;
    store.be(Mood::Hangs);
    for asked in 2..5 {
        assert!(limiter.take("key", 1).now_or_never().is_none());
        assert_eq!(store.asked(), asked);
    }
    store.be(Mood::Well);
    assert_eq!(by(limiter.take("key", 1).await), DecidedBy::Store);
    assert_eq!(limiter.store_failures(), 1, "one that was dropped says nothing of the store");
}

#[tokio::test(start_paused = true)]
async fn that_a_store_is_silent_is_learned_also_where_no_call_has_time_to_wait_for_it() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Hangs);
    let hurried = async || {
        let take = service_fn(|(): ()| limiter.take("key", 0));
        timed(TimeoutLayer::new(40 * MS).plain().layer(take).oneshot(())).await
    };
    for _ in 0..3 {
        let (result, time) = hurried().await;
        assert!(result.is_err() && time == 40 * MS);
    }
    for _ in 0..5 {
        let (result, time) = hurried().await;
        assert_eq!((by(result), time), (DecidedBy::Local, Duration::ZERO));
    }
    // Of those that come when the pause is over, one finds out that it still is.
    sleep(SECOND).await;
    assert!(hurried().await.0.is_err());
    assert_eq!(by(hurried().await.0), DecidedBy::Local);
    assert_eq!((store.asked(), limiter.store_failures()), (4, 2));
    store.be(Mood::Well);
    sleep(SECOND).await;
    assert_eq!(by(hurried().await.0), DecidedBy::Store);
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_after_the_pause_and_is_never_polled_again_holds_up_nobody_for_long() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Fails);
    let _ = limiter.take("key", 1).await;
    sleep(SECOND).await;
    store.be(Mood::Hangs);
    let mut kept = pin!(limiter.take("key", 1));
    assert!(kept.as_mut().now_or_never().is_none());
    store.be(Mood::Well);
    sleep(200 * MS - MS).await;
    assert_eq!(by(limiter.take("key", 1).await), DecidedBy::Local, "it is waited for");
    sleep(MS).await;
    assert_eq!(by(limiter.take("key", 1).await), DecidedBy::Store);
    assert!(!limiter.is_away());
}

#[tokio::test(start_paused = true)]
async fn what_the_store_had_decided_stays_spent_and_nothing_else_remains_of_a_dropped_call() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Slow(50 * MS));
    assert!(limiter.take("key", 3).now_or_never().is_none());
    drop(limiter.take("key", 3));
    store.be(Mood::Well);
    let allowed = limiter.take("key", 1).await.unwrap();
    assert_eq!((allowed.quotas()[0].left(), allowed.decided_by()), (6, DecidedBy::Store));
    assert_eq!((limiter.is_away(), limiter.store_failures()), (false, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_under_way_when_the_store_went_away_do_not_prolong_it() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    store.be(Mood::Hangs);
    let mut slow = pin!(limiter.take("key", 1));
    assert!(slow.as_mut().now_or_never().is_none());
    store.be(Mood::Fails);
    let _ = limiter.take("key", 1).await;
    store.be(Mood::Well);
    assert_eq!(by(slow.await), DecidedBy::Local);
    sleep(900 * MS).await;
    assert_eq!(by(limiter.take("key", 1).await), DecidedBy::Store, "a second after the first failure");
}

#[tokio::test(start_paused = true)]
async fn that_a_store_is_away_or_back_is_logged_once_and_without_keys() {
    let log = Everything::default();
    let guard = crate::support::subscriber::set_default(log.clone());
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Refuse);
    store.be(Mood::Fails);
    for _ in 0..10 {
        let _ = limiter.take("a secret", 1).await;
        sleep(SECOND / 2).await;
    }
    assert_eq!(limiter.store_failures(), 5);
    store.be(Mood::Well);
    sleep(SECOND).await;
    for _ in 0..3 {
        let _ = limiter.take("a secret", 1).await;
    }
    drop(guard);
    let log = log.text();
    for (text, times) in [("does not answer", 1), ("no route to host", 1), ("is back", 1), ("secret", 0)] {
        assert_eq!(log.matches(text).count(), times, "{text}: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_caller_is_no_failure_of_the_store() {
    let store = Moody::default();
    let limiter = limiter(&store, WhenAway::Local);
    let error = limiter.take(&"x".repeat(513), 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.cause::<KeyTooLong>().is_some());
    assert!(limiter.take(&"x".repeat(512), 1).await.is_ok());
    assert_eq!((store.asked(), limiter.is_away()), (1, false));
}

#[test]
fn a_shared_limit_that_cannot_be_is_refused_with_its_reason() {
    let make = |quotas: &[Quota]| SharedRateLimiter::new(MemoryStore::new(), quotas.to_vec()).map(|_| ());
    let quota = Quota::per_second;
    let _runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(make(&[quota(1).strict()]), Err(InvalidSharedLimit::Strict));
    assert_eq!(make(&[quota(1), quota(2), quota(1)]), Err(InvalidSharedLimit::Twice));
    assert!(matches!(make(&[]), Err(InvalidSharedLimit::HowMany { number: 0, .. })));
    assert!(matches!(make(&[1, 2, 3, 4, 5].map(quota)), Err(InvalidSharedLimit::HowMany { number: 5, .. })));
    assert_eq!(make(&[1, 2, 3, 4].map(quota)), Ok(()));
    let zero = make(&[quota(0)]).unwrap_err();
    assert!(matches!(zero, InvalidSharedLimit::Quota(InvalidQuota::Zero { field: "amount", .. })));
    let named = SharedRateLimiter::named("a\\b", MemoryStore::new(), [quota(1)]).unwrap_err();
    assert_eq!(named, InvalidSharedLimit::Quota(InvalidQuota::Name));
    for (field, settings) in [
        ("pause", SharedLimitSettings::new().pause(Duration::ZERO)),
        ("timeout", SharedLimitSettings::new().timeout(Duration::ZERO)),
    ] {
        let limiter = SharedRateLimiter::new(MemoryStore::new(), [quota(1)]).unwrap();
        let refused = limiter.settings(settings).unwrap_err();
        assert_eq!(refused.to_string(), format!("`{field}` is zero"));
    }
}

#[test]
fn the_settings_of_a_shared_limit_are_read_and_written() {
    let text = r#"{"pause":"2s","timeout":"20ms","when_away":"refuse"}"#;
    let settings: SharedLimitSettings = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&settings).unwrap(), text);
    assert_eq!(serde_json::from_str::<SharedLimitSettings>("{}").unwrap(), SharedLimitSettings::new());
    for (wrong, named) in [(r#"{"timeout":"0s"}"#, "timeout"), (r#"{"retries":1}"#, "retries")] {
        let error = serde_json::from_str::<SharedLimitSettings>(wrong).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

// ───────────────────────────────────────────────────────────────────────────── the layer

/// By the header `who`; a request for `/livez` is exempt, and one for `/search` costs 5.
fn web<M>(limiter: &SharedRateLimiter, layer: impl FnOnce(SharedWeb) -> M) -> M {
    let who = |request: &Request<Content>| {
        request.headers().get("who").and_then(|who| who.to_str().ok()).unwrap_or("nobody").to_owned()
    };
    let cost = |request: &Request<Content>| if request.uri().path() == "/search" { 5_u32 } else { 1 };
    let exempt = |request: &Request<Content>| request.uri().path() == "/livez";
    layer(
        SharedRateLimitLayer::keyed(limiter.clone(), who as Who).cost(cost as Cost).except(exempt as Exempt),
    )
}

type Who = fn(&Request<Content>) -> String;
type Cost = fn(&Request<Content>) -> u32;
type Exempt = fn(&Request<Content>) -> bool;
type SharedWeb = SharedRateLimitLayer<Except<Costs<Keyed<SharedRateLimiter, Who>, Cost>, Exempt>>;

fn backend() -> Backend {
    Scripted::script(|_, _| answered(200))
}

fn asks(who: &str, path: &str) -> Request<Content> {
    Request::get(path).header("who", who).body(Content::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_layer_answers_429_with_its_fields_and_whoever_waits_as_told_is_admitted_next() {
    let store = Moody::default();
    let limiter = SharedRateLimiter::named(
        "api",
        store.clone(),
        [Quota::per_second(10), Quota::per_minute(30).burst(6)],
    )
    .unwrap();
    let app = web(&limiter, SharedRateLimitLayer::answer).layer(backend());
    let fields = |response: &Response<_>, name: &str| response.headers()[name].to_str().unwrap().to_owned();

    let answer = app.clone().oneshot(asks("ann", "/search")).await.unwrap();
    assert_eq!(answer.status(), 200);
    // The tightest of the two.
    assert_eq!(fields(&answer, "ratelimit-policy"), r#""api";q=6;w=12"#);
    assert_eq!(fields(&answer, "ratelimit"), r#""api";r=1;t=10"#);

    let refused = app.clone().oneshot(asks("ann", "/search")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(fields(&refused, "ratelimit"), r#""api";r=1;t=8"#);
    assert_eq!(fields(&refused, "retry-after"), "8");
    assert_eq!(limiter.refused(), 1);
    assert_eq!(app.clone().oneshot(asks("bob", "/")).await.unwrap().status(), 200, "another key");
    advance(8 * SECOND).await;
    assert_eq!(app.clone().oneshot(asks("ann", "/search")).await.unwrap().status(), 200);

    let asked = store.asked();
    let probe = app.clone().oneshot(asks("ann", "/livez")).await.unwrap();
    assert!(probe.status() == 200 && !probe.headers().contains_key("ratelimit"));
    assert_eq!(store.asked(), asked, "nobody asks for what is exempt");
}

#[tokio::test(start_paused = true)]
async fn as_a_layer_of_a_client_it_is_an_error_that_hands_the_request_back() {
    let limiter = SharedRateLimiter::new(Moody::default(), [Quota::per_minute(1)]).unwrap();
    let backend = backend();
    let client = web(&limiter, |layer| layer).layer(backend.clone());
    client.clone().oneshot(asks("ann", "/")).await.unwrap();
    let mut error = client.oneshot(asks("ann", "/")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!(error.retry_after(), Some(60 * SECOND));
    assert_eq!(error.take_request::<Request<Content>>().unwrap().headers()["who"], "ann");
    assert_eq!(backend.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_a_layer_does_what_its_limiter_says() {
    for (when_away, statuses) in
        [(WhenAway::Admit, [200, 200]), (WhenAway::Local, [200, 429]), (WhenAway::Refuse, [503, 503])]
    {
        let store = Moody::default();
        store.be(Mood::Hangs);
        let limiter = SharedRateLimiter::new(store, [Quota::per_minute(1)]).unwrap();
        let limiter = limiter.settings(SharedLimitSettings::new().when_away(when_away)).unwrap();
        let app = web(&limiter, SharedRateLimitLayer::answer).layer(backend());
        for (status, wait) in statuses.into_iter().zip([100 * MS, Duration::ZERO]) {
            let (answer, took) = timed(app.clone().oneshot(asks("ann", "/"))).await;
            let answer = answer.unwrap();
            assert_eq!((answer.status().as_u16(), took), (status, wait), "{when_away:?}");
            assert_eq!(answer.headers().contains_key("retry-after"), status != 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_switched_off_or_dropped_while_it_asks_leaves_the_service_alone() {
    let store = Moody::default();
    store.be(Mood::Hangs);
    let limiter = SharedRateLimiter::new(store.clone(), [Quota::per_minute(1)]).unwrap();
    let backend = backend();
    let off = web(&limiter, |layer| layer.when(false)).layer(backend.clone());
    off.oneshot(asks("ann", "/")).await.unwrap();
    assert_eq!((store.asked(), backend.seen().count()), (0, 1));

    let on = web(&limiter, |layer| layer).layer(backend.clone());
    assert!(on.oneshot(asks("ann", "/")).now_or_never().is_none());
    assert_eq!((store.asked(), backend.seen().count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_store_forgets_what_is_full_and_its_cap_is_one_more_key() {
    let quotas = [Refill::of(&Quota::per_second(2)).unwrap()];
    let store = MemoryStore::with_most(100);
    let take = async |key: &str, cost| store.take(key, &quotas, cost).await.unwrap();
    for key in 0..100 {
        assert!(matches!(take(&key.to_string(), 1).await, Taken::All(_)));
    }
    assert_eq!(store.keys(), 100);
    // Two of these share what is one key's, and those that were there keep theirs.
    for (key, admitted) in [("a", true), ("b", true), ("c", false), ("7", true), ("7", false)] {
        assert_eq!(matches!(take(key, 1).await, Taken::All(_)), admitted, "{key}");
    }
    advance(SECOND).await;
    assert!(matches!(take("c", 2).await, Taken::All(_)));
    assert_eq!(store.keys(), 1, "the others are full again, and forgotten");
    for key in 0..100_000 {
        let _ = take(&key.to_string(), 1).await;
        advance(Duration::from_micros(100)).await;
        assert!(store.keys() <= 100);
    }
    assert!(format!("{:?}", MemoryStore::new()).contains("most: 65536"));
    // Whoever only looks is not remembered.
    advance(60 * SECOND).await;
    for key in 0..50 {
        let _ = take(&key.to_string(), 0).await;
    }
    assert_eq!(store.keys(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── the conformance of stores

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_what_a_store_promises() {
    assert_eq!(check(&MemoryStore::new()).await, []);
    assert_eq!(check(&Arc::new(Moody::default())).await, []);
}

/// What may be wrong about a store.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    AdmitsAll,
    CountsCallsNotCosts,
    DoesNotAnswer,
    EarnsTwiceAsFast,
    ForgetsItsKeys,
    FoldsTheCaseOfKeys,
    IsNotAtomic,
    KeepsQuotasByTheirPlace,
    LeavesOneMore,
    NamesTheFirst,
    NeverRefills,
    RefusesACostOfZero,
    SaysToComeBackForWhatNeverIs,
    SaysToComeBackTooEarly,
    SaysToComeBackTooLate,
    SharesOneQuotaWithinAKey,
    SpendsWhenItRefuses,
    TakesOneAfterTheOther,
}

struct WrongStore {
    store: MemoryStore,
    wrong: Wrong,
}

impl QuotaStore for WrongStore {
    async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
        let one = |key: String, quota: Refill, cost: u32| async move {
            self.store.take(&key, &[quota], cost).await
        };
        let right = async |cost| self.store.take(key, quotas, cost).await;
        let other = |quota: &Refill, times: f64| {
            let quota = Quota::new(1, quota.interval().mul_f64(times)).burst(quota.most());
            Refill::of(&quota).unwrap()
        };
        match self.wrong {
            Wrong::AdmitsAll => right(0).await,
            Wrong::CountsCallsNotCosts => right(cost.min(1)).await,
            Wrong::DoesNotAnswer if cost == 7 => Err("seven".into()),
            Wrong::DoesNotAnswer => right(cost).await,
            Wrong::EarnsTwiceAsFast | Wrong::NeverRefills => {
                let quick = quotas[0].interval() < SECOND;
                let times = if matches!(self.wrong, Wrong::NeverRefills) { 1e6 } else { 0.5 };
                let quotas: Vec<_> =
                    quotas.iter().map(|q| if quick { other(q, times) } else { *q }).collect();
                self.store.take(key, &quotas, cost).await
            }
            Wrong::ForgetsItsKeys => MemoryStore::new().take(key, quotas, cost).await,
            Wrong::FoldsTheCaseOfKeys => self.store.take(&key.to_lowercase(), quotas, cost).await,
            Wrong::IsNotAtomic => {
                let seen = right(0).await?;
                tokio::task::yield_now().await;
                let Taken::All(standing) = &seen else { return Ok(seen) };
                match standing.iter().zip(quotas).position(|(s, _)| s.left() < cost) {
                    Some(_) => right(cost).await,
                    None => {
                        let _ = right(cost).await?;
                        Ok(seen)
                    }
                }
            }
            Wrong::KeepsQuotasByTheirPlace => {
                let mut standings = Vec::new();
                if let refused @ Taken::Nothing(_) = right(cost).await? {
                    return Ok(refused);
                }
                for (place, quota) in quotas.iter().enumerate() {
                    match one(format!("{place}{key}"), *quota, cost).await? {
                        Taken::All(standing) => standings.extend(standing),
                        refused => return Ok(refused),
                    }
                }
                Ok(Taken::All(standings))
            }
            Wrong::LeavesOneMore => Ok(match right(cost).await? {
                Taken::All(all) => {
                    Taken::All(all.iter().map(|s| Standing::new(s.left() + 1, s.full_in())).collect())
                }
                refused => refused,
            }),
            Wrong::NamesTheFirst => Ok(match right(cost).await? {
                Taken::Nothing(short) => Taken::Nothing(Shortage::new(0, short.left(), short.retry_after())),
                taken => taken,
            }),
            Wrong::RefusesACostOfZero if cost == 0 => Ok(match right(0).await? {
                Taken::All(all) if all[0].left() == 0 => Taken::Nothing(Shortage::new(0, 0, Some(SECOND))),
                taken => taken,
            }),
            Wrong::RefusesACostOfZero => right(cost).await,
            Wrong::SaysToComeBackForWhatNeverIs
            | Wrong::SaysToComeBackTooEarly
            | Wrong::SaysToComeBackTooLate => Ok(match right(cost).await? {
                Taken::Nothing(short) => {
                    let wait = match (self.wrong, short.retry_after()) {
                        (Wrong::SaysToComeBackForWhatNeverIs, None) => Some(SECOND),
                        (Wrong::SaysToComeBackTooEarly, Some(wait)) if wait < SECOND => Some(wait / 2),
                        (Wrong::SaysToComeBackTooLate, Some(wait)) if wait < SECOND => Some(wait * 3 / 2),
                        (_, wait) => wait,
                    };
                    Taken::Nothing(Shortage::new(short.quota(), short.left(), wait))
                }
                taken => taken,
            }),
            Wrong::SharesOneQuotaWithinAKey => {
                // Whatever the quota, one count for the key.
                let most = quotas[0].most().max(30);
                let whole = Refill::of(&Quota::new(1, quotas[0].interval()).burst(most)).unwrap();
                let scaled = one(key.to_owned(), whole, cost).await?;
                let Taken::All(standing) = scaled else { return Ok(scaled) };
                let spent = whole.most() - standing[0].left();
                let left = |q: &Refill| Standing::new(q.most().saturating_sub(spent), standing[0].full_in());
                Ok(Taken::All(quotas.iter().map(left).collect()))
            }
            Wrong::SpendsWhenItRefuses => {
                let taken = right(cost).await?;
                if matches!(taken, Taken::Nothing(_)) {
                    let _ = right(1).await;
                }
                Ok(taken)
            }
            Wrong::TakesOneAfterTheOther => {
                let mut standings = Vec::new();
                for (place, quota) in quotas.iter().enumerate() {
                    match one(key.to_owned(), *quota, cost).await? {
                        Taken::All(standing) => standings.extend(standing),
                        Taken::Nothing(short) => {
                            let short = Shortage::new(place, short.left(), short.retry_after());
                            return Ok(Taken::Nothing(short));
                        }
                    }
                }
                Ok(Taken::All(standings))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_about_a_store_is_found_and_named() {
    for (wrong, promise) in [
        (Wrong::AdmitsAll, Promise::Burst),
        (Wrong::CountsCallsNotCosts, Promise::Cost),
        (Wrong::DoesNotAnswer, Promise::Answers),
        (Wrong::EarnsTwiceAsFast, Promise::Refill),
        (Wrong::FoldsTheCaseOfKeys, Promise::Keys),
        (Wrong::ForgetsItsKeys, Promise::Keys),
        (Wrong::IsNotAtomic, Promise::Atomic),
        (Wrong::KeepsQuotasByTheirPlace, Promise::Quotas),
        (Wrong::LeavesOneMore, Promise::Burst),
        (Wrong::NamesTheFirst, Promise::AllOrNone),
        (Wrong::NamesTheFirst, Promise::LongestWait),
        (Wrong::NeverRefills, Promise::Refill),
        (Wrong::RefusesACostOfZero, Promise::NothingCostsNothing),
        (Wrong::SaysToComeBackForWhatNeverIs, Promise::Cost),
        (Wrong::SaysToComeBackTooEarly, Promise::RetryAfter),
        (Wrong::SaysToComeBackTooLate, Promise::RetryAfter),
        (Wrong::SharesOneQuotaWithinAKey, Promise::Quotas),
        (Wrong::SpendsWhenItRefuses, Promise::Cost),
        (Wrong::TakesOneAfterTheOther, Promise::AllOrNone),
    ] {
        let breaches = check(&WrongStore { store: MemoryStore::new(), wrong }).await;
        let named = breaches.iter().any(|breach| breach.promise() == promise);
        assert!(named, "{wrong:?} should break {promise:?}: {breaches:#?}");
    }
}
