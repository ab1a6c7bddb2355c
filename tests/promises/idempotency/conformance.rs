use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use stonework::base::BoxError;
use stonework::idempotency::conformance::{Promise, check};
use stonework::idempotency::{
    AfterCrash, Begun, Change, Claim, Entry, Final, Fingerprint, Held, MemoryStore, NewClaim, Owner, Scope,
    State, Store,
};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::agreement::{BY_ITSELF, agrees_with_entry};

/// The least that a store has to be; and what it may do wrong.
struct Simple {
    created: Instant,
    entries: Mutex<HashMap<Scope, Entry>>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It does not answer.
    Away,
    /// Between reading and writing somebody else may write.
    TwoSteps,
    /// Bytes become text.
    Text,
    /// Bytes are cut off.
    Cut,
    /// What was not heard of is in flight for ever.
    NeverCrashes,
    /// What was not heard of is run again, whatever was said.
    AlwaysReruns,
    /// It is not remembered that nobody knows.
    ForgetsThatNobodyKnows,
    /// What has ended can end once more.
    EndsTwice,
    /// Who has ended it can release it.
    ReleasesTheEnded,
    /// It is not looked whose it is.
    AnybodysClaim,
    /// Who releases has to know the fence.
    ReleaseByFence,
    /// A fence begins anew.
    SameFence,
    /// An entry is deleted when it is released.
    ReleaseForgetsTheFence,
    /// It is never forgotten.
    NeverForgets,
    /// It is forgotten with the lease.
    ForgetsWithTheLease,
    /// A lease that was renewed ends when it would have.
    NeverRenews,
    /// A lease that is over cannot be renewed.
    LateRenewalsAreLost,
    /// The fingerprint is looked at when it has ended only.
    MismatchLate,
    /// The fingerprint is looked at while it runs only.
    MismatchEarly,
    /// A release does nothing.
    NeverReleases,
    /// Who begins once more what is theirs is told that somebody does it.
    NoRepeat,
    /// Of a scope only half is looked at.
    HalfAScope,
}

const FAULTS: [(Fault, Promise); 22] = [
    (Fault::Away, Promise::Answers),
    (Fault::TwoSteps, Promise::Atomic),
    (Fault::Text, Promise::Bytes),
    (Fault::Cut, Promise::Bytes),
    (Fault::NeverCrashes, Promise::Crash),
    (Fault::AlwaysReruns, Promise::Crash),
    (Fault::ForgetsThatNobodyKnows, Promise::Fence),
    (Fault::EndsTwice, Promise::Ends),
    (Fault::ReleasesTheEnded, Promise::Ends),
    (Fault::AnybodysClaim, Promise::Fence),
    (Fault::ReleaseByFence, Promise::Fence),
    (Fault::SameFence, Promise::Crash),
    (Fault::ReleaseForgetsTheFence, Promise::Fence),
    (Fault::NeverForgets, Promise::Forgets),
    (Fault::ForgetsWithTheLease, Promise::Forgets),
    (Fault::NeverRenews, Promise::Lease),
    (Fault::LateRenewalsAreLost, Promise::Lease),
    (Fault::MismatchLate, Promise::Mismatch),
    (Fault::MismatchEarly, Promise::Mismatch),
    (Fault::NeverReleases, Promise::Release),
    (Fault::NoRepeat, Promise::Repeat),
    (Fault::HalfAScope, Promise::Scopes),
];

impl Simple {
    fn new(fault: Option<Fault>) -> Self {
        Self { created: Instant::now(), entries: Mutex::default(), fault }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn place(&self, scope: Scope) -> Scope {
        let mut bytes = *scope.as_bytes();
        if self.is(Fault::HalfAScope) {
            bytes[16..].fill(0);
        }
        Scope::from_bytes(bytes)
    }

    async fn step<T>(
        &self,
        scope: Scope,
        decide: impl FnOnce(Option<&Entry>, u64) -> (T, Change),
    ) -> Result<T, BoxError> {
        if self.is(Fault::Away) {
            return Err("no route to host".into());
        }
        let (place, now) = (self.place(scope), self.now());
        let mut entry = self.entries.lock().unwrap().get(&place).cloned();
        if let Some(entry) = &mut entry {
            match &mut entry.state {
                State::Running { lease_until } if self.is(Fault::NeverCrashes) => *lease_until = u64::MAX,
                State::Running { lease_until } if self.is(Fault::ForgetsWithTheLease) => {
                    entry.forget_at = *lease_until
                }
                _ => {}
            }
            if self.is(Fault::NeverForgets) {
                entry.forget_at = u64::MAX;
            }
        }
        if self.is(Fault::TwoSteps) {
            yield_now().await;
        }
        let (answer, change) = decide(entry.as_ref(), now);
        let mut entries = self.entries.lock().unwrap();
        match change {
            Change::Keep => None,
            Change::Put(entry) => entries.insert(place, entry),
            Change::Remove => entries.remove(&place),
        };
        Ok(answer)
    }
}

/// What it is to those who do not look whose it is.
fn owned(entry: Option<&Entry>, claim: &Claim) -> Option<Entry> {
    entry.map(|entry| Entry { owner: claim.owner(), ..entry.clone() })
}

impl Store for Simple {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        self.step(scope, |entry, now| {
            let mut claim = *claim;
            let mut entry = entry.cloned();
            if self.is(Fault::AlwaysReruns) {
                claim.after_crash = AfterCrash::Rerun;
            }
            if let Some(entry) = &mut entry {
                let runs = matches!(entry.state, State::Running { .. });
                let looks = match runs {
                    true => !self.is(Fault::MismatchLate),
                    false => !self.is(Fault::MismatchEarly),
                };
                if !looks {
                    entry.fingerprint = claim.fingerprint;
                }
                if self.is(Fault::NoRepeat) && runs && entry.owner == claim.owner {
                    return (Begun::InFlight, Change::Keep);
                }
                if self.is(Fault::SameFence) {
                    entry.fence = 0;
                }
            }
            let (begun, change) = Entry::begin(entry.as_ref(), &claim, now);
            let forgets =
                self.is(Fault::ForgetsThatNobodyKnows) && begun == Begun::Ended(Final::Indeterminate);
            (begun, if forgets { Change::Keep } else { change })
        })
        .await
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.step(claim.scope(), |entry, now| {
            let over = matches!(entry.map(|entry| &entry.state),
                Some(State::Running { lease_until }) if *lease_until <= now);
            if self.is(Fault::LateRenewalsAreLost) && over {
                return (Held::Lost, Change::Keep);
            }
            let owned = self.is(Fault::AnybodysClaim).then(|| owned(entry, claim)).flatten();
            let (held, change) = Entry::renew(owned.as_ref().or(entry), claim, now);
            (held, if self.is(Fault::NeverRenews) { Change::Keep } else { change })
        })
        .await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        self.step(claim.scope(), |entry, now| {
            let end = match end {
                Final::Record(bytes) if self.is(Fault::Text) => {
                    Final::Record(String::from_utf8_lossy(bytes).into_owned().into())
                }
                Final::Record(bytes) if self.is(Fault::Cut) => {
                    Final::Record(bytes.slice(..bytes.len().min(1024 * 1024)))
                }
                end => end.clone(),
            };
            if let Some(entry) =
                entry.filter(|entry| self.is(Fault::EndsTwice) && entry.owner == claim.owner())
            {
                return (Held::Yes, Change::Put(Entry { state: State::Ended(end), ..entry.clone() }));
            }
            let owned = self.is(Fault::AnybodysClaim).then(|| owned(entry, claim)).flatten();
            Entry::complete(owned.as_ref().or(entry), claim, &end, now)
        })
        .await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.step(claim.scope(), |entry, now| {
            let mut entry = entry.cloned();
            if let Some(entry) = entry.as_mut().filter(|entry| entry.owner == claim.owner()) {
                if self.is(Fault::ReleaseByFence) && entry.fence != claim.fence() {
                    return (Held::Lost, Change::Keep);
                }
                if self.is(Fault::ReleasesTheEnded) {
                    entry.state = State::Running { lease_until: 0 };
                }
                if self.is(Fault::ReleaseForgetsTheFence) {
                    entry.fence = 1;
                }
            }
            let (held, change) = Entry::release(entry.as_ref(), claim, now);
            (held, if self.is(Fault::NeverReleases) { Change::Keep } else { change })
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_its_promises_is_right() {
    assert_eq!(check(&MemoryStore::new()).await, []);
    assert_eq!(check(&Simple::new(None)).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_breaks_one_is_told_which() {
    for (fault, promise) in FAULTS {
        let breaches = check(&Simple::new(Some(fault))).await;
        let named = breaches.iter().any(|breach| breach.promise() == promise);
        assert!(named, "{fault:?} should break {promise:?}: {breaches:?}");
        assert!(
            breaches.len() <= 12 && breaches.iter().all(|breach| breach.to_string().len() < 600),
            "{breaches:?}"
        );
    }
}

#[tokio::test]
async fn the_store_in_memory_answers_as_an_entry_decides() {
    agrees_with_entry(&MemoryStore::new(), 0..20, &BY_ITSELF, |_| 0).await;
}

// ───────────────────────────────────────────────────────────────────────────── the store in memory

fn claim(number: u8) -> NewClaim {
    NewClaim {
        fingerprint: Fingerprint::from_bytes([0; 32]),
        owner: Owner::from_bytes([number; 16]),
        lease: Duration::from_secs(30),
        keep: Duration::from_secs(3600),
        after_crash: AfterCrash::FailClosed,
    }
}

fn scope(number: u8) -> Scope {
    Scope::from_bytes([number; 32])
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_new_keys_and_keeps_those_that_it_has() {
    let store = MemoryStore::new().keys(2);
    for number in [1, 2] {
        assert_eq!(store.begin(scope(number), &claim(number)).await.unwrap(), Begun::Run { fence: 1 });
    }
    let full = store.begin(scope(3), &claim(3)).await.unwrap_err();
    assert_eq!(full.to_string(), "there is no room for another key");
    assert_eq!(store.begin(scope(1), &claim(4)).await.unwrap(), Begun::InFlight);
    assert_eq!(store.release(&claim(1).won(scope(1), 1)).await.unwrap(), Held::Yes);
    assert_eq!(store.begin(scope(3), &claim(3)).await.unwrap(), Begun::Run { fence: 1 });
    // A lease, and then as long as it is kept.
    tokio::time::advance(Duration::from_secs(3630)).await;
    assert_eq!(store.begin(scope(4), &claim(4)).await.unwrap(), Begun::Run { fence: 1 });
    assert_eq!(store.len(), 1, "what is over is gone, also if nobody asks for it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_which_there_is_no_room_is_too_large_and_the_work_is_still_done_once() {
    let store = MemoryStore::new().bytes(10);
    let record = |length| Final::Record(Bytes::from(vec![0; length]));
    for (number, end, kept) in
        [(1, record(6), record(6)), (2, record(5), Final::TooLarge), (3, record(4), record(4))]
    {
        assert_eq!(store.begin(scope(number), &claim(number)).await.unwrap(), Begun::Run { fence: 1 });
        assert_eq!(store.complete(&claim(number).won(scope(number), 1), &end).await.unwrap(), Held::Yes);
        assert_eq!(store.begin(scope(number), &claim(9)).await.unwrap(), Begun::Ended(kept));
    }
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(store.begin(scope(4), &claim(4)).await.unwrap(), Begun::Run { fence: 1 });
    assert_eq!(store.complete(&claim(4).won(scope(4), 1), &record(10)).await.unwrap(), Held::Yes);
    assert_eq!(
        store.begin(scope(4), &claim(9)).await.unwrap(),
        Begun::Ended(record(10)),
        "there is space again"
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_is_woken_when_it_has_ended_and_who_went_is_not() {
    let store = MemoryStore::new();
    store.ended(scope(1)).await; // nobody does it
    assert_eq!(store.begin(scope(1), &claim(1)).await.unwrap(), Begun::Run { fence: 1 });
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.ended(scope(1)).await })
        })
        .collect();
    yield_now().await;
    waiting[3].abort();
    assert_eq!(store.renew(&claim(1).won(scope(1), 1)).await.unwrap(), Held::Yes);
    yield_now().await;
    assert!(
        waiting.iter().enumerate().all(|(at, task)| task.is_finished() == (at == 3)),
        "it is still being done"
    );
    let before = Instant::now();
    assert_eq!(store.release(&claim(1).won(scope(1), 1)).await.unwrap(), Held::Yes);
    // The next one runs before any of them has looked: they are called all the same.
    assert_eq!(store.begin(scope(1), &claim(2)).await.unwrap(), Begun::Run { fence: 1 });
    for (at, task) in waiting.into_iter().enumerate() {
        assert_eq!(task.await.is_ok(), at != 3);
    }
    assert_eq!(Instant::now(), before);
}
