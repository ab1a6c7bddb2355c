//! Decides who is next in a queue that never gets old, and for whom it is no use to wait. Pure: the time comes in.
//!
//! While the queue is empty now and then, who came first is first, and may wait for an interval. Once it has not been empty for as long as
//! that, it is overload, and not a burst: who came last is first, since that one's caller is still there, and nobody waits for longer than a
//! fraction of the interval. (Controlled delay after Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; with the
//! order reversed under load after Maurer, "Fail at Scale", ACM Queue 13(8), 2015.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::Priority;

/// How long one waits at most under load; more, if those in flight leave so rarely that hardly anybody would be there when one does.
const TARGET: Duration = Duration::from_millis(5);
/// It is so many times the time between two that leave.
const TURNS: u32 = 8;
/// And no more than this.
const LONGEST_TARGET: Duration = Duration::from_millis(100);
/// Nobody serves faster, as far as the length of the queue is concerned.
const SHORTEST_TURN: Duration = Duration::from_micros(10);
/// So many targets are an interval.
const INTERVAL: u32 = 20;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    target: Duration,
    interval: Duration,
    /// As many as can be served in an interval.
    places: usize,
}

impl Patience {
    /// If a call takes so long, and so many are in flight.
    pub(super) fn of(service_time: Duration, in_flight: usize) -> Self {
        let turn = service_time / u32::try_from(in_flight.max(1)).unwrap_or(u32::MAX);
        let target = turn.saturating_mul(TURNS).clamp(TARGET, LONGEST_TARGET);
        let interval = target * INTERVAL;
        let places = interval.as_nanos() / turn.max(SHORTEST_TURN).as_nanos();
        Self { target, interval, places: usize::try_from(places).unwrap_or(usize::MAX).max(1) }
    }
}

/// `T` is what those who wait leave here, to be called by.
#[derive(Debug)]
pub(super) struct Line<T> {
    interactive: BTreeMap<u64, Place<T>>,
    batch: BTreeMap<u64, Place<T>>,
    /// Who was put out, and has not noticed yet.
    put_out: BTreeSet<u64>,
    last: u64,
    /// Since when somebody waits.
    busy_since: Option<Instant>,
    patience: Option<Patience>,
}

#[derive(Debug)]
struct Place<T> {
    waits: T,
    until: Instant,
}

/// A number in the queue, until when to wait, and whoever was put out for it.
#[derive(Debug)]
pub(super) struct Joined<T> {
    pub(super) number: u64,
    pub(super) until: Instant,
    pub(super) put_out: Option<T>,
}

/// How it stands with one that waited, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands<W> {
    Waits(W),
    IsCalled,
    IsPutOut,
}

impl<T> Line<T> {
    pub(super) const fn new() -> Self {
        Self {
            interactive: BTreeMap::new(),
            batch: BTreeMap::new(),
            put_out: BTreeSet::new(),
            last: 0,
            busy_since: None,
            patience: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.interactive.len() + self.batch.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has not been empty for so long that it is overload.
    fn is_loaded(&self, now: Instant) -> bool {
        match (self.busy_since, self.patience) {
            (Some(since), Some(patience)) => now.saturating_duration_since(since) >= patience.interval,
            _ => false,
        }
    }

    /// Wait, unless that is of no use: until `latest` at most. No more wait than `longest`, or than can be served in an interval; under load whoever came first makes room, and
    /// batch makes room for others at any time.
    pub(super) fn join(
        &mut self,
        (now, latest): (Instant, Option<Instant>),
        patience: Patience,
        priority: Priority,
        longest: Option<usize>,
        waits: T,
    ) -> Option<Joined<T>> {
        let is_loaded = self.is_loaded(now);
        let wait = if is_loaded { patience.target } else { patience.interval };
        let until = latest.map_or(now + wait, |latest| latest.min(now + wait));
        if until <= now {
            return None;
        }
        let mut put_out = None;
        if self.len() >= longest.unwrap_or(patience.places) {
            let is_batch = priority == Priority::Batch;
            let leaves = match self.batch.first_key_value() {
                Some((number, _)) if !is_batch || is_loaded => Some(*number),
                _ if is_batch || !is_loaded => None,
                _ => self.interactive.first_key_value().map(|(number, _)| *number),
            };
            put_out = Some(self.put_out(leaves?)?);
        }
        self.last += 1;
        let number = self.last;
        let queue = if priority == Priority::Batch { &mut self.batch } else { &mut self.interactive };
        queue.insert(number, Place { waits, until });
        self.busy_since.get_or_insert(now);
        self.patience = Some(patience);
        Some(Joined { number, until, put_out })
    }

    fn put_out(&mut self, number: u64) -> Option<T> {
        let place = self.take(number)?;
        self.put_out.insert(number);
        Some(place.waits)
    }

    fn take(&mut self, number: u64) -> Option<Place<T>> {
        let place = self.interactive.remove(&number).or_else(|| self.batch.remove(&number));
        if self.is_empty() {
            self.busy_since = None;
        }
        place
    }

    /// Whose turn it is; nobody's only if nobody waits any more. Whoever waited too long does not get it, and finds that out by itself: it
    /// is woken at that time. What it left goes to `lapsed`, since who has a lock must not drop it.
    pub(super) fn call(&mut self, now: Instant, lapsed: &mut Vec<T>) -> Option<T> {
        let is_loaded = self.is_loaded(now);
        loop {
            let queue = if self.interactive.is_empty() { &self.batch } else { &self.interactive };
            let next = if is_loaded { queue.last_key_value() } else { queue.first_key_value() };
            let number = *next?.0;
            let place = self.take(number)?;
            if place.until > now {
                return Some(place.waits);
            }
            lapsed.push(place.waits);
            self.put_out.insert(number);
        }
    }

    /// How it stands with this one, who may leave something else to be called by.
    pub(super) fn stands(&mut self, number: u64) -> Stands<&mut T> {
        let place = self.interactive.get_mut(&number).or_else(|| self.batch.get_mut(&number));
        match place {
            Some(place) => Stands::Waits(&mut place.waits),
            None => gone(&mut self.put_out, number),
        }
    }

    /// Wait no more. Whoever was not waiting any longer may have been called.
    pub(super) fn leave(&mut self, number: u64) -> Stands<T> {
        match self.take(number) {
            Some(place) => Stands::Waits(place.waits),
            None => gone(&mut self.put_out, number),
        }
    }
}

fn gone<W>(put_out: &mut BTreeSet<u64>, number: u64) -> Stands<W> {
    if put_out.remove(&number) { Stands::IsPutOut } else { Stands::IsCalled }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const USUAL: Patience =
        Patience { target: Duration::from_millis(5), interval: Duration::from_millis(100), places: 1_000 };

    fn join(line: &mut Line<()>, now: Instant, priority: Priority, longest: usize) -> Option<u64> {
        line.join((now, None), USUAL, priority, Some(longest), ()).map(|joined| joined.number)
    }

    /// Who is called, in order, all at this time.
    fn called(line: &mut Line<()>, numbers: &[u64], now: Instant) -> Vec<u64> {
        let mut order = Vec::new();
        while line.call(now, &mut Vec::new()).is_some() {
            let is_called =
                |number: &&u64| !order.contains(*number) && line.stands(**number) == Stands::IsCalled;
            let number = numbers.iter().find(is_called).copied();
            order.push(number.expect("somebody was called"));
        }
        order
    }

    #[test]
    fn one_waits_a_few_turns_under_load_and_twenty_times_that_before() {
        let told = |patience: Patience| {
            let Patience { target, interval, places } = patience;
            (target.as_millis(), interval.as_millis(), places)
        };
        assert_eq!(told(Patience::of(MS, 100)), (5, 100, 10_000));
        assert_eq!(told(Patience::of(100 * MS, 40)), (20, 400, 160));
        assert_eq!(told(Patience::of(10_000 * MS, 1)), (100, 2_000, 1), "one can wait at any rate");
        assert_eq!(told(Patience::of(Duration::MAX, usize::MAX)).0, 100);
        assert_eq!(told(Patience::of(Duration::ZERO, 0)), (5, 100, 10_000));
    }

    #[test]
    fn first_come_first_served_until_it_is_overload_and_then_the_last_first() {
        let (now, mut line) = (Instant::now(), Line::new());
        let numbers = [0; 4].map(|_| join(&mut line, now, Priority::Interactive, 9).unwrap());
        assert_eq!(called(&mut line, &numbers, now + MS), numbers);

        // It was empty meanwhile, so this is another burst.
        let first = join(&mut line, now + 60 * MS, Priority::Interactive, 9).unwrap();
        let second = join(&mut line, now + 120 * MS, Priority::Interactive, 9).unwrap();
        let third = join(&mut line, now + 159 * MS, Priority::Interactive, 9).unwrap();
        assert_eq!(called(&mut line, &[first, second, third], now + 159 * MS), [first, second, third]);

        let first = join(&mut line, now + 200 * MS, Priority::Interactive, 9).unwrap();
        let second = join(&mut line, now + 250 * MS, Priority::Interactive, 9).unwrap();
        let joined = line.join((now + 301 * MS, None), USUAL, Priority::Interactive, Some(9), ()).unwrap();
        assert_eq!(joined.until, now + 306 * MS, "nobody waits for long under load");
        let order = called(&mut line, &[first, second, joined.number], now + 302 * MS);
        assert_eq!(order, [joined.number, second]);
        assert_eq!(line.leave(first), Stands::IsPutOut, "it has waited for too long");
    }

    #[test]
    fn whoever_cannot_finish_in_time_does_not_wait() {
        let (now, mut line) = (Instant::now(), Line::new());
        assert!(line.join((now, Some(now)), USUAL, Priority::Interactive, Some(9), ()).is_none());
        let soon = Some(now + 10 * MS);
        let joined = line.join((now, soon), USUAL, Priority::Interactive, Some(9), ()).unwrap();
        assert_eq!(Some(joined.until), soon);
        assert!(line.call(now + 10 * MS, &mut Vec::new()).is_none(), "it would begin too late");
    }

    #[test]
    fn batch_comes_last_and_makes_room_for_others() {
        let (now, mut line) = (Instant::now(), Line::new());
        let batch = [0; 2].map(|_| join(&mut line, now, Priority::Batch, 2).unwrap());
        assert_eq!(join(&mut line, now, Priority::Batch, 2), None, "it is full");
        let first = join(&mut line, now, Priority::Interactive, 2).unwrap();
        assert_eq!(line.stands(batch[0]), Stands::IsPutOut);
        assert_eq!(called(&mut line, &[batch[1], first], now + MS), [first, batch[1]]);
    }

    #[test]
    fn a_full_queue_refuses_newcomers_until_it_is_overload_and_then_whoever_came_first() {
        let (now, mut line) = (Instant::now(), Line::new());
        let first = join(&mut line, now, Priority::Interactive, 2).unwrap();
        let second = join(&mut line, now, Priority::Interactive, 2).unwrap();
        assert_eq!(join(&mut line, now + 99 * MS, Priority::Interactive, 2), None);
        let third = join(&mut line, now + 100 * MS, Priority::Interactive, 2).unwrap();
        assert_eq!(line.stands(first), Stands::IsPutOut);
        assert_eq!(line.len(), 2);
        assert_eq!(line.leave(second), Stands::Waits(()));
        assert_eq!(line.leave(third), Stands::Waits(()));
        assert!(line.is_empty() && line.busy_since.is_none());
    }
}
