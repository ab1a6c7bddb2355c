//! What all who hold a circuit share: the shell around the deciding [`Circuit`] and the counters.

use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;
use std::{fmt, iter};

use tokio::time::Instant;

use super::circuit::{Admission, Circuit, Given, Happened};
use super::window::{Counts, Result, Streak};
use super::{BreakerSettings, BreakerStats};
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Padded, in_one_order};
use crate::base::{CircuitReason, CircuitState, Event, Observe, Outbox, Rng, Waiters, lane, scope};

pub(super) struct Core {
    /// The generation and the state, for whoever only needs to know that it is closed.
    word: AtomicU64,
    /// When it was made. What is in `until` is counted from here.
    origin: Instant,
    /// When an open circuit is probed, in nanoseconds.
    until: AtomicU64,
    pub(super) settings: BreakerSettings,
    counts: Counts,
    streak: Option<Streak>,
    /// Whether what was counted is reason to open, but for its volume: then a good call may open it as well.
    watch: AtomicBool,
    /// Calls that were refused, by lane.
    refused: Box<[Padded<AtomicU64>]>,
    gate: Mutex<Gate>,
    pub(super) name: Arc<str>,
    outbox: Outbox,
    pub(super) rng: Rng,
}

/// What is entered when the circuit is not closed, or about to change.
pub(super) struct Gate {
    pub(super) circuit: Circuit,
    /// Services that are not ready because of it. What comes out of here is dropped once the lock is gone: a task may go with it, and ask
    /// the circuit as it goes.
    pub(super) waiters: Waiters,
}

/// The generation takes what the state leaves.
const STATE_BITS: u32 = 3;

const fn word(generation: u64, state: CircuitState) -> u64 {
    let state = match state {
        CircuitState::Closed => 0,
        CircuitState::Open => 1,
        CircuitState::HalfOpen => 2,
        CircuitState::Recovering => 3,
        CircuitState::ForcedOpen => 4,
        CircuitState::ForcedClosed => 5,
    };
    generation << STATE_BITS | state
}

const fn state(word: u64) -> CircuitState {
    match word & ((1 << STATE_BITS) - 1) {
        0 => CircuitState::Closed,
        1 => CircuitState::Open,
        2 => CircuitState::HalfOpen,
        3 => CircuitState::Recovering,
        4 => CircuitState::ForcedOpen,
        _ => CircuitState::ForcedClosed,
    }
}

/// A call that may be made, in one word, since it is moved about: the generation that it belongs to, or the number of the
/// probe that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted(u64);

impl Admitted {
    const PROBE: u64 = 1 << 63;

    const fn probe(number: u64) -> Self {
        Self(Self::PROBE | number)
    }

    pub(super) const fn is_probe(self) -> bool {
        self.0 & Self::PROBE != 0
    }

    const fn number(self) -> u64 {
        self.0 & !Self::PROBE
    }
}

impl Core {
    pub(super) fn new(
        settings: BreakerSettings,
        name: Arc<str>,
        observe: Observe,
        rng: Rng,
        lanes: usize,
    ) -> Self {
        let now = Instant::now();
        let circuit = Circuit::new(now);
        Self {
            word: AtomicU64::new(word(circuit.generation(), circuit.state())),
            origin: now,
            until: AtomicU64::new(0),
            counts: Counts::new(settings.window, lanes, now),
            streak: settings.consecutive_failures.map(|_| Streak::new()),
            watch: AtomicBool::new(false),
            refused: (0..lanes).map(|_| Padded(AtomicU64::new(0))).collect(),
            gate: Mutex::new(Gate { circuit, waiters: Waiters::new() }),
            settings,
            name,
            outbox: Outbox::new(observe),
            rng,
        }
    }

    pub(super) const fn observe(&self) -> &Observe {
        self.outbox.observe()
    }

    pub(super) fn state(&self) -> CircuitState {
        state(self.word.load(Ordering::SeqCst))
    }

    // ───────────────────────────────────────────────────────────────────────── a call

    /// Whether a call may be made: nothing if it goes through and is not counted.
    ///
    /// # Errors
    ///
    /// When to try again, if that is known.
    #[inline]
    pub(super) fn admit(&self, lane: usize) -> std::result::Result<Option<Admitted>, Option<Duration>> {
        let word = self.word.load(Ordering::SeqCst);
        match state(word) {
            CircuitState::Closed => Ok(Some(Admitted(word >> STATE_BITS))),
            CircuitState::ForcedClosed => Ok(None),
            _ => self.admit_unless_closed(lane),
        }
    }

    #[cold]
    fn admit_unless_closed(&self, lane: usize) -> std::result::Result<Option<Admitted>, Option<Duration>> {
        let now = scope::now();
        let (generation, admission) = match self.left(now) {
            Some(left) => (0, Admission::Refused(Some(left))),
            None => self.decide(now),
        };
        match admission {
            Admission::Counted => Ok(Some(Admitted(generation))),
            Admission::Probe(number) => Ok(Some(Admitted::probe(number))),
            Admission::Uncounted => Ok(None),
            Admission::Refused(retry_after) => {
                self.refused[lane].0.fetch_add(1, Ordering::Relaxed);
                Err(retry_after)
            }
        }
    }

    /// What happens by itself is told before anything is decided: an observer that panics takes no probe with it.
    fn decide(&self, now: Instant) -> (u64, Admission) {
        loop {
            let decided = self.change(now, |gate, given| {
                gate.circuit.pass_time(given);
                given.happened.is_empty().then(|| (gate.circuit.generation(), gate.circuit.admit(given)))
            });
            if let Some(decided) = decided {
                return decided;
            }
        }
    }

    /// How long it is still open, if it is, with no lock: a crowd that is refused does not queue for that.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        if self.state() != CircuitState::Open {
            return None;
        }
        let until = Duration::from_nanos(self.until.load(Ordering::SeqCst));
        let left = until.checked_sub(now.saturating_duration_since(self.origin))?;
        (!left.is_zero()).then_some(left)
    }

    /// A call has ended; with a result, unless it says nothing. `now` is the clock, if it was read.
    #[inline]
    pub(super) fn ended(
        &self,
        lane: usize,
        call: Admitted,
        result: Option<Result>,
        mut now: Option<Instant>,
    ) {
        let mut clock = || *now.get_or_insert_with(Instant::now);
        if call.is_probe() {
            return self.probe_ended(call, result, clock());
        }
        let (Some(result), generation) = (result, call.0) else { return };
        // A state of this generation is closed, or it would have gone on to another.
        if self.word.load(Ordering::SeqCst) >> STATE_BITS != generation {
            return;
        }
        // First, so that what is shown of a circuit that opens holds the call it opened with.
        let may_be_reason = self.counts.record(lane, generation, &mut clock, result);
        if let Some(streak) = &self.streak {
            let failures = streak.record(generation, result.failed);
            if self.settings.consecutive_failures.is_some_and(|most| failures >= most) {
                self.trip(generation, CircuitReason::ConsecutiveFailures, clock());
            }
        }
        in_one_order();
        if may_be_reason || self.watch.load(Ordering::SeqCst) {
            self.look(generation, clock());
        }
    }

    #[cold]
    fn probe_ended(&self, call: Admitted, result: Option<Result>, now: Instant) {
        self.change(now, |gate, given| gate.circuit.probe_ended(call.number(), result, given));
    }

    /// The head of a probe's answer is good, and its body is on the way.
    #[cold]
    pub(super) fn probe_answered(&self, call: Admitted, slow: bool) {
        self.change(Instant::now(), |gate, _| gate.circuit.probe_answered(call.number(), slow));
    }

    /// Look whether what was counted is reason to open.
    ///
    /// Whoever counts looks afterwards, and of two who count at the same time the later one sees what both have counted. Only a
    /// good call does not look, unless it is told to: it adds to the volume and to nothing else. So whoever finds that nothing
    /// but the volume is missing says so, and looks again, lest such a call came in between.
    #[cold]
    fn look(&self, generation: u64, now: Instant) {
        loop {
            let counted = self.counts.sums(generation, || now);
            if let Some(why) = self.settings.reason(&counted) {
                return self.trip(generation, why, now);
            }
            let watch = self.settings.reason_whatever_the_volume(&counted).is_some();
            if self.watch.swap(watch, Ordering::SeqCst) == watch {
                return;
            }
            in_one_order();
        }
    }

    fn trip(&self, generation: u64, why: CircuitReason, now: Instant) {
        let counted = self.counts.sums(generation, || now);
        self.change(now, |gate, given| gate.circuit.trip(generation, why, counted, given));
    }

    /// Whether a call that came now would be refused. It may take a look at the time.
    pub(super) fn refuses_now(&self) -> bool {
        match self.state() {
            CircuitState::Closed | CircuitState::ForcedClosed => false,
            CircuitState::ForcedOpen => true,
            CircuitState::Open | CircuitState::HalfOpen | CircuitState::Recovering => {
                let now = scope::now();
                self.left(now).is_some() || !self.change(now, |gate, given| gate.circuit.would_admit(given))
            }
        }
    }

    /// Refuse a call without asking, and say when to try again.
    pub(super) fn refuse(&self) -> Option<Duration> {
        self.refused[lane(self.refused.len())].0.fetch_add(1, Ordering::Relaxed);
        let now = scope::now();
        self.left(now).or_else(|| self.change(now, |gate, given| gate.circuit.refuse(given)))
    }

    // ───────────────────────────────────────────────────────────────────────── under the lock

    /// Let the circuit decide, tell everybody what came of it, and only then those who wait and the observer.
    pub(super) fn change<R>(&self, now: Instant, decide: impl FnOnce(&mut Gate, &mut Given<'_>) -> R) -> R {
        let mut happened = Vec::new();
        let mut gate = self.gate();
        let before = gate.circuit.generation();
        let result = decide(
            &mut gate,
            &mut Given { now, settings: &self.settings, rng: &self.rng, happened: &mut happened },
        );
        let circuit = &gate.circuit;
        if let Some(until) = circuit.open_until() {
            self.until.store(nanos(until.saturating_duration_since(self.origin)), Ordering::SeqCst);
        }
        let changed = circuit.generation() != before;
        if changed {
            self.watch.store(false, Ordering::SeqCst);
        }
        self.word.store(word(circuit.generation(), circuit.state()), Ordering::SeqCst);
        // After a change whoever still waits does so for another moment than before.
        let mut woken: Vec<Waker> = Vec::new();
        if changed || circuit.has_room() {
            woken.extend(iter::from_fn(|| gate.waiters.call()).map(|(_, waker)| waker));
        }
        let is_news = !happened.is_empty();
        self.outbox.put(happened.into_iter().map(|happened| self.event(happened)));
        drop(gate);
        woken.into_iter().for_each(Waker::wake);
        // Last, since it may panic; and only by who has something to tell, which was not let through with a call.
        if is_news {
            self.outbox.tell();
        }
        result
    }

    /// Somebody waits no longer.
    pub(super) fn leave(&self, number: u64) {
        let waker = self.gate().waiters.leave(number);
        drop(waker);
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, happened: Happened) -> Event {
        let circuit = Arc::clone(&self.name);
        match happened {
            Happened::Changed { from, to, why, open_for } => {
                Event::CircuitChanged { circuit, from, to, why, open_for }
            }
            Happened::Probed(ending) => Event::CircuitProbed { circuit, ending },
        }
    }

    pub(super) fn stats(&self) -> BreakerStats {
        let now = Instant::now();
        let gate = self.gate();
        let circuit = &gate.circuit;
        let state = circuit.state();
        let (counted, enough) = match state {
            CircuitState::Closed => {
                (self.counts.sums(circuit.generation(), || now), u64::from(self.settings.min_calls))
            }
            _ => (circuit.counted(), 1),
        };
        let refused = self.refused.iter().map(|Padded(refused)| refused.load(Ordering::Relaxed));
        BreakerStats {
            state,
            counted,
            is_judged: counted.calls >= enough,
            opened: circuit.opened(),
            probes: circuit.probes_running(),
            refused: refused.sum(),
            retry_after: circuit.open_until().map(|until| until.saturating_duration_since(now)),
        }
    }
}

impl Gate {
    /// Wake whoever this is once a call may be let through. It is given a number, unless it waits already; then the waker that it had
    /// comes back.
    pub(super) fn wait(&mut self, number: &mut u64, waker: &Waker) -> Option<Waker> {
        let (stays, old) = self.waiters.stay(*number, waker);
        if !stays {
            *number = self.waiters.join(waker);
        }
        old
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("name", &self.name).field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::{Context, Wake};
    use std::thread;

    use super::*;
    use crate::breaker::waiting::Waiting;

    fn closed() -> Core {
        let settings = BreakerSettings::new().consecutive_failures(1).probes(1);
        Core::new(settings, "".into(), Observe::default(), Rng::seeded(1), 1)
    }

    fn opened() -> Core {
        let core = closed();
        let Ok(Some(call)) = core.admit(0) else { panic!("it is closed") };
        core.ended(0, call, Some(Result { failed: true, slow: false }), None);
        assert_eq!(core.state(), CircuitState::Open);
        core
    }

    #[test]
    fn a_call_waits_for_no_lock_where_a_circuit_stays_closed_or_open() {
        let forced = closed();
        forced.change(Instant::now(), |gate, given| gate.circuit.force_closed(given));
        // Whether it is counted; or whether it is said when to come back.
        for (core, expected) in [(closed(), Ok(true)), (forced, Ok(false)), (opened(), Err(true))] {
            let core = Arc::new(core);
            let _held = core.gate();
            let (tell, told) = mpsc::channel();
            let other = Arc::clone(&core);
            thread::spawn(move || {
                let admitted = other.admit(0);
                tell.send(admitted.map(|call| call.is_some()).map_err(|left| left.is_some()))
            });
            assert_eq!(told.recv_timeout(Duration::from_secs(3)), Ok(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_probes_are_under_way_whoever_asks_hears_that_a_call_would_be_refused() {
        let core = opened();
        assert!(core.refuses_now());
        tokio::time::advance(core.left(Instant::now()).unwrap()).await;
        assert!(!core.refuses_now(), "the next one is the probe");
        let Ok(Some(probe)) = core.admit(0) else { panic!("it is probed") };
        assert!(core.refuses_now());
        core.ended(0, probe, None, None);
        assert!(!core.refuses_now(), "another may take its place");
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicU64);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_once_by_its_last_waker_and_who_has_left_is_not() {
        let (core, now) = (opened(), Instant::now());
        let counters: [Arc<Counter>; 4] = Default::default();
        let mut numbers = [0; 3];
        for (who, counter) in [(0, 0), (1, 1), (2, 2), (1, 3)] {
            let waker = Waker::from(Arc::clone(&counters[counter]));
            core.change(now, |gate, _| gate.wait(&mut numbers[who], &waker));
        }
        core.leave(numbers[0]);
        core.change(now, |gate, _| gate.waiters.leave(numbers[2]));
        core.change(now, |gate, given| gate.circuit.reset(given));
        assert_eq!(counters.map(|counter| counter.0.load(Ordering::SeqCst)), [0, 0, 0, 1]);
    }

    /// A task that, as it goes, looks whether the circuit can be asked.
    struct Asks(Arc<Core>, Arc<AtomicU64>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Asks {
        fn drop(&mut self) {
            let is_free = self.0.gate.try_lock().is_ok();
            self.1.fetch_add(u64::from(is_free), Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_that_goes_with_its_waker_can_ask_the_circuit() {
        let (core, asked) = (Arc::new(closed()), Arc::new(AtomicU64::new(0)));
        core.change(Instant::now(), |gate, given| gate.circuit.force_open(given));
        let mut waiting = Waiting::new(Arc::clone(&core));
        for replaced in [0, 1] {
            let waker = Waker::from(Arc::new(Asks(Arc::clone(&core), Arc::clone(&asked))));
            assert!(waiting.poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(asked.load(Ordering::SeqCst), replaced);
        }
        drop(waiting);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
