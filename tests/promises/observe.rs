//! What can be seen of a call from outside, and what cannot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use http::{Method, Request, Response};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use stonework::base::{Call, Classify, ClassifyHttp, Delivery, Error, Kind, Outcome, TracingObserver};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::client::{Client, ClientSettings};
use stonework::fallback::FallbackLayer;
use stonework::observe::{MetricsObserver, SpanLayer};
use stonework::retry::RetryLayer;
use stonework::testing::{Reaction, Recorder as Events, ScriptedServer, Step};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;

use crate::support::{Backend, Content, Everything, SECOND, answer, answered, request, skips, with_header};

/// Keeps every span: its name, its parent, what it says, and whether it is over.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Kept>>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    name: &'static str,
    parent: Option<u64>,
    fields: HashMap<&'static str, String>,
    handles: usize,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Spans {
    fn kept(&self) -> Vec<Kept> {
        self.0.lock().unwrap().clone()
    }

    fn with<T>(&self, id: &span::Id, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap()[id.into_u64() as usize - 1])
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "stonework" && metadata.is_span()
    }

    /// As whoever wants these spans, and nothing that is finer.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let parent = ENTERED.with_borrow(|entered| entered.last().copied());
        let mut kept = Kept { name: span.metadata().name(), parent, handles: 1, ..Kept::default() };
        span.record(&mut kept);
        let mut all = self.0.lock().unwrap();
        all.push(kept);
        span::Id::from_u64(all.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.with(id, |kept| values.record(kept));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        let last = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(last, Some(id.into_u64()), "spans are left in the order in which they were entered");
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.with(id, |kept| kept.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(&id, |kept| {
            kept.handles -= 1;
            kept.handles == 0
        })
    }
}

/// Run `work` to its end while `spans` listens.
fn listening<T>(spans: &Spans, work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    crate::support::subscriber::with_default(spans.clone(), || runtime.block_on(work))
}

fn get() -> Request<Content> {
    Request::get("http://service.test:8080/path?query").body(Content::from("content")).unwrap()
}

#[test]
fn a_call_is_one_span_and_each_attempt_is_one_below_it_with_its_number() {
    let spans = Spans::default();
    listening(&spans, async {
        let stack = ServiceBuilder::new()
            .layer(SpanLayer::call())
            .layer(RetryLayer::new())
            .layer(SpanLayer::attempt())
            .service(Backend::steps([answered(503), answered(503), answered(200)]));
        assert_eq!(stack.oneshot(get()).await.unwrap().status(), 200);
    });
    let kept = spans.kept();
    let names: Vec<_> = kept.iter().map(|span| (span.name, span.parent)).collect();
    assert_eq!(names, [("call", None), ("attempt", Some(1)), ("attempt", Some(1)), ("attempt", Some(1))]);
    let said = |field| kept.iter().map(|span| span.fields.get(field).map(String::as_str)).collect::<Vec<_>>();
    assert_eq!(said("http.request.resend_count"), [None, None, Some("1"), Some("2")]);
    assert_eq!(said("http.response.status_code"), [Some("200"), Some("503"), Some("503"), Some("200")]);
    assert_eq!(said("error.type"), [None, Some("503"), Some("503"), None]);
    assert_eq!(said("otel.status_code"), [None, Some("ERROR"), Some("ERROR"), None]);
    assert_eq!(said("http.request.method"), [Some("GET"); 4]);
    assert_eq!(said("server.address"), [Some("service.test"); 4]);
    assert_eq!(said("server.port"), [Some("8080"); 4]);
    assert_eq!(said("url.scheme"), [Some("http"); 4]);
    assert_eq!(said("otel.kind"), [Some("client"); 4]);
    assert!(kept.iter().all(|span| span.handles == 0), "all are closed");
}

#[test]
fn an_error_is_told_by_its_kind_and_a_dropped_call_says_so() {
    let spans = Spans::default();
    listening(&spans, async {
        let failing = Backend::steps([Step::fail(Error::new(Kind::Connect, "refused"))]);
        SpanLayer::call().layer(failing).oneshot(get()).await.unwrap_err();
        SpanLayer::call()
            .layer(service_fn(|_: Request<Content>| async { Err::<Response<Content>, _>(std::fmt::Error) }))
            .oneshot(get())
            .await
            .unwrap_err();
        let stack = ServiceBuilder::new()
            .layer(SpanLayer::call())
            .layer(SpanLayer::attempt())
            .service(Backend::steps([Step::Hang]));
        let mut hanging = Box::pin(stack.oneshot(get()));
        assert!(hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    let kept = spans.kept();
    let errors: Vec<_> = kept.iter().map(|span| span.fields["error.type"].as_str()).collect();
    assert_eq!(errors, ["connect", "core::fmt::Error", "dropped", "dropped"]);
    assert!(
        kept.iter().all(|span| span.handles == 0 && !span.fields.contains_key("http.response.status_code"))
    );
}

#[test]
fn a_call_of_the_client_that_ran_out_of_time_says_so_and_not_that_it_was_dropped() {
    let spans = Spans::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    crate::support::subscriber::with_default(spans.clone(), || {
        runtime.block_on(async {
            let server = ScriptedServer::start(|_| Reaction::new().hang()).await;
            let short = std::time::Duration::from_millis(50);
            let settings = ClientSettings::new().deadline(short).without_attempt_timeout().without_retry();
            let client = Client::builder().settings(settings).build().unwrap();
            assert!(client.get(server.uri("/")).send().await.unwrap_err().is_timeout());
        });
    });
    let kept = spans.kept();
    let call = kept.iter().find(|span| span.name == "call").expect("a span");
    assert_eq!(call.fields["error.type"], "timeout");
}

#[test]
fn each_attempt_that_a_server_sees_has_a_span_identifier_of_its_own_which_is_that_of_its_span() {
    let spans = Spans::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = crate::support::subscriber::with_default(spans.clone(), || {
        runtime.block_on(async {
            let server = ScriptedServer::start(|request| match request.number {
                1 | 2 => stonework::testing::respond(503).keep_alive(),
                _ => stonework::testing::respond(200).keep_alive(),
            })
            .await;
            let settings = ClientSettings::new().propagation(stonework::observe::Propagation::Begin);
            let client = Client::builder().settings(settings).build().unwrap();
            assert_eq!(client.get(server.uri("/")).send().await.unwrap().status(), 200);
            let told =
                |request: &stonework::testing::SeenRequest| request.header("traceparent").unwrap().to_owned();
            server.seen().iter().map(told).collect::<Vec<_>>()
        })
    });
    let kept = spans.kept();
    let attempts: Vec<_> = kept.iter().filter(|span| span.name == "attempt").collect();
    assert_eq!((seen.len(), attempts.len()), (3, 3));
    let mut told = std::collections::HashSet::new();
    for (attempt, traceparent) in attempts.iter().zip(&seen) {
        let (trace, span) = (&attempt.fields["trace_id"], &attempt.fields["span_id"]);
        assert_eq!(traceparent, &format!("00-{trace}-{span}-03"));
        assert_eq!(*trace, kept[0].fields["trace_id"], "all of one trace");
        told.insert(span);
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn calls_that_take_turns_in_one_task_do_not_mix_their_spans() {
    let spans = Spans::default();
    listening(&spans, async {
        let stack = ServiceBuilder::new().layer(SpanLayer::call()).layer(SpanLayer::attempt()).service(
            service_fn(|request: Request<Content>| async move {
                tokio::time::sleep(SECOND).await;
                // Opened by the service in the middle: it belongs to the attempt that is being polled.
                let own = tracing::debug_span!(target: "stonework", "own", of = request.method().as_str());
                drop(own);
                Ok::<_, std::convert::Infallible>(answer(200))
            }),
        );
        let calls = [Method::GET, Method::PUT].map(|method| {
            let mut request = get();
            *request.method_mut() = method;
            stack.clone().oneshot(request)
        });
        let [first, second] = calls;
        let _ = tokio::join!(first, second);
    });
    let kept = spans.kept();
    for own in kept.iter().filter(|span| span.name == "own") {
        let attempt = &kept[own.parent.expect("a parent") as usize - 1];
        let call = &kept[attempt.parent.expect("a parent") as usize - 1];
        assert_eq!((attempt.name, call.name), ("attempt", "call"));
        assert_eq!(attempt.fields["http.request.method"], own.fields["of"]);
        assert_eq!(call.fields["http.request.method"], own.fields["of"]);
    }
    assert_eq!(kept.iter().filter(|span| span.name == "own").count(), 2);
}

#[test]
fn nothing_of_a_request_that_may_be_secret_gets_into_a_span_or_an_event() {
    let everything = Everything::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    crate::support::subscriber::with_default(everything.clone(), || {
        runtime.block_on(async {
            let stack = ServiceBuilder::new()
                .layer(SpanLayer::call())
                .layer(RetryLayer::new().observer(stonework::base::TracingObserver))
                .layer(SpanLayer::attempt())
                .service(Backend::steps([
                    Step::Answer(with_header(answer(503), "x-token", "secret")),
                    Step::fail(Error::new(Kind::Transport, "secret")),
                    Step::Answer(with_header(answer(200), "set-cookie", "secret")),
                ]));
            let request = Request::builder()
                .method("PUT")
                .uri("http://secret:secret@service.test/secret?secret")
                .header("authorization", "secret")
                .header("idempotency-key", "secret")
                .body(Content::from("secret"))
                .unwrap();
            stack.oneshot(request).await.unwrap();
        });
    });
    let text = everything.text();
    assert!(text.contains("service.test") && text.contains("attempt"), "it was listening");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_layer_that_is_switched_off_opens_no_span() {
    let spans = Spans::default();
    listening(&spans, async {
        let off = SpanLayer::call().when(false).layer(Backend::steps([answered(200)]));
        assert_eq!(off.oneshot(get()).await.unwrap().status(), 200);
    });
    assert!(spans.kept().is_empty());
}

/// Keeps what the `metrics` facade is told: names with their labels, and the numbers.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<HashMap<String, Arc<Count>>>>);

#[derive(Default)]
struct Count {
    counted: AtomicU64,
    recorded: Mutex<Vec<f64>>,
}

impl Counts {
    fn of(&self, key: &Key) -> Arc<Count> {
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn counted(&self) -> Vec<(String, u64)> {
        let all = self.0.lock().unwrap();
        let counted = all.iter().map(|(name, count)| (name.clone(), count.counted.load(Ordering::Relaxed)));
        let mut counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        counted.sort();
        counted
    }

    fn recorded(&self, name: &str) -> Vec<f64> {
        let all = self.0.lock().unwrap();
        all.get(name).map(|count| count.recorded.lock().unwrap().clone()).unwrap_or_default()
    }
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.counted.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, _: u64) {
        panic!("nothing here counts absolutely");
    }
}

impl HistogramFn for Count {
    fn record(&self, value: f64) {
        self.recorded.lock().unwrap().push(value);
    }
}

impl GaugeFn for Count {
    fn increment(&self, _: f64) {
        panic!("nothing here is added up");
    }

    fn decrement(&self, _: f64) {
        panic!("nothing here is added up");
    }

    fn set(&self, value: f64) {
        self.recorded.lock().unwrap().push(value);
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

fn counting(work: impl Future) -> Counts {
    let counts = Counts::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&counts, || runtime.block_on(work));
    counts
}

#[test]
fn metrics_count_every_attempt_retry_and_skipped_retry_exactly() {
    let counts = counting(async {
        let layer = RetryLayer::new().observer(MetricsObserver);
        let busy = Step::Answer(with_header(answer(503), "retry-after", "7"));
        let twice = layer.layer(Backend::steps([answered(503), busy, answered(200)]));
        twice.oneshot(request(Method::GET)).await.unwrap();
        let unsafe_once = layer.layer(Backend::steps([Step::fail(
            Error::new(Kind::Transport, "x").with_delivery(Delivery::Unknown),
        )]));
        unsafe_once.oneshot(request(Method::POST)).await.unwrap_err();
        let mut dropped = pin!(layer.layer(Backend::steps([Step::Hang])).oneshot(request(Method::GET)));
        assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    let expected = [
        ("stonework.attempts{delivery=answered,outcome=failure}", 1),
        ("stonework.attempts{delivery=answered,outcome=overload}", 1),
        ("stonework.attempts{delivery=answered,outcome=success}", 1),
        ("stonework.attempts{delivery=unknown,outcome=failure}", 1),
        ("stonework.attempts{delivery=unknown,outcome=neutral}", 1),
        ("stonework.retries.skipped{reason=unsafe}", 1),
        ("stonework.retries{}", 2),
    ];
    assert_eq!(counts.counted(), expected.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!(counts.recorded("stonework.attempt.duration{outcome=success}"), [0.0]);
    assert!(
        counts.recorded("stonework.attempt.duration{outcome=neutral}").is_empty(),
        "it did not end by itself"
    );
    let delays = counts.recorded("stonework.retry.delay{}");
    assert!(delays.len() == 2 && delays[1] >= 7.0, "{delays:?}");
}

#[test]
fn a_circuit_is_counted_and_shown_in_exactly_one_state() {
    let everything = Everything::default();
    let counts = crate::support::subscriber::with_default(everything.clone(), || {
        counting(async {
            let breaker = Breaker::new(BreakerSettings::new().min_calls(1)).unwrap().named("orders");
            for breaker in [breaker.clone().observer(MetricsObserver), breaker.observer(TracingObserver)] {
                breaker.try_acquire().unwrap().settle(Outcome::Failure);
                tokio::time::advance(5 * SECOND).await;
                breaker.try_acquire().unwrap().settle(Outcome::Success);
            }
        })
    });
    let expected = [
        ("stonework.circuit.changes{circuit=orders,to=closed}", 1),
        ("stonework.circuit.changes{circuit=orders,to=half-open}", 1),
        ("stonework.circuit.changes{circuit=orders,to=open}", 1),
        ("stonework.circuit.probes{circuit=orders,ending=success}", 1),
    ];
    assert_eq!(counts.counted(), expected.map(|(name, count)| (name.to_owned(), count)));
    for (state, shown) in
        [("closed", vec![0.0, 1.0]), ("open", vec![1.0, 0.0]), ("half-open", vec![1.0, 0.0])]
    {
        let name = format!("stonework.circuit.state{{circuit=orders,state={state}}}");
        assert_eq!(counts.recorded(&name), shown, "{state}");
    }
    let text = everything.text();
    for word in ["circuit opened", "circuit changed", "circuit probed", "orders", "too many failures"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_fallback_is_counted_by_what_failed_and_written_down() {
    let everything = Everything::default();
    let counts = crate::support::subscriber::with_default(everything.clone(), || {
        counting(async {
            let refused = || Backend::steps([Step::fail(Error::new(Kind::Connect, "refused"))]);
            let counted = FallbackLayer::value(|_: &Error| answer(200)).observer(MetricsObserver);
            counted.layer(refused()).oneshot(request(Method::POST)).await.unwrap();
            let written = FallbackLayer::service(Backend::steps([answered(200)])).observer(TracingObserver);
            written.layer(refused()).oneshot(request(Method::POST)).await.unwrap();
        })
    });
    assert_eq!(counts.counted(), [("stonework.fallbacks{kind=connect}".to_owned(), 1)]);
    let text = everything.text();
    assert!(text.contains("fell back") && text.contains("connect") && text.contains("NotSent"), "{text}");
}

/// An API that says 200 and means no.
fn ok_with_error(result: Result<&Response<Content>, &Error>) -> Outcome {
    match result {
        Ok(response) if response.headers().contains_key("x-error") => Outcome::Failure,
        other => ClassifyHttp.classify(other),
    }
}

#[test]
fn retry_breaker_observer_and_metrics_agree_on_what_a_classifier_says_and_the_answer_stays_as_it_was() {
    let events = Events::new();
    let counts = counting(async {
        let backend = Backend::script(|_, _| Step::Answer(with_header(answer(200), "x-error", "1")));
        let seen = backend.seen();
        let both = Both(events.clone(), MetricsObserver);
        let breaker = Breaker::default();
        let guarded = BreakerLayer::from(breaker.clone()).classify(ok_with_error).plain().layer(backend);
        let layer = RetryLayer::new().observer(both).classify(ok_with_error);
        let mut asked = request(Method::GET);
        Call::edit(asked.extensions_mut(), |call| call.attempts(2));
        let response = layer.layer(guarded).oneshot(asked).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().len(), seen.count()), (200, 1, 2));
        assert_eq!(breaker.stats().failures(), 2);
    });
    assert_eq!(counts.counted()[0], ("stonework.attempts{delivery=answered,outcome=failure}".to_owned(), 2));
    assert_eq!(skips(&events), [stonework::base::Skip::Attempts]);
}

struct Both(Events, MetricsObserver);

impl stonework::base::Observer for Both {
    fn observe(&self, event: &stonework::base::Event) {
        self.0.observe(event);
        self.1.observe(event);
    }
}

/// The tests themselves rely on it.
#[test]
fn a_line_that_a_thread_without_a_subscriber_comes_to_first_is_heard_all_the_same() {
    let say = || tracing::info!("said");
    let everything = Everything::default();
    crate::support::subscriber::with_default(everything.clone(), || {
        std::thread::scope(|scope| scope.spawn(say).join()).unwrap();
        say();
    });
    assert_eq!(everything.text().matches("said").count(), 1);
}
