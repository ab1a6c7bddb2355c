use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::away::{Leave, Presence};
use super::settings::LONGEST_KEY;
use super::{
    InvalidSharedLimit, KeyTooLong, MemoryStore, QuotaStore, Refill, SharedLimitSettings, Shortage, Standing,
    StoreAway, Taken, WhenAway,
};
use crate::base::{Alarm, BoxError, Deadline, Error, Kind, Limited, RateLimited, scope};
use crate::limit::Quota;
use crate::limit::rate::Policy;

/// The most quotas of a limit.
const MOST_QUOTAS: usize = 4;

/// A rate limit whose quotas are held in a [`QuotaStore`], so that several machines share it: one to four quotas for each key, of all of
/// which a call takes, or of none. Clones share it.
///
/// **Guarantee.** While the store answers, over any stretch of time `t` of its clock, all limiters of the same name and quotas on the
/// same store together admit no more than `burst + rate · t` of each quota and key. While it does not,
/// [`WhenAway`] says what happens: by default each process holds the quotas for itself.
///
/// ```
/// use stonework::base::RateLimited;
/// use stonework::limit::{DecidedBy, MemoryStore, Quota, SharedRateLimiter};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // For several machines: RedisStore::open("redis://quotas.internal")?, with the feature `redis`.
/// let store = MemoryStore::new();
/// let limiter = SharedRateLimiter::named("api", store, [Quota::per_second(10), Quota::per_hour(1000)])?;
///
/// let allowed = limiter.take("alice", 10).await?;
/// assert_eq!(allowed.quotas()[0].left(), 0);
/// assert_eq!(allowed.quotas()[1].left(), 990);
/// assert_eq!(allowed.decided_by(), DecidedBy::Store);
///
/// let refused = limiter.take("alice", 1).await.unwrap_err();
/// assert_eq!(refused.cause::<RateLimited>().unwrap().policy(), "api");
/// tokio::time::sleep(refused.retry_after().unwrap()).await;
/// limiter.take("alice", 1).await?;
/// # Ok(()) }
/// ```
///
/// *Cost of an outage:* calls that are under way when the store goes away wait for it up to the
/// [timeout](SharedLimitSettings::timeout); later ones do not ask it. After each [pause](SharedLimitSettings::pause) one call does, and
/// it alone waits. Where calls have less time than that, the store is away when it has said nothing for the timeout in all while they waited,
/// and a call whose time runs out while it asks a store that is away says that it still is. No task is running meanwhile. That a store is away, or back, is logged once, with `tracing::warn!`.
#[derive(Clone)]
pub struct SharedRateLimiter {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn AnyStore>,
    policy: Policy,
    quotas: Vec<Quota>,
    refills: Vec<Refill>,
    settings: SharedLimitSettings,
    presence: Mutex<Presence>,
    local: MemoryStore,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// A call was admitted. Example: [`SharedRateLimiter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAllowed {
    quotas: Vec<Standing>,
    decided_by: DecidedBy,
}

/// Who decided about a call. Example: [`SharedRateLimiter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecidedBy {
    /// This process, since the store is away: [`WhenAway::Local`].
    Local,
    /// Nobody, since the store is away: [`WhenAway::Admit`].
    Nobody,
    /// The store.
    Store,
}

impl SharedAllowed {
    /// How the quotas stand after it, in the order in which the limiter was given them; none, if [nobody](DecidedBy::Nobody) counted.
    #[must_use]
    pub fn quotas(&self) -> &[Standing] {
        &self.quotas
    }

    /// The one with the least left; of several, the first.
    #[must_use]
    pub fn tightest(&self) -> Option<Standing> {
        self.quotas.iter().copied().min_by_key(Standing::left)
    }

    /// Who decided.
    #[must_use]
    pub const fn decided_by(&self) -> DecidedBy {
        self.decided_by
    }
}

impl SharedRateLimiter {
    /// A limit with the name `default`. Limits on the same store share what is counted where name, quota and key are the same.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedLimit`], which says what is wrong.
    pub fn new(
        store: impl QuotaStore,
        quotas: impl IntoIterator<Item = Quota>,
    ) -> Result<Self, InvalidSharedLimit> {
        Self::named(Policy::DEFAULT, store, quotas)
    }

    /// The same with a name, which refusals and the fields `RateLimit` and `RateLimit-Policy` give.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedLimit`], which says what is wrong.
    pub fn named(
        name: impl AsRef<str>,
        store: impl QuotaStore,
        quotas: impl IntoIterator<Item = Quota>,
    ) -> Result<Self, InvalidSharedLimit> {
        let quotas: Vec<Quota> = quotas.into_iter().take(MOST_QUOTAS + 1).collect();
        if quotas.is_empty() || quotas.len() > MOST_QUOTAS {
            return Err(InvalidSharedLimit::HowMany { number: quotas.len() });
        }
        let refills = quotas.iter().map(Refill::of).collect::<Result<Vec<_>, _>>()?;
        if refills.iter().enumerate().any(|(place, refill)| refills[..place].contains(refill)) {
            return Err(InvalidSharedLimit::Twice);
        }
        let policy = Policy::named(name.as_ref())?;
        Ok(Self::made(Arc::new(store), policy, quotas, refills, SharedLimitSettings::new()))
    }

    /// The same with other settings, on the same store. This makes a limit of its own, to which the store is not away and which has counted
    /// nothing: it is for a handle that was not shared yet.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedLimit::Zero`], which names the setting.
    pub fn settings(self, settings: SharedLimitSettings) -> Result<Self, InvalidSharedLimit> {
        settings.check()?;
        let Inner { store, policy, quotas, refills, .. } = &*self.inner;
        Ok(Self::made(Arc::clone(store), policy.clone(), quotas.clone(), refills.clone(), settings))
    }

    fn made(
        store: Arc<dyn AnyStore>,
        policy: Policy,
        quotas: Vec<Quota>,
        refills: Vec<Refill>,
        settings: SharedLimitSettings,
    ) -> Self {
        let inner = Inner {
            store,
            policy,
            quotas,
            refills,
            settings,
            presence: Mutex::default(),
            local: MemoryStore::new(),
            refused: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Take `cost` of each quota of this key, or of none. A cost of 0 takes nothing, and tells how things stand. Keys are any text of up to
    /// 512 bytes; an empty one is as good as any.
    ///
    /// # Errors
    ///
    /// Of kind [`Overload`](Kind::Overload), with [`RateLimited`] at its end if a quota has not enough, and [`StoreAway`] if nobody
    /// can know and the settings say that it is refused then; of kind [`Invalid`](Kind::Invalid), with [`KeyTooLong`] at its end.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives nothing back: what the store had decided, or decides because the question is on its way, stays
    /// spent. Nothing else remains of it, unless its [`Deadline`] had passed, which the store was too slow for; if it was the one that asks a
    /// store which was away, the next call is. One that is kept and not polled holds up nobody for longer than twice the timeout.
    pub async fn take(&self, key: &str, cost: u32) -> Result<SharedAllowed, Error> {
        match self.taken(key, cost).await? {
            (Taken::All(quotas), decided_by) => Ok(SharedAllowed { quotas, decided_by }),
            (Taken::Nothing(short), _) => Err(self.refuse(short)),
        }
    }

    /// What the store says, or who decides in its place.
    pub(super) async fn taken(&self, key: &str, cost: u32) -> Result<(Taken, DecidedBy), Error> {
        if key.len() > LONGEST_KEY {
            return Err(Error::new(Kind::Invalid, KeyTooLong));
        }
        let inner = &*self.inner;
        // A name has no backslash, so two names with a key each are never the same.
        let key = format!("{}\\{key}", inner.policy.name());
        let now = Instant::now();
        // Who is asked on time is done in half of that.
        let over = Deadline::after(now, inner.settings.timeout.saturating_mul(2)).instant();
        let leave = inner.presence().ask(now, over);
        Ok(match leave {
            Ok(leave) => match inner.ask(leave, &key, cost).await {
                Ok(taken) => (taken, DecidedBy::Store),
                Err(_) => inner.without_store(inner.settings.pause, &key, cost)?,
            },
            Err(ask_again) => inner.without_store(ask_again, &key, cost)?,
        })
    }

    pub(super) fn refuse(&self, short: Shortage) -> Error {
        self.inner.refused.fetch_add(1, Ordering::Relaxed);
        let name = self.inner.policy.shared_name();
        RateLimited::new(name, short.left(), short.retry_after()).into()
    }

    /// Whether the store failed, and has not answered since.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.inner.presence().is_away()
    }

    /// How often a call was refused: for want of quota, or of a store.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// How often the store failed, or did not answer in time.
    #[must_use]
    pub fn store_failures(&self) -> u64 {
        self.inner.failures.load(Ordering::Relaxed)
    }

    /// The name it was given; `default`, if none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.policy.name()
    }

    /// Its quotas, in the order in which it was given them.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        &self.inner.quotas
    }

    /// Whether the two are views of one limit of this process.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Inner {
    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, leave: Leave, key: &str, cost: u32) -> Result<Taken, NoAnswer> {
        let begun = Instant::now();
        let mut asking = Asking { inner: self, leave: Some(leave), begun, deadline: scope::fair_deadline() };
        let at = Deadline::after(begun, self.settings.timeout).instant();
        let (mut alarm, mut answer) = (pin!(Alarm::new()), self.store.take(key, &self.refills, cost));
        let answer = poll_fn(|cx| alarm.as_mut().poll_limited(cx, at, |cx| answer.as_mut().poll(cx))).await;
        match answer {
            Limited::Done(Ok(taken)) => {
                asking.answered();
                Ok(taken)
            }
            Limited::Done(Err(error)) => {
                asking.failed(&*error);
                Err(NoAnswer)
            }
            Limited::Elapsed => {
                asking.failed(&TooLate(self.settings.timeout));
                Err(NoAnswer)
            }
        }
    }

    fn without_store(
        &self,
        ask_again: Duration,
        key: &str,
        cost: u32,
    ) -> Result<(Taken, DecidedBy), StoreAway> {
        match self.settings.when_away {
            WhenAway::Admit => Ok((Taken::All(Vec::new()), DecidedBy::Nobody)),
            WhenAway::Local => Ok((self.local.take_now(key, &self.refills, cost), DecidedBy::Local)),
            WhenAway::Refuse => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                // One asks at this moment, and has an answer within the timeout.
                let asking = ask_again.is_zero();
                Err(StoreAway::new(if asking { self.settings.timeout } else { ask_again }))
            }
        }
    }
}

/// What the store says went into the log.
struct NoAnswer;

#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct TooLate(Duration);

/// What many calls say together, or the one that asks a store which was away.
#[derive(Debug, thiserror::Error)]
#[error("no answer in the time that calls had")]
struct CutOff;

/// A question to the store. Dropped without an answer, it leaves the next question to the next call; but where the call had no more time,
/// it was the store that took too long.
struct Asking<'a> {
    inner: &'a Inner,
    leave: Option<Leave>,
    begun: Instant,
    deadline: Option<Instant>,
}

impl Asking<'_> {
    fn answered(mut self) {
        if let Some(leave) = self.leave.take() {
            let back = self.inner.presence().answered(leave);
            if back {
                tracing::warn!(limit = self.inner.policy.name(), "the store of a rate limit is back");
            }
        }
    }

    fn failed(&mut self, why: &(dyn std::error::Error + 'static)) {
        let Inner { settings, policy, failures, .. } = self.inner;
        failures.fetch_add(1, Ordering::Relaxed);
        if let Some(leave) = self.leave.take() {
            let ask_again = Deadline::after(Instant::now(), settings.pause).instant();
            let gone = self.inner.presence().failed(leave, ask_again);
            if gone {
                tracing::warn!(
                    limit = policy.name(),
                    meanwhile = ?settings.when_away,
                    error = why,
                    "the store of a rate limit does not answer"
                );
            }
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(leave) = self.leave else { return };
        let now = Instant::now();
        let mut presence = self.inner.presence();
        if self.deadline.is_none_or(|at| now < at) {
            presence.forgotten(leave);
        } else if presence.cut_off(leave, self.begun, now, self.inner.settings.timeout) {
            drop(presence);
            self.failed(&CutOff);
        }
    }
}

/// Any store, without its type.
trait AnyStore: Send + Sync {
    fn take<'a>(&'a self, key: &'a str, quotas: &'a [Refill], cost: u32) -> Answer<'a>;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Taken, BoxError>> + Send + 'a>>;

impl<S: QuotaStore> AnyStore for S {
    fn take<'a>(&'a self, key: &'a str, quotas: &'a [Refill], cost: u32) -> Answer<'a> {
        Box::pin(QuotaStore::take(self, key, quotas, cost))
    }
}

impl fmt::Debug for SharedRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimiter")
            .field("name", &self.name())
            .field("quotas", &self.quotas())
            .field("settings", &self.inner.settings)
            .field("is_away", &self.is_away())
            .finish_non_exhaustive()
    }
}
