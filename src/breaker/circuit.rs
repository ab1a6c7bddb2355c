//! The circuit: when it is closed, open, or being probed. Calls under a closed one are counted elsewhere.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::BreakerSettings;
use super::verdict::Counted;
use super::window::Result;
use crate::base::deadline::countable;
use crate::base::{CircuitReason, CircuitState, ProbeEnding, Rng};

/// As many calls at once as a circuit that recovers ever waits for: a service that serves these serves all.
const MOST_AT_ONCE: u32 = 1024;
/// What is said to a call that comes while others probe. They may be done at any moment.
const SOON: Duration = Duration::from_secs(1);

/// A circuit, with everything that changes when it does. `now` never goes back by more than threads differ.
#[derive(Debug)]
pub(super) struct Circuit {
    phase: Phase,
    /// Counts the changes. What was begun before one is of no account after it.
    generation: u64,
    /// How often it has opened without being closed for long enough in between.
    level: u32,
    /// The last open time, for a backoff that looks at it.
    last: Duration,
    /// How often it has opened.
    opened: u64,
    /// What was counted when it opened, or of the probes after that.
    counted: Counted,
    probes: u64,
}

#[derive(Debug)]
enum Phase {
    Closed { since: Instant },
    Open { until: Instant },
    Probing(Probing),
    ForcedClosed,
    ForcedOpen,
}

#[derive(Debug)]
struct Probing {
    /// Past the first round: as many calls at once as have shown to go well.
    recovering: bool,
    allowed: u32,
    running: Vec<Probe>,
    /// Probes of this round that have ended and count. What went well before says nothing about so many at once.
    round: Counted,
    /// Whether in this round a call had to be refused, or to wait.
    refused: bool,
}

#[derive(Debug)]
struct Probe {
    number: u64,
    since: Instant,
    /// How it went until its head, if that was good; the body is on its way.
    answered: Option<Result>,
}

/// What is decided about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It goes through and is counted.
    Counted,
    /// It goes through and is not counted.
    Uncounted,
    /// It goes through as the probe of this number.
    Probe(u64),
    /// It does not go through; it is worth trying again after so long, unless it never is.
    Refused(Option<Duration>),
}

/// What happened, for observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Changed { from: CircuitState, to: CircuitState, why: CircuitReason, open_for: Option<Duration> },
    Probed(ProbeEnding),
}

/// What a decision needs beside the circuit itself.
pub(super) struct Given<'a> {
    pub(super) now: Instant,
    pub(super) settings: &'a BreakerSettings,
    pub(super) rng: &'a Rng,
    pub(super) happened: &'a mut Vec<Happened>,
}

impl Circuit {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Closed { since: now },
            generation: 1,
            level: 0,
            last: Duration::ZERO,
            opened: 0,
            counted: Counted { calls: 0, failures: 0, slow: 0 },
            probes: 0,
        }
    }

    pub(super) const fn state(&self) -> CircuitState {
        match &self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::Probing(Probing { recovering: false, .. }) => CircuitState::HalfOpen,
            Phase::Probing(Probing { recovering: true, .. }) => CircuitState::Recovering,
            Phase::ForcedClosed => CircuitState::ForcedClosed,
            Phase::ForcedOpen => CircuitState::ForcedOpen,
        }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn opened(&self) -> u64 {
        self.opened
    }

    /// What was counted when it opened, or of the probes since; nothing while it is closed.
    pub(super) const fn counted(&self) -> Counted {
        self.counted
    }

    /// When an open circuit lets the first probe through.
    pub(super) const fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } => Some(until),
            _ => None,
        }
    }

    pub(super) fn probes_running(&self) -> usize {
        match &self.phase {
            Phase::Probing(probing) => probing.running.len(),
            _ => 0,
        }
    }

    /// When something will change by itself that may let a call through.
    pub(super) fn next_change(&self, settings: &BreakerSettings) -> Option<Instant> {
        match &self.phase {
            Phase::Open { until } => Some(*until),
            Phase::Probing(probing) => probing.running.iter().map(|probe| probe.over(settings)).min(),
            _ => None,
        }
    }

    /// Whether a call that came now would go through. Nothing is taken; but it is noted that one would have come.
    pub(super) fn would_admit(&mut self, given: &mut Given<'_>) -> bool {
        self.pass_time(given);
        let has_room = self.has_room();
        if let Phase::Probing(probing) = &mut self.phase {
            probing.refused |= !has_room;
        }
        has_room
    }

    /// The same as far as is known, with no look at the time.
    pub(super) fn has_room(&self) -> bool {
        match &self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => true,
            Phase::Probing(probing) => probing.has_room(),
            Phase::Open { .. } | Phase::ForcedOpen => false,
        }
    }

    /// Decide about a call.
    pub(super) fn admit(&mut self, given: &mut Given<'_>) -> Admission {
        self.pass_time(given);
        match &mut self.phase {
            Phase::Closed { .. } => Admission::Counted,
            Phase::ForcedClosed => Admission::Uncounted,
            Phase::Probing(probing) if probing.has_room() => {
                self.probes += 1;
                probing.running.push(Probe { number: self.probes, since: given.now, answered: None });
                Admission::Probe(self.probes)
            }
            Phase::Probing(_) | Phase::Open { .. } | Phase::ForcedOpen => {
                Admission::Refused(self.refuse(given))
            }
        }
    }

    /// Let no call through, and say when it is worth trying again, unless it never is.
    pub(super) fn refuse(&mut self, given: &Given<'_>) -> Option<Duration> {
        match &mut self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => Some(Duration::ZERO),
            Phase::ForcedOpen => None,
            Phase::Open { until } => Some(until.saturating_duration_since(given.now)),
            Phase::Probing(probing) => {
                probing.refused = true;
                let over = probing.running.iter().map(|probe| probe.over(given.settings)).min();
                let left = over.map_or(SOON, |over| over.saturating_duration_since(given.now));
                Some(left.min(SOON))
            }
        }
    }

    /// What happens by itself: the open time ends, probes run out of time.
    pub(super) fn pass_time(&mut self, given: &mut Given<'_>) {
        if let Phase::Open { until } = self.phase {
            if given.now < until {
                return;
            }
            self.counted = Counted::default();
            let probing = Probing {
                recovering: false,
                allowed: given.settings.probes,
                running: Vec::new(),
                round: Counted::default(),
                refused: false,
            };
            self.change(Phase::Probing(probing), CircuitReason::OpenTimeOver, given);
        }
        while let Phase::Probing(probing) = &mut self.phase {
            let late = probing.running.iter().position(|probe| probe.over(given.settings) <= given.now);
            let Some(late) = late else { return };
            let probe = probing.running.swap_remove(late);
            match probe.answered {
                Some(result) => self.probed(ending(result), result, given),
                None => self.probed(ProbeEnding::TimedOut, Result { failed: true, slow: false }, given),
            }
        }
    }

    /// The head of a probe's answer is good, and the body is on its way.
    pub(super) fn probe_answered(&mut self, number: u64, slow: bool) {
        let probe =
            self.running().and_then(|running| running.iter_mut().find(|probe| probe.number == number));
        if let Some(probe) = probe {
            probe.answered = Some(Result { failed: false, slow });
        }
    }

    /// A probe has ended: with a result, or with none that counts, so that another may take its place. One from before the last
    /// change is of no account, nor one whose time was over: no number is given twice.
    pub(super) fn probe_ended(&mut self, number: u64, result: Option<Result>, given: &mut Given<'_>) {
        // Its own time may be over, which counts.
        self.pass_time(given);
        let Some(running) = self.running() else { return };
        let Some(at) = running.iter().position(|probe| probe.number == number) else { return };
        running.swap_remove(at);
        match result {
            None => given.happened.push(Happened::Probed(ProbeEnding::Abandoned)),
            Some(result) => self.probed(ending(result), result, given),
        }
    }

    fn running(&mut self) -> Option<&mut Vec<Probe>> {
        match &mut self.phase {
            Phase::Probing(probing) => Some(&mut probing.running),
            _ => None,
        }
    }

    /// A probe that counts. With the last one of a round it is decided what comes next.
    fn probed(&mut self, ending: ProbeEnding, result: Result, given: &mut Given<'_>) {
        given.happened.push(Happened::Probed(ending));
        let Phase::Probing(probing) = &mut self.phase else { return };
        self.counted.add(result);
        probing.round.add(result);
        let round = probing.round;
        let over = round.calls >= u64::from(probing.allowed);
        // A large round is not waited for when there are enough calls to judge: few may be left who call.
        let enough = probing.recovering && round.calls >= u64::from(given.settings.min_calls);
        if (over || enough) && given.settings.probes_failed(&round) {
            self.counted = round;
            self.open(CircuitReason::ProbesFailed, given);
        } else if !over {
            // The others are still to come.
        } else if probing.refused && probing.allowed < MOST_AT_ONCE {
            // More would have come, so they come back as a queue does that opens its gate slowly.
            probing.allowed = probing.allowed.saturating_mul(2).min(MOST_AT_ONCE);
            (probing.round, probing.refused) = (Counted::default(), false);
            if !mem::replace(&mut probing.recovering, true) {
                self.tell(CircuitState::HalfOpen, CircuitReason::ProbesSucceeded, None, given);
            }
        } else {
            self.close(CircuitReason::ProbesSucceeded, given);
        }
    }

    /// What was counted in this generation is reason to open.
    pub(super) fn trip(
        &mut self,
        generation: u64,
        why: CircuitReason,
        counted: Counted,
        given: &mut Given<'_>,
    ) {
        let Phase::Closed { since } = self.phase else { return };
        if self.generation != generation {
            return;
        }
        // For each open time that it was closed, it is back by one.
        let mut closed = given.now.saturating_duration_since(since);
        while self.level > 0 {
            let time = given.settings.open_time.grown(self.level - 1);
            let Some(left) = closed.checked_sub(time) else { break };
            (closed, self.level) = (left, self.level - 1);
        }
        if self.level == 0 {
            self.last = Duration::ZERO;
        }
        self.counted = counted;
        self.open(why, given);
    }

    fn open(&mut self, why: CircuitReason, given: &mut Given<'_>) {
        let time = given.settings.open_time.delay(self.level, self.last, given.rng);
        self.level = self.level.saturating_add(1);
        self.last = time;
        self.opened += 1;
        self.change(Phase::Open { until: given.now + countable(time) }, why, given);
    }

    fn close(&mut self, why: CircuitReason, given: &mut Given<'_>) {
        self.counted = Counted::default();
        self.change(Phase::Closed { since: given.now }, why, given);
    }

    /// Refuse everything until told otherwise.
    pub(super) fn force_open(&mut self, given: &mut Given<'_>) {
        self.counted = Counted::default();
        self.change(Phase::ForcedOpen, CircuitReason::ByHand, given);
    }

    /// Let everything through until told otherwise.
    pub(super) fn force_closed(&mut self, given: &mut Given<'_>) {
        self.counted = Counted::default();
        self.change(Phase::ForcedClosed, CircuitReason::ByHand, given);
    }

    /// As new.
    pub(super) fn reset(&mut self, given: &mut Given<'_>) {
        (self.level, self.last) = (0, Duration::ZERO);
        self.close(CircuitReason::ByHand, given);
    }

    /// Nobody uses it any more: whoever was told that it is open is told that it is so no longer.
    pub(super) fn forget(&mut self, given: &mut Given<'_>) {
        if self.state() != CircuitState::Closed {
            self.close(CircuitReason::Forgotten, given);
        }
    }

    fn change(&mut self, phase: Phase, why: CircuitReason, given: &mut Given<'_>) {
        let from = self.state();
        self.phase = phase;
        self.generation += 1;
        let open_for = self.open_until().map(|until| until.saturating_duration_since(given.now));
        self.tell(from, why, open_for, given);
    }

    fn tell(
        &self,
        from: CircuitState,
        why: CircuitReason,
        open_for: Option<Duration>,
        given: &mut Given<'_>,
    ) {
        let to = self.state();
        if from != to {
            given.happened.push(Happened::Changed { from, to, why, open_for });
        }
    }
}

const fn ending(result: Result) -> ProbeEnding {
    match result {
        Result { failed: true, .. } => ProbeEnding::Failure,
        Result { slow: true, .. } => ProbeEnding::Slow,
        Result { .. } => ProbeEnding::Success,
    }
}

impl Probe {
    /// When its time is over.
    fn over(&self, settings: &BreakerSettings) -> Instant {
        self.since + countable(settings.probe_timeout)
    }
}

impl Probing {
    fn has_room(&self) -> bool {
        let running = self.running.len() as u64;
        // In the first round no call takes the place of one that ended: no more go through than were allowed.
        let ended = if self.recovering { 0 } else { self.round.calls };
        running + ended < u64::from(self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_change_is_the_end_of_the_open_time_and_then_that_of_the_oldest_probe() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (settings, rng) = (BreakerSettings::new().probes(2).probe_timeout(30 * second), Rng::seeded(1));
        let mut happened = Vec::new();
        let mut given = Given { now: start, settings: &settings, rng: &rng, happened: &mut happened };
        let mut circuit = Circuit::new(start);
        assert_eq!(circuit.next_change(&settings), None);
        circuit.trip(1, CircuitReason::FailureRate, Counted::default(), &mut given);
        let until = circuit.open_until().expect("it is open");
        assert_eq!(circuit.next_change(&settings), Some(until));
        for (now, number) in [(until, 1), (until + second, 2)] {
            given.now = now;
            assert_eq!(circuit.admit(&mut given), Admission::Probe(number));
        }
        assert_eq!(circuit.next_change(&settings), Some(until + 30 * second));
    }
}
