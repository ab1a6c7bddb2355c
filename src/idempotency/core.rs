//! What a layer and its services share: the store, and how it is asked.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fate::End;
use super::{
    Begun, Claim, Fingerprint, Held, IdempotencySettings, InvalidEntry, NewClaim, Owner, Scope, Store,
    StoreAway, StoreFull, WhenAway,
};
use crate::base::{BoxError, Deadline, Detach, Event, Observe, Place, Rng, deadline, spawn};

/// How soon it is looked again, at first and at last, for what is in flight, and for a store that was away.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Core<S> {
    pub(super) store: S,
    pub(super) settings: IdempotencySettings,
    pub(super) detach: Detach,
    /// What is given back once more, when it can no longer be on its way.
    pub(super) late: Detach,
    pub(super) detached: bool,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    /// Whether the last question was not answered.
    pub(super) away: AtomicBool,
    /// When it was last logged that the store refuses a key.
    pub(super) refused: Mutex<Option<Instant>>,
}

impl<S: Store> Core<S> {
    pub(super) fn claim(&self, fingerprint: Fingerprint) -> NewClaim {
        let IdempotencySettings { lease, record, after_crash, .. } = self.settings;
        NewClaim { fingerprint, owner: Owner::new(&self.rng), lease, keep: record, after_crash }
    }

    pub(super) async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, StoreAway> {
        self.ask("begin", self.store.begin(scope, claim)).await
    }

    /// Writes what became of the work, once.
    pub(super) async fn settle(&self, claim: &Claim, end: &End) -> Result<Held, StoreAway> {
        match end {
            End::Release => self.ask("release", self.store.release(claim)).await,
            End::Finally(end) => self.ask("complete", self.store.complete(claim, end)).await,
        }
    }

    /// The store has so long. That it does not answer, and that it does again, is logged once; that it refuses a key, which its clients can
    /// bring about as often as they like, once in a minute.
    async fn ask<T>(
        &self,
        what: &'static str,
        asked: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, StoreAway> {
        let error = match timeout(self.settings.store_timeout, asked).await {
            Ok(Ok(answer)) => {
                if self.away.swap(false, Relaxed) {
                    tracing::info!("the store of the idempotency keys answers again");
                }
                return Ok(answer);
            }
            Ok(Err(error)) if is_of_the_key(&*error) => {
                self.tell_refused(&*error, what);
                return Err(StoreAway);
            }
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        if self.away.swap(true, Relaxed) {
            tracing::trace!(%error, what, "the store of the idempotency keys does not answer");
        } else {
            tracing::warn!(%error, what, "the store of the idempotency keys does not answer");
        }
        Err(StoreAway)
    }

    fn tell_refused(&self, error: &(dyn StdError + Send + Sync), what: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if refused.is_none_or(|at| now.saturating_duration_since(at) >= MINUTE) {
            *refused = Some(now);
            tracing::warn!(%error, what, "the store of the idempotency keys refuses a key");
        } else {
            tracing::trace!(%error, what, "the store of the idempotency keys refuses a key");
        }
    }

    /// Lets the store know that the work goes on, until it is lost. It never ends.
    pub(super) async fn keep(&self, claim: &Claim) {
        let (mut due, mut missed) = (Deadline::within(claim.lease() / 3).instant(), 0);
        loop {
            sleep_until(due).await;
            let asked = Instant::now();
            match self.ask("renew", self.store.renew(claim)).await {
                Ok(Held::Yes) => (due, missed) = (Deadline::after(asked, claim.lease() / 3).instant(), 0),
                // As soon as it answers again: until then the rest of the lease goes by.
                Err(StoreAway) => (due, missed) = (Deadline::within(grown(missed)).instant(), missed + 1),
                // The handler has ended it itself.
                Ok(Held::Ended) => break,
                Ok(Held::Lost) => {
                    tracing::warn!(scope = ?claim.scope(), "a keyed request was taken for lost while it was being done");
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Waits until it is worth to look again for what is in flight: until it may have ended, or for a while that grows.
    pub(super) async fn look_again(&self, scope: Scope, times: u32, left: Duration) {
        let most = grown(times);
        let pause = most / 2 + self.rng.duration_below(most / 2);
        let (mut ended, mut pause) = (pin!(self.store.ended(scope)), pin!(sleep(pause.min(left))));
        poll_fn(|cx| {
            let ready = ended.as_mut().poll(cx).is_ready() || pause.as_mut().poll(cx).is_ready();
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the store was away when it was last asked, and requests are then done as if they had no key.
    pub(super) fn is_passed_by(&self) -> bool {
        self.settings.when_away == WhenAway::DangerouslyRun && self.away.load(Relaxed)
    }

    /// Writes what became of the work, and tries for as long as a lease lasts: then somebody else may have looked.
    /// What the store answered, or `None` if it did not.
    async fn settle_at_last(&self, claim: &Claim, end: &End) -> Option<Held> {
        self.at_last(claim, || self.settle(claim, end)).await
    }

    /// Asks until the store answers, for as long as a lease lasts.
    async fn at_last<T, F>(&self, claim: &Claim, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreAway>>,
    {
        let until = Deadline::within(claim.lease()).instant();
        let mut times = 0;
        loop {
            if let Ok(answer) = ask().await {
                return Some(answer);
            }
            let pause = grown(times);
            if Instant::now() + pause >= until {
                tracing::error!(scope = ?claim.scope(), "it could not be stored what became of a keyed request");
                return None;
            }
            sleep(pause).await;
            times += 1;
        }
    }

    /// Writes what became of the work, also where the store has forgotten meanwhile that it was begun: whoever asks again must not have it
    /// done again.
    async fn write_down(&self, claim: &Claim, fingerprint: Fingerprint, end: &End) {
        let is_lost = self.settle_at_last(claim, end).await == Some(Held::Lost);
        if !is_lost || *end == End::Release {
            return;
        }
        // What was not begun here has been told of.
        if claim.fence() > 0 {
            self.observe.note(|| Event::KeyedLost {});
        }
        let (scope, again) = (claim.scope(), self.claim(fingerprint));
        // Somebody else may have taken it over.
        let begun = self.at_last(claim, || self.begin(scope, &again)).await;
        if let Some(Begun::Run { fence }) = begun {
            self.settle_at_last(&again.won(scope, fence), end).await;
        }
    }

    /// Gives back what may have been claimed. If it was not, what was asked for that may still be on its way, so this is done once more. Keyed
    /// requests do not wait for the place of one that waits for that, and of these there are only so many: the lease tells of the others.
    async fn give_back(&self, claim: &Claim, place: Place) {
        if self.settle_at_last(claim, &End::Release).await != Some(Held::Lost) {
            return;
        }
        let Ok(_late) = self.late.reserve() else { return };
        drop(place);
        sleep(self.settings.store_timeout.min(claim.lease())).await;
        self.settle_at_last(claim, &End::Release).await;
    }
}

/// Whether the store has answered, and only this key is refused.
fn is_of_the_key(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<StoreFull>() || error.is::<InvalidEntry>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn grown(times: u32) -> Duration {
    SOON.saturating_mul(1 << times.min(10)).min(LATE)
}

/// A claim, from before it is made until it is written what became of it. Whoever drops it before that, because they do not go on
/// or could not write, leaves that to a task.
pub(super) struct Open<S: Store> {
    core: Arc<Core<S>>,
    claim: Claim,
    fingerprint: Fingerprint,
    /// What is to be written; `None`, as long as it is not known whether it was claimed.
    end: Option<End>,
    place: Option<Place>,
}

impl<S: Store> Open<S> {
    /// One that is about to be made.
    pub(super) fn asked(core: &Arc<Core<S>>, scope: Scope, claim: &NewClaim, place: Place) -> Self {
        let (fingerprint, place) = (claim.fingerprint, Some(place));
        Self { core: Arc::clone(core), claim: claim.won(scope, 0), fingerprint, end: None, place }
    }

    /// It is theirs. If this is dropped from here on, nobody knows how far it came.
    pub(super) fn won(&mut self, scope: Scope, claim: &NewClaim, fence: u64) {
        self.claim = claim.won(scope, fence);
        self.end = Some(End::unknown(self.core.settings.after_crash));
    }

    /// It is asked for what has been done already: that is what is written, also if it is not known whether it was claimed. It is never given
    /// back then, since whoever asked next would do it again.
    pub(super) fn done(&mut self, end: &End) {
        self.end = Some(end.clone()).filter(|end| *end != End::Release);
    }

    pub(super) const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What became of it.
    pub(super) async fn settle(&mut self, end: End) -> Result<Held, StoreAway> {
        let end = self.end.insert(end);
        // What has been done has to be written, whether or not anybody still waits for the answer.
        deadline::detached(self.core.settle(&self.claim, end)).await
    }

    /// There is nothing to be written, or it is. The place is for something else.
    pub(super) fn over(mut self) -> Option<Place> {
        self.place.take()
    }
}

impl<S: Store> Drop for Open<S> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        // Where everything ends nothing can be written any more; the lease tells those who ask.
        if Handle::try_current().is_err() {
            return;
        }
        let (core, claim, end) = (Arc::clone(&self.core), self.claim, self.end.take());
        let fingerprint = self.fingerprint;
        let work = async move {
            let Some(end) = end else { return core.give_back(&claim, place).await };
            core.write_down(&claim, fingerprint, &end).await;
            drop(place);
        };
        drop(spawn(deadline::detached(work)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::idempotency::{AfterCrash, Final};

    /// It never answers anything but that it cannot, or this of what is released, and counts how often.
    #[derive(Default)]
    struct Away(AtomicU32, Option<Held>);

    impl Store for Away {
        async fn begin(&self, _: Scope, _: &NewClaim) -> Result<Begun, BoxError> {
            Err("away".into())
        }

        async fn renew(&self, _: &Claim) -> Result<Held, BoxError> {
            Err("away".into())
        }

        async fn complete(&self, _: &Claim, _: &Final) -> Result<Held, BoxError> {
            Err("away".into())
        }

        async fn release(&self, _: &Claim) -> Result<Held, BoxError> {
            self.0.fetch_add(1, Relaxed);
            self.1.ok_or_else(|| "away".into())
        }
    }

    fn core() -> Core<Away> {
        Core {
            store: Away::default(),
            settings: IdempotencySettings::new(),
            detach: Detach::default(),
            late: Detach::default(),
            detached: true,
            observe: Observe::default(),
            rng: Rng::seeded(1),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
        }
    }

    fn claim() -> Claim {
        let claim = NewClaim {
            fingerprint: Fingerprint::from_bytes([1; 32]),
            owner: Owner::from_bytes([2; 16]),
            lease: Duration::from_secs(1),
            keep: Duration::from_secs(60),
            after_crash: AfterCrash::FailClosed,
        };
        claim.won(Scope::from_bytes([3; 32]), 1)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_there_is_given_back_once_and_what_was_not_once_more_within_a_lease() {
        for (held, times, took) in [(Held::Yes, 1, 0), (Held::Ended, 1, 0), (Held::Lost, 2, 1_000)] {
            let mut core = core();
            core.store.1 = Some(held);
            core.settings = IdempotencySettings::new().store_timeout(Duration::MAX);
            let (place, begun) = (core.detach.reserve().unwrap(), Instant::now());
            core.give_back(&claim(), place).await;
            let said = (core.store.0.load(Relaxed), begun.elapsed().as_millis());
            assert_eq!(said, (times, took), "{held:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_to_give_back_once_more_are_bounded() {
        let mut core = core();
        (core.store.1, core.late) = (Some(Held::Lost), Detach::new(1));
        let both = [(); 2].map(|()| core.detach.reserve().unwrap());
        let begun = Instant::now();
        let claim = claim();
        let [one, two] = both.map(|place| core.give_back(&claim, place));
        tokio::join!(one, async {
            two.await;
            assert_eq!(begun.elapsed(), Duration::ZERO, "the lease tells");
        });
        assert_eq!((core.store.0.load(Relaxed), core.detach.running(), core.late.running()), (3, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_again_after_a_while_that_grows_and_is_half_by_chance() {
        let core = core();
        for (times, most) in [(0, 20), (1, 40), (4, 320), (5, 640), (6, 1_000), (99, 1_000)] {
            let begun = Instant::now();
            core.look_again(Scope::from_bytes([1; 32]), times, Duration::MAX).await;
            let took = begun.elapsed().as_millis();
            // A timer goes off with the next millisecond.
            assert!((most / 2..=most + 1).contains(&took), "{times}: {took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_tried_for_as_long_as_a_lease_lasts_and_no_longer() {
        let (core, begun) = (core(), Instant::now());
        core.settle_at_last(&claim(), &End::Release).await;
        // After 20, 40, 80, 160 and 320 ms; another 640 would be too late.
        assert_eq!((core.store.0.load(Relaxed), begun.elapsed().as_millis()), (6, 620));
    }
}
