use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::{self, Dialing};
use super::entry::Entry;
use super::keeper;
use super::state::{Chores, Handed, State};
use super::{Manage, PoolClosed, PoolExhausted, PoolSettings};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Error, Event, Observe, PoolClose, Rng};

/// What the handles of a pool, its objects and its tasks share.
pub(super) struct Core<M: Manage> {
    pub(super) manager: M,
    pub(super) settings: PoolSettings,
    pub(super) name: Arc<str>,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    state: Mutex<State<M::Object>>,
    tasks: Mutex<Tasks>,
    /// Where its tasks run: objects may be dropped elsewhere.
    runtime: OnceLock<Handle>,
    /// Something has to be done earlier than was known.
    pub(super) news: Notify,
    /// All that was out has come back.
    pub(super) home: Notify,
}

#[derive(Default)]
struct Tasks {
    dials: JoinSet<()>,
    keeper: Option<tokio::task::JoinHandle<()>>,
    /// Nothing is begun any more.
    over: bool,
}

/// What a caller gets at once.
pub(super) enum Asked<O> {
    Object(Entry<O>),
    /// A number in the queue.
    Waits(u64),
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
        let (tasks, runtime) = (Mutex::new(Tasks::default()), OnceLock::new());
        let (news, home) = (Notify::new(), Notify::new());
        Self { manager, settings, name, observe, rng, state, tasks, runtime, news, home }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<M::Object>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
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
        self.do_chores(chores);
        result
    }

    #[inline]
    fn do_chores(self: &Arc<Self>, chores: Chores<M::Object>) {
        let Chores { doomed, wake, dials, look } = chores;
        wake.into_iter().for_each(std::task::Waker::wake);
        if dials > 0 {
            self.dial(dials);
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
        self.begin_tasks(|_, _| {});
        self.news.notify_one();
    }

    #[cold]
    fn bury(&self, doomed: Vec<(Entry<M::Object>, PoolClose)>) {
        for (_, why) in &doomed {
            self.observe.note(|| Event::PoolClosed { pool: Arc::clone(&self.name), why: *why });
        }
        self.home.notify_waiters();
    }

    /// An object, or a place in the queue.
    #[inline]
    pub(super) fn ask(
        self: &Arc<Self>,
        now: Instant,
        waker: &std::task::Waker,
    ) -> Result<Asked<M::Object>, Error> {
        self.change(|state, chores| {
            if state.slots.closed {
                return Err(PoolClosed.into());
            }
            if state.waiters.len() == 0 {
                if let Some(entry) = state.pop(now, chores) {
                    return Ok(Asked::Object(entry));
                }
            }
            if state.waiters.len() >= self.settings.max_waiting {
                state.counts.refused += 1;
                return Err(self.exhausted(state).into_error(None));
            }
            let number = state.waiters.join(waker);
            state.begin(chores);
            // Whoever waits for the end of a pause after a failure relies on the one who looks at the clock.
            chores.look |= chores.dials == 0 && state.slots.dial_at.is_some();
            Ok(Asked::Waits(number))
        })
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
        let held = Lost { core: self, entry: Some(entry), why: PoolClose::Broken };
        let usable = held.entry.as_ref().is_some_and(|entry| self.manager.is_usable(&entry.object));
        if usable {
            let entry = held.keep();
            self.change(|state, chores| state.put(entry, chores));
        }
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

    /// Begin so many connections. Their places are taken.
    #[cold]
    fn dial(self: &Arc<Self>, dials: usize) {
        self.begin_tasks(|tasks, runtime| {
            while tasks.dials.try_join_next().is_some() {}
            for _ in 0..dials {
                tasks.dials.spawn_on(dial::connect(Dialing::new(Arc::clone(self))), runtime);
            }
        });
    }

    fn begin_tasks(self: &Arc<Self>, work: impl FnOnce(&mut Tasks, &Handle)) {
        // Without one, as where everything is done by hand, nobody looks at the clock.
        let Some(runtime) = self.runtime.get().cloned().or_else(|| Handle::try_current().ok()) else {
            return;
        };
        let runtime = self.runtime.get_or_init(|| runtime);
        let mut tasks = self.tasks();
        if tasks.over {
            return;
        }
        // It ends only by a panic of somebody else's code, such as an object's own end.
        if tasks.keeper.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            tasks.keeper = Some(runtime.spawn(keeper::keep(Arc::downgrade(self))));
        }
        work(&mut tasks, runtime);
    }

    /// Connect what is to be kept ready, if this is a place where tasks can run.
    pub(super) fn warm_up(self: &Arc<Self>) {
        if self.settings.min_idle > 0 && Handle::try_current().is_ok() {
            self.change(State::begin);
        }
    }

    /// One is there.
    pub(super) fn connected(self: &Arc<Self>, object: M::Object, took: Duration) {
        self.observe.note(|| Event::PoolConnected { pool: Arc::clone(&self.name), took });
        let entry = Entry::new(object, Instant::now(), &self.settings, &self.rng);
        self.change(|state, chores| {
            state.slots.connected();
            state.counts.connected += 1;
            state.last_failure = None;
            state.put(entry, chores);
            // Others may have waited for this one to show that it works again.
            state.begin(chores);
        });
        self.look();
    }

    /// One could not be made.
    pub(super) fn failed(self: &Arc<Self>, error: Error) {
        if self.state().slots.closed {
            self.change(|state, _| state.slots.failed());
            self.home.notify_waiters();
            return;
        }
        let error = Arc::new(error);
        let delay = self.change(|state, chores| {
            let hopeless = state.slots.failed();
            let delay = self.settings.backoff.delay(
                state.slots.failures.saturating_sub(1),
                Duration::ZERO,
                &self.rng,
            );
            state.slots.dial_at = Some(crate::base::Deadline::within(delay).instant());
            state.counts.connect_failures += 1;
            state.last_failure = Some(Arc::clone(&error));
            if hopeless {
                state.tell_all(|| Handed::Failed(Arc::clone(&error)), chores);
            }
            delay
        });
        let kind = error.kind();
        self.observe.note(|| Event::PoolConnectFailed {
            pool: Arc::clone(&self.name),
            kind,
            again_in: delay,
        });
        self.look();
        self.home.notify_waiters();
    }

    /// Hand nothing out any more, and close what nobody uses.
    pub(super) fn close(self: &Arc<Self>) {
        self.change(|state, chores| {
            state.slots.closed = true;
            state.sweep(|_| Some(PoolClose::Closed), chores);
            state.tell_all(|| Handed::Closed, chores);
        });
        self.news.notify_one();
    }

    /// The last handle is gone.
    pub(super) fn end(self: &Arc<Self>) {
        {
            let mut tasks = self.tasks();
            tasks.over = true;
            tasks.dials.abort_all();
            if let Some(keeper) = tasks.keeper.take() {
                keeper.abort();
            }
        }
        self.close();
    }
}

/// An object under foreign code. If that panics, or is dropped, it is closed.
pub(super) struct Lost<'a, M: Manage> {
    pub(super) core: &'a Arc<Core<M>>,
    pub(super) entry: Option<Entry<M::Object>>,
    pub(super) why: PoolClose,
}

impl<M: Manage> Lost<'_, M> {
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
