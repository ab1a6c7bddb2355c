//! Does a store answer as `Entry` decides, whatever it is asked in whatever order? For stores that say the same in another language,
//! or keep it in other words. Other tests have it by its path, too.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use stonework::base::Rng;
use stonework::idempotency::{
    AfterCrash, Begun, Change, Entry, Final, Fingerprint, Held, NewClaim, Owner, Scope, Store,
};

/// For a store whose clock goes by itself: what is over at once, and what is not while this runs. So it does not matter what time it is.
pub(crate) const BY_ITSELF: [Duration; 2] = [Duration::ZERO, Duration::from_secs(3600)];

/// For each of these seeds some hundred random questions, about a few scopes by a few owners. `tick` gives the milliseconds at which each is
/// asked.
pub(crate) async fn agrees_with_entry(
    store: &impl Store,
    seeds: Range<u64>,
    lengths: &[Duration],
    mut tick: impl FnMut(&Rng) -> u64,
) {
    let (mut begun, mut held) = (HashSet::new(), HashSet::new());
    for seed in seeds {
        one_seed(store, seed, lengths, &mut tick, &mut begun, &mut held).await;
    }
    assert_eq!((begun.len(), held.len()), (7, 3), "too little of it was asked: {begun:?} {held:?}");
}

async fn one_seed(
    store: &impl Store,
    seed: u64,
    lengths: &[Duration],
    tick: &mut impl FnMut(&Rng) -> u64,
    begun: &mut HashSet<&'static str>,
    held: &mut HashSet<Held>,
) {
    let rng = Rng::seeded(seed);
    let run = Rng::from_entropy().unique_id().to_be_bytes();
    let mut model: HashMap<Scope, Entry> = HashMap::new();
    for number in 0..300 {
        // Letters, for those who read a protocol line by line.
        let letter = |many: u64| b'a' + u8::try_from(rng.below(many)).unwrap();
        let mut scope = [letter(3); 32];
        scope[..16].copy_from_slice(&run);
        let scope = Scope::from_bytes(scope);
        let length = || lengths[usize::try_from(rng.below(lengths.len() as u64)).unwrap()];
        let claim = NewClaim {
            fingerprint: Fingerprint::from_bytes([if rng.below(8) == 0 { b'y' } else { b'x' }; 32]),
            owner: Owner::from_bytes([letter(3); 16]),
            lease: length(),
            keep: length(),
            after_crash: if rng.below(2) == 0 { AfterCrash::Rerun } else { AfterCrash::FailClosed },
        };
        // Nothing goes by the fence.
        let won = claim.won(scope, rng.below(4));
        let (now, entry) = (tick(&rng), model.get(&scope));
        let what = format!("seed {seed}, question {number}, {entry:?} at {now}: {claim:?}");
        let change = match rng.below(8) {
            0..4 => {
                let (right, change) = Entry::begin(entry, &claim, now);
                assert_eq!(store.begin(scope, &claim).await.unwrap(), right, "begin, {what}");
                begun.insert(kind(&right));
                change
            }
            4 => agree("renew", Entry::renew(entry, &won, now), store.renew(&won).await, &what, held),
            5 | 6 => {
                let end = match rng.below(6) {
                    0 => Final::TooLarge,
                    1 => Final::Indeterminate,
                    2 => Final::Record(Bytes::new()),
                    _ => Final::Record(Bytes::from(format!("record {number}"))),
                };
                let right = Entry::complete(entry, &won, &end, now);
                agree("complete", right, store.complete(&won, &end).await, &what, held)
            }
            _ => agree("release", Entry::release(entry, &won, now), store.release(&won).await, &what, held),
        };
        match change {
            Change::Keep => None,
            Change::Put(entry) => model.insert(scope, entry),
            Change::Remove => model.remove(&scope),
        };
    }
}

fn agree<E: std::fmt::Debug>(
    call: &str,
    (right, change): (Held, Change),
    said: Result<Held, E>,
    what: &str,
    held: &mut HashSet<Held>,
) -> Change {
    assert_eq!(said.unwrap(), right, "{call}, {what}");
    held.insert(right);
    change
}

/// All that there is.
fn kind(begun: &Begun) -> &'static str {
    match begun {
        Begun::Run { fence: 1 } => "first",
        Begun::Run { .. } => "again",
        Begun::InFlight => "in flight",
        Begun::Mismatch => "mismatch",
        Begun::Ended(Final::Record(_)) => "record",
        Begun::Ended(Final::TooLarge) => "too large",
        Begun::Ended(Final::Indeterminate) => "indeterminate",
    }
}
