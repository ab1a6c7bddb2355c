use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use stonework::Body;
use stonework::base::{Backoff, CircuitState, Error, Event, Kind, Outcome, Ratio, Rng};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings, Permit};
use stonework::testing::Recorder;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The longest open time of the schedules below.
const LONGEST: Duration = Duration::from_secs(8);
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings, and how many probes they allow.
fn settings(rng: &Rng) -> (BreakerSettings, u64) {
    let probes = 1 + rng.below(4);
    let open_time = Backoff::exponential(SECOND, LONGEST).unwrap();
    let settings = BreakerSettings::new()
        .min_calls(1 + rng.below(5) as u32)
        .failure_rate(Ratio::percent(20 + rng.below(80) as u8))
        .open_time(open_time)
        .probes(probes as u32)
        .probe_timeout(PROBE_TIMEOUT);
    let settings = if rng.below(2) == 0 { settings } else { settings.slow_calls(SECOND, Ratio::percent(50)) };
    let settings = if rng.below(2) == 0 { settings } else { settings.consecutive_failures(3) };
    let settings = if rng.below(2) == 0 { settings } else { settings.window_of_calls(20) };
    (settings, probes)
}

/// A circuit, and calls that are under way in it.
struct Schedule {
    breaker: Breaker,
    recorder: Recorder,
    rng: Rng,
    running: Vec<Permit>,
    probes: u64,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let rng = Rng::seeded(seed);
        let ((settings, probes), recorder) = (settings(&rng), Recorder::new());
        let breaker = Breaker::new(settings).unwrap().rng(Rng::seeded(seed)).observer(recorder.clone());
        Self { breaker, recorder, rng, running: Vec::new(), probes }
    }

    fn end(&mut self, outcome: Option<Outcome>) {
        if self.running.is_empty() {
            return;
        }
        let at = self.rng.below(self.running.len() as u64) as usize;
        let permit = self.running.swap_remove(at);
        if let Some(outcome) = outcome {
            permit.settle(outcome);
        }
    }

    async fn anything(&mut self) {
        match self.rng.below(10) {
            0..4 => self.running.extend(self.breaker.try_acquire()),
            4 => self.end(Some(Outcome::Success)),
            5 => self.end(Some(Outcome::Failure)),
            6 => self.end(Some(Outcome::Neutral)),
            7 => self.end(None),
            8 => advance(self.rng.below(200) as u32 * MS).await,
            _ => advance(self.rng.below(5_000) as u32 * MS).await,
        }
        let stats = self.breaker.stats();
        if stats.state() == CircuitState::HalfOpen {
            assert!(stats.probes() as u64 <= self.probes, "{stats:?}");
            assert!(stats.probes() as u64 + stats.calls() <= self.probes, "{stats:?}");
        }
    }

    /// The service is well from now on. Whatever came before, and whatever is still under way, calls get through within one
    /// open time, and a probe that hangs is no obstacle for longer than its time.
    async fn is_well_soon(&mut self) {
        let mut since_refused = Duration::ZERO;
        let mut closed_in_a_row = 0;
        let mut waited = Duration::ZERO;
        let bound = LONGEST + 2 * PROBE_TIMEOUT + LONGEST;
        let mut healthy: VecDeque<Permit> = VecDeque::new();
        while closed_in_a_row < 5 {
            match self.breaker.try_acquire() {
                Ok(permit) => {
                    healthy.push_back(permit);
                    since_refused = Duration::ZERO;
                }
                Err(_) => since_refused += 50 * MS,
            }
            advance(50 * MS).await;
            waited += 50 * MS;
            if let Some(permit) = healthy.pop_front() {
                permit.settle(Outcome::Success);
            }
            closed_in_a_row =
                if self.breaker.state() == CircuitState::Closed { closed_in_a_row + 1 } else { 0 };
            assert!(
                since_refused <= LONGEST + PROBE_TIMEOUT,
                "stuck: {:?}\n{}",
                self.breaker.stats(),
                self.recorder.timeline()
            );
            assert!(
                waited <= bound,
                "never closed: {:?}\n{}",
                self.breaker.stats(),
                self.recorder.timeline()
            );
        }
    }
}

#[test]
fn no_schedule_gets_it_stuck_or_lets_too_many_probes_through() {
    let cases = ProptestConfig::default().cases.max(10_000);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let mut opened = 0;
    for seed in 0..u64::from(cases) {
        runtime().unwrap().block_on(async {
            let mut schedule = Schedule::new(seed);
            for _ in 0..schedule.rng.below(80) {
                schedule.anything().await;
            }
            schedule.is_well_soon().await;
            opened += schedule.breaker.stats().opened();
            let illegal = |event: &Event| {
                matches!(
                    event,
                    Event::CircuitChanged {
                        from: CircuitState::Closed,
                        to: CircuitState::HalfOpen | CircuitState::Recovering,
                        ..
                    }
                )
            };
            assert!(!schedule.recorder.events().iter().any(illegal));
        });
    }
    assert!(opened > u64::from(cases) / 2, "the schedules should do something: {opened}");
}

// ───────────────────────────────────────────────────────────────────────────── calls, bodies and those who wait

/// What a service does with a call.
#[derive(Clone, Copy)]
enum Does {
    Answers(u16),
    Fails,
    Hangs,
}

/// Each call does something by chance, until the service is well.
fn service(rng: Rng, well: Arc<AtomicBool>) -> impl Inner {
    service_fn(move |_: Request<()>| {
        let (does, pause, frames) = if well.load(Ordering::Relaxed) {
            (Does::Answers(200), 10 * MS, 1)
        } else {
            let does = [Does::Answers(200), Does::Answers(500), Does::Fails, Does::Hangs];
            (does[rng.below(4) as usize], rng.below(3_000) as u32 * MS, rng.below(4))
        };
        async move {
            tokio::time::sleep(pause).await;
            match does {
                Does::Answers(status) => {
                    let frames = futures_util::stream::unfold(frames, move |left| async move {
                        tokio::time::sleep(pause).await;
                        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")));
                        (left > 0).then_some((frame, left.saturating_sub(1)))
                    });
                    let mut response = Response::new(Body::new(StreamBody::new(frames)));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok(response)
                }
                Does::Fails => Err(Error::new(Kind::Transport, "the connection broke")),
                Does::Hangs => std::future::pending().await,
            }
        }
    })
}

/// What [`service`] is.
trait Inner:
    Service<Request<()>, Response = Response<Body>, Error = Error, Future: Send> + Clone + Send + 'static
{
}

impl<S> Inner for S where
    S: Service<Request<()>, Response = Response<Body>, Error = Error, Future: Send> + Clone + Send + 'static
{
}

/// Makes a call, and reads so many frames of its answer.
async fn call(service: impl Inner, frames: u64) -> Result<(), Error> {
    let mut body = service.oneshot(Request::new(())).await?.into_body();
    for _ in 0..frames {
        if body.frame().await.is_none() {
            break;
        }
    }
    Ok(())
}

async fn calls_of_all_kinds(seed: u64) -> u64 {
    let rng = Rng::seeded(seed);
    let (settings, probes) = settings(&rng);
    let breaker = Breaker::new(settings).unwrap().rng(Rng::seeded(seed));
    let layer = BreakerLayer::from(breaker.clone());
    let layer = if rng.below(2) == 0 { layer } else { layer.not_ready_when_open() };
    let well = Arc::new(AtomicBool::new(false));
    let service =
        layer.layer(service(rng.clone(), Arc::clone(&well))).map_response(|response| response.map(Body::new));
    let mut running = JoinSet::new();
    for _ in 0..rng.below(60) {
        match rng.below(6) {
            // Some wait for the circuit, some hang, some give up in the middle of it all.
            0..4 => {
                let patience = rng.below(6_000) as u32 * MS;
                running.spawn(timeout(patience, call(service.clone(), rng.below(6))));
            }
            4 => advance(rng.below(200) as u32 * MS).await,
            _ => advance(rng.below(5_000) as u32 * MS).await,
        }
        tokio::task::yield_now().await;
        let stats = breaker.stats();
        assert!(stats.state() != CircuitState::HalfOpen || stats.probes() as u64 <= probes, "{stats:?}");
    }
    well.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let mut good = 0;
    while good < 5 || breaker.state() != CircuitState::Closed {
        let bound = 2 * (LONGEST + PROBE_TIMEOUT);
        assert!(start.elapsed() <= 2 * bound, "never closed: {:?}", breaker.stats());
        let called = timeout(bound, call(service.clone(), u64::MAX)).await;
        let called = called.unwrap_or_else(|_| panic!("stuck: {:?}", breaker.stats()));
        good = if called.is_ok() { good + 1 } else { 0 };
        tokio::time::sleep(50 * MS).await;
    }
    running.shutdown().await;
    assert_eq!(breaker.stats().probes(), 0, "whoever has gone holds no place");
    breaker.stats().opened()
}

#[test]
fn no_mixture_of_calls_that_answer_fail_hang_wait_and_go_away_gets_it_stuck() {
    let cases = u64::from(ProptestConfig::default().cases.max(1_000));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let opened: u64 = (0..cases).map(|seed| runtime().unwrap().block_on(calls_of_all_kinds(seed))).sum();
    assert!(opened > cases / 2, "the schedules should do something: {opened}");
}
