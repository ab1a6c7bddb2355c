use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use stonework::base::{Backoff, CircuitState, Event, Outcome, Ratio, Rng};
use stonework::breaker::{Breaker, BreakerSettings, Permit};
use stonework::testing::Recorder;
use tokio::time::advance;

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
