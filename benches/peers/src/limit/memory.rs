//! What is remembered of many keys, each of which comes once.

use std::net::IpAddr;
use std::time::Duration;

use governor::RateLimiter as Governor;
use governor::clock::FakeRelativeClock;
use stonework::limit::{KeyedRateLimiter, Quota};
use tokio::time::Instant;

use super::address;
use crate::figure::{Bound, Figure, Target, Unit};
use crate::groups::Effort;
use crate::measure::live;

/// Unless something else is said.
pub(crate) const KEYS: u32 = 1_000_000;
/// Timed together, and then looked at.
const LOOK: u32 = 1_000;
/// How many our limiter keeps, unless something else is said.
const MAX_KEYS: usize = 100_000;
/// Each key is full again after this time.
const FULL: Duration = Duration::from_secs(1);
/// Between two keys that do not come at once: ten thousand are in use.
const PACE: Duration = Duration::from_micros(100);

struct Line {
    name: &'static str,
    arrival: &'static str,
    /// The most that there were.
    entries: usize,
    /// How many there may be.
    most: Option<usize>,
    bytes: usize,
    /// Nanoseconds of a decision, in the first and in the last tenth.
    first: f64,
    last: f64,
}

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    let keys = effort.keys;
    let ways = [("all at one instant", Duration::ZERO), ("one each 100 µs", PACE)];
    let lines = ways.map(|(arrival, pace)| {
        [governor(keys, pace), stonework(keys, pace)].map(|line| Line { arrival, ..line }.figure(keys))
    });
    lines.into_iter().flatten().collect()
}

impl Line {
    fn figure(&self, keys: u32) -> Figure {
        let entries = Unit::Count.of(self.entries as f64);
        let bound = self.most.map(|most| Bound::AtMost(most as f64));
        Figure {
            besides: vec![
                ("keys", Unit::Count.of(keys.into())),
                ("entries at most", entries),
                ("at most", Unit::Megabytes.of(self.bytes as f64 / 1e6)),
                ("last tenth", Unit::Nanos.of(self.last)),
            ],
            targets: bound
                .map(|bound| Target { what: "entries", found: entries, bound })
                .into_iter()
                .collect(),
            ..Figure::new(["memory", "each key once", self.name, self.arrival], Unit::Nanos.of(self.first))
        }
    }
}

fn stonework(keys: u32, pace: Duration) -> Line {
    let before = live();
    let limiter = KeyedRateLimiter::new(Quota::new(1, FULL)).expect("a valid quota");
    let start = Instant::now();
    let ask = |number, key: &IpAddr| {
        // Once there is no place for more, those that come share a quota, and most are refused.
        let _ = limiter.try_take_at(start + pace * number, key, 1);
    };
    let line = feed(keys, before, ask, || limiter.len());
    Line { name: "stonework", most: Some(MAX_KEYS), ..line }
}

fn governor(keys: u32, pace: Duration) -> Line {
    let before = live();
    let (clock, quota) = (FakeRelativeClock::default(), governor::Quota::with_period(FULL).expect("a time"));
    let limiter = Governor::dashmap_with_clock(quota, clock.clone());
    let ask = |_, key: &IpAddr| {
        clock.advance(pace);
        assert!(limiter.check_key(key).is_ok(), "each key comes once");
    };
    Line { name: "governor", ..feed(keys, before, ask, || limiter.len()) }
}

/// Asks for one key after the other, which costs a few nanoseconds to make.
fn feed(keys: u32, before: usize, ask: impl Fn(u32, &IpAddr), len: impl Fn() -> usize) -> Line {
    let (mut entries, mut bytes, mut spent) = (0, 0, Vec::new());
    for from in (0..keys).step_by(LOOK as usize) {
        let to = keys.min(from + LOOK);
        let start = Instant::now();
        for number in from..to {
            ask(number, &address(number.into()));
        }
        spent.push(start.elapsed().as_nanos() as f64 / f64::from(to - from));
        entries = entries.max(len());
        bytes = bytes.max(live() - before);
    }
    let tenth = spent.len().div_ceil(10);
    let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
    Line {
        name: "",
        arrival: "",
        entries,
        most: None,
        bytes,
        first: mean(&spent[..tenth]),
        last: mean(&spent[spent.len() - tenth..]),
    }
}
