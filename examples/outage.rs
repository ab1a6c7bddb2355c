//! What happens to the callers of a service that dies, hangs, and comes back?
//!
//! *The problem:* a service that is down costs its callers more than its answers. Each call waits until its limit runs out, the
//! callers fill up with calls that wait, and when the service comes back, all of them are upon it at once.
//!
//! *What to look at:* [`stack`], which is what a user writes; the table, a row for five seconds of virtual time; and the
//! circuit's own story below it. Forty callers a second ask for a price; the service is well, then dead, well, hung, and well.
//!
//! *What it shows:* the circuit opens soon, and from then on callers have their answer, from the fallback, at once; the service
//! sees one probe at a time, less and less often; when it is well again it gets all of its traffic back, but not in one blow.
//!
//!     cargo run --example outage
//!
//! It takes less than a second, and ends with exit code 0 if every claim held.

mod kit;

use std::collections::BTreeMap;
use std::future::pending;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use stonework::Body;
use stonework::base::{CircuitReason, CircuitState, Error, Event, Kind, Rng};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::fallback::{Fallback, FallbackLayer};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::Recorder;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::{Instant, sleep, sleep_until};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use self::kit::Verdict;

const CALLERS_A_SECOND: u32 = 40;
const LATENCY: Duration = Duration::from_millis(50);
const ATTEMPT: Duration = Duration::from_secs(1);

/// How the service is, from which second on.
const HISTORY: [(u64, Health); 5] =
    [(0, Health::Well), (10, Health::Dead), (45, Health::Well), (85, Health::Hung), (120, Health::Well)];
const END: u64 = 160;
/// Seconds in a row of the table.
const ROW: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Well,
    /// Refuses connections.
    Dead,
    /// Takes a request, and says nothing.
    Hung,
}

type Caller = BoxCloneSyncService<Request<Body>, Response<Body>, Error>;

/// What a user writes, outermost first.
fn stack(service: Service, breaker: Breaker) -> Caller {
    let yesterday = |_: &Error| Response::new(Body::from("yesterday's price"));
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(3)))
            .layer(FallbackLayer::value(yesterday))
            .layer(RetryLayer::from(RetrySettings::new().attempts(2)).rng(Rng::seeded(1)))
            .layer(AttemptTimeoutLayer::new(ATTEMPT))
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(BreakerLayer::from(breaker))
            .service(service_fn(move |_: Request<Body>| service.clone().ask())),
    )
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let (recorder, start) = (Recorder::new(), Instant::now());
    let breaker = Breaker::new(BreakerSettings::new()).expect("valid settings");
    let breaker = breaker.named("prices").observer(recorder.clone()).rng(Rng::seeded(2));
    let service = Service::new(start);
    let caller = stack(service.clone(), breaker.clone());

    let told = Arc::new(Mutex::new(Vec::new()));
    let mut states = Vec::new();
    let mut calls = Vec::new();
    for call in 0..END as u32 * CALLERS_A_SECOND {
        sleep_until(start + call * Duration::from_secs(1) / CALLERS_A_SECOND).await;
        if call % CALLERS_A_SECOND == 0 {
            states.push(breaker.state());
        }
        let asked = ask(caller.clone(), start, Arc::clone(&told));
        calls.push(tokio::spawn(asked));
    }
    for call in calls {
        call.await.expect("no caller panics");
    }

    let told = std::mem::take(&mut *told.lock().expect("nobody panicked"));
    table(&states, &told, &service);
    println!("\nthe circuit's own story:\n\n{}", recorder.timeline());
    claims(&told, &service, &recorder).end()
}

// ───────────────────────────────────────────────────────────────────────────── the callers

/// What one caller saw.
struct Told {
    /// The second in which it asked.
    second: u64,
    took: Duration,
    /// What the service failed with, if the answer is the fallback's; nothing if there was no answer at all.
    answer: Result<Option<Kind>, Kind>,
}

fn ask(caller: Caller, start: Instant, told: Arc<Mutex<Vec<Told>>>) -> impl Future<Output = ()> {
    let asked = Instant::now();
    let request = Request::builder().method(Method::GET).uri("http://prices.test/").body(Body::empty());
    let call = caller.oneshot(request.expect("valid"));
    async move {
        let answer = call.await;
        let answer = match &answer {
            Ok(response) => Ok(Fallback::of(response).map(|fallback| fallback.error().kind())),
            Err(error) => Err(error.kind()),
        };
        let told_at = Told { second: (asked - start).as_secs(), took: asked.elapsed(), answer };
        told.lock().expect("nobody panicked").push(told_at);
    }
}

// ───────────────────────────────────────────────────────────────────────────── the service

#[derive(Clone)]
struct Service {
    start: Instant,
    /// Requests that arrived, by second.
    arrived: Arc<Mutex<BTreeMap<u64, usize>>>,
    now: Arc<AtomicUsize>,
    /// The most requests at once, by second.
    most: Arc<Mutex<BTreeMap<u64, usize>>>,
}

impl Service {
    fn new(start: Instant) -> Self {
        let (arrived, now, most) = (Arc::default(), Arc::default(), Arc::default());
        Self { start, arrived, now, most }
    }

    async fn ask(self) -> Result<Response<Body>, Error> {
        let second = self.start.elapsed().as_secs();
        *self.arrived.lock().expect("nobody panicked").entry(second).or_default() += 1;
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let _leaves = Leaves(Arc::clone(&self.now));
        let most = |most: &mut usize| *most = now.max(*most);
        most(self.most.lock().expect("nobody panicked").entry(second).or_default());
        match health(second) {
            Health::Well => {
                sleep(LATENCY).await;
                Ok(Response::new(Body::from("today's price")))
            }
            Health::Dead => Err(Error::new(Kind::Connect, "connection refused")),
            Health::Hung => pending().await,
        }
    }

    fn arrived(&self, from: u64, to: u64) -> usize {
        self.arrived.lock().expect("nobody panicked").range(from..to).map(|(_, number)| number).sum()
    }

    fn most(&self, from: u64, to: u64) -> usize {
        let most = self.most.lock().expect("nobody panicked");
        most.range(from..to).map(|(_, most)| *most).max().unwrap_or_default()
    }
}

/// One request less, also when its caller goes away.
struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn health(second: u64) -> Health {
    let until_now = HISTORY.iter().rev().find(|(from, _)| *from <= second);
    until_now.expect("it begins at 0").1
}

// ───────────────────────────────────────────────────────────────────────────── what came of it

fn table(states: &[CircuitState], told: &[Told], service: &Service) {
    println!("second  service  circuit     asked  arrived  answered  fallback  slowest");
    for (second, state) in (0..).zip(states).step_by(ROW as usize) {
        let of: Vec<_> = told.iter().filter(|told| (second..second + ROW).contains(&told.second)).collect();
        let count = |wanted: fn(&Told) -> bool| of.iter().filter(|told| wanted(told)).count();
        println!(
            "{second:>6}  {:<7}  {:<10}  {:>5}  {:>7}  {:>8}  {:>8}  {:>7?}",
            format!("{:?}", health(second)),
            state.to_string(),
            of.len(),
            service.arrived(second, second + ROW),
            count(|told| matches!(told.answer, Ok(None))),
            count(|told| matches!(told.answer, Ok(Some(_)))),
            of.iter().map(|told| told.took).max().unwrap_or_default(),
        );
    }
}

fn claims(told: &[Told], service: &Service, recorder: &Recorder) -> Verdict {
    let mut verdict = Verdict::default();
    let unanswered = told.iter().filter(|told| told.answer.is_err()).count();
    verdict.claim(
        unanswered == 0,
        format!("every one of {} callers has an answer; without: {unanswered}", told.len()),
    );

    let events = recorder.timed_events();
    let opened: Vec<_> = events
        .iter()
        .filter_map(|(at, event)| match event {
            Event::CircuitChanged { to: CircuitState::Open, why, open_for: Some(time), .. } => {
                Some(((*at - service.start).as_secs_f64(), *why, *time))
            }
            _ => None,
        })
        .collect();
    let at_first = |from: u64| {
        let first = opened.iter().find(|(at, _, _)| *at >= from as f64);
        first.map_or(f64::INFINITY, |(at, _, _)| at - from as f64)
    };
    let by_failures = opened.iter().filter(|(_, why, _)| *why == CircuitReason::FailureRate).count();
    let (dead, hung) = (at_first(10), at_first(85));
    verdict.claim(by_failures == 2, format!("it opens once for each outage; it opened {by_failures} times"));
    verdict.claim(dead < 6.0, format!("it opens within six seconds of the death: after {dead:.1} s"));
    verdict.claim(hung < 7.0, format!("a service that hangs is no different: after {hung:.1} s"));

    for (name, from, to) in [("dead", 17, 45), ("hung", 92, 120)] {
        let of: Vec<_> = told.iter().filter(|told| (from..to - 1).contains(&told.second)).collect();
        let probes = service.arrived(from, to);
        let most = service.most(from, to);
        verdict.claim(
            probes <= 6 && most <= 1,
            format!(
                "while it is {name} and known to be, it sees probes only: {probes} for {} callers, {most} at once",
                of.len()
            ),
        );
        let waited = of.iter().filter(|told| told.took > Duration::from_millis(10)).count();
        verdict.claim(waited <= probes, format!("nobody waits but those who probe: {waited}"));
        let wrong = of.iter().filter(|told| matches!(told.answer, Ok(None))).count();
        verdict.claim(
            wrong == 0,
            format!("all others are told that the circuit is open, by the mark; else: {wrong}"),
        );
    }
    // Each time is between the half and the whole of one that doubles up to 30 s.
    let enough = |two: &[(f64, CircuitReason, Duration)]| two[1].2 >= two[0].2.min(Duration::from_secs(15));
    let growing = opened.windows(2).filter(|two| two[1].1 == CircuitReason::ProbesFailed).all(enough);
    verdict.claim(growing, "each time it opens again it is for no less, up to 15 s and more");

    for (name, from, to) in [("death", 45, 85), ("hanging", 120, END)] {
        let full = (from..to).find(|second| {
            let of = told.iter().filter(|told| told.second == *second);
            of.clone().all(|told| matches!(told.answer, Ok(None)))
        });
        let after = full.map_or(u64::MAX, |full| full - from);
        // It is open for 30 s at most.
        verdict.claim(
            after <= 30,
            format!("after its {name} it has all of its traffic back within 30 s: after {after} s"),
        );
    }
    verdict
}
