use std::sync::{Arc, PoisonError};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::check::{self, Checking, Place};
use super::dial::{self, Dialing};
use super::entry::Entry;
use super::keeper::{self, Keeper};
use super::slots::Slots;
use super::state::{Check, Chores, Handed, State};
use super::{Manage, PoolExhausted, PoolSettings};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Error, Event, Kind, Observe, PoolClose, Rng};

/// Why one that was connected is none.
pub(super) const UNUSABLE: &str = "it could not be used as soon as it was connected";

/// What the handles of a pool, its objects and its tasks share.
pub(super) struct Core<M: Manage> {
    pub(super) manager: M,
    pub(super) settings: PoolSettings,
    pub(super) name: Arc<str>,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    state: Mutex<State<M::Object>>,
    tasks: Mutex<Tasks<M>>,
    /// Something has to be done earlier than was known.
    pub(super) news: Notify,
    /// All that was out has come back.
    pub(super) home: Notify,
}

pub(super) struct Tasks<M: Manage> {
    /// Those that connect, and those that ask.
    short: Vec<AbortHandle>,
    /// The one who looks at the clock, and where all of them run: objects may be dropped elsewhere.
    keeper: Option<(JoinHandle<()>, Handle)>,
    /// Left by one who was asked where it was needed.
    pub(super) place: Option<Place<M>>,
    /// Nothing is begun any more.
    over: bool,
}

impl<M: Manage> Tasks<M> {
    const fn new() -> Self {
        Self { short: Vec::new(), keeper: None, place: None, over: false }
    }
}

impl<M: Manage> Core<M> {
    pub(super) fn new(
        manager: M,
        settings: PoolSettings,
        name: Arc<str>,
        observe: Observe,
        rng: Rng,
    ) -> Self {
        let state = Mutex::new(State::new(settings.max, settings.min_idle));
        let (tasks, news, home) = (Mutex::new(Tasks::new()), Notify::new(), Notify::new());
        Self { manager, settings, name, observe, rng, state, tasks, news, home }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<M::Object>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, Tasks<M>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do something under the lock, and what follows from it without.
    #[inline]
    pub(super) fn change<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut State<M::Object>, &mut Chores<M::Object>) -> T,
    ) -> T {
        let mut chores = Chores::default();
        let result = work(&mut self.state(), &mut chores);
        if chores.any() {
            self.do_chores(chores);
        } else {
            // Its lists are empty, so they own nothing; the compiler does not know that.
            std::mem::forget(chores);
        }
        result
    }

    fn do_chores(self: &Arc<Self>, chores: Chores<M::Object>) {
        let Chores { doomed, wake, dials, checks, look } = chores;
        wake.into_iter().for_each(Waker::wake);
        for _ in 0..dials {
            self.dial();
        }
        for check in checks {
            self.check(check);
        }
        if look {
            self.look();
        }
        if !doomed.is_empty() {
            self.bury(doomed);
        }
    }

    /// Have the one who looks at the clock do so, and begin it again if it has ended.
    #[cold]
    fn look(self: &Arc<Self>) {
        if self.runtime().is_none() {
            // Whoever comes next asks again.
            self.state().looked_at = None;
        }
        self.news.notify_one();
    }

    #[cold]
    fn bury(self: &Arc<Self>, doomed: Vec<(Entry<M::Object>, PoolClose)>) {
        let _gone = Gone { core: self, objects: doomed.len() };
        // Dropped before their places are free, also if somebody else's code panics.
        let doomed = doomed;
        for (_, why) in &doomed {
            self.observe.note(|| Event::PoolClosed { pool: Arc::clone(&self.name), why: *why });
        }
    }

    pub(super) fn exhausted(&self, state: &State<M::Object>) -> PoolExhausted {
        PoolExhausted {
            pool: Arc::clone(&self.name),
            max: state.slots.max,
            in_use: state.slots.in_use(),
            waiting: state.waiters.len(),
            last_failure: state.last_failure.clone(),
            elapsed: None,
        }
    }

    /// An object that is clean.
    #[inline]
    pub(super) fn put(self: &Arc<Self>, entry: Entry<M::Object>) {
        // Should the look at it panic, it is gone, and its place is free.
        Lost::new(self, entry).put();
    }

    /// One that is to be closed.
    #[cold]
    pub(super) fn close_one(self: &Arc<Self>, entry: Entry<M::Object>, why: PoolClose) {
        self.change(|state, chores| {
            state.doom(entry, why, chores);
            state.begin(chores);
        });
    }

    /// A place is free whose object nobody will bring back.
    pub(super) fn forget_one(self: &Arc<Self>) {
        self.change(|state, chores| {
            state.slots.open -= 1;
            state.begin(chores);
        });
        self.home.notify_waiters();
    }

    /// Begin a connection. Its place is taken.
    #[cold]
    fn dial(self: &Arc<Self>) {
        let dialing = Dialing::new(Arc::clone(self));
        let Some(runtime) = self.runtime() else { return dialing.give_up() };
        // Not under the lock: a runtime that has just ended drops it at once.
        let task = runtime.spawn(dial::connect(dialing)).abort_handle();
        self.remember(task);
    }

    /// Ask one that lay idle whether it is still good.
    #[cold]
    fn check(self: &Arc<Self>, check: Check<M::Object>) {
        let checking = Checking::new(Arc::clone(self), check, Instant::now());
        let Some(runtime) = self.runtime() else { return checking.give_up() };
        let task = runtime.spawn(check::check(checking)).abort_handle();
        self.remember(task);
    }

    /// The pool ends with its tasks.
    pub(super) fn remember(&self, task: AbortHandle) {
        let mut tasks = self.tasks();
        if tasks.over {
            task.abort();
        } else {
            tasks.short.retain(|task| !task.is_finished());
            tasks.short.push(task);
        }
    }

    /// It was not begun after all.
    pub(super) fn not_begun(self: &Arc<Self>) {
        self.state().slots.not_begun();
        self.home.notify_waiters();
    }

    /// Where tasks run, and where one of them looks at the clock: nowhere, where everything is done by hand. It is the first runtime in
    /// which there was something to do, or once that has ended the next one.
    pub(super) fn runtime(self: &Arc<Self>) -> Option<Handle> {
        let mut tasks = self.tasks();
        if tasks.over {
            return None;
        }
        let last = match tasks.keeper.take() {
            Some((keeper, runtime)) if !keeper.is_finished() => {
                tasks.keeper = Some((keeper, runtime.clone()));
                return Some(runtime);
            }
            last => last.map(|(_, runtime)| runtime),
        };
        last.into_iter().chain(Handle::try_current().ok()).find(|runtime| {
            let keeper = runtime.spawn(keeper::keep(Keeper::new(self)));
            // A runtime that has ended ends it at once.
            let runs = !keeper.is_finished();
            tasks.keeper = runs.then(|| (keeper, runtime.clone()));
            runs
        })
    }

    /// See to it that somebody looks at the clock, if this is a place where tasks can run; and that what waits for that is begun.
    #[cold]
    pub(super) fn keep(self: &Arc<Self>) {
        if self.runtime().is_some() {
            self.change(State::begin);
        }
    }

    /// Connect what is to be kept ready, if this is a place where tasks can run.
    pub(super) fn warm_up(self: &Arc<Self>) {
        if self.settings.min_idle > 0 && Handle::try_current().is_ok() {
            self.change(State::begin);
        }
    }

    /// One is there.
    pub(super) fn connected(self: &Arc<Self>, object: M::Object) {
        let mut entry = Entry::new(object, Instant::now(), &self.settings, &self.rng);
        entry.is_new = true;
        self.change(|state, chores| {
            state.slots.connected();
            state.counts.connected += 1;
            state.last_failure = None;
            state.put(entry, chores);
            // Others may have waited for this one to show that it works again.
            state.begin(chores);
        });
    }

    /// One could not be made.
    pub(super) fn failed(self: &Arc<Self>, error: Error) {
        self.set_back(error, Slots::not_begun);
        self.home.notify_waiters();
    }

    /// One that was made was of no use to the first who got it: there is a pause as well, else it would be made again at once, without end.
    #[cold]
    pub(super) fn stillborn(self: &Arc<Self>) {
        self.set_back(Error::new(Kind::Connect, UNUSABLE), |_| ());
    }

    /// There is none, and there is a pause before the next one is made.
    fn set_back(self: &Arc<Self>, error: Error, work: impl FnOnce(&mut Slots)) {
        let error = Arc::new(error);
        let delay = self.change(|state, chores| {
            work(&mut state.slots);
            let hopeless = state.slots.failed();
            if state.slots.closed {
                return None;
            }
            let (failures, last) = (state.slots.failures, state.slots.pause);
            let delay = self.settings.backoff.delay(failures.saturating_sub(1), last, &self.rng);
            state.slots.pause = delay;
            state.slots.dial_at = Some(crate::base::Deadline::within(delay).instant());
            state.counts.connect_failures += 1;
            state.last_failure = Some(Arc::clone(&error));
            if hopeless {
                state.tell_all(|| Handed::Failed(Arc::clone(&error)), chores);
            }
            state.begin(chores);
            Some(delay)
        });
        if let Some(again_in) = delay {
            let kind = error.kind();
            self.observe.note(|| Event::PoolConnectFailed { pool: Arc::clone(&self.name), kind, again_in });
        }
    }

    /// Hand nothing out any more, close what nobody uses, and end all tasks.
    pub(super) fn close(self: &Arc<Self>) {
        // First those who wait, whom the end of what was begun for them would tell something else; and the objects last, which may panic.
        self.change(|state, chores| {
            state.slots.closed = true;
            state.tell_all(|| Handed::Closed, chores);
        });
        let over = Tasks { over: true, ..Tasks::new() };
        let tasks = std::mem::replace(&mut *self.tasks(), over);
        tasks.short.iter().for_each(AbortHandle::abort);
        if let Some((keeper, _)) = tasks.keeper {
            keeper.abort();
        }
        self.change(|state, chores| state.sweep(|_| Some(PoolClose::Closed), chores));
    }
}

/// Objects on their way out. Their places are free when this is dropped.
struct Gone<'a, M: Manage> {
    core: &'a Arc<Core<M>>,
    objects: usize,
}

impl<M: Manage> Drop for Gone<'_, M> {
    fn drop(&mut self) {
        self.core.change(|state, chores| {
            state.slots.gone(self.objects);
            state.begin(chores);
        });
        self.core.home.notify_waiters();
    }
}

/// An object under foreign code. If that panics, or is dropped, it is closed.
pub(super) struct Lost<'a, M: Manage> {
    pub(super) core: &'a Arc<Core<M>>,
    pub(super) entry: Option<Entry<M::Object>>,
    pub(super) why: PoolClose,
}

impl<'a, M: Manage> Lost<'a, M> {
    pub(super) const fn new(core: &'a Arc<Core<M>>, entry: Entry<M::Object>) -> Self {
        Self { core, entry: Some(entry), why: PoolClose::Broken }
    }

    /// Whether nobody has had it since it was connected.
    pub(super) fn is_new(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.is_new)
    }

    /// Whether it is not as old yet as it may become.
    pub(super) fn is_young(&mut self, now: Instant) -> bool {
        let old = self.entry.as_ref().is_some_and(|entry| entry.old(now));
        if old {
            self.why = PoolClose::Old;
        }
        !old
    }

    pub(super) fn is_usable(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| self.core.manager.is_usable(&entry.object))
    }

    /// Put it back, if it is usable.
    #[inline]
    pub(super) fn put(self) {
        if self.is_usable() {
            let core = self.core;
            let entry = self.keep();
            core.change(|state, chores| state.put(entry, chores));
        }
    }

    pub(super) fn keep(mut self) -> Entry<M::Object> {
        self.entry.take().expect("it is kept once")
    }
}

impl<M: Manage> Drop for Lost<'_, M> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.core.close_one(entry, self.why);
        }
    }
}
