//! A connection: two directions, two ends, and who waits for what.

use std::io::{self, ErrorKind};
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::lane::{Lane, Written};
use super::plan::{Cut, Plan};
use super::{Direction, Faults, What};

/// What a read came to.
#[derive(Debug)]
pub(super) enum Read {
    Some(Bytes),
    End,
    /// Nothing yet, and nothing before this, as far as is known.
    NotBefore(Option<Instant>),
}

/// The ends are the directions that they write to: the client's is [`Direction::Up`].
pub(super) struct Link {
    lanes: [Lane; 2],
    /// From when on this end knows that the connection was reset.
    reset: [Option<Instant>; 2],
    gone: [bool; 2],
    readers: [Option<Waker>; 2],
    writers: [Option<Waker>; 2],
}

impl Link {
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        let [_, up, down] = plan.dice;
        let cut_of = |direction| plan.cut.filter(|(of, _)| *of == direction).map(|(_, cut): (_, Cut)| cut);
        let lanes =
            [Lane::new(up, cut_of(Direction::Up), now), Lane::new(down, cut_of(Direction::Down), now)];
        Self { lanes, reset: [None; 2], gone: [false; 2], readers: [None, None], writers: [None, None] }
    }

    /// From now on nothing more goes wrong; what has, stays.
    pub(super) fn calm(&mut self) {
        self.lanes.iter_mut().for_each(Lane::calm);
    }

    /// How many bytes were taken: nothing, if there is no room. What has happened, is told.
    pub(super) fn write(
        &mut self,
        end: Direction,
        bytes: &[u8],
        faults: &Faults,
        now: Instant,
    ) -> (io::Result<Option<usize>>, Option<What>) {
        if self.is_reset(end, now) {
            return (Err(ErrorKind::ConnectionReset.into()), None);
        }
        let lane = &mut self.lanes[end.index()];
        let was_silent = lane.is_silent();
        match lane.write(bytes, faults, now) {
            Written::Full => (Ok(None), None),
            Written::Taken(taken) => {
                let fell_silent = !was_silent && lane.is_silent();
                let after = lane.written() - taken as u64;
                // Nobody is there to read it, which the writer hears when it has arrived.
                if self.gone[end.other().index()] {
                    if let Some(at) = self.lanes[end.index()].discard() {
                        self.refuse_to(end, at, faults);
                    }
                }
                self.wake_reader(end.other());
                (Ok(Some(taken)), fell_silent.then_some(What::Silenced(end, after)))
            }
            Written::Reset => {
                let after = lane.written();
                for known_to in [Direction::Up, Direction::Down] {
                    let at = now + self.lanes[known_to.other().index()].delay(faults);
                    self.reset_at(known_to, at);
                }
                // To the writer it was a write like any other; what was written is lost with the rest.
                (Ok(Some(bytes.len())), Some(What::Reset(end, after)))
            }
        }
    }

    pub(super) fn read(&mut self, end: Direction, most: usize, now: Instant) -> io::Result<Read> {
        if self.is_reset(end, now) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let lane = &mut self.lanes[end.other().index()];
        if let Some(bytes) = lane.read(most, now) {
            if let Some(writer) = self.writers[end.other().index()].take() {
                writer.wake();
            }
            return Ok(Read::Some(bytes));
        }
        if lane.is_over(now) {
            return Ok(Read::End);
        }
        let next = [lane.next(), self.reset[end.index()]].into_iter().flatten().min();
        Ok(Read::NotBefore(next))
    }

    /// When a writer for whom there is no room has to look again, at the latest.
    pub(super) fn reset_of(&self, end: Direction) -> Option<Instant> {
        self.reset[end.index()]
    }

    /// This end has nothing more to say.
    pub(super) fn finish(&mut self, end: Direction, faults: &Faults, now: Instant) {
        self.lanes[end.index()].finish(faults, now);
        self.wake_reader(end.other());
    }

    /// This end is gone. Whether it was the last.
    pub(super) fn leave(&mut self, end: Direction, faults: &Faults, now: Instant) -> bool {
        self.gone[end.index()] = true;
        self.finish(end, faults, now);
        // With bytes that nobody has read, it is a reset, and not an end (RFC 2525, section 2.17).
        if let Some(arrives) = self.lanes[end.other().index()].discard() {
            self.refuse_to(end.other(), arrives.max(now), faults);
        }
        if let Some(writer) = self.writers[end.other().index()].take() {
            writer.wake();
        }
        self.gone[end.other().index()]
    }

    pub(super) fn waits_to_read(&mut self, end: Direction, waker: &Waker) {
        self.readers[end.index()] = Some(waker.clone());
    }

    pub(super) fn waits_to_write(&mut self, end: Direction, waker: &Waker) {
        self.writers[end.index()] = Some(waker.clone());
    }

    fn is_reset(&self, end: Direction, now: Instant) -> bool {
        self.reset[end.index()].is_some_and(|at| at <= now)
    }

    /// What `end` has sent was not wanted, from `arrives` on: it is told, if anything can be told in that direction.
    fn refuse_to(&mut self, end: Direction, arrives: Instant, faults: &Faults) {
        let back = &self.lanes[end.other().index()];
        if !back.is_silent() {
            let at = arrives + back.delay(faults);
            self.reset_at(end, at);
        }
    }

    fn reset_at(&mut self, end: Direction, at: Instant) {
        let known = &mut self.reset[end.index()];
        *known = Some(known.map_or(at, |earlier| earlier.min(at)));
        self.wake_reader(end);
        if let Some(writer) = self.writers[end.index()].take() {
            writer.wake();
        }
    }

    fn wake_reader(&mut self, end: Direction) {
        if let Some(reader) = self.readers[end.index()].take() {
            reader.wake();
        }
    }
}
