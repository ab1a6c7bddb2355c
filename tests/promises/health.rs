use std::convert::Infallible;
use std::future::{Future, Ready, pending, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Deadline;
use stonework::base::{Event, GrpcStatus, HealthState, Observer, Rng};
use stonework::health::{
    CheckKind, Health, HealthBuilder, HealthLayer, HealthService, HealthSettings, Impact, IntoVerdict,
    InvalidHealth, Verdict,
};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Content, NeverReady, SECOND, answer, timed};

/// Counts how often it was run, and says what it was told to say.
#[derive(Clone)]
struct Switch(Arc<(AtomicU32, Mutex<Verdict>)>);

impl Switch {
    fn new(verdict: impl IntoVerdict) -> Self {
        Self(Arc::new((AtomicU32::new(0), Mutex::new(verdict.into_verdict()))))
    }

    fn set(&self, verdict: impl IntoVerdict) {
        *self.0.1.lock().unwrap() = verdict.into_verdict();
    }

    fn runs(&self) -> u32 {
        self.0.0.load(Ordering::Relaxed)
    }

    fn ask(&self) -> Verdict {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.lock().unwrap().clone()
    }

    /// As a check.
    fn check(&self) -> impl FnMut() -> Ready<Verdict> + Send + 'static {
        let switch = self.clone();
        move || ready(switch.ask())
    }
}

/// Checks run for ever, so what never happens would be waited for without an end.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(3_600 * SECOND, work).await.expect("it should have happened by now")
}

fn one(impact: Impact, switch: &Switch) -> Health {
    Health::builder().readiness("it", impact, switch.check()).build().unwrap()
}

fn state_of(health: &Health, name: &str) -> HealthState {
    let report = health.report();
    report.checks.iter().find(|check| &*check.name == name).expect("there is such a check").state
}

/// The status and the content of an answer.
async fn probe(service: HealthService, uri: &str) -> (u16, String) {
    let request = Request::get(uri).body(Content::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers().get("cache-control").is_some(), status != 404);
    (status, text(response).await)
}

async fn text<B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

// ───────────────────────────────────────────────────────────────────────────── how checks run

/// A first check of readiness begins at some moment of the first second, by chance, and a timer may be a millisecond late.
const WHEN_ALL_HAVE_BEGUN: Duration = Duration::from_millis(1_500);

#[tokio::test(start_paused = true)]
async fn a_thousand_probes_a_second_run_no_check() {
    let (disk, heart) = (Switch::new(true), Switch::new(true));
    let asked = heart.clone();
    let health = Health::builder()
        .liveness("heart", move || asked.ask())
        .readiness("disk", Impact::Hard, disk.check())
        .build()
        .unwrap();
    assert!(in_time(health.wait_ready()).await);
    for second in 1..=100 {
        for _ in 0..1_000 {
            assert_eq!(probe(health.service(), "/readyz").await, (200, "pass\n".into()));
        }
        sleep(SECOND).await;
        let most = 2 + second / 9;
        assert!(disk.runs() <= most && disk.runs() >= second / 11, "{} in {second} s", disk.runs());
        assert!(heart.runs() <= most, "probes of readiness do not ask about liveness");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_has_failed_is_dropped_and_never_runs_twice_at_once() {
    let (running, most, runs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Switch::new(()));
    struct Run(Arc<AtomicU32>);
    impl Drop for Run {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let check = {
        let (running, most, runs) = (running.clone(), most.clone(), runs.clone());
        move || {
            let _ = runs.ask();
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let run = Run(running.clone());
            async move {
                let _run = run;
                pending::<()>().await;
            }
        }
    };
    let other = Switch::new(true);
    let health = Health::builder()
        .readiness("hangs", Impact::Hard, check)
        .readiness("works", Impact::Soft, other.check())
        .build()
        .unwrap();
    for _ in 0..100 {
        // Answered at once, in the middle of a run too.
        let ((status, word), elapsed) = timed(probe(health.service(), "/readyz")).await;
        assert_eq!((status, &*word, elapsed), (503, "fail\n", Duration::ZERO));
        sleep(SECOND).await;
    }
    assert!((8..=10).contains(&runs.runs()), "{}", runs.runs());
    assert_eq!(most.load(Ordering::Relaxed), 1);
    assert!((9..=12).contains(&other.runs()), "another check goes on: {}", other.runs());
    let report = health.report();
    assert_eq!(report.checks[0].output.as_deref(), Some("no result within 2s"));
    // Between two runs nothing is left of the last.
    in_time(async {
        while running.load(Ordering::Relaxed) > 0 {
            sleep(SECOND).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_has_failed_and_the_others_go_on() {
    let good = Switch::new(true);
    let mut runs = 0;
    let health = Health::builder()
        .readiness("making", Impact::Soft, || -> Ready<bool> { panic!("on purpose") })
        .readiness("running", Impact::Soft, || async { panic!("on purpose") as () })
        .readiness("once", Impact::Hard, move || {
            runs += 1;
            ready(if runs == 1 { panic!("on purpose") } else { true })
        })
        .readiness("good", Impact::Hard, good.check())
        .build()
        .unwrap();
    assert!(in_time(health.wait_ready()).await);
    for check in health.report().checks {
        let panicked = check.name.ends_with("ing");
        assert_eq!(check.state, if panicked { HealthState::Fail } else { HealthState::Pass });
        assert_eq!(check.output.as_deref(), panicked.then_some("the check panicked"));
    }
    sleep(95 * SECOND).await;
    assert!(good.runs() >= 9, "{}", good.runs());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_old_counts_as_failed() {
    let (hard, shared) = (Switch::new(true), Switch::new(true));
    let health = Health::builder()
        .readiness("hard", Impact::Hard, hard.check())
        .readiness("shared", Impact::Shared, shared.check())
        .build()
        .unwrap();
    assert!(in_time(health.wait_ready()).await);
    let mut watch = pin!(health.watch());
    let mut watched = || pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(watched().is_pending());
    // The clock moves on, and the task that runs the checks does not get its turn.
    let stall = |time| {
        let moved = pin!(tokio::time::advance(time)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(moved.is_pending());
    };
    stall(28 * SECOND);
    assert!(health.ready() && watched().is_pending());
    stall(3 * SECOND);
    assert!(!health.ready());
    assert!(
        matches!(watched(), Poll::Ready(Some(status)) if !status.ready),
        "who waits for changes hears of it"
    );
    let report = health.report();
    assert!(report.checks.iter().all(|check| check.is_stale && check.state == HealthState::Fail));
    assert!(report.status.live && report.status.started);
    // It is well again as soon as it is checked again, and who waits for that hears of it.
    assert!(in_time(health.wait_ready()).await);
    assert_eq!(state_of(&health, "shared"), HealthState::Pass);
}

#[test]
fn who_watches_while_the_runtime_of_the_checks_has_ended_is_told_when_their_results_are_too_old() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (of_checks, switch) = (runtime(), Switch::new(true));
    let health = of_checks.block_on(async {
        let health = one(Impact::Hard, &switch);
        assert!(health.wait_ready().await);
        health
    });
    drop(of_checks);
    runtime().block_on(async {
        tokio::time::pause();
        let mut watch = health.watch();
        let told = tokio::time::timeout(40 * SECOND, watch.changed()).await.expect("it is told");
        assert!(!told.unwrap().ready);
        assert!(tokio::time::timeout(3_600 * SECOND, watch.changed()).await.is_err(), "and told once");
    });
}

#[tokio::test(start_paused = true)]
async fn when_the_last_handle_is_gone_the_task_is_gone_with_what_it_was_doing() {
    let (held, runs) = (Arc::new(()), Switch::new(true));
    let (kept, check) = (held.clone(), runs.clone());
    let health = Health::builder()
        .readiness("it", Impact::Hard, move || {
            let _ = check.ask();
            let kept = kept.clone();
            async move {
                pending::<()>().await;
                drop(kept);
            }
        })
        .build()
        .unwrap();
    sleep(WHEN_ALL_HAVE_BEGUN).await;
    assert_eq!((runs.runs(), Arc::strong_count(&held)), (1, 3), "it is running");
    let (service, layer) = (health.service(), health.layer());
    let mut watch = health.watch();
    drop((health, service));
    sleep(15 * SECOND).await;
    assert_eq!(runs.runs(), 2, "a layer is a handle");
    drop(layer);
    in_time(async { while watch.changed().await.is_some() {} }).await;
    assert_eq!(Arc::strong_count(&held), 1);
    sleep(100 * SECOND).await;
    assert_eq!(runs.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_do_not_check_together() {
    let start = Instant::now();
    let firsts = Arc::new(Mutex::new(Vec::new()));
    let replicas: Vec<_> = (0..1_000)
        .map(|seed| {
            let (firsts, mut first) = (firsts.clone(), true);
            let check = move || {
                if std::mem::take(&mut first) {
                    firsts.lock().unwrap().push(start.elapsed());
                }
                ready(true)
            };
            Health::builder().rng(Rng::seeded(seed)).readiness("it", Impact::Shared, check).build().unwrap()
        })
        .collect();
    for replica in &replicas {
        assert!(in_time(replica.wait_ready()).await);
    }
    let firsts = firsts.lock().unwrap();
    for tenth in 0..10 {
        let within = |at: &&Duration| at.as_millis() / 101 == tenth;
        let count = firsts.iter().filter(within).count();
        assert!((60..=140).contains(&count), "{count} in the {tenth}th tenth of a second");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_check_calls_has_the_limit_of_the_check_as_its_deadline() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let health = Health::builder()
        .readiness("it", Impact::Hard, move || {
            let left = || Deadline::current().map(|at| at.instant() - Instant::now());
            noted.lock().unwrap().push(left());
            let noted = noted.clone();
            async move {
                sleep(SECOND).await;
                noted.lock().unwrap().push(left());
            }
        })
        .build()
        .unwrap();
    assert!(in_time(health.wait_ready()).await);
    assert_eq!(*seen.lock().unwrap(), [Some(2 * SECOND), Some(SECOND)]);
}

// ───────────────────────────────────────────────────────────────────────────── what the results mean

#[tokio::test(start_paused = true)]
async fn the_impact_of_a_check_says_what_its_failure_means() {
    use HealthState::{Fail, Pass, Warn};
    // At first; when it fails from the start; when it has passed; when it fails then; when it only warns.
    for (impact, expected) in [
        (Impact::Hard, [Fail, Fail, Pass, Fail, Warn]),
        (Impact::Shared, [Fail, Fail, Pass, Warn, Warn]),
        (Impact::Soft, [Warn, Warn, Pass, Warn, Warn]),
    ] {
        let switch = Switch::new(false);
        let health = one(impact, &switch);
        let mut seen = vec![health.report().state];
        for verdict in [Verdict::fail(""), Verdict::pass(), Verdict::fail(""), Verdict::warn("")] {
            switch.set(verdict);
            sleep(25 * SECOND).await;
            seen.push(health.report().state);
            assert_eq!(health.ready(), health.report().state.is_good());
        }
        assert_eq!(seen, expected, "{impact:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_every_second_time_changes_nothing_in_an_hour() {
    let events = Recorder::new();
    let mut runs = 0;
    let health = Health::builder()
        .readiness("it", Impact::Hard, move || {
            runs += 1;
            ready(runs % 2 == 1)
        })
        .observer(events.clone())
        .build()
        .unwrap();
    assert!(in_time(health.wait_ready()).await);
    for _ in 0..3_600 {
        sleep(SECOND).await;
        assert!(health.ready());
    }
    assert_eq!(events.events().len(), 1, "unknown, now pass");
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_and_successes_in_a_row_change_it_and_the_observer_is_told() {
    let (switch, events) = (Switch::new(true), Recorder::new());
    let settings = HealthSettings::new().failures(3).successes(2);
    let health = Health::builder().settings(settings).observer(events.clone());
    let health = health.readiness("it", Impact::Hard, switch.check()).build().unwrap();
    let changed_after = async |verdict: Verdict| {
        let (before, ready) = (switch.runs(), health.ready());
        switch.set(verdict);
        while health.ready() == ready {
            sleep(SECOND / 10).await;
        }
        switch.runs() - before
    };
    assert_eq!(changed_after(Verdict::pass()).await, 1, "the first result counts");
    assert_eq!(changed_after(Verdict::fail("out of order")).await, 3);
    assert_eq!(changed_after(Verdict::pass()).await, 2);
    let told: Vec<_> = events
        .events()
        .into_iter()
        .map(|event| match event {
            Event::HealthChanged { check, from, to, output, .. } if &*check == "it" => (from, to, output),
            other => panic!("{other:?}"),
        })
        .collect();
    use HealthState::{Fail, Pass, Unknown};
    let expected = [(Unknown, Pass, None), (Pass, Fail, Some("out of order".into())), (Fail, Pass, None)];
    assert_eq!(told, expected);
    let timeline = events.timeline();
    assert!(timeline.contains(": pass, now fail: out of order\n"), "{timeline}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_stops_no_check() {
    struct Panics;
    impl Observer for Panics {
        fn observe(&self, _: &Event) {
            panic!("on purpose")
        }
    }
    let switch = Switch::new(true);
    let health = Health::builder().observer(Panics).readiness("it", Impact::Hard, switch.check());
    let health = health.build().unwrap();
    assert!(in_time(health.wait_ready()).await);
    sleep(100 * SECOND).await;
    assert!(switch.runs() >= 9 && health.ready());
}

#[tokio::test(start_paused = true)]
async fn a_startup_check_is_asked_each_second_until_it_has_passed_once() {
    let (schema, disk) = (Switch::new(false), Switch::new(true));
    let health = Health::builder()
        .startup("schema", schema.check())
        .readiness("disk", Impact::Hard, disk.check())
        .build()
        .unwrap();
    sleep(SECOND * 21 / 2).await;
    assert_eq!(schema.runs(), 11);
    assert!(!health.started() && !health.ready() && health.live());
    assert_eq!(probe(health.service(), "/startupz").await, (503, "fail\n".into()));
    assert_eq!(probe(health.service(), "/livez").await.0, 200, "nobody is restarted for starting slowly");
    schema.set(true);
    assert!(in_time(health.wait_ready()).await);
    schema.set(false);
    sleep(100 * SECOND).await;
    assert_eq!(schema.runs(), 12, "never again");
    assert!(health.started() && health.ready());
    assert_eq!(probe(health.service(), "/startupz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn liveness_is_asked_when_it_is_wanted_and_no_other_check_has_a_say_in_it() {
    let (dead, down) = (Arc::new(AtomicBool::new(false)), Switch::new(false));
    let seen = dead.clone();
    let health = Health::builder()
        .liveness("worker", move || !seen.load(Ordering::Relaxed))
        .readiness("database", Impact::Hard, down.check())
        .build()
        .unwrap();
    assert!(health.live(), "before anything was checked");
    sleep(60 * SECOND).await;
    assert!(health.live() && !health.ready());
    dead.store(true, Ordering::Relaxed);
    assert!(!health.live() && !health.status().live);
    assert_eq!(probe(health.service(), "/livez").await, (503, "fail\n".into()));
    assert_eq!(state_of(&health, "worker"), HealthState::Fail);
    let panics = Health::builder().liveness("it", || panic!("on purpose") as ()).build().unwrap();
    assert!(!panics.live(), "a check that panics has failed");
}

// ───────────────────────────────────────────────────────────────────────────── waiting and draining

#[tokio::test(start_paused = true)]
async fn draining_takes_it_out_of_service_for_good_and_leaves_it_alive() {
    let switch = Switch::new(true);
    let health = one(Impact::Hard, &switch);
    assert!(in_time(health.wait_ready()).await);
    let mut watch = health.watch();
    let other = health.clone();
    other.drain();
    let told = watch.changed().await.unwrap();
    assert!(told.draining && told.live && told.started && !told.ready);
    assert_eq!(probe(health.service(), "/readyz").await, (503, "fail\n".into()));
    assert_eq!(probe(health.service(), "/livez").await.0, 200);
    assert_eq!(probe(health.service(), "/startupz").await.0, 200);
    sleep(60 * SECOND).await;
    assert!(!health.ready(), "no check brings it back");
    let (ready, elapsed) = timed(health.wait_ready()).await;
    assert_eq!((ready, elapsed), (false, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_it_is_ready_is_told_when_it_is_and_when_it_never_will_be() {
    let switch = Switch::new(false);
    let health = one(Impact::Hard, &switch);
    let waits = || {
        let health = health.clone();
        tokio::spawn(async move { timed(health.wait_ready()).await })
    };
    let (first, start) = (waits(), Instant::now());
    sleep(15 * SECOND).await;
    switch.set(true);
    let (ready, elapsed) = first.await.unwrap();
    assert!(ready && elapsed > 15 * SECOND && elapsed < 25 * SECOND && start.elapsed() == elapsed);
    switch.set(false);
    sleep(30 * SECOND).await;
    let second = waits();
    sleep(SECOND).await;
    health.drain();
    assert_eq!(second.await.unwrap(), (false, SECOND));
    assert!(Health::builder().build().unwrap().wait_ready().await, "without a check it is ready");
}

// ───────────────────────────────────────────────────────────────────────────── over HTTP

#[tokio::test(start_paused = true)]
async fn probes_are_answered_in_one_word_and_with_every_check_when_asked() {
    let health = Health::builder()
        .liveness("heart", || true)
        .startup("schema", || ready(()))
        .readiness("disk", Impact::Hard, || ready(()))
        .readiness("cache", Impact::Soft, || ready(Err::<(), _>("no\nhost cache.internal")))
        .readiness("queue", Impact::Shared, pending::<()>)
        .build()
        .unwrap();
    sleep(WHEN_ALL_HAVE_BEGUN).await;
    let service = health.service();
    let ask = |uri| probe(service.clone(), uri);
    assert_eq!(ask("/readyz").await, (503, "fail\n".into()));
    let lines =
        "schema: pass (startup)\ndisk: pass (hard)\ncache: fail (soft)\nqueue: unknown (shared)\nfail\n";
    assert_eq!(ask("/readyz?verbose").await, (503, lines.into()));
    assert_eq!(ask("/livez?a&verbose=1").await, (200, "heart: pass (liveness)\npass\n".into()));
    assert_eq!(ask("/startupz?verbose").await, (200, "schema: pass (startup)\npass\n".into()));
    for other in ["/", "/livez/", "/healthz", "/readyz2"] {
        assert_eq!(ask(other).await, (404, String::new()), "{other}");
    }
    health.drain();
    assert!(ask("/readyz?verbose").await.1.ends_with("\ndraining\nfail\n"));
}

#[tokio::test(start_paused = true)]
async fn what_checks_said_is_shown_to_nobody_unless_somebody_said_so() {
    let settings = HealthSettings::new();
    for (settings, shown) in [(settings, false), (settings.show_output(true), true)] {
        let health = Health::builder()
            .settings(settings)
            .readiness("cache\"\\", Impact::Soft, || ready(Err::<(), _>("no\n\"host\" ümlaut\u{1}")))
            .build()
            .unwrap();
        sleep(WHEN_ALL_HAVE_BEGUN).await;
        let (_, lines) = probe(health.service(), "/readyz?verbose").await;
        assert_eq!(lines.contains("no\\n\\\"host"), shown, "{lines}");
        assert_eq!(lines.lines().count(), 2);
        let request = Request::get("/readyz").header("accept", "application/health+json");
        let request = request.body(Content::default()).unwrap();
        let response = health.service().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/health+json");
        assert_eq!(response.status(), 200);
        let json: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        let mut expected = serde_json::json!({
            "status": "warn", "checks": { "cache\"\\": [{ "status": "fail", "impact": "soft" }] },
        });
        if shown {
            expected["checks"]["cache\"\\"][0]["output"] = "no\n\"host\" ümlaut\u{1}".into();
        }
        assert_eq!(json, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn json_has_the_words_of_the_draft_and_only_those() {
    let builder = || Health::builder().readiness("hangs", Impact::Hard, pending::<()>);
    let health = builder().readiness("soft", Impact::Soft, pending::<()>).build().unwrap();
    let ask = async |health: &Health, uri: &str| {
        let request = Request::get(uri).header("accept", "application/json").body(Content::default());
        let response = health.service().oneshot(request.unwrap()).await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&text(response).await).unwrap())
    };
    let (status, json): (_, serde_json::Value) = ask(&health, "/readyz").await;
    let expected = serde_json::json!({ "status": "fail", "checks": {
        "hangs": [{ "status": "fail", "impact": "hard" }], "soft": [{ "status": "warn", "impact": "soft" }],
    } });
    assert_eq!((status, json), (503, expected));
    assert_eq!(ask(&health, "/livez").await, (200, serde_json::json!({ "status": "pass" })));
    let drained = Health::builder().build().unwrap();
    drained.drain();
    let expected = serde_json::json!({ "status": "fail", "output": "draining" });
    assert_eq!(ask(&drained, "/readyz").await, (503, expected));
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_as_get_without_a_body_and_other_methods_are_not() {
    let health = Health::builder().build().unwrap();
    for (method, status) in
        [(Method::HEAD, 200), (Method::POST, 405), (Method::DELETE, 405), (Method::OPTIONS, 405)]
    {
        let request = Request::builder().method(&method).uri("/readyz").body(Content::default()).unwrap();
        let response = health.service().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        assert_eq!(
            response.headers().get("allow").map(|allow| allow.as_bytes()),
            (status == 405).then_some(&b"GET, HEAD"[..])
        );
        if method == Method::HEAD {
            assert_eq!(response.headers()["content-length"], "5");
            assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        }
        assert_eq!(text(response).await, "");
    }
}

// ───────────────────────────────────────────────────────────────────────────── around other services

#[tokio::test(start_paused = true)]
async fn a_service_that_is_never_ready_keeps_no_probe_waiting_and_all_else_reaches_it() {
    let health = Health::builder().build().unwrap();
    let get = |path: &str| Request::get(path).body(Content::default()).unwrap();
    let mut full = health.layer().layer(NeverReady);
    let at_once = Service::<Request<Content>>::poll_ready(&mut full, &mut Context::from_waker(Waker::noop()));
    assert!(at_once.is_ready());
    assert_eq!(full.call(get("/livez")).await.unwrap().status(), 200);
    let waits = tokio::time::timeout(SECOND, full.oneshot(get("/orders")));
    assert!(waits.await.is_err());

    let orders = service_fn(|request: Request<Content>| async move {
        Ok::<_, Infallible>(answer(if request.uri().path() == "/orders" { 201 } else { 404 }))
    });
    let status = async |layer: HealthLayer, path: &str| {
        layer.layer(orders).oneshot(get(path)).await.unwrap().status().as_u16()
    };
    assert_eq!(status(health.layer(), "/orders").await, 201);
    assert_eq!(status(health.layer(), "/livez").await, 200);
    assert_eq!(status(health.layer().when(false), "/livez").await, 404, "switched off");
    let check = "/grpc.health.v1.Health/Check";
    assert_eq!(status(health.layer(), check).await, 405);
    assert_eq!(status(health.layer().without_grpc(), check).await, 404, "left to the inner service");
    assert_eq!(status(health.layer().without_grpc(), "/livez").await, 200);
}

// ───────────────────────────────────────────────────────────────────────────── over gRPC

fn grpc<B>(method: &str, body: B) -> Request<B> {
    let uri = format!("/grpc.health.v1.Health/{method}");
    Request::post(uri).header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_that_makes_no_sense_is_refused_with_a_status() {
    let health = Health::builder().build().unwrap();
    for (method, body, status) in [
        ("Check", &b"\0\0\0\0\0"[..], None),
        ("Check", b"", Some(GrpcStatus::Internal)),
        ("List", b"", Some(GrpcStatus::Internal)),
        ("Check", b"\0\0\0\0\x01\x0a", Some(GrpcStatus::Internal)),
        ("Check", b"\x01\0\0\0\0", Some(GrpcStatus::Unimplemented)),
        ("Check", b"\0\0\0\0\x03\x0a\x01x", Some(GrpcStatus::NotFound)),
        ("Check", &[0; 4097], Some(GrpcStatus::ResourceExhausted)),
        ("Chick", b"\0\0\0\0\0", Some(GrpcStatus::Unimplemented)),
    ] {
        let response = health.service().oneshot(grpc(method, Content::from(body))).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(GrpcStatus::of(response.headers()), status, "{method} {body:?}");
    }
    let mut json = grpc("Check", Content::default());
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(health.service().oneshot(json).await.unwrap().status(), 415);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_client_that_sends_nothing_is_not_waited_for_longer_than_five_seconds() {
    let health = Health::builder().build().unwrap();
    let silent = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let (response, elapsed) = timed(in_time(health.service().oneshot(grpc("Check", silent)))).await;
    let status = GrpcStatus::of(response.unwrap().headers());
    assert_eq!((status, elapsed), (Some(GrpcStatus::DeadlineExceeded), 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn who_watches_what_lives_is_told_of_each_change_of_what_was_told_first() {
    for first in [true, false] {
        let switch = Switch::new(!first);
        let seen = switch.clone();
        let health = Health::builder().liveness("it", move || seen.ask()).build().unwrap();
        // Asked about in passing.
        sleep(SECOND).await;
        switch.set(first);
        let request = grpc("Watch", Content::from(&b"\0\0\0\0\x0a\x0a\x08liveness"[..]));
        let mut body = health.service().oneshot(request).await.unwrap().into_body();
        for serving in [first, !first, first] {
            switch.set(serving);
            let frame = in_time(body.frame()).await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(frame[..], [0, 0, 0, 0, 2, 8, if serving { 1 } else { 2 }], "at first {first}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_of_each_change_and_sent_away_when_the_server_stops() {
    let switch = Switch::new(true);
    let health = one(Impact::Hard, &switch);
    assert!(in_time(health.wait_ready()).await);
    let watch = || async {
        let request = grpc("Watch", Content::from(&b"\0\0\0\0\0"[..]));
        health.service().oneshot(request).await.unwrap().into_body()
    };
    let (serving, not_serving) = (&b"\0\0\0\0\x02\x08\x01"[..], &b"\0\0\0\0\x02\x08\x02"[..]);
    let mut body = watch().await;
    let mut next = async || in_time(body.frame()).await.unwrap().unwrap();
    assert_eq!(next().await.into_data().unwrap(), serving);
    switch.set(false);
    assert_eq!(next().await.into_data().unwrap(), not_serving);
    switch.set(true);
    assert_eq!(next().await.into_data().unwrap(), serving);
    health.drain();
    assert_eq!(next().await.into_data().unwrap(), not_serving);
    assert!(tokio::time::timeout(60 * SECOND, next()).await.is_err(), "draining keeps the stream open");
    health.stop();
    let status = |frame: Frame<Bytes>| GrpcStatus::of(frame.trailers_ref().unwrap());
    assert_eq!(status(next().await), Some(GrpcStatus::Unavailable));
    // Who comes now is told, and sent away too.
    let mut late = watch().await;
    assert_eq!(in_time(late.frame()).await.unwrap().unwrap().into_data().unwrap(), not_serving);
    assert_eq!(status(in_time(late.frame()).await.unwrap().unwrap()), Some(GrpcStatus::Unavailable));
    assert!(in_time(late.frame()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_may_watch_at_once_and_more_are_refused() {
    let health = Health::builder().build().unwrap();
    let watch = || async {
        let request = grpc("Watch", Content::from(&b"\0\0\0\0\0"[..]));
        health.service().oneshot(request).await.unwrap()
    };
    let mut watching = Vec::new();
    for _ in 0..1024 {
        let answer = watch().await;
        assert_eq!(GrpcStatus::of(answer.headers()), None, "a stream");
        watching.push(answer);
    }
    let refused = || async { GrpcStatus::of(watch().await.headers()) };
    assert_eq!(refused().await, Some(GrpcStatus::ResourceExhausted));
    watching.pop();
    assert_eq!(refused().await, None, "there is room again");
}

// ───────────────────────────────────────────────────────────────────────────── what is refused

#[tokio::test(start_paused = true)]
async fn checks_and_services_have_names_of_their_own() {
    let check = |builder: HealthBuilder, name: &str| builder.readiness(name, Impact::Hard, || ready(()));
    let refused = |builder: HealthBuilder| builder.build().map(drop).unwrap_err();
    let named = |name: &str| InvalidHealth::Name { name: name.to_owned() };
    let twice = |name: &str| InvalidHealth::Duplicate { name: name.to_owned() };
    let new = Health::builder;
    for name in ["", "two words", "ümlaut", "line\n", &"x".repeat(129)] {
        assert_eq!(refused(check(new(), name)), named(name));
        assert_eq!(refused(new().liveness(name, || ())), named(name));
        assert_eq!(refused(new().grpc_service(name)), named(name));
    }
    assert_eq!(refused(check(check(new(), "a"), "a")), twice("a"));
    assert_eq!(refused(check(new().liveness("a", || ()), "a")), twice("a"));
    assert_eq!(refused(new().grpc_service("liveness")), twice("liveness"));
    let health = check(check(new(), "a"), &"x".repeat(128)).grpc_service("a").build().unwrap();
    let kinds: Vec<_> = health.report().checks.iter().map(|check| check.kind).collect();
    assert_eq!(kinds, [CheckKind::Readiness(Impact::Hard); 2]);
    let zero = HealthSettings::new().failures(0);
    assert_eq!(refused(new().settings(zero)), InvalidHealth::Zero { field: "failures" });
}
