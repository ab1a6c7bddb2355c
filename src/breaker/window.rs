//! What was counted lately, by threads that do not disturb each other.
//!
//! Every number is tagged with what it belongs to, a stretch of time or a generation, in one word that changes as a whole. So
//! nothing has to be cleared when a window moves on or a circuit begins anew: what has the wrong tag does not count, and the
//! next to write there replaces it. And a result of an older generation can never be counted in a newer one, however late its
//! thread comes to write it.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::Window;
use super::verdict::Counted;
use crate::base::sync::{AtomicU64, Ordering, Padded};

/// Stretches that a window of time consists of.
const BUCKETS: u32 = 10;
/// By how many stretches a new generation is ahead of the one before: more than a window has.
const AHEAD: u32 = 16;
/// Positions of a window of calls that a thread takes at a time.
const MOST_TAKEN: u64 = 8;

/// How one call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Result {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Result {
    const fn is_good(self) -> bool {
        !self.failed && !self.slow
    }
}

#[derive(Debug)]
pub(super) enum Counts {
    Time(TimeWindow),
    Calls(Box<CallWindow>),
}

impl Counts {
    pub(super) fn new(window: Window, lanes: usize, now: Instant) -> Self {
        match window {
            Window::Time(length) => Self::Time(TimeWindow::new(length, lanes, now)),
            Window::Calls(calls) => Self::Calls(Box::new(CallWindow::new(calls, lanes))),
        }
    }

    /// Count a call. `now` is asked only where it matters. Says whether what is counted may now be reason to open, where it was
    /// not before; a good call that only adds to the volume is not told.
    #[inline]
    pub(super) fn record(
        &self,
        lane: usize,
        generation: u64,
        now: impl FnOnce() -> Instant,
        result: Result,
    ) -> bool {
        match self {
            Self::Time(window) => window.record(lane, generation, now(), result),
            Self::Calls(window) => window.record(lane, generation, result),
        }
    }

    pub(super) fn sums(&self, generation: u64, now: impl FnOnce() -> Instant) -> Counted {
        match self {
            Self::Time(window) => window.sums(generation, now()),
            Self::Calls(window) => window.sums(generation),
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── a number and what it belongs to

/// A number with its tag, in one word.
#[derive(Debug)]
struct Tagged(AtomicU64);

const fn word(tag: u32, number: u32) -> u64 {
    (tag as u64) << 32 | number as u64
}

const fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// Whether `tag` is newer than `than`, on a scale that begins anew after its end. What is newer by far is not: it has been
/// lying there for so long that the scale has gone round.
const fn is_newer(tag: u32, than: u32) -> bool {
    let ahead = tag.wrapping_sub(than);
    ahead != 0 && ahead < 1 << 24
}

/// What became of an addition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    /// To what was there.
    Up,
    /// It is the first of its tag.
    First,
    /// Nothing: what stands there is newer.
    Late,
}

impl Tagged {
    fn new() -> Self {
        // No first tag is this one, and to all of them it is older.
        Self(AtomicU64::new(word(u32::MAX, 0)))
    }

    /// Add to the number of this tag, which begins at 0. All of these are ordered one after the other, so that of two threads
    /// which both write and then look, one at least sees both.
    #[inline]
    fn add(&self, tag: u32, by: i32) -> Added {
        let mut seen = self.0.load(Ordering::SeqCst);
        loop {
            let (its, number) = parts(seen);
            let (new, added) = if its == tag {
                (word(tag, number.wrapping_add_signed(by)), Added::Up)
            } else if is_newer(its, tag) {
                return Added::Late;
            } else {
                (word(tag, 0_u32.wrapping_add_signed(by)), Added::First)
            };
            match self.0.compare_exchange_weak(seen, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return added,
                Err(now) => seen = now,
            }
        }
    }

    /// The number, if it is of this tag; else 0.
    #[inline]
    fn of(&self, tag: u32) -> u32 {
        let (its, number) = parts(self.0.load(Ordering::SeqCst));
        if its == tag { number } else { 0 }
    }
}

// ───────────────────────────────────────────────────────────────────────────── by time

/// The calls of the last ten stretches of time, the present one among them; one row of counters for each lane.
#[derive(Debug)]
pub(super) struct TimeWindow {
    rows: Box<[Padded<[Bucket; BUCKETS as usize]>]>,
    origin: Instant,
    /// Nanoseconds of a stretch.
    width: u64,
}

#[derive(Debug)]
struct Bucket {
    calls: Tagged,
    failures: Tagged,
    slow: Tagged,
}

impl TimeWindow {
    fn new(length: Duration, lanes: usize, now: Instant) -> Self {
        let bucket = || Bucket { calls: Tagged::new(), failures: Tagged::new(), slow: Tagged::new() };
        let row = |_| Padded(std::array::from_fn(|_| bucket()));
        let width = u64::try_from((length / BUCKETS).as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { rows: (0..lanes).map(row).collect(), origin: now, width }
    }

    /// The stretch that `now` is in, counted from the beginning and ahead for each generation.
    #[inline]
    fn tag(&self, generation: u64, now: Instant) -> u32 {
        let stretch = nanos(now.saturating_duration_since(self.origin)) / self.width;
        (stretch as u32).wrapping_add((generation as u32).wrapping_mul(AHEAD))
    }

    #[inline]
    fn record(&self, lane: usize, generation: u64, now: Instant, result: Result) -> bool {
        let tag = self.tag(generation, now);
        let bucket = &self.rows[lane].0[(tag % BUCKETS) as usize];
        // The call first, and read last, so that a share never looks larger than it is.
        let added = bucket.calls.add(tag, 1);
        if result.failed {
            bucket.failures.add(tag, 1);
        }
        if result.slow {
            bucket.slow.add(tag, 1);
        }
        // With the first call of a stretch an older one has left the window, and good calls may have been in that.
        added == Added::First || !result.is_good()
    }

    fn sums(&self, generation: u64, now: Instant) -> Counted {
        let newest = self.tag(generation, now);
        let mut counted = Counted::default();
        for Padded(row) in &self.rows {
            for back in 0..BUCKETS {
                let tag = newest.wrapping_sub(back);
                let bucket = &row[(tag % BUCKETS) as usize];
                let (failures, slow) = (bucket.failures.of(tag), bucket.slow.of(tag));
                // A good call of a newer stretch replaces this number and not those two, maybe before one whose `now` is older looks.
                let calls = bucket.calls.of(tag);
                counted.failures += u64::from(failures.min(calls));
                counted.slow += u64::from(slow.min(calls));
                counted.calls += u64::from(calls);
            }
        }
        counted
    }
}

#[inline]
fn nanos(length: Duration) -> u64 {
    // Enough for 584 years.
    length.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(length.subsec_nanos()))
}

// ───────────────────────────────────────────────────────────────────────────── by calls

/// The last so many calls, in a ring. Nobody writes what stands there already: while all goes well, the ring and its tallies
/// are only read, and each lane counts its own positions.
#[derive(Debug)]
pub(super) struct CallWindow {
    ring: Box<[AtomicU64]>,
    /// Positions that were taken, in all.
    taken: Padded<AtomicU64>,
    /// The next position of each lane; a multiple of `at_once` says that it has none left.
    lanes: Box<[Padded<AtomicU64>]>,
    at_once: u64,
    tallies: Padded<Tallies>,
}

#[derive(Debug)]
struct Tallies {
    calls: Tagged,
    failures: Tagged,
    slow: Tagged,
}

const FAILED: u64 = 1;
const SLOW: u64 = 2;

/// An entry of the ring: the generation and how the call went. Generations begin at 1, so that 0 is no entry.
const fn entry(generation: u64, result: Result) -> u64 {
    generation << 2 | (result.slow as u64) << 1 | result.failed as u64
}

impl CallWindow {
    fn new(calls: u32, lanes: usize) -> Self {
        // Of a small window each position is taken alone, so that it is exact.
        let at_once = (u64::from(calls) / 16).clamp(1, MOST_TAKEN);
        Self {
            ring: (0..calls).map(|_| AtomicU64::new(0)).collect(),
            taken: Padded(AtomicU64::new(0)),
            lanes: (0..lanes).map(|_| Padded(AtomicU64::new(0))).collect(),
            at_once,
            tallies: Padded(Tallies { calls: Tagged::new(), failures: Tagged::new(), slow: Tagged::new() }),
        }
    }

    /// A position for one call, which is no other's until the ring has gone round.
    #[inline]
    fn position(&self, lane: usize) -> usize {
        let mut seen = self.lanes[lane].0.load(Ordering::SeqCst);
        loop {
            match self.position_after(lane, seen) {
                Ok(position) => return (position % self.ring.len() as u64) as usize,
                Err(now) => seen = now,
            }
        }
    }

    /// The same for a thread that saw this in its lane; or what stands there now, if another has taken what it saw.
    #[inline]
    fn position_after(&self, lane: usize, seen: u64) -> std::result::Result<u64, u64> {
        let (has_one, position) = match seen % self.at_once {
            0 => (false, self.taken.0.fetch_add(self.at_once, Ordering::SeqCst)),
            _ => (true, seen),
        };
        let next = &self.lanes[lane].0;
        match next.compare_exchange(seen, position + 1, Ordering::SeqCst, Ordering::SeqCst) {
            Err(now) if has_one => Err(now),
            // Or another thread of this lane took some as well, and lets the lane go on with its own. This one is good, and the
            // others that came with it are written to in the next round.
            Ok(_) | Err(_) => Ok(position),
        }
    }

    #[inline]
    fn record(&self, lane: usize, generation: u64, result: Result) -> bool {
        let slot = &self.ring[self.position(lane)];
        let new = entry(generation, result);
        let mut seen = slot.load(Ordering::SeqCst);
        loop {
            if seen == new || seen >> 2 > generation {
                return false;
            }
            match slot.compare_exchange_weak(seen, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        let (was_counted, tag) = (seen >> 2 == generation, generation as u32);
        let change = |bit| i32::from(new & bit != 0) - i32::from(was_counted && seen & bit != 0);
        let Tallies { calls, failures, slow } = &self.tallies.0;
        let (failed, slowed) = (change(FAILED), change(SLOW));
        if !was_counted {
            calls.add(tag, 1);
        }
        if failed != 0 {
            failures.add(tag, failed);
        }
        if slowed != 0 {
            slow.add(tag, slowed);
        }
        // It may be the volume that was missing.
        failed > 0 || slowed > 0 || !was_counted
    }

    fn sums(&self, generation: u64) -> Counted {
        let tag = generation as u32;
        let Tallies { calls, failures, slow } = &self.tallies.0;
        // What is taken away may be told before what is added: less than none, for a moment.
        let number = |tagged: &Tagged| u64::try_from(tagged.of(tag) as i32).unwrap_or(0);
        Counted { failures: number(failures), slow: number(slow), calls: number(calls) }
    }
}

// ───────────────────────────────────────────────────────────────────────────── in a row

/// Failures with no success in between. While all goes well it is only read.
#[derive(Debug)]
pub(super) struct Streak(Padded<Tagged>);

impl Streak {
    pub(super) fn new() -> Self {
        Self(Padded(Tagged::new()))
    }

    /// Count a call, and say how many failed in a row.
    #[inline]
    pub(super) fn record(&self, generation: u64, failed: bool) -> u32 {
        let (Tagged(streak), tag) = (&self.0.0, generation as u32);
        if failed {
            self.0.0.add(tag, 1);
            return self.0.0.of(tag);
        }
        let mut seen = streak.load(Ordering::SeqCst);
        while parts(seen).0 == tag && parts(seen).1 > 0 {
            match streak.compare_exchange_weak(seen, word(tag, 0), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GOOD: Result = Result { failed: false, slow: false };
    const BROKEN: Result = Result { failed: true, slow: false };
    const LATE: Result = Result { failed: false, slow: true };

    #[test]
    fn a_tag_is_newer_if_it_is_a_little_ahead_also_where_the_scale_begins_anew() {
        for (tag, than, newer) in [
            (1, 0, true),
            (0, 0, false),
            (0, 1, false),
            (2, u32::MAX, true),
            ((1 << 24) - 1, 0, true),
            (1 << 24, 0, false),
        ] {
            assert_eq!(is_newer(tag, than), newer, "{tag} and {than}");
        }
    }

    #[test]
    fn of_the_calls_by_time_a_good_one_is_told_only_when_it_begins_a_stretch() {
        let start = Instant::now();
        let window = TimeWindow::new(10 * SECOND, 1, start);
        for (second, result, told) in [
            (0, GOOD, true),
            (0, GOOD, false),
            (0, BROKEN, true),
            (0, LATE, true),
            (1, GOOD, true),
            (1, GOOD, false),
        ] {
            assert_eq!(window.record(0, 1, start + second * SECOND, result), told, "{second} s, {result:?}");
        }
    }

    #[test]
    fn of_the_calls_by_time_no_failure_is_counted_without_its_call_if_a_clock_is_behind() {
        let start = Instant::now();
        let window = TimeWindow::new(10 * SECOND, 1, start);
        window.record(0, 1, start, Result { failed: true, slow: true });
        window.record(0, 1, start + SECOND, GOOD);
        let behind = start + 9 * SECOND;
        assert_eq!(window.sums(1, behind), Counted { calls: 2, failures: 1, slow: 1 });
        window.record(0, 1, start + 10 * SECOND, GOOD);
        assert_eq!(window.sums(1, behind), Counted { calls: 1, failures: 0, slow: 0 });
    }

    #[test]
    fn of_the_last_calls_what_is_replaced_counts_no_longer_and_what_may_be_reason_to_open_is_told() {
        let window = CallWindow::new(1, 1);
        for (generation, result, told, failures, slow) in [
            (1, GOOD, true, 0, 0),
            (1, GOOD, false, 0, 0),
            (1, BROKEN, true, 1, 0),
            (1, BROKEN, false, 1, 0),
            (1, GOOD, false, 0, 0),
            (1, LATE, true, 0, 1),
            (1, BROKEN, true, 1, 0),
            (1, LATE, true, 0, 1),
            (1, GOOD, false, 0, 0),
            (2, BROKEN, true, 1, 0),
        ] {
            assert_eq!(window.record(0, generation, result), told, "{result:?}");
            assert_eq!(window.sums(generation), Counted { calls: 1, failures, slow }, "{result:?}");
        }
        assert!(!window.record(0, 1, GOOD), "one of an older generation");
        assert_eq!(window.sums(2), Counted { calls: 1, failures: 1, slow: 0 });
    }

    #[test]
    fn a_lane_takes_positions_alone_in_a_small_window_and_several_at_a_time_in_a_large_one() {
        for (calls, positions) in [(10, [0, 1, 2, 3, 4, 5, 6]), (32, [0, 1, 2, 3, 4, 6, 5])] {
            let window = CallWindow::new(calls, 2);
            assert_eq!([0, 0, 1, 1, 0, 1, 0].map(|lane| window.position(lane)), positions, "{calls} calls");
        }
    }

    #[test]
    fn of_two_threads_that_saw_the_same_one_looks_again_and_both_may_take_some_where_none_was_left() {
        let window = CallWindow::new(32, 1);
        assert_eq!((window.position_after(0, 0), window.position_after(0, 1)), (Ok(0), Ok(1)));
        assert_eq!(window.position_after(0, 1), Err(2), "that was taken");
        assert_eq!((window.position_after(0, 2), window.position_after(0, 2)), (Ok(2), Ok(4)));
        assert_eq!(window.position(0), 3, "the first goes on");
    }

    #[test]
    fn a_success_of_an_older_generation_does_not_end_a_row_of_failures() {
        let streak = Streak::new();
        let calls = [(2, true), (2, true), (1, false), (2, true), (2, false), (2, true)];
        assert_eq!(calls.map(|(generation, failed)| streak.record(generation, failed)), [1, 2, 0, 3, 0, 1]);
    }
}
