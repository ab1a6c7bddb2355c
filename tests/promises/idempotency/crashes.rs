//! When something goes away in the middle: a store, a client, a machine.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use stonework::Body;
use stonework::base::{BoxError, Detach};
use stonework::idempotency::{
    AfterCrash, Claim, Final, Held, IdempotencyLayer, IdempotencySettings, MemoryStore, Record, Store,
    WhenAway,
};
use stonework::observe::{MetricsObserver, Prometheus};
use stonework::testing::{Recorder, Step};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::kit::{Mood, Moody, Served, ask, keyed, over, response, shop, slow, with};
use crate::support::{SECOND, timed};

const MS: Duration = Duration::from_millis(1);

fn settings() -> IdempotencySettings {
    IdempotencySettings::new()
}

// ───────────────────────────────────────────────────────────────────────────── the store

#[tokio::test(start_paused = true)]
async fn without_its_store_nothing_is_done() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let service = with(&shop, store.clone(), settings().store_timeout(200 * MS));
    for (mood, takes) in [(Mood::Fails, 0), (Mood::Hangs, 200), (Mood::Slow(201 * MS), 200)] {
        store.be(mood);
        let (said, took) = timed(ask(&service, keyed("a"))).await;
        assert_eq!((said.status, took), (503, takes * MS));
        assert_eq!(said.headers["retry-after"], "1");
    }
    assert_eq!(shop.seen().count(), 0);
    store.be(Mood::Slow(199 * MS));
    assert_eq!(ask(&service, keyed("a")).await.status, 200);
    // Requests without a key need no store.
    store.be(Mood::Hangs);
    let plain = Request::post("/").body(Body::empty()).unwrap();
    assert_eq!(ask(&service, plain).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_claimed_though_the_store_did_not_say_so_is_given_back() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let service = over(&shop, store.clone());
    store.be(Mood::Mute);
    assert_eq!(ask(&service, keyed("a")).await.status, 503);
    assert_eq!(store.store().len(), 1);
    store.be(Mood::Well);
    sleep(5 * SECOND).await;
    assert_eq!(store.store().len(), 0);
    assert_eq!(ask(&service, keyed("a")).await.status, 200);

    // So it is when its client goes while the store is asked.
    store.be(Mood::Slow(500 * MS));
    let gone = tokio::time::timeout(100 * MS, service.clone().oneshot(keyed("b"))).await;
    assert!(gone.is_err());
    store.be(Mood::Well);
    sleep(5 * SECOND).await;
    assert_eq!(ask(&service, keyed("b")).await.status, 200);
    assert_eq!(shop.seen().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_is_served_without_a_store_and_without_protection() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let service = with(&shop, store.clone(), settings().when_away(WhenAway::DangerouslyRun));
    store.be(Mood::Fails);
    for number in [1, 2] {
        let said = ask(&service, keyed("a")).await;
        assert_eq!(said.body, format!("number {number}"));
        assert!(!said.replayed());
    }
    // Also more than can be given back at once, when the store is there again.
    let calls = (0..1_100).map(|number| ask(&service, keyed(&format!("key{number}"))));
    let all = futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
    assert!(all.iter().all(|said| said.status == 200));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_served_without_protection_who_did_not_ask_for_it_though_every_place_is_taken() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let layer = IdempotencyLayer::new(store.clone()).detach(Detach::new(1));
    let service = layer.layer(shop.clone());
    store.be(Mood::Fails);
    assert_eq!(ask(&service, keyed("a")).await.status, 503);
    assert_eq!(layer.detached().running(), 1, "it is tried to give back what may have been begun");
    assert_eq!(ask(&service, keyed("b")).await.status, 503);
    assert_eq!(shop.seen().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_stored_is_sent_and_stored_when_the_store_is_back() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let service = over(&shop, store.clone());
    let first = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(500 * MS).await;
    store.be(Mood::Fails);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(ask(&service, keyed("a")).await.status, 503);
    sleep(10 * SECOND).await;
    store.be(Mood::Well);
    sleep(2 * SECOND).await;
    let again = ask(&service, keyed("a")).await;
    assert!(again.replayed());
    assert_eq!((again.body, shop.seen().count()), ("number 1".into(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_longer_than_a_lease_leaves_it_unknown() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let layer = IdempotencyLayer::new(store.clone());
    let service = layer.layer(shop.clone());
    let first = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(500 * MS).await;
    store.be(Mood::Fails);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    sleep(40 * SECOND).await;
    assert_eq!(layer.detached().running(), 0, "nobody tries for ever");
    store.be(Mood::Well);
    assert_eq!(ask(&service, keyed("a")).await.problem(), "Indeterminate");
    assert_eq!(shop.seen().count(), 1);
}

// ───────────────────────────────────────────────────────────────────────────── the lease

#[tokio::test(start_paused = true)]
async fn work_that_takes_longer_than_a_lease_keeps_it() {
    let (shop, store) = (slow(600 * SECOND), Moody::default());
    let service = over(&shop, store.clone());
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    for _ in 0..59 {
        sleep(10 * SECOND).await;
        assert_eq!(ask(&service, keyed("a")).await.problem(), "InFlight");
    }
    // Once the store misses a renewal, and hears of the next.
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    assert!(ask(&service, keyed("a")).await.replayed());
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_missed_is_made_up_for() {
    let (shop, store) = (slow(60 * SECOND), Moody::default());
    let service = over(&shop, store.clone());
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    for mood in [Mood::Fails, Mood::Well, Mood::Hangs, Mood::Well] {
        sleep(5 * SECOND).await;
        store.be(mood);
        sleep(5 * SECOND).await;
    }
    sleep(5 * SECOND).await;
    assert_eq!(ask(&service, keyed("a")).await.problem(), "InFlight");
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn two_renewals_in_a_row_may_be_missed() {
    for away in [Mood::Hangs, Mood::Fails] {
        let (shop, store) = (slow(60 * SECOND), Moody::default());
        let service = over(&shop, store.clone());
        let running = tokio::spawn(service.clone().oneshot(keyed("a")));
        // Over the renewals after 10 s and 20 s.
        for (mood, seconds) in [(Mood::Well, 9), (away, 16), (Mood::Well, 6)] {
            store.be(mood);
            sleep(seconds * SECOND).await;
        }
        assert!(store.asked() < 30, "{}: ever less often", store.asked());
        assert_eq!(ask(&service, keyed("a")).await.problem(), "InFlight", "after 31 s");
        assert_eq!(running.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_for_lost_changes_nothing_any_more_and_all_are_told_the_same() {
    let (shop, store) = (slow(100 * SECOND), Moody::default());
    // It cannot reach the store, which others can.
    let cut_off = over(&shop, store.clone());
    let others = over(&shop, store.store().clone());
    let first = tokio::spawn({
        let service = cut_off.clone();
        async move { ask(&service, keyed("a")).await }
    });
    sleep(MS).await;
    store.be(Mood::Fails);
    sleep(31 * SECOND).await;
    assert_eq!(ask(&others, keyed("a")).await.problem(), "Indeterminate");
    store.be(Mood::Well);
    assert_eq!(first.await.unwrap().problem(), "Indeterminate", "the first as well");
    for _ in 0..2 {
        assert_eq!(ask(&others, keyed("a")).await.problem(), "Indeterminate");
    }
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_over_is_fenced_off_and_answers_what_the_other_did() {
    let shop = shop(|number| match number {
        1 => Step::AnswerAfter(100 * SECOND, response(200, "the first")),
        _ => Step::AnswerAfter(SECOND, response(200, "the second")),
    });
    let store = Moody::default();
    let rerun = || settings().after_crash(AfterCrash::Rerun);
    let cut_off = with(&shop, store.clone(), rerun());
    let others = with(&shop, store.store().clone(), rerun());
    let first = tokio::spawn({
        let service = cut_off.clone();
        async move { ask(&service, keyed("a")).await }
    });
    sleep(MS).await;
    store.be(Mood::Fails);
    sleep(31 * SECOND).await;
    let second = ask(&others, keyed("a")).await;
    assert_eq!(second.body, "the second");
    store.be(Mood::Well);
    let first = first.await.unwrap();
    assert!(first.replayed());
    assert_eq!(first.body, "the second");
    assert_eq!(ask(&others, keyed("a")).await.body, "the second");
    let fences = |request: &Request<Body>| Claim::of(request.extensions()).map(Claim::fence);
    let fences: Vec<_> = shop.seen().with(|seen| seen.iter().map(fences).collect());
    assert_eq!(fences, [Some(1), Some(2)], "whoever they ask can tell them apart");
}

// ───────────────────────────────────────────────────────────────────────────── the handler writes it itself

/// Commits its record with what it did, as one that has both in a database does.
fn committing(
    store: MemoryStore,
    then: impl Fn(Response<Body>) -> Result<Response<Body>, BoxError> + Clone + Send + 'static,
) -> impl tower::Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |request: Request<Body>| {
        let (store, then) = (store.clone(), then.clone());
        async move {
            let claim = *Claim::of(request.extensions()).expect("it has a key");
            let response = Response::new(Bytes::from("committed"));
            let end = Final::Record(Record::new(&response).encode());
            assert_eq!(store.complete(&claim, &end).await?, Held::Yes);
            then(response.map(Body::from))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_commit_its_answer_with_what_it_did() {
    let store = MemoryStore::new();
    let service = IdempotencyLayer::new(store.clone()).layer(committing(store, Ok));
    for replayed in [false, true] {
        let said = ask(&service, keyed("a")).await;
        assert_eq!((said.body.as_ref(), said.replayed()), (&b"committed"[..], replayed));
    }
}

/// What a handler says when it has committed.
type Then = fn(Response<Body>) -> Result<Response<Body>, BoxError>;

#[tokio::test(start_paused = true)]
async fn what_was_committed_counts_whatever_the_handler_says_then() {
    let thens: [Then; 3] = [
        |_| Err("the connection was lost".into()),
        |_| Ok(response(500, "an accident")),
        |_| panic!("on purpose"),
    ];
    for then in thens {
        let store = MemoryStore::new();
        let service = IdempotencyLayer::new(store.clone()).layer(committing(store, then));
        for _ in 0..2 {
            let said = ask(&service, keyed("a")).await;
            assert_eq!((said.status, said.body.as_ref()), (200, &b"committed"[..]));
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── the client

#[tokio::test(start_paused = true)]
async fn keyed_work_comes_to_its_end_when_its_client_has_gone_and_other_work_does_not() {
    let shop = slow(10 * SECOND);
    let layer = IdempotencyLayer::new(MemoryStore::new());
    let service = layer.layer(shop.clone());
    let plain = Request::post("/charges").body(Body::empty()).unwrap();
    for request in [keyed("a"), plain] {
        let gone = tokio::time::timeout(SECOND, service.clone().oneshot(request)).await;
        assert!(gone.is_err());
    }
    assert_eq!((shop.seen().in_flight(), shop.seen().abandoned()), (1, 1));
    layer.detached().close();
    layer.detached().ended().await;
    let again = ask(&service, keyed("b")).await;
    assert_eq!(again.status, 503, "it is closed");
    let service = with(&shop, MemoryStore::new(), settings());
    assert!(!ask(&service, keyed("a")).await.replayed(), "another store");
    assert_eq!(shop.seen().abandoned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_finds_the_answer() {
    let shop = slow(10 * SECOND);
    let service = over(&shop, MemoryStore::new());
    assert!(tokio::time::timeout(SECOND, service.clone().oneshot(keyed("a"))).await.is_err());
    assert_eq!(ask(&service, keyed("a")).await.problem(), "InFlight");
    sleep(10 * SECOND).await;
    assert!(ask(&service, keyed("a")).await.replayed());
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn attached_work_ends_with_its_client_and_nobody_knows_what_was_done() {
    for (after_crash, problem) in [(AfterCrash::FailClosed, Some("Indeterminate")), (AfterCrash::Rerun, None)]
    {
        let shop = slow(10 * SECOND);
        let layer = IdempotencyLayer::new(MemoryStore::new());
        let layer = layer.settings(settings().after_crash(after_crash)).unwrap().attached();
        let service = layer.layer(shop.clone());
        assert!(tokio::time::timeout(SECOND, service.clone().oneshot(keyed("a"))).await.is_err());
        assert_eq!(shop.seen().abandoned(), 1);
        sleep(MS).await;
        let again = ask(&service, keyed("a")).await;
        match problem {
            Some(problem) => {
                assert_eq!(again.problem(), problem, "known at once, without waiting for a lease")
            }
            None => assert_eq!(again.body, "number 2"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_running_than_there_may_be_and_what_is_refused_is_not_claimed() {
    let (shop, store) = (slow(10 * SECOND), MemoryStore::new());
    let layer = IdempotencyLayer::new(store.clone()).detach(Detach::new(2));
    let service = layer.layer(shop.clone());
    let running = ["a", "b"].map(|key| tokio::spawn(service.clone().oneshot(keyed(key))));
    sleep(MS).await;
    let full = ask(&service, keyed("c")).await;
    assert_eq!((full.status, &full.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!((layer.detached().running(), store.len()), (2, 2));
    for call in running {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(ask(&service, keyed("c")).await.status, 200);
}

// ───────────────────────────────────────────────────────────────────────────── the machine

/// Runs something in a runtime of its own, which is gone with it: as a process that is killed.
fn killed<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(work);
    runtime.shutdown_background();
    said
}

#[test]
fn after_a_crash_it_is_not_done_again_unless_that_was_asked_for() {
    for (after_crash, problem) in [(AfterCrash::FailClosed, Some("Indeterminate")), (AfterCrash::Rerun, None)]
    {
        let store = MemoryStore::new();
        let settings = settings().lease(200 * MS).after_crash(after_crash);
        let shop = shop(|number| match number {
            1 => Step::Hang,
            _ => Step::Answer(response(200, "done again")),
        });
        let one = with(&shop, store.clone(), settings.clone());
        killed(async move {
            assert!(tokio::time::timeout(50 * MS, one.oneshot(keyed("a"))).await.is_err());
        });
        assert_eq!((shop.seen().count(), shop.seen().in_flight()), (1, 0), "it is killed");
        let two = with(&shop, store, settings);
        let said = killed(async move {
            assert_eq!(ask(&two, keyed("a")).await.problem(), "InFlight", "for as long as the lease lasts");
            sleep(250 * MS).await;
            ask(&two, keyed("a")).await
        });
        match problem {
            Some(problem) => assert_eq!(said.problem(), problem),
            None => assert_eq!(said.body, "done again"),
        }
        assert_eq!(shop.seen().count(), if problem.is_some() { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_again_is_said_to_be_done() {
    let (shop, store) = (slow(SECOND), MemoryStore::new());
    let service = over(&shop, store.clone());
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let claim = shop.seen().with(|seen| *Claim::of(seen[0].extensions()).unwrap());
    // As a later version of this crate may write it.
    let newer = Final::Record(Bytes::from_static(b"\x02 something new"));
    assert_eq!(store.complete(&claim, &newer).await.unwrap(), Held::Yes);
    running.await.unwrap().unwrap();
    assert_eq!(ask(&service, keyed("a")).await.problem(), "NotKept");
}

// ───────────────────────────────────────────────────────────────────────────── what is told of it

#[tokio::test(start_paused = true)]
async fn replays_refusals_and_claims_that_were_lost_are_events_and_are_counted() {
    let (events, store) = (Recorder::new(), Moody::default());
    let (prometheus, recorder) = Prometheus::with_recorder();
    let counted = metrics::set_default_local_recorder(&recorder);
    let layer = IdempotencyLayer::new(store.clone()).settings(settings().required(true)).unwrap();
    let (quick, slow) = (slow(SECOND), slow(100 * SECOND));
    let both = [layer.clone().observer(events.clone()), layer.observer(MetricsObserver)];
    let script = async |service: Served<Moody>, cut_off: Served<Moody>, key: &str| {
        for _ in 0..3 {
            ask(&service, keyed(key)).await;
        }
        let mut other = keyed(key);
        *other.uri_mut() = "/charges?all".parse().unwrap();
        ask(&service, other).await;
        let mut none = keyed(key);
        none.headers_mut().remove("idempotency-key");
        ask(&service, none).await;
        // It is done while its store takes it for lost.
        let long = format!("long-{key}");
        let lost = tokio::spawn(cut_off.oneshot(keyed(&long)));
        sleep(MS).await;
        store.be(Mood::Fails);
        sleep(31 * SECOND).await;
        store.be(Mood::Well);
        let elsewhere = over(&quick, store.store().clone());
        assert_eq!(ask(&elsewhere, keyed(&long)).await.problem(), "Indeterminate");
        let _ = lost.await.unwrap();
    };
    for (layer, key) in both.into_iter().zip(["a", "b"]) {
        script(layer.layer(quick.clone()), layer.layer(slow.clone()), key).await;
    }
    let told: Vec<_> = events.events().iter().map(|event| format!("{event:?}")).collect();
    let refused = |why: &str| format!("KeyedRefused {{ why: {why} }}");
    let expected =
        ["KeyedReplayed".to_owned(), "KeyedReplayed".to_owned(), refused("Mismatch"), refused("Missing")];
    assert_eq!(told[..4], expected);
    // Who was taken for lost is told what the others are.
    assert_eq!(told[4..], ["KeyedLost".to_owned(), refused("Indeterminate")]);
    drop(counted);
    let text = prometheus.render();
    for line in [
        "stonework_keyed_replayed_total 2",
        "stonework_keyed_refused_total{why=\"mismatch\"} 1",
        "stonework_keyed_refused_total{why=\"missing\"} 1",
        "stonework_keyed_refused_total{why=\"indeterminate\"} 1",
        "stonework_keyed_lost_total 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
}
