//! Work that goes on when nobody waits for it any more.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::base::{Deadline, Detach, DetachFull, Panicked};
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::server::DetachLayer;
use stonework::testing::{Scripted, Step};
use stonework::timeout::TimeoutLayer;
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Metadata, Span, Subscriber};
use tracing_core::span::Current;

use super::kit::{Mood, Moody, ask, keyed, over, slow};
use crate::support::{Everything, SECOND};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_detached_call_comes_to_its_end_and_keeps_its_deadline() {
    let (seen, detach) = (Arc::new(Mutex::new(None)), Detach::new(10));
    let sees = Arc::clone(&seen);
    let works = service_fn(move |(): ()| {
        let sees = Arc::clone(&sees);
        async move {
            sleep(10 * SECOND).await;
            *sees.lock().unwrap() = Some(Deadline::current());
            Ok::<_, stonework::Error>(())
        }
    });
    let limit = Deadline::within(SECOND);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND).plain())
        .layer(DetachLayer::new(detach.clone()).plain())
        .service(works);
    assert!(service.oneshot(()).await.unwrap_err().is_timeout());
    detach.close();
    detach.ended().await;
    assert_eq!(*seen.lock().unwrap(), Some(Some(limit)), "what it calls knows that nobody waits");
}

#[tokio::test(start_paused = true)]
async fn a_detached_call_beyond_the_bound_is_not_made_and_a_panic_is_an_error() {
    let shop = Scripted::<u32, u32, stonework::Error>::script(|number, _| match number {
        1 => Step::AnswerAfter(SECOND, 7),
        _ => panic!("on purpose"),
    });
    let detach = Detach::new(1);
    let service = DetachLayer::new(detach.clone()).plain().layer(shop.clone());
    let first = tokio::spawn(service.clone().oneshot(1));
    sleep(MS).await;
    let refused = service.clone().oneshot(2).await.unwrap_err();
    assert!(refused.is_overload() && refused.cause::<DetachFull>().is_some());
    assert_eq!((first.await.unwrap().unwrap(), shop.seen().count()), (7, 1));
    let works = service_fn(|(): ()| async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, stonework::Error>(())
    });
    let lost = DetachLayer::new(detach.clone()).plain().layer(works).oneshot(()).await.unwrap_err();
    assert!(lost.cause::<Panicked>().is_some());
    assert_eq!(detach.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_nobody_listens_to_is_logged() {
    let log = Everything::default();
    let _log = crate::support::subscriber::set_default(log.clone());
    drop(Detach::new(1).spawn(async { panic!("nobody hears it") }).unwrap());
    sleep(MS).await;
    assert!(log.text().contains("nobody hears it"));
}

/// Knows which span is entered.
#[derive(Default)]
struct Spans {
    last: AtomicU64,
    entered: Mutex<Vec<(Id, &'static Metadata<'static>)>>,
    all: Mutex<Vec<&'static Metadata<'static>>>,
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.all.lock().unwrap().push(span.metadata());
        Id::from_u64(self.last.fetch_add(1, SeqCst) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        let at = usize::try_from(id.into_u64()).unwrap() - 1;
        let metadata = self.all.lock().unwrap()[at];
        self.entered.lock().unwrap().push((id.clone(), metadata));
    }

    fn exit(&self, _: &Id) {
        self.entered.lock().unwrap().pop();
    }

    fn current_span(&self) -> Current {
        match self.entered.lock().unwrap().last() {
            Some((id, metadata)) => Current::new(id.clone(), metadata),
            None => Current::none(),
        }
    }
}

#[tokio::test]
async fn detached_work_is_in_the_span_from_which_it_came() {
    let _spans = crate::support::subscriber::set_default(Arc::new(Spans::default()));
    let name = || Span::current().metadata().map(Metadata::name);
    let detach = Detach::new(1);
    let work = tracing::info_span!("job").in_scope(|| detach.spawn(async move { name() })).unwrap();
    assert_eq!(work.await.unwrap(), Some("job"));

    let handler = service_fn(move |_: Request<Body>| async move {
        tokio::task::yield_now().await;
        Ok::<_, stonework::Error>(Response::new(Body::from(name().unwrap_or("none"))))
    });
    let service = IdempotencyLayer::new(MemoryStore::new()).layer(handler);
    let said = ask(&service, keyed("a")).instrument(tracing::info_span!("call")).await;
    assert_eq!(said.body, "call");
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_is_logged_once_and_its_end_once() {
    let log = Everything::default();
    let _log = crate::support::subscriber::set_default(log.clone());
    let (shop, store) = (slow(Duration::ZERO), Moody::default());
    let service = over(&shop, store.clone());
    for mood in [Mood::Fails, Mood::Well] {
        store.be(mood);
        for key in ["a", "b", "c"] {
            ask(&service, keyed(key)).await;
        }
        sleep(5 * SECOND).await;
    }
    let text = log.text();
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("level: Level(Warn)"), 1, "{text}");
    assert_eq!(count("answers again"), 1, "{text}");
}

#[tokio::test(start_paused = true)]
async fn that_a_store_is_full_is_logged_once_in_a_minute_and_is_no_outage() {
    let log = Everything::default();
    let _log = crate::support::subscriber::set_default(log.clone());
    let (shop, store) = (slow(Duration::ZERO), MemoryStore::new().keys(1));
    let service = over(&shop, store);
    assert_eq!(ask(&service, keyed("kept")).await.status, 200);
    for minute in 1..=2 {
        for number in 0..100 {
            // Also where others are answered in between.
            assert_eq!(ask(&service, keyed(&format!("{minute}-{number}"))).await.status, 503);
            assert_eq!(ask(&service, keyed("kept")).await.status, 200);
        }
        let text = log.text();
        assert_eq!(text.matches("level: Level(Warn)").count(), minute, "{text}");
        assert_eq!(text.matches("answers again").count(), 0, "{text}");
        sleep(61 * SECOND).await;
    }
}
