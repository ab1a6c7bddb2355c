//! One direction of a connection: bytes, and when each of them is at the other end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::Faults;
use super::plan::Cut;
use crate::base::Rng;

/// How many bytes can be under way, or wait to be read, before whoever writes has to wait: about what systems begin with.
const ROOM: usize = 64 * 1024;

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// So many bytes were taken, of which there may be fewer than were offered.
    Taken(usize),
    /// There is no room. It is tried again when something was read.
    Full,
    /// This is where the connection is to be reset.
    Reset,
}

pub(super) struct Lane {
    rng: Rng,
    cut: Option<Cut>,
    /// How many bytes were lost, since it fell silent.
    lost: Option<usize>,
    written: u64,
    pieces: VecDeque<(Instant, Bytes)>,
    waiting: usize,
    /// When the last piece arrives, and when the wire is free for the next one.
    last: Instant,
    free: Instant,
    /// When the reader learns that nothing more will come.
    end: Option<Instant>,
}

impl Lane {
    pub(super) fn new(rng: Rng, cut: Option<Cut>, now: Instant) -> Self {
        let pieces = VecDeque::new();
        Self { rng, cut, lost: None, written: 0, pieces, waiting: 0, last: now, free: now, end: None }
    }

    /// How many bytes it was given.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.lost.is_some()
    }

    /// How long something takes that starts now.
    pub(super) fn delay(&self, faults: &Faults) -> Duration {
        faults.delay(&self.rng)
    }

    /// Nothing more will happen to it.
    pub(super) fn calm(&mut self) {
        self.cut = None;
    }

    pub(super) fn write(&mut self, bytes: &[u8], faults: &Faults, now: Instant) -> Written {
        if bytes.is_empty() {
            return Written::Taken(0);
        }
        let mut most = bytes.len();
        match self.cut {
            Some(cut) if self.written >= cut.after => {
                self.cut = None;
                // Also before the ends have heard of a reset: what comes after a loss would look as if it came after what was there before.
                self.lost = Some(0);
                if !cut.silent {
                    return Written::Reset;
                }
            }
            Some(cut) => most = most.min(usize::try_from(cut.after - self.written).unwrap_or(most)),
            None => {}
        }
        let taken = match &mut self.lost {
            // It is a while before the writer can tell: the system takes what nobody acknowledges until it has no more room.
            Some(lost) => {
                let taken = most.min(ROOM - *lost);
                *lost += taken;
                taken
            }
            None => self.send(&bytes[..most], faults, now),
        };
        self.written += taken as u64;
        if taken == 0 { Written::Full } else { Written::Taken(taken) }
    }

    fn send(&mut self, bytes: &[u8], faults: &Faults, now: Instant) -> usize {
        let mut taken = bytes.len().min(ROOM - self.waiting);
        if taken == 0 {
            return 0;
        }
        if let Some(slices) = faults.slices {
            taken = taken.min(1 + self.rng.below(slices as u64) as usize);
        }
        let length = faults.bandwidth.map(|bandwidth| {
            let nanos = taken as u128 * 1_000_000_000 / u128::from(bandwidth);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        self.free = self.free.max(now) + length.unwrap_or_default();
        self.last = self.last.max(self.free + self.delay(faults));
        self.pieces.push_back((self.last, Bytes::copy_from_slice(&bytes[..taken])));
        self.waiting += taken;
        taken
    }

    /// The writer has nothing more to say.
    pub(super) fn finish(&mut self, faults: &Faults, now: Instant) {
        if self.end.is_none() && !self.is_silent() {
            let at = self.free.max(now) + self.delay(faults);
            self.last = self.last.max(at);
            self.end = Some(self.last);
        }
    }

    /// A piece of what has arrived, of up to so many bytes.
    pub(super) fn read(&mut self, most: usize, now: Instant) -> Option<Bytes> {
        let (_, piece) = self.pieces.front_mut().filter(|(at, _)| *at <= now)?;
        let some = piece.split_to(most.min(piece.remaining()));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.waiting -= some.len();
        Some(some)
    }

    /// Whether all was read that there will be.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.pieces.is_empty() && self.end.is_some_and(|end| end <= now)
    }

    /// When there will be something to read, as far as is known.
    pub(super) fn next(&self) -> Option<Instant> {
        self.pieces.front().map(|(at, _)| *at).or(self.end)
    }

    /// Nobody will read what is in it. When the first of it arrives, if there is anything.
    pub(super) fn discard(&mut self) -> Option<Instant> {
        let first = self.pieces.front().map(|(at, _)| *at);
        self.pieces.clear();
        self.waiting = 0;
        first
    }
}
