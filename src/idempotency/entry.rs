//! Decides what may be done with a key. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use super::{AfterCrash, Begun, Claim, Final, Fingerprint, Held, NewClaim, Owner};

/// What a store keeps of one [`Scope`](super::Scope), and what it does with it.
///
/// ```text
/// nothing → Running → Ended(Record | TooLarge | Indeterminate) → nothing
///              ↓ ↑
///            Released
/// ```
///
/// All instants are milliseconds of the store's own clock, from wherever it counts. Each function takes the entry that there is, if there is
/// one, and says what the store answers and what it writes. Between reading and writing nobody else may write.
///
/// ```
/// use std::time::Duration;
/// use stonework::base::Rng;
/// use stonework::idempotency::{AfterCrash, Begun, Change, Entry, Final, Fingerprint, Held, NewClaim, Owner, Scope};
///
/// let claim = NewClaim {
///     fingerprint: Fingerprint::from_bytes([1; 32]),
///     owner: Owner::new(&Rng::from_entropy()),
///     lease: Duration::from_secs(30),
///     keep: Duration::from_secs(3600),
///     after_crash: AfterCrash::FailClosed,
/// };
/// let (Begun::Run { fence }, Change::Put(entry)) = Entry::begin(None, &claim, 0) else { panic!("it is new") };
///
/// // Half a minute later its owner was not heard of, and somebody else asks.
/// let other = NewClaim { owner: Owner::new(&Rng::from_entropy()), ..claim };
/// let (begun, Change::Put(entry)) = Entry::begin(Some(&entry), &other, 30_000) else { panic!("it is remembered") };
/// assert_eq!(begun, Begun::Ended(Final::Indeterminate));
///
/// // What its owner says then comes too late.
/// let late = claim.won(Scope::from_bytes([2; 32]), fence);
/// let (held, change) = Entry::complete(Some(&entry), &late, &Final::TooLarge, 40_000);
/// assert_eq!((held, change), (Held::Lost, Change::Keep));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a store makes it of what it has kept")]
pub struct Entry {
    /// Of the request that it is about.
    pub fingerprint: Fingerprint,
    /// Who does it, or has; or who was told first that nobody knows.
    pub owner: Owner,
    /// How often it was taken over, and one.
    pub fence: u64,
    /// Where it is.
    pub state: State,
    /// From when on there is no such entry.
    pub forget_at: u64,
}

/// Where a request is: a part of an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a store keeps all of it")]
pub enum State {
    /// It is being done.
    Running {
        /// From when on nobody can be sure of that.
        lease_until: u64,
    },
    /// It was not done, and may be. Only what was taken over before is kept then, for its fence.
    Released,
    /// It has ended.
    Ended(Final),
}

/// What a store has kept for a key cannot be read as an [`Entry`]: a later version of this crate wrote it, or somebody else did. It is not guessed what
/// it could mean; the key is as one whose store is away, until it is forgotten or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is kept for a key cannot be read")]
#[non_exhaustive]
pub struct InvalidEntry;

/// What a store writes: see [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a store has to do each")]
pub enum Change {
    /// Nothing.
    Keep,
    /// This entry, in the place of the one that there was.
    Put(Entry),
    /// There is none any more.
    Remove,
}

impl Entry {
    /// For [`Store::begin`](super::Store::begin).
    #[must_use]
    pub fn begin(entry: Option<&Self>, claim: &NewClaim, now: u64) -> (Begun, Change) {
        let Some(entry) = known(entry, now) else { return Self::run(claim, 1, now) };
        let lease_until = match &entry.state {
            State::Released => return Self::run(claim, entry.fence.saturating_add(1), now),
            _ if entry.fingerprint != claim.fingerprint => return (Begun::Mismatch, Change::Keep),
            State::Ended(end) => return (Begun::Ended(end.clone()), Change::Keep),
            State::Running { lease_until } => *lease_until,
        };
        // The answer to it was lost.
        if entry.owner == claim.owner {
            return Self::run(claim, entry.fence, now);
        }
        if now < lease_until {
            return (Begun::InFlight, Change::Keep);
        }
        let fence = entry.fence.saturating_add(1);
        match claim.after_crash {
            AfterCrash::Rerun => Self::run(claim, fence, now),
            AfterCrash::FailClosed => {
                let end = Final::Indeterminate;
                let state = State::Ended(end.clone());
                (Begun::Ended(end), Self::put(claim, fence, state, after(now, claim.keep)))
            }
        }
    }

    /// For [`Store::renew`](super::Store::renew).
    #[must_use]
    pub fn renew(entry: Option<&Self>, claim: &Claim, now: u64) -> (Held, Change) {
        Self::change(entry, claim, now, |entry| {
            let lease_until = after(now, claim.lease());
            let forget_at = after(lease_until, claim.keep());
            Change::Put(Self { state: State::Running { lease_until }, forget_at, ..entry.clone() })
        })
    }

    /// For [`Store::complete`](super::Store::complete).
    #[must_use]
    pub fn complete(entry: Option<&Self>, claim: &Claim, end: &Final, now: u64) -> (Held, Change) {
        Self::change(entry, claim, now, |entry| {
            let forget_at = after(now, claim.keep());
            Change::Put(Self { state: State::Ended(end.clone()), forget_at, ..entry.clone() })
        })
    }

    /// For [`Store::release`](super::Store::release).
    #[must_use]
    pub fn release(entry: Option<&Self>, claim: &Claim, now: u64) -> (Held, Change) {
        Self::change(entry, claim, now, |entry| {
            // Nobody else has ever had this one, and nothing was done of it: so nobody can come late.
            if entry.fence == 1 && claim.after_crash() == AfterCrash::FailClosed {
                return Change::Remove;
            }
            let forget_at = after(now, claim.keep());
            Change::Put(Self { state: State::Released, forget_at, ..entry.clone() })
        })
    }

    fn change(
        entry: Option<&Self>,
        claim: &Claim,
        now: u64,
        change: impl FnOnce(&Self) -> Change,
    ) -> (Held, Change) {
        let entry = known(entry, now).filter(|entry| entry.owner == claim.owner());
        match entry.map(|entry| (entry, &entry.state)) {
            None => (Held::Lost, Change::Keep),
            Some((entry, State::Running { .. })) => (Held::Yes, change(entry)),
            Some((_, State::Released | State::Ended(_))) => (Held::Ended, Change::Keep),
        }
    }

    fn run(claim: &NewClaim, fence: u64, now: u64) -> (Begun, Change) {
        let lease_until = after(now, claim.lease);
        let state = State::Running { lease_until };
        // What was not heard of is remembered for as long as a record is.
        (Begun::Run { fence }, Self::put(claim, fence, state, after(lease_until, claim.keep)))
    }

    fn put(claim: &NewClaim, fence: u64, state: State, forget_at: u64) -> Change {
        let NewClaim { fingerprint, owner, .. } = *claim;
        Change::Put(Self { fingerprint, owner, fence, state, forget_at })
    }
}

/// One whose time is over is none, also if the store still has it.
fn known(entry: Option<&Entry>, now: u64) -> Option<&Entry> {
    entry.filter(|entry| now < entry.forget_at)
}

/// Rounded up, so that nothing lasts shorter than it was said.
fn after(now: u64, length: Duration) -> u64 {
    let millis = length.as_nanos().div_ceil(1_000_000);
    now.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::Scope;

    #[test]
    fn whatever_becomes_of_it_it_is_remembered_for_as_long_as_was_said_from_then_on() {
        let new = NewClaim {
            fingerprint: Fingerprint::from_bytes([1; 32]),
            owner: Owner::from_bytes([2; 16]),
            lease: Duration::from_secs(30),
            keep: Duration::from_secs(100),
            after_crash: AfterCrash::FailClosed,
        };
        let claim = new.won(Scope::from_bytes([3; 32]), 2);
        let running = |lease_until, forget_at| {
            let state = State::Running { lease_until };
            Entry { fingerprint: new.fingerprint, owner: new.owner, fence: 2, state, forget_at }
        };
        let entry = running(30_000, 130_000);
        assert_eq!(
            Entry::renew(Some(&entry), &claim, 10_000),
            (Held::Yes, Change::Put(running(40_000, 140_000)))
        );
        let ended = Entry { state: State::Ended(Final::TooLarge), forget_at: 120_000, ..entry.clone() };
        let complete = Entry::complete(Some(&entry), &claim, &Final::TooLarge, 20_000);
        assert_eq!(complete, (Held::Yes, Change::Put(ended)));
        let released = Entry { state: State::Released, forget_at: 120_000, ..entry.clone() };
        assert_eq!(Entry::release(Some(&entry), &claim, 20_000), (Held::Yes, Change::Put(released)));
        // Up to the end of a lease it is in flight, and from then on it is somebody else's.
        let other = NewClaim { owner: Owner::from_bytes([4; 16]), ..new };
        assert_eq!(Entry::begin(Some(&entry), &other, 29_999), (Begun::InFlight, Change::Keep));
        assert_eq!(Entry::begin(Some(&entry), &other, 30_000).0, Begun::Ended(Final::Indeterminate));
    }
}
