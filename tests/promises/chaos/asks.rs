//! What is asked, which both sides can work out from a number, so that each can tell whether it was given what was meant for it.

use std::time::Duration;

use bytes::Bytes;
use stonework::base::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Put,
    /// A POST without a key: never twice, whatever happens.
    Bare,
    /// A POST with a key, which is sent again with the same by whoever was not told how it went.
    Keyed,
}

/// What the handler does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Fine,
    /// Says 503 the first time, before anything was done.
    BusyOnce,
    /// Says 500 the first time, before anything was done.
    BrokenOnce,
    /// Never comes to its end.
    Stuck,
}

/// What the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    /// Is gone after this time, wherever the call is then.
    Leaves(Duration),
    /// Reads no more than the first piece of the answer.
    ReadsAPiece,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) mood: Mood,
    pub(super) patience: Patience,
    /// The sizes of both bodies, and whether they are sent piece by piece.
    pub(super) up: usize,
    pub(super) streams_up: bool,
    pub(super) down: usize,
    pub(super) streams_down: bool,
    /// How long the handler takes before and after what it does.
    pub(super) before: Duration,
    pub(super) after: Duration,
    /// How long the caller waits before it asks.
    pub(super) pause: Duration,
}

/// Whether the network of this seed carries a few bytes at a time.
pub(super) const fn in_crumbs(seed: u64) -> bool {
    seed % 3 == 2
}

/// From here on all is well, and nothing but a GET that waits is asked.
pub(super) const CALM: u64 = 1_000;

impl Ask {
    pub(super) fn of(seed: u64, id: u64) -> Self {
        let ask = Self::any(seed, id);
        if id < CALM {
            return ask;
        }
        let (kind, mood, patience) = (Kind::Get, Mood::Fine, Patience::Waits);
        // Small, since a slow wire carries no large one within a short deadline.
        Self { kind, mood, patience, up: 0, down: ask.down.min(300), ..ask }
    }

    fn any(seed: u64, id: u64) -> Self {
        let rng = Rng::seeded(seed.wrapping_mul(1_000_003).wrapping_add(id));
        let millis = |most| Duration::from_millis(rng.below(most));
        let kind = match rng.below(10) {
            0..4 => Kind::Get,
            4..5 => Kind::Put,
            5..8 => Kind::Bare,
            _ => Kind::Keyed,
        };
        let mood = match rng.below(40) {
            0..3 => Mood::BusyOnce,
            3..6 => Mood::BrokenOnce,
            6 => Mood::Stuck,
            _ => Mood::Fine,
        };
        let patience = match rng.below(10) {
            0 => Patience::Leaves(millis(50)),
            1 => Patience::Leaves(millis(1_000)),
            2 => Patience::ReadsAPiece,
            _ => Patience::Waits,
        };
        // Mostly small, now and then more than a window, and more than a wire holds. In crumbs, that would take hours.
        let much = if in_crumbs(seed) { 100 } else { 1 };
        let size = || match rng.below(12) {
            0 => 0,
            1 => rng.below(150_000 / much) as usize,
            2..4 => rng.below(20_000 / much) as usize,
            _ => rng.below(300) as usize,
        };
        let up = if kind == Kind::Get { 0 } else { size() };
        let (down, coin) = (size(), rng.next_u64());
        let (before, after, pause) = (millis(80), millis(80), millis(400));
        let [streams_up, streams_down] = [coin & 3 == 0, coin & 12 == 0];
        Self { id, kind, mood, patience, up, streams_up, down, streams_down, before, after, pause }
    }

    pub(super) fn upload(&self) -> Bytes {
        content("up", self.id, self.up)
    }

    pub(super) fn download(&self) -> Bytes {
        content("down", self.id, self.down)
    }
}

/// So many bytes, of which any few say whose they are and where they belong.
fn content(way: &str, id: u64, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        bytes.extend_from_slice(format!("{way} {id} {};", bytes.len()).as_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
