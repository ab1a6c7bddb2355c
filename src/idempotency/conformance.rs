//! For the author of a store: does it keep what a [`Store`] promises?
//!
//! ```
//! use stonework::idempotency::MemoryStore;
//! use stonework::idempotency::conformance::check;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! assert_eq!(check(&MemoryStore::new()).await, []);
//! # }
//! ```
//!
//! It takes a few seconds of tokio's time, which is to be the store's: a clock that is paused in a test is right for a store that goes by it, and
//! wrong for a server's. It uses scopes of its own, of which a store holds some dozens for some minutes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{AfterCrash, Begun, Claim, Final, Fingerprint, Held, NewClaim, Owner, Scope, Store};
use crate::base::Rng;

/// So many at once.
const CROWD: usize = 50;

/// As long as nothing here takes.
const LONG: Duration = Duration::from_secs(120);

/// As short as something lasts that is waited for. A server that takes longer to answer makes some of what is checked impossible to tell.
const SHORT: Duration = Duration::from_millis(250);

/// Of an answer that is kept.
const LARGE: usize = 1024 * 1024 + 4096;

/// Something that a store promises, and this one did not keep: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    promise: Promise,
    what: String,
}

/// What a store promises: see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// It answers.
    Answers,
    /// Of all that begin at once, one is told to run.
    Atomic,
    /// A record comes back as it was.
    Bytes,
    /// After a crash it does what the claim says that is made then.
    Crash,
    /// What has ended has ended, and who asks is told how.
    Ends,
    /// Only its owner changes a claim.
    Fence,
    /// It forgets when it is time, and not before.
    Forgets,
    /// A lease lasts as long as it is said, from when it was renewed.
    Lease,
    /// Another fingerprint is told so, whatever became of the first.
    Mismatch,
    /// What is released may be done.
    Release,
    /// A call may be repeated.
    Repeat,
    /// Each scope has an entry of its own.
    Scopes,
}

impl Breach {
    /// Which promise it was.
    #[must_use]
    pub const fn promise(&self) -> Promise {
        self.promise
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// What this store does not keep; nothing, if it is right. Each promise is named at most once. The [module](self) has an example.
///
/// Dropping the future leaves entries behind in the store, which it forgets by itself.
pub async fn check(store: &impl Store) -> Vec<Breach> {
    let mut check = Check { store, rng: Rng::default(), breaches: Vec::new() };
    check.ends().await;
    check.bytes().await;
    check.mismatch().await;
    check.scopes().await;
    check.releases().await;
    check.fence().await;
    check.repeat().await;
    check.atomic().await;
    check.crash().await;
    check.lease().await;
    check.forgets().await;
    check.breaches
}

struct Check<'a, S> {
    store: &'a S,
    rng: Rng,
    breaches: Vec<Breach>,
}

fn print(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 32])
}

fn record(text: &'static str) -> Final {
    Final::Record(Bytes::from_static(text.as_bytes()))
}

const RUN: Begun = Begun::Run { fence: 1 };

impl<S: Store> Check<'_, S> {
    fn scope(&self) -> Scope {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.rng.unique_id().to_be_bytes());
        bytes[16..].copy_from_slice(&self.rng.unique_id().to_be_bytes());
        Scope::from_bytes(bytes)
    }

    /// By somebody else each time.
    fn claim(&self) -> NewClaim {
        NewClaim {
            fingerprint: print(1),
            owner: Owner::new(&self.rng),
            lease: LONG,
            keep: LONG,
            after_crash: AfterCrash::FailClosed,
        }
    }

    fn breach(&mut self, promise: Promise, what: impl fmt::Display) {
        if self.breaches.iter().all(|breach| breach.promise != promise) {
            self.breaches.push(Breach { promise, what: what.to_string() });
        }
    }

    fn answered<T>(&mut self, what: &str, answer: Result<T, crate::base::BoxError>) -> Option<T> {
        answer.map_err(|error| self.breach(Promise::Answers, format!("{what}: {error}"))).ok()
    }

    async fn begin(&mut self, scope: Scope, claim: &NewClaim) -> Option<Begun> {
        let answer = self.store.begin(scope, claim).await;
        self.answered("begin", answer)
    }

    async fn complete(&mut self, claim: &Claim, end: &Final) -> Option<Held> {
        let answer = self.store.complete(claim, end).await;
        self.answered("complete", answer)
    }

    async fn release(&mut self, claim: &Claim) -> Option<Held> {
        let answer = self.store.release(claim).await;
        self.answered("release", answer)
    }

    async fn renew(&mut self, claim: &Claim) -> Option<Held> {
        let answer = self.store.renew(claim).await;
        self.answered("renew", answer)
    }

    /// What was said, if it is not what has to be.
    fn expect<T: fmt::Debug + PartialEq>(
        &mut self,
        promise: Promise,
        when: &str,
        said: Option<T>,
        right: &T,
    ) {
        // What was not answered is a breach already.
        let Some(said) = said else { return };
        if said != *right {
            self.breach(promise, format!("{when}: {}, not {}", shown(&said), shown(right)));
        }
    }

    async fn expect_begin(
        &mut self,
        promise: Promise,
        when: &str,
        scope: Scope,
        claim: &NewClaim,
        right: Begun,
    ) {
        let said = self.begin(scope, claim).await;
        self.expect(promise, when, said, &right);
    }

    /// One that is begun, by the claim that is given.
    async fn begun(&mut self, promise: Promise, claim: &NewClaim) -> Claim {
        let scope = self.scope();
        self.expect_begin(promise, "the first to begin", scope, claim, RUN).await;
        claim.won(scope, 1)
    }

    async fn ends(&mut self) {
        for end in [record("done"), record(""), Final::TooLarge, Final::Indeterminate] {
            let claim = self.begun(Promise::Ends, &self.claim()).await;
            let other = self.claim();
            self.expect_begin(Promise::Ends, "while it runs", claim.scope(), &other, Begun::InFlight).await;
            let held = self.complete(&claim, &end).await;
            self.expect(Promise::Ends, "its owner completes it", held, &Held::Yes);
            for _ in 0..2 {
                let other = self.claim();
                let right = Begun::Ended(end.clone());
                self.expect_begin(Promise::Ends, "it has ended", claim.scope(), &other, right).await;
            }
            for late in [record("late"), Final::Indeterminate] {
                let held = self.complete(&claim, &late).await;
                self.expect(Promise::Ends, "completed once more", held, &Held::Ended);
            }
            let held = self.release(&claim).await;
            self.expect(Promise::Ends, "released when it has ended", held, &Held::Ended);
            let held = self.renew(&claim).await;
            self.expect(Promise::Ends, "renewed when it has ended", held, &Held::Ended);
            let right = Begun::Ended(end);
            self.expect_begin(Promise::Ends, "what came later", claim.scope(), &self.claim(), right).await;
        }
    }

    async fn bytes(&mut self) {
        let every: Vec<u8> = (0..=u8::MAX).chain([0, 0, b'\n', b'\r', 0xff]).collect();
        let large: Vec<u8> = (0..LARGE).map(|at| (at * 31 % 251) as u8).collect();
        for bytes in [every, vec![0], vec![0xff; 300], large] {
            let claim = self.begun(Promise::Bytes, &self.claim()).await;
            let end = Final::Record(bytes.into());
            self.complete(&claim, &end).await;
            let right = Begun::Ended(end);
            self.expect_begin(Promise::Bytes, "a record", claim.scope(), &self.claim(), right).await;
        }
    }

    async fn mismatch(&mut self) {
        let other = NewClaim { fingerprint: print(2), ..self.claim() };
        for end in [None, Some(record("done")), Some(Final::TooLarge), Some(Final::Indeterminate)] {
            let claim = self.begun(Promise::Mismatch, &self.claim()).await;
            if let Some(end) = &end {
                self.complete(&claim, end).await;
            }
            let when = format!("another fingerprint, of one that is {end:?}");
            self.expect_begin(Promise::Mismatch, &when, claim.scope(), &other, Begun::Mismatch).await;
        }
    }

    async fn scopes(&mut self) {
        let (mut first, claim) = (*self.scope().as_bytes(), self.claim());
        // They differ in one bit, at the beginning, in the middle and at the end.
        for at in [0, 7, 8, 15, 16, 31] {
            first[at] ^= 1;
            let scope = Scope::from_bytes(first);
            self.expect_begin(Promise::Scopes, "another scope", scope, &claim, RUN).await;
            self.complete(&claim.won(scope, 1), &record("done")).await;
        }
        for bytes in [[0; 32], [0xff; 32]] {
            // Such a one may be there from the last time.
            let begun = self.begin(Scope::from_bytes(bytes), &claim).await;
            let known = matches!(begun, Some(Begun::Run { .. } | Begun::InFlight | Begun::Ended(_)) | None);
            if !known {
                self.breach(Promise::Scopes, format!("{:?}: {begun:?}", Scope::from_bytes(bytes)));
            }
            self.release(&claim.won(Scope::from_bytes(bytes), 1)).await;
        }
    }

    async fn releases(&mut self) {
        let claim = self.begun(Promise::Release, &self.claim()).await;
        let held = self.release(&claim).await;
        self.expect(Promise::Release, "its owner releases it", held, &Held::Yes);
        let late = self.complete(&claim, &record("late")).await;
        if late == Some(Held::Yes) {
            self.breach(Promise::Release, "completed when it was released");
        }
        // Nothing was done, so it may be another request, too.
        let next = NewClaim { fingerprint: print(2), ..self.claim() };
        let begun = self.begin(claim.scope(), &next).await;
        if !matches!(begun, Some(Begun::Run { .. }) | None) {
            self.breach(Promise::Release, format!("begun when it was released: {begun:?}"));
        }
        let late = self.release(&claim).await;
        self.expect(Promise::Release, "released by one who had it before", late, &Held::Lost);
        self.expect_begin(Promise::Release, "it runs", claim.scope(), &next, begun.unwrap_or(RUN)).await;
    }

    async fn fence(&mut self) {
        let claim = self.begun(Promise::Fence, &self.claim()).await;
        let stranger = self.claim().won(claim.scope(), 1);
        let held = self.complete(&stranger, &record("strange")).await;
        self.expect(Promise::Fence, "completed by somebody else", held, &Held::Lost);
        let held = self.release(&stranger).await;
        self.expect(Promise::Fence, "released by somebody else", held, &Held::Lost);
        let held = self.renew(&stranger).await;
        self.expect(Promise::Fence, "renewed by somebody else", held, &Held::Lost);
        let other = self.claim();
        self.expect_begin(Promise::Fence, "after all that", claim.scope(), &other, Begun::InFlight).await;
        // Who does not know the fence releases as well.
        let unknowing = NewClaim { owner: claim.owner(), ..self.claim() }.won(claim.scope(), 0);
        let held = self.release(&unknowing).await;
        self.expect(Promise::Fence, "released without a fence", held, &Held::Yes);
        let nobody = self.claim().won(self.scope(), 1);
        let held = self.complete(&nobody, &record("of nothing")).await;
        self.expect(Promise::Fence, "completed, and never begun", held, &Held::Lost);
        let held = self.renew(&nobody).await;
        self.expect(Promise::Fence, "renewed, and never begun", held, &Held::Lost);
        self.expect_begin(Promise::Fence, "never begun", nobody.scope(), &self.claim(), RUN).await;
    }

    async fn repeat(&mut self) {
        let new = self.claim();
        let claim = self.begun(Promise::Repeat, &new).await;
        self.expect_begin(Promise::Repeat, "begun again by the same", claim.scope(), &new, RUN).await;
        for _ in 0..2 {
            let held = self.renew(&claim).await;
            self.expect(Promise::Repeat, "renewed again", held, &Held::Yes);
        }
        self.complete(&claim, &record("done")).await;
        let right = Begun::Ended(record("done"));
        self.expect_begin(Promise::Repeat, "begun again by the same", claim.scope(), &new, right).await;
    }

    async fn atomic(&mut self) {
        let (scope, store) = (self.scope(), self.store);
        let claims: Vec<NewClaim> = (0..CROWD).map(|_| self.claim()).collect();
        let one = |claim: NewClaim| async move {
            yield_now().await;
            store.begin(scope, &claim).await
        };
        let answers = together(claims.into_iter().map(|claim| Box::pin(one(claim))).collect()).await;
        let (mut run, mut others) = (0, 0);
        for answer in answers {
            match self.answered("begin", answer) {
                Some(Begun::Run { fence: 1 }) => run += 1,
                Some(Begun::InFlight) => others += 1,
                Some(other) => {
                    self.breach(Promise::Atomic, format!("{other:?}, of {CROWD} that began at once"))
                }
                None => {}
            }
        }
        if run != 1 {
            self.breach(Promise::Atomic, format!("{run} of {CROWD} were told to run, and {others} to wait"));
        }
    }

    async fn crash(&mut self) {
        let short = |claim: NewClaim| NewClaim { lease: SHORT, ..claim };
        let first = short(self.claim());
        let claim = self.begun(Promise::Crash, &first).await;
        sleep(SHORT * 3 / 2).await;
        let mismatch = NewClaim { fingerprint: print(2), after_crash: AfterCrash::Rerun, ..self.claim() };
        self.expect_begin(
            Promise::Mismatch,
            "when a lease is over",
            claim.scope(),
            &mismatch,
            Begun::Mismatch,
        )
        .await;
        let rerun = NewClaim { after_crash: AfterCrash::Rerun, ..self.claim() };
        for claimant in [self.claim(), self.claim(), rerun] {
            let right = Begun::Ended(Final::Indeterminate);
            let when = "one who was not heard of, closed";
            self.expect_begin(Promise::Crash, when, claim.scope(), &claimant, right).await;
        }
        let held = self.complete(&claim, &record("late")).await;
        self.expect(Promise::Fence, "completed too late", held, &Held::Lost);
        let held = self.release(&claim).await;
        self.expect(Promise::Fence, "released too late", held, &Held::Lost);
        let right = Begun::Ended(Final::Indeterminate);
        self.expect_begin(Promise::Fence, "after that", claim.scope(), &self.claim(), right).await;

        let claim = self.begun(Promise::Crash, &first).await;
        sleep(SHORT * 3 / 2).await;
        let when = "one who was not heard of, to be run again";
        self.expect_begin(Promise::Crash, when, claim.scope(), &rerun, Begun::Run { fence: 2 }).await;
        self.expect_begin(Promise::Crash, "it runs again", claim.scope(), &self.claim(), Begun::InFlight)
            .await;
        for end in [record("late"), Final::Indeterminate] {
            let held = self.complete(&claim, &end).await;
            self.expect(Promise::Fence, "completed by one who was taken over", held, &Held::Lost);
        }
        let held = self.renew(&claim).await;
        self.expect(Promise::Fence, "renewed by one who was taken over", held, &Held::Lost);
        let held = self.release(&claim).await;
        self.expect(Promise::Fence, "released by one who was taken over", held, &Held::Lost);
        // The fence goes on, also when it was released in between.
        let second = rerun.won(claim.scope(), 2);
        let held = self.release(&second).await;
        self.expect(Promise::Release, "released by who took it over", held, &Held::Yes);
        let third = self.claim();
        let right = Begun::Run { fence: 3 };
        self.expect_begin(Promise::Fence, "the third that runs", claim.scope(), &third, right).await;
        let held = self.complete(&third.won(claim.scope(), 3), &record("third")).await;
        self.expect(Promise::Fence, "the third completes", held, &Held::Yes);
        // Also that of the very first: it may have begun what is still on its way.
        let claim = self.begun(Promise::Release, &rerun).await;
        let held = self.release(&claim).await;
        self.expect(Promise::Release, "released by the first, to be run again", held, &Held::Yes);
        self.expect_begin(Promise::Fence, "the second", claim.scope(), &first, Begun::Run { fence: 2 }).await;
    }

    async fn lease(&mut self) {
        // Nobody has asked, so it is still theirs.
        let first = NewClaim { lease: SHORT, ..self.claim() };
        let claim = self.begun(Promise::Lease, &first).await;
        sleep(SHORT * 3 / 2).await;
        let held = self.renew(&claim).await;
        self.expect(Promise::Lease, "renewed late, and nobody asked", held, &Held::Yes);
        for _ in 0..4 {
            let asked = Instant::now();
            let held = self.renew(&claim).await;
            self.expect(Promise::Lease, "renewed", held, &Held::Yes);
            sleep(SHORT / 2).await;
            let begun = self.begin(claim.scope(), &self.claim()).await;
            if asked.elapsed() >= SHORT {
                // It took too long to ask, and the lease was over.
                return;
            }
            self.expect(Promise::Lease, "in the time of a lease that was renewed", begun, &Begun::InFlight);
        }
        sleep(SHORT * 3 / 2).await;
        let held = self.complete(&claim, &record("late")).await;
        self.expect(Promise::Lease, "completed late, and nobody asked", held, &Held::Yes);
    }

    async fn forgets(&mut self) {
        let brief = NewClaim { lease: SHORT, keep: SHORT * 2, ..self.claim() };
        let ended = self.begun(Promise::Forgets, &brief).await;
        let begun_at = Instant::now();
        let crashed = self.begun(Promise::Forgets, &NewClaim { owner: Owner::new(&self.rng), ..brief }).await;
        let told = self.begun(Promise::Forgets, &NewClaim { owner: Owner::new(&self.rng), ..brief }).await;
        let completed_at = Instant::now();
        self.complete(&ended, &record("done")).await;
        sleep(SHORT * 3 / 2).await;
        let asker = NewClaim { owner: Owner::new(&self.rng), ..brief };
        let begun = self.begin(ended.scope(), &asker).await;
        if completed_at.elapsed() >= SHORT * 2 {
            // It took too long to ask. It may have been forgotten, and be that of the one who asked.
            return;
        }
        self.expect(Promise::Forgets, "before it is time", begun, &Begun::Ended(record("done")));
        let unknown = Begun::Ended(Final::Indeterminate);
        let begun = self.begin(told.scope(), &asker).await;
        if begun_at.elapsed() >= SHORT * 3 {
            return;
        }
        self.expect(Promise::Forgets, "one who was not heard of", begun, &unknown);
        sleep(SHORT).await;
        let fresh = NewClaim { owner: Owner::new(&self.rng), ..brief };
        self.expect_begin(Promise::Forgets, "when it is time", ended.scope(), &fresh, RUN).await;
        let held = self.complete(&ended, &record("late")).await;
        self.expect(Promise::Forgets, "completed when it is forgotten", held, &Held::Lost);
        // A lease, and then as long as it is kept.
        sleep(SHORT).await;
        let fresh = NewClaim { owner: Owner::new(&self.rng), ..brief };
        let when = "one who was not heard of, when it is time";
        self.expect_begin(Promise::Forgets, when, crashed.scope(), &fresh, RUN).await;
        self.expect_begin(Promise::Forgets, when, told.scope(), &fresh, RUN).await;
    }
}

/// A megabyte is not to be read.
fn shown(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// All at the same time.
async fn together<T, F: Future<Output = T>>(futures: Vec<Pin<Box<F>>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Some).collect();
    let mut done = Vec::new();
    poll_fn(|cx| {
        for slot in &mut waiting {
            let ready = slot.as_mut().map(|future| future.as_mut().poll(cx));
            if let Some(Poll::Ready(value)) = ready {
                done.push(value);
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}
