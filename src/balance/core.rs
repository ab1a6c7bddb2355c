use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::driver;
use super::endpoint::Endpoint;
use super::ewma::ticks;
use super::fleet::{Fleet, News};
use super::inspect::Inspection;
use super::life::Life;
use super::set::{NotPicked, Picking, Set};
use super::shelf::Shelf;
use super::turns::Turns;
use super::{AllUnhealthy, BalancerSettings, Member, NoEndpoints, OutlierSettings, Picker};
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::base::{
    BoxError, EndpointId, EndpointReason, Error, Event, Fitness, Kind, Observe, Outbox, Rng, Tried, caught,
    nesting,
};

/// Makes the service of an endpoint.
pub(super) type Make<S> = Box<dyn Fn(&EndpointId) -> S + Send + Sync>;
/// Finds out whether an endpoint can be reached.
pub(super) type Check<S> = Arc<dyn Fn(S) -> Checking + Send + Sync>;
pub(super) type Checking = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
/// Hears of other members, and is never done before there can be none.
pub(super) type Discovering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the clones of a balancer share.
pub(super) struct Core<S> {
    pub(super) settings: BalancerSettings,
    pub(super) name: Arc<str>,
    outbox: Outbox,
    pub(super) rng: Rng,
    pub(super) make: Make<S>,
    pub(super) check: Option<Check<S>>,
    pub(super) picker: Option<Arc<dyn Picker>>,
    /// What picks read.
    set: Shelf<Set<S>>,
    /// What it is made from.
    fleet: Mutex<Fleet<S>>,
    /// Held by whoever brings another list.
    setting: Mutex<()>,
    discovery: std::sync::Mutex<Discovery>,
    inspection: Inspection,
    /// For those who wait for an endpoint.
    news: Notify,
    turns: Turns,
    begun: Instant,
    /// When the interval of the outliers ends, in nanoseconds since then.
    next_sweep: AtomicU64,
}

/// The task that hears of other members.
pub(super) enum Discovery {
    None,
    /// There was no runtime yet.
    Waits(Discovering),
    Runs(AbortHandle),
}

impl<S> Core<S> {
    pub(super) fn new(
        (settings, name): (BalancerSettings, Arc<str>),
        (observe, rng): (Observe, Rng),
        (make, check): (Make<S>, Option<Check<S>>),
        (picker, inspection): (Option<Arc<dyn Picker>>, Inspection),
        now: Instant,
    ) -> Arc<Self> {
        // What there is no runtime for begins with the first call.
        let at_once = Handle::try_current().is_err();
        let next_sweep = AtomicU64::new(if at_once { 0 } else { nanos(interval(&settings)) });
        Arc::new(Self {
            settings,
            name,
            outbox: Outbox::new(observe),
            rng,
            make,
            check,
            picker,
            set: Shelf::new(Set { tiers: Box::default(), members: 0, waits: false }),
            fleet: Mutex::new(Fleet::new()),
            setting: Mutex::new(()),
            discovery: std::sync::Mutex::new(Discovery::None),
            inspection,
            news: Notify::new(),
            turns: Turns::new(),
            begun: now,
            next_sweep,
        })
    }

    pub(super) fn ticks(&self, now: Instant) -> u32 {
        ticks(now.saturating_duration_since(self.begun))
    }

    /// One that this call has not failed on, and if possible none that an earlier attempt was made with.
    pub(super) fn pick(
        &self,
        now: Instant,
        key: Option<u64>,
        failed: &Tried,
    ) -> Result<Arc<Endpoint<S>>, NotPicked> {
        let with = Picking {
            settings: &self.settings,
            rng: &self.rng,
            turns: &self.turns,
            now,
            ticks: self.ticks(now),
            key,
            picker: self.picker.as_deref(),
        };
        let set = self.set.look();
        let before = nesting::tried();
        let picked = if before.is_empty() {
            set.pick(&with, failed)
        } else {
            set.pick(&with, &before.and(failed)).or_else(|| set.pick(&with, failed))
        };
        let nobody = || if set.has_other(failed) { NotPicked::Declined } else { NotPicked::Nobody };
        picked.cloned().ok_or_else(nobody)
    }

    /// Whether there is one that this call has not failed on.
    pub(super) fn has_other(&self, failed: &Tried) -> bool {
        self.set.look().has_other(failed)
    }

    /// Why nobody can be picked, and whether that may change soon.
    pub(super) fn nobody(&self) -> (Error, bool) {
        let set = self.set.look();
        match set.members {
            0 => (NoEndpoints.into(), true),
            members => (AllUnhealthy::of(members).into(), set.waits),
        }
    }

    /// Until somebody can be picked, or it is clear that nobody will soon.
    pub(super) async fn wait(&self) {
        loop {
            let news = self.news.notified();
            if !self.set.look().is_empty() || !self.nobody().1 {
                return;
            }
            news.await;
        }
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet<S>> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look<R>(&self, look: impl FnOnce(&mut Fleet<S>) -> R) -> R {
        look(&mut self.fleet())
    }

    fn discovery(&self) -> std::sync::MutexGuard<'_, Discovery> {
        self.discovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn observe(&self) -> &Observe {
        self.outbox.observe()
    }

    fn event(&self, news: News) -> Event {
        let balancer = Arc::clone(&self.name);
        match news {
            News::Changed { id, from, to, why } => {
                Event::EndpointChanged { balancer, endpoint: id, from, to, why }
            }
            News::Panic { tier, begins } => Event::PanicChanged { balancer, tier, begins },
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Core<S> {
    /// Change something about the endpoints; `change` says whether it did. Then others can be picked, somebody looks after each that
    /// is not ready, and whoever listens is told, with no lock held.
    pub(super) fn change(self: &Arc<Self>, change: impl FnOnce(&mut Fleet<S>) -> bool) {
        self.change_untold(change);
        self.outbox.tell();
    }

    /// The same, but for telling: by whoever holds another lock, and lets go of it first.
    fn change_untold(self: &Arc<Self>, change: impl FnOnce(&mut Fleet<S>) -> bool) {
        let mut fleet = self.fleet();
        if !change(&mut fleet) {
            return;
        }
        if self.check.is_none() {
            // Nothing is known against it.
            let now = Instant::now();
            let Fleet { entries, news, .. } = &mut *fleet;
            for entry in entries {
                entry.live(news, |life| life.connected(now));
            }
        }
        self.set.replace(fleet.choices(&self.settings));
        self.look_after(&mut fleet);
        let (news, gone) = (std::mem::take(&mut fleet.news), std::mem::take(&mut fleet.gone));
        self.outbox.put(news.into_iter().map(|news| self.event(news)));
        drop(fleet);
        drop(gone);
        self.news.notify_waiters();
    }

    /// Have a task for each that is not ready.
    fn look_after(self: &Arc<Self>, fleet: &mut Fleet<S>) {
        for entry in &mut fleet.entries {
            if entry.is_neglected() {
                // Without a runtime, whoever comes next does it.
                let work = driver::drive(Arc::downgrade(self), Arc::clone(&entry.endpoint));
                entry.driver = Handle::try_current().ok().map(|runtime| runtime.spawn(work).abort_handle());
            } else {
                entry.endpoint.news.notify_one();
            }
        }
    }

    /// If the runtime has ended in which those that are not ready were looked after, that is done in this one. So is what there was no
    /// runtime for yet.
    pub(super) fn revive(self: &Arc<Self>) {
        self.look_after(&mut self.fleet());
        self.begin_discovery();
        if self.inspection.waits() {
            self.inspection.look(self);
        }
    }

    pub(super) fn discover(self: &Arc<Self>, work: Discovering) {
        *self.discovery() = Discovery::Waits(work);
        self.begin_discovery();
    }

    fn begin_discovery(&self) {
        let mut discovery = self.discovery();
        if let Ok(runtime) = Handle::try_current() {
            *discovery = match std::mem::replace(&mut *discovery, Discovery::None) {
                Discovery::Waits(work) => Discovery::Runs(runtime.spawn(work).abort_handle()),
                other => other,
            };
        }
    }

    pub(super) fn set(self: &Arc<Self>, members: Vec<Member>) {
        self.set_untold(members);
        // With no lock held: whoever hears of it, or of what is found at once, may set others. That they are there is told first; an observer
        // that panics keeps nobody from looking.
        let told = caught(|| self.outbox.tell());
        self.inspection.look(self);
        if let Err(panic) = told {
            resume_unwind(panic);
        }
    }

    fn set_untold(self: &Arc<Self>, members: Vec<Member>) {
        // One list after the other, so that what is made for this one is what it lacks.
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<_> = self.look(|fleet| {
            let is_new = |member: &&Member| fleet.entries.iter().all(|entry| entry.member.id != member.id);
            members.iter().filter(is_new).map(|member| member.id.clone()).collect()
        });
        new.sort_unstable();
        new.dedup();
        // Before the endpoints are locked: whoever makes one may look at the balancer.
        let make = |id: EndpointId| {
            let service = (self.make)(&id);
            Endpoint::new(id, service, Arc::downgrade(self))
        };
        let made = new.into_iter().map(make).collect();
        self.change_untold(|fleet| fleet.set(members, made));
    }

    /// The endpoints that there are.
    pub(super) fn members(&self) -> Vec<EndpointId> {
        self.look(|fleet| fleet.entries.iter().map(|entry| entry.member.id.clone()).collect())
    }

    /// It can be reached.
    pub(super) fn connected(self: &Arc<Self>, endpoint: &Endpoint<S>, now: Instant) {
        self.live(endpoint, |life| life.connected(now));
    }

    /// It could not be reached.
    pub(super) fn connect_failed(self: &Arc<Self>, endpoint: &Endpoint<S>, epoch: u64, now: Instant) {
        self.live(endpoint, |life| {
            let (times, last) = life.unreached();
            life.connect_failed(epoch, now, self.settings.backoff.delay(times, last, &self.rng))
        });
    }

    /// It has answered what was begun in this epoch, for the first time since it could not be reached.
    pub(super) fn proved(self: &Arc<Self>, endpoint: &Endpoint<S>, epoch: u64) {
        endpoint.set_unproved(false);
        let now = Instant::now();
        self.live(endpoint, |life| life.answered(epoch, now));
    }

    pub(super) fn found(self: &Arc<Self>, id: &EndpointId, fitness: Fitness) -> bool {
        let now = Instant::now();
        let mut is_there = false;
        self.change(|fleet| {
            let Fleet { entries, news, .. } = fleet;
            let Some(entry) = entries.iter_mut().find(|entry| entry.member.id == *id) else { return false };
            is_there = true;
            entry.live(news, |life| life.found(fitness, now))
        });
        is_there
    }

    pub(super) fn live(
        self: &Arc<Self>,
        endpoint: &Endpoint<S>,
        change: impl FnOnce(&mut Life) -> Option<EndpointReason>,
    ) {
        self.change(|fleet| match fleet.entry(endpoint) {
            Some((entry, news)) => entry.live(news, change),
            None => false,
        });
    }

    /// So many of its calls have failed in a row, and it is now.
    pub(super) fn failed_in_a_row(self: &Arc<Self>, endpoint: &Endpoint<S>, epoch: u64, failures: u64) {
        let Some(outliers) = &self.settings.outliers else { return };
        let Some(most) = outliers.consecutive_failures else { return };
        // If as many as may be are left out already, this is not asked again at each call.
        if failures.is_multiple_of(u64::from(most.max(1))) {
            let why = EndpointReason::ConsecutiveFailures;
            let now = Instant::now();
            self.change(|fleet| fleet.eject(endpoint, (epoch, why, now), outliers, &self.rng));
        }
    }

    /// If it is time to: look for outliers, and whether the runtime has ended in which somebody was looked after.
    pub(super) fn sweep(self: &Arc<Self>, now: Instant) {
        let time = nanos(now.saturating_duration_since(self.begun));
        let due = self.next_sweep.load(Ordering::Relaxed);
        if time < due {
            return;
        }
        let next = time.saturating_add(nanos(interval(&self.settings)));
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Some(outliers) = &self.settings.outliers {
            self.change(|fleet| fleet.sweep(now, outliers, &self.rng));
        }
        self.revive();
    }

    /// A request came back unsent from this one and goes to another.
    pub(super) fn tell_failover(&self, from: &Endpoint<S>, kind: Kind) {
        self.observe().note(|| Event::FailedOver {
            balancer: Arc::clone(&self.name),
            endpoint: from.id.clone(),
            kind,
        });
    }
}

fn interval(settings: &BalancerSettings) -> Duration {
    settings.outliers.as_ref().map_or(OutlierSettings::new().interval, |outliers| outliers.interval)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<S> Drop for Core<S> {
    fn drop(&mut self) {
        for entry in &self.fleet().entries {
            if let Some(driver) = &entry.driver {
                driver.abort();
            }
        }
        if let Discovery::Runs(task) = &*self.discovery() {
            task.abort();
        }
    }
}
