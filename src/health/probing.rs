use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::state::State;
use super::tally::Question;
use super::{CheckKind, Verdict};
use crate::base::{Rng, scope};

pub(super) type Answering = Pin<Box<dyn Future<Output = Verdict> + Send>>;
/// Starts a check.
pub(super) type Start = Box<dyn FnMut() -> Answering + Send>;

/// Runs all checks in one task, each at its own pace, and one of a kind at a time. One timer serves them all.
pub(super) struct Probing {
    state: Arc<State>,
    rng: Rng,
    checks: Vec<Check>,
    sleep: Pin<Box<Sleep>>,
}

struct Check {
    kind: CheckKind,
    start: Start,
    /// The one that was asked last.
    question: Question,
    /// Nothing, once it has passed and is not asked again.
    next: Option<Next>,
}

enum Next {
    StartAt(Instant),
    /// The check, and when it has taken too long.
    Running(Answering, Instant),
}

impl Probing {
    pub(super) fn new(state: Arc<State>, rng: Rng, checks: Vec<(CheckKind, Start)>) -> Self {
        let now = Instant::now();
        let spread = state.settings.interval / 10;
        let checks = checks.into_iter().map(|(kind, start)| {
            // What replicas that start together depend on is not asked by all of them, and for all of it, at once.
            let delay = match kind {
                CheckKind::Readiness(_) => rng.duration_below(spread),
                CheckKind::Liveness | CheckKind::Startup => Duration::ZERO,
            };
            let next = Some(Next::StartAt(later(now, delay)));
            Check { kind, start, question: Question::default(), next }
        });
        let checks = checks.collect();
        Self { state, rng, checks, sleep: Box::pin(sleep_until(now)) }
    }
}

/// Ends when there is nothing more to check.
impl Future for Probing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { state, rng, checks, sleep } = &mut *self;
        loop {
            let wanted = |(index, check): (usize, &mut Check)| check.poll(cx, index, state, rng);
            let Some(next) = checks.iter_mut().enumerate().filter_map(wanted).min() else {
                return Poll::Ready(());
            };
            sleep.as_mut().reset(next);
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl Check {
    /// Goes on with it, and says when to come back at the latest.
    fn poll(&mut self, cx: &mut Context<'_>, index: usize, state: &State, rng: &Rng) -> Option<Instant> {
        let settings = &state.settings;
        let (mut running, until) = match self.next.take()? {
            Next::StartAt(at) if at > Instant::now() => {
                self.next = Some(Next::StartAt(at));
                return Some(at);
            }
            Next::StartAt(_) => {
                let until = later(Instant::now(), settings.timeout);
                self.question = state.question();
                let start = &mut self.start;
                match guarded(until, start) {
                    Some(running) => (running, until),
                    None => return self.ended(index, panicked(), state, rng),
                }
            }
            Next::Running(running, until) => (running, until),
        };
        match guarded(until, || running.as_mut().poll(cx)) {
            Some(Poll::Pending) if Instant::now() < until => {
                self.next = Some(Next::Running(running, until));
                Some(until)
            }
            polled => {
                // Dropped first, so that there are never two of it, whatever the drop does.
                let _ = guarded(until, || drop(running));
                let verdict = match polled {
                    Some(Poll::Ready(verdict)) => verdict,
                    Some(Poll::Pending) => {
                        Verdict::fail(format_args!("no result within {:?}", settings.timeout))
                    }
                    None => panicked(),
                };
                self.ended(index, verdict, state, rng)
            }
        }
    }

    /// Records what it said, and says when it starts again.
    fn ended(&mut self, index: usize, verdict: Verdict, state: &State, rng: &Rng) -> Option<Instant> {
        let settings = &state.settings;
        let pause = match self.kind {
            CheckKind::Startup if verdict.state().is_good() => None,
            CheckKind::Startup => Some(settings.startup_interval),
            CheckKind::Liveness => Some(settings.interval),
            // Give or take a tenth.
            CheckKind::Readiness(_) => {
                let tenth = settings.interval / 10;
                Some((settings.interval - tenth).saturating_add(rng.duration_below(tenth.saturating_mul(2))))
            }
        };
        state.record(index, self.question, verdict);
        let at = pause.map(|pause| later(Instant::now(), pause));
        self.next = at.map(Next::StartAt);
        at
    }
}

/// What clients of this crate do for a check ends with the check.
fn guarded<T>(until: Instant, work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| scope::poll(Some(until), work))).ok()
}

fn panicked() -> Verdict {
    Verdict::fail("the check panicked")
}

/// In about thirty years at the latest, as tokio's own far future.
fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(Duration::from_secs(86_400 * 365 * 30))
}
