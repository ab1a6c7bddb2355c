//! What becomes of a key when its work has ended.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use stonework::Body;
use stonework::base::{BoxError, Detach, Event};
use stonework::idempotency::{
    AfterCrash, Begun, Claim, Disposition, Final, Held, IdempotencyLayer, IdempotencySettings, MemoryStore,
    NewClaim, Scope, Store,
};
use stonework::testing::{Recorder, Step};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

use super::kit::{Mood, Moody, ask, data, keyed, over, pieces, response, shop, slow};
use crate::support::SECOND;

/// A store that can lose all that it knows, as a server that fails over to one that had not heard of it.
#[derive(Clone, Default)]
struct Forgetful(Arc<ForgetfulState>);

#[derive(Default)]
struct ForgetfulState {
    store: Mutex<MemoryStore>,
    begins_nothing: AtomicBool,
    ends_nothing: AtomicBool,
}

impl Forgetful {
    fn forget(&self) {
        *self.0.store.lock().unwrap() = MemoryStore::new();
    }

    fn store(&self) -> MemoryStore {
        self.0.store.lock().unwrap().clone()
    }
}

impl Store for Forgetful {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        if self.0.begins_nothing.load(SeqCst) {
            return Err("no route to host".into());
        }
        self.store().begin(scope, claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.store().renew(claim).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        if self.0.ends_nothing.load(SeqCst) {
            return Err("no route to host".into());
        }
        self.store().complete(claim, end).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.store().release(claim).await
    }
}

/// A store whose first answer to what became of something is always lost on its way: it asks once more, as Redis and PostgreSQL do.
#[derive(Clone, Default)]
struct Twice(MemoryStore);

impl Store for Twice {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        self.0.begin(scope, claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.0.renew(claim).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        self.0.complete(claim, end).await?;
        self.0.complete(claim, end).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.0.release(claim).await?;
        self.0.release(claim).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_cut_off_in_the_middle_is_not_run_again() {
    for status in [408, 504] {
        let shop = slow(10 * SECOND);
        let inside = shop.clone();
        // As tower-http's `TimeoutLayer`, which answers 408 unless it is told otherwise.
        let limited = service_fn(move |request: Request<Body>| {
            let call = timeout(SECOND, inside.clone().oneshot(request));
            async move { call.await.unwrap_or_else(|_| Ok(response(status, "it took too long"))) }
        });
        let service = IdempotencyLayer::new(MemoryStore::new()).layer(limited);
        assert_eq!(ask(&service, keyed("a")).await.status, status);
        assert_eq!((shop.seen().count(), shop.seen().abandoned()), (1, 1), "it had begun");
        assert_eq!(ask(&service, keyed("a")).await.problem(), "Indeterminate");
        assert_eq!(shop.seen().count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_answered_and_kept_though_its_store_has_forgotten_that_it_was_begun() {
    let (shop, store) = (slow(SECOND), Forgetful::default());
    let layer = IdempotencyLayer::new(store.clone());
    let service = layer.layer(shop.clone());
    let forgets = async {
        sleep(SECOND / 2).await;
        store.forget();
    };
    let (first, ()) = tokio::join!(ask(&service, keyed("a")), forgets);
    assert_eq!((first.status, first.replayed(), &first.body[..]), (200, false, &b"number 1"[..]));
    let again = ask(&service, keyed("a")).await;
    assert_eq!((again.replayed(), &again.body[..]), (true, &b"number 1"[..]));
    assert_eq!((shop.seen().count(), layer.detached().running()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_answered_though_its_store_has_forgotten_it_and_then_goes_away() {
    let (shop, store, events) = (slow(SECOND), Forgetful::default(), Recorder::new());
    let layer = IdempotencyLayer::new(store.clone()).observer(events.clone());
    let service = layer.layer(shop.clone());
    let goes = async {
        sleep(SECOND / 2).await;
        store.forget();
        store.0.begins_nothing.store(true, SeqCst);
    };
    let (first, ()) = tokio::join!(ask(&service, keyed("a")), goes);
    assert_eq!(first.status, 200, "whoever is sent away comes back, and has it done again");
    assert_eq!(ask(&service, keyed("b")).await.status, 503);
    // It is back in time, and knows nothing.
    store.0.begins_nothing.store(false, SeqCst);
    sleep(2 * SECOND).await;
    let again = ask(&service, keyed("a")).await;
    assert_eq!((again.replayed(), &again.body[..], shop.seen().count()), (true, &b"number 1"[..], 1));
    let lost = events.events().into_iter().filter(|event| matches!(event, Event::KeyedLost { .. }));
    assert_eq!(lost.count(), 1, "once, also where it is written later");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_kept_though_its_store_goes_away_and_has_forgotten_it_when_it_is_back() {
    let (shop, store, events) = (slow(SECOND), Forgetful::default(), Recorder::new());
    let layer = IdempotencyLayer::new(store.clone()).observer(events.clone());
    let service = layer.layer(shop.clone());
    let goes = async {
        sleep(SECOND / 2).await;
        store.0.ends_nothing.store(true, SeqCst);
        sleep(SECOND).await;
        store.forget();
        store.0.ends_nothing.store(false, SeqCst);
    };
    let (first, ()) = tokio::join!(ask(&service, keyed("a")), goes);
    assert_eq!(first.status, 200);
    sleep(2 * SECOND).await;
    let again = ask(&service, keyed("a")).await;
    assert_eq!((again.replayed(), &again.body[..], shop.seen().count()), (true, &b"number 1"[..], 1));
    assert!(matches!(events.events()[..], [Event::KeyedLost { .. }, Event::KeyedReplayed { .. }]));
    assert_eq!(layer.detached().running(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_had_to_be_told_twice_is_not_taken_for_somebody_elses() {
    for after_crash in [AfterCrash::FailClosed, AfterCrash::Rerun] {
        for (status, again) in [(200, 200), (429, 429), (500, 409)] {
            let shop = shop(move |_| {
                let mut said = response(status, "its own");
                said.headers_mut().insert("retry-after", "7".parse().unwrap());
                Step::Answer(said)
            });
            let events = Recorder::new();
            let settings = IdempotencySettings::new().after_crash(after_crash);
            let layer = IdempotencyLayer::new(Twice::default()).settings(settings).unwrap();
            let service = layer.observer(events.clone()).layer(shop.clone());
            let said = ask(&service, keyed("a")).await;
            assert_eq!((said.status, &said.body[..], said.replayed()), (status, &b"its own"[..], false));
            assert_eq!(said.headers["retry-after"], "7");
            assert!(events.events().is_empty(), "{status}, {after_crash:?}: {:?}", events.events());
            let again = if after_crash == AfterCrash::Rerun { status } else { again };
            assert_eq!(ask(&service, keyed("a")).await.status, again, "{after_crash:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_while_it_is_begun_leaves_its_place_to_others_as_soon_as_that_is_given_back() {
    let (shop, store) = (slow(SECOND), Moody::default());
    let layer = IdempotencyLayer::new(store.clone()).detach(Detach::new(1));
    let service = layer.layer(shop.clone());
    store.be(Mood::Slow(SECOND / 2));
    assert!(timeout(SECOND / 10, service.clone().oneshot(keyed("a"))).await.is_err());
    store.be(Mood::Well);
    sleep(SECOND / 1000).await;
    assert_eq!(layer.detached().running(), 0);
    assert_eq!(ask(&service, keyed("b")).await.status, 200);
}

/// What a call of gRPC is answered with: that it ended with this status, and when to come back.
fn grpc(
    code: i32,
    pushback: Option<i32>,
    in_trailers: bool,
    message: Option<&'static str>,
) -> Response<Body> {
    let mut end = HeaderMap::new();
    end.insert("grpc-status", code.into());
    end.extend(pushback.map(|millis| (HeaderName::from_static("grpc-retry-pushback-ms"), millis.into())));
    let mut answer = response(200, Body::empty());
    if in_trailers {
        let message = message.map(data);
        *answer.body_mut() = pieces(message.into_iter().chain([Ok(Frame::trailers(end))]).collect());
    } else {
        answer.headers_mut().extend(end);
    }
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

/// How often a shop that answers so is asked, and whether whoever asks again is given the same answer.
async fn twice(answer: impl Fn() -> Response<Body> + Send + 'static) -> (usize, bool) {
    let shop = shop(move |_| Step::Answer(answer()));
    let service = over(&shop, MemoryStore::new());
    assert_eq!(ask(&service, keyed("a")).await.status, 200);
    let again = ask(&service, keyed("a")).await;
    (shop.seen().count(), again.replayed())
}

#[tokio::test(start_paused = true)]
async fn what_a_call_of_grpc_ended_with_is_read_where_it_stands() {
    let (stored, released, unknown) = ((1, true), (2, false), (1, false));
    for in_trailers in [false, true] {
        for (code, pushback, expected) in [
            (0, None, stored),
            (3, None, stored),
            (9, Some(25), stored),
            (8, Some(25), released),
            (8, None, unknown),
            (10, Some(25), released),
            (10, None, unknown),
            (14, Some(25), released),
            (14, Some(-1), unknown),
            (14, None, unknown),
            (1, None, unknown),
            (2, None, unknown),
            (4, Some(25), unknown),
            (13, None, unknown),
            (15, None, unknown),
        ] {
            let said = twice(move || grpc(code, pushback, in_trailers, None)).await;
            assert_eq!(said, expected, "{code}, {pushback:?}, in trailers: {in_trailers}");
        }
    }
    assert_eq!(twice(|| grpc(0, None, true, Some("a message"))).await, stored);
    assert_eq!(twice(|| grpc(10, Some(25), true, Some("a message"))).await, unknown, "it had begun");
    // More than is kept, before its end is known.
    let large: &str = "x".repeat(2 << 20).leak();
    assert_eq!(twice(move || grpc(13, None, true, Some(large))).await, unknown);
    let told = || {
        let mut answer = grpc(13, None, true, None);
        answer.extensions_mut().insert(Disposition::Store);
        answer
    };
    assert_eq!(twice(told).await, stored, "its handler knows better");
}
