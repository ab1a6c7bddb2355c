//! What has happened to attempts and circuits, drawn in columns of a tenth of a second: an observer of one's own.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stonework::base::{CircuitState, Ending, Event, Kind, Observer, Outcome, Skip};
use tokio::time::Instant;

use crate::api::Mood;

/// As long as the whole of it fits into a line.
const COLUMN: Duration = Duration::from_millis(100);

/// The name of a line, and what is counted in it.
type Lane = (&'static str, fn(&Event) -> bool);

/// Keeps what it is told, and when. It is a handle: one goes to the client, another one draws.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
}

impl Observer for Timeline {
    fn observe(&self, event: &Event) {
        let now = Instant::now();
        self.locked().push((now, event.clone()));
    }
}

impl Timeline {
    fn locked(&self) -> MutexGuard<'_, Vec<(Instant, Event)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each change of the circuit's state, and when it was.
    pub(crate) fn circuit(&self) -> Vec<(Instant, CircuitState)> {
        let change = |(at, event): &(Instant, Event)| match event {
            Event::CircuitChanged { to, .. } => Some((*at, *to)),
            _ => None,
        };
        self.locked().iter().filter_map(change).collect()
    }

    /// How many calls it let through to see how the shop is.
    pub(crate) fn probes(&self) -> usize {
        self.locked().iter().filter(|(_, event)| matches!(event, Event::CircuitProbed { .. })).count()
    }

    /// How often an attempt was not repeated for this reason.
    pub(crate) fn skipped(&self, reason: Skip) -> usize {
        let is = |event: &Event| matches!(event, Event::RetrySkipped { why, .. } if *why == reason);
        self.locked().iter().filter(|(_, event)| is(event)).count()
    }

    /// All of it, from `start` on: how the shop was from when on, and what came of it.
    pub(crate) fn draw(&self, start: Instant, script: &[(Instant, Mood)], end: Duration) -> String {
        let columns = (end.as_millis() / COLUMN.as_millis()) as usize;
        let mut text = String::new();
        let mut line = |name: &str, cells: String| {
            let _ = writeln!(text, "  {name:<9} {cells}");
        };
        line("the shop", moods(start, script, columns));
        line("circuit", self.states(start, columns));
        let lanes: [Lane; 7] = [
            ("asked", |event| matches!(event, Event::AttemptStarted { attempt: 1, .. })),
            ("again", |event| matches!(event, Event::AttemptStarted { attempt: 2.., .. })),
            ("good", |event| ended(event, Outcome::Success)),
            ("failed", |event| ended(event, Outcome::Failure)),
            ("busy", |event| ended(event, Outcome::Overload) && !is_refused(event)),
            ("refused", is_refused),
            ("no more", |event| matches!(event, Event::RetrySkipped { .. })),
        ];
        for (name, belongs) in lanes {
            line(name, self.counts(start, columns, belongs));
        }
        text
    }

    /// How many there were in each column: a digit, or `+` for more.
    fn counts(&self, start: Instant, columns: usize, belongs: fn(&Event) -> bool) -> String {
        let mut counts = vec![0_usize; columns];
        for (at, _) in self.locked().iter().filter(|(_, event)| belongs(event)) {
            if let Some(count) = counts.get_mut(column(start, *at)) {
                *count += 1;
            }
        }
        let digit = |count: usize| match count {
            0 => '·',
            1..=9 => char::from(b'0' + count as u8),
            _ => '+',
        };
        counts.into_iter().map(digit).collect()
    }

    /// What the circuit was in each column: of several states the last.
    fn states(&self, start: Instant, columns: usize) -> String {
        let changes = self.circuit();
        let at = |cell: usize| {
            let until = changes.iter().take_while(|(at, _)| column(start, *at) <= cell);
            match until.last().map_or(CircuitState::Closed, |(_, state)| *state) {
                CircuitState::Open | CircuitState::ForcedOpen => '█',
                CircuitState::HalfOpen => '?',
                CircuitState::Recovering => '▒',
                _ => '─',
            }
        };
        (0..columns).map(at).collect()
    }
}

fn ended(event: &Event, wanted: Outcome) -> bool {
    matches!(event, Event::AttemptEnded { outcome, .. } if *outcome == wanted)
}

/// Whether a circuit did, before it was sent.
fn is_refused(event: &Event) -> bool {
    matches!(event, Event::AttemptEnded { ending: Ending::Error(Kind::CircuitOpen), .. })
}

fn column(start: Instant, at: Instant) -> usize {
    (at.saturating_duration_since(start).as_millis() / COLUMN.as_millis()) as usize
}

/// Each with its name where it begins.
fn moods(start: Instant, script: &[(Instant, Mood)], columns: usize) -> String {
    let mut cells = vec!['·'; columns];
    for (from, mood) in script {
        for (cell, letter) in
            cells.iter_mut().skip(column(start, *from)).zip("|".chars().chain(mood.name().chars()))
        {
            *cell = letter;
        }
    }
    cells.into_iter().collect()
}
