use std::mem;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::ConcurrencySettings;
use super::line::{Joined as InLine, Line, Patience, Stands};
use super::settings::Limit;
use super::state::State;
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::base::{Priority, Rng, Waiters};
use crate::limit::adaptive::{Control, Ending};

/// What was learned is of use for so long after the last time.
const MEMORY: Duration = Duration::from_secs(60);

/// What the clones of a limiter share.
pub(super) struct Core {
    /// Whoever says that somebody waits, or that nobody does, holds the lock.
    state: AtomicU64,
    queues: Mutex<Queues>,
    /// How many may wait; as many as may be in flight, if nothing is said.
    longest: Option<usize>,
    /// The same for those in line; as many as can be served in time, if nothing is said.
    longest_line: Option<usize>,
    adapts: Option<Adapts>,
    // Statistics and estimates are no part of the guarantee, so the model checker need not explore them.
    refused: std::sync::atomic::AtomicU64,
    /// How long calls take, in nanoseconds, where anybody wants to know.
    service_time: std::sync::atomic::AtomicU64,
}

struct Adapts {
    control: Mutex<Control>,
    rng: Rng,
}

impl Adapts {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who wait in the order of arrival come before those in line.
struct Queues {
    waiters: Waiters,
    line: Line<Waker>,
}

impl Queues {
    /// Those who waited too long are woken, too: a waker may be all that keeps a task, which has another place here, so that nobody
    /// drops one under the lock.
    fn call(&mut self, lapsed: &mut Vec<Waker>) -> Option<Waker> {
        match self.waiters.call() {
            Some((_, waker)) => Some(waker),
            None if self.line.is_empty() => None,
            None => self.line.call(Instant::now(), lapsed),
        }
    }

    fn len(&self) -> usize {
        self.waiters.len() + self.line.len()
    }
}

/// How it stands with one in line.
pub(super) enum Turn {
    Entered,
    InVain,
    /// With the number and until when, if these are new.
    Waits(Option<(u64, Instant)>),
}

/// What became of the wish to wait.
pub(super) enum Joined {
    /// There was room after all.
    Entered,
    /// Nobody else may wait.
    Full,
    /// This is one's number.
    Waits(u64),
}

impl Core {
    /// The settings were checked.
    pub(super) fn new(settings: &ConcurrencySettings, rng: Rng) -> Self {
        let (limit, longest, adapts) = match &settings.limit {
            Limit::Fixed(limit) => (*limit, Some(settings.queue.unwrap_or(*limit)), None),
            Limit::Adaptive(adaptive) => {
                let control = Control::new(adaptive, Instant::now(), rng.unit());
                (control.limit(), settings.queue, Some(Adapts { control: Mutex::new(control), rng }))
            }
        };
        Self {
            state: AtomicU64::new(State::new(limit).0),
            queues: Mutex::new(Queues { waiters: Waiters::new(), line: Line::new() }),
            longest,
            longest_line: settings.queue,
            adapts,
            refused: std::sync::atomic::AtomicU64::new(0),
            service_time: std::sync::atomic::AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change the state to what `next` makes of it, if that is anything.
    #[inline]
    fn change(&self, mut next: impl FnMut(State) -> Option<State>) -> Option<State> {
        let mut state = self.state();
        loop {
            let changed = next(state)?;
            let swapped =
                self.state.compare_exchange_weak(state.0, changed.0, Ordering::AcqRel, Ordering::Acquire);
            match swapped {
                Ok(_) => return Some(changed),
                Err(other) => state = State(other),
            }
        }
    }

    #[inline]
    pub(super) fn try_enter(&self) -> bool {
        self.change(State::enter).is_some()
    }

    pub(super) fn try_enter_batch(&self) -> bool {
        self.change(State::enter_batch).is_some()
    }

    /// One less in flight, or the next one in its place.
    #[inline]
    pub(super) fn leave(&self) {
        if self.change(|state| (!state.has_waiters()).then(|| state.one_less())).is_none() {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&self) {
        let mut queues = self.queues();
        // While the limit is lower than it was, nobody takes the place.
        let fits = self.state().in_flight() <= self.state().limit();
        let mut lapsed = Vec::new();
        let next = if fits { queues.call(&mut lapsed) } else { None };
        let any = queues.len() > 0;
        self.change(|state| {
            let state = state.with_waiters(any);
            Some(if next.is_some() { state } else { state.one_less() })
        });
        drop(queues);
        next.into_iter().chain(lapsed).for_each(Waker::wake);
    }

    /// Wait behind all others, unless there is room, or too many wait. Whoever is `unbounded` cannot be refused.
    pub(super) fn join(&self, waker: &Waker, unbounded: bool) -> Joined {
        let mut queues = self.queues();
        if queues.waiters.len() >= self.longest() && !unbounded {
            return Joined::Full;
        }
        if self.enter_first(&queues) { Joined::Entered } else { Joined::Waits(queues.waiters.join(waker)) }
    }

    /// Enter if nobody waits: somebody may have left meanwhile, who did not see anybody wait. Else somebody waits now.
    fn enter_first(&self, queues: &Queues) -> bool {
        let is_first = queues.len() == 0;
        let mut has_entered = false;
        self.change(|state| {
            has_entered = is_first && state.has_room();
            Some(if has_entered { state.one_more() } else { state.with_waiters(true) })
        });
        has_entered
    }

    /// Whether it is one's turn. Then one has entered.
    pub(super) fn is_called(&self, number: u64, waker: &Waker) -> bool {
        // Another waker than before is dropped here, when nobody holds the lock.
        let (stays, _before) = self.queues().waiters.stay(number, waker);
        !stays
    }

    /// Wait no more.
    pub(super) fn give_up(&self, number: u64) {
        let mut queues = self.queues();
        let place = queues.waiters.leave(number);
        if place.is_some() {
            self.tell_whether_any_wait(&queues);
        }
        drop(queues);
        if place.is_none() {
            // It was called, and never noticed.
            self.leave();
        }
    }

    fn tell_whether_any_wait(&self, queues: &Queues) {
        let any = queues.len() > 0;
        self.change(|state| Some(state.with_waiters(any)));
    }

    /// Wait in line, unless there is room, or it is no use.
    pub(super) fn queue(&self, priority: Priority, latest: Option<Instant>, waker: &Waker) -> Turn {
        let now = Instant::now();
        let mut queues = self.queues();
        if self.enter_first(&queues) {
            return Turn::Entered;
        }
        let patience = Patience::of(self.service_time(), self.state().limit());
        let joined = queues.line.join((now, latest), patience, priority, self.longest_line, waker.clone());
        self.tell_whether_any_wait(&queues);
        drop(queues);
        match joined {
            None => Turn::InVain,
            Some(InLine { number, until, put_out }) => {
                if let Some(put_out) = put_out {
                    put_out.wake();
                }
                Turn::Waits(Some((number, until)))
            }
        }
    }

    /// How it stands with this one in line.
    pub(super) fn turn(&self, number: u64, waker: &Waker) -> Turn {
        let mut queues = self.queues();
        match queues.line.stands(number) {
            Stands::Waits(waits) if waits.will_wake(waker) => Turn::Waits(None),
            Stands::Waits(waits) => {
                let _before = mem::replace(waits, waker.clone());
                // It is dropped where nobody holds the lock.
                drop(queues);
                Turn::Waits(None)
            }
            Stands::IsCalled => Turn::Entered,
            Stands::IsPutOut => Turn::InVain,
        }
    }

    /// Wait in line no more.
    pub(super) fn leave_queue(&self, number: u64) {
        let mut queues = self.queues();
        let stands = queues.line.leave(number);
        if matches!(stands, Stands::Waits(_)) {
            self.tell_whether_any_wait(&queues);
        }
        drop(queues);
        if matches!(stands, Stands::IsCalled) {
            // And never noticed.
            self.leave();
        }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.change_limit(limit).into_iter().for_each(Waker::wake);
    }

    /// Who is let in by that, or waited too long, is woken by the caller, who may hold a lock.
    fn change_limit(&self, limit: usize) -> Vec<Waker> {
        let mut queues = self.queues();
        self.change(|state| Some(state.with_limit(limit)));
        let mut called = Vec::new();
        while self.state().has_room() {
            let Some(next) = queues.call(&mut called) else { break };
            // While somebody waits, nobody else enters; one may leave.
            self.change(|state| Some(state.one_more()));
            called.push(next);
        }
        self.tell_whether_any_wait(&queues);
        called
    }

    /// Whether something was learned, and lately enough to be of use to whoever comes next.
    pub(super) fn remembers(&self, now: Instant) -> bool {
        let learned_at = self.adapts.as_ref().and_then(|adapts| adapts.control().learned_at());
        learned_at.is_some_and(|at| now.saturating_duration_since(at) < MEMORY)
    }

    pub(super) const fn is_adaptive(&self) -> bool {
        self.adapts.is_some()
    }

    /// A call has ended. `in_flight` were so many when it began.
    pub(super) fn ended(&self, now: Instant, ending: Ending, in_flight: usize) {
        if let Ending::Answered(latency) = ending {
            self.learn_service_time(latency);
        }
        let Some(adapts) = &self.adapts else { return };
        let called = {
            let mut control = adapts.control();
            let thinks = control.ended(now, ending, in_flight, || adapts.rng.unit());
            // Under the lock, so that no older limit comes last.
            if thinks { self.change_limit(control.limit()) } else { Vec::new() }
        };
        called.into_iter().for_each(Waker::wake);
    }

    /// A moving average: one in eight. Of two that are told at the same moment one may be lost, which is no matter.
    fn learn_service_time(&self, latency: Duration) {
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let known = self.service_time.load(std::sync::atomic::Ordering::Relaxed);
        let next = if known == 0 { latency } else { known - known / 8 + latency / 8 };
        self.service_time.store(next, std::sync::atomic::Ordering::Relaxed);
    }

    /// How long calls take; nothing, until that is known.
    pub(super) fn service_time(&self) -> Duration {
        Duration::from_nanos(self.service_time.load(std::sync::atomic::Ordering::Relaxed))
    }

    pub(super) fn longest(&self) -> usize {
        self.longest.unwrap_or_else(|| self.state().limit())
    }

    pub(super) fn waiting(&self) -> usize {
        self.queues().len()
    }

    #[cold]
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(all(test, not(stonework_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn core(limit: usize) -> Core {
        Core::new(&ConcurrencySettings::new(limit), Rng::seeded(1))
    }

    #[test]
    fn who_would_wait_where_somebody_has_just_left_enters() {
        let core = core(1);
        assert!(matches!(core.join(Waker::noop(), false), Joined::Entered));
        assert!(matches!(core.join(Waker::noop(), false), Joined::Waits(_)));
        assert_eq!((core.state().in_flight(), core.waiting()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_while_it_waits_in_line_is_woken_where_it_is() {
        let core = core(1);
        assert!(core.try_enter());
        let [before, now] = [(); 2].map(|()| Arc::new(Woken::default()));
        let Turn::Waits(Some((number, _))) =
            core.queue(Priority::Interactive, None, &Waker::from(Arc::clone(&before)))
        else {
            panic!("there is no room")
        };
        for _ in 0..2 {
            let turn = core.turn(number, &Waker::from(Arc::clone(&now)));
            assert!(matches!(turn, Turn::Waits(None)));
        }
        core.leave();
        assert!(now.0.load(Ordering::Relaxed) && !before.0.load(Ordering::Relaxed));
        assert!(matches!(core.turn(number, Waker::noop()), Turn::Entered));
    }

    /// Held by nothing but a waker, it has another place in the same queue.
    struct Task(Arc<Core>, u64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Task {
        fn drop(&mut self) {
            self.0.leave_queue(self.1);
        }
    }

    fn place(core: &Core, waker: &Waker) -> u64 {
        match core.queue(Priority::Interactive, None, waker) {
            Turn::Waits(Some((number, _))) => number,
            _ => panic!("there is no room"),
        }
    }

    /// Somebody waits too long, whose waker is the last thing that keeps a task; then there is room.
    async fn lapses(room: impl FnOnce(&Core)) -> (usize, usize) {
        let core = Arc::new(core(1));
        assert!(core.try_enter());
        let others = place(&core, Waker::noop());
        let number = place(&core, Waker::noop());
        core.leave_queue(others);
        let task = Arc::new(Task(Arc::clone(&core), number));
        place(&core, &Waker::from(task));
        tokio::time::advance(Duration::from_secs(60)).await;
        room(&core);
        (core.state().in_flight(), core.waiting())
    }

    #[test]
    fn who_has_waited_too_long_and_whose_waker_keeps_another_place_is_no_deadlock() {
        for (room, in_flight) in [(Core::leave as fn(&Core), 0), (|core: &Core| core.set_limit(2), 1)] {
            let (done, is_done) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_time().start_paused(true).build().unwrap();
                done.send(runtime.block_on(lapses(room))).unwrap();
            });
            assert_eq!(is_done.recv_timeout(Duration::from_secs(10)), Ok((in_flight, 0)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_call_tells_how_long_calls_take_and_each_later_one_an_eighth() {
        let core = core(1);
        let after = |latency| {
            core.ended(Instant::now(), Ending::Answered(latency), 1);
            core.service_time()
        };
        assert_eq!([80, 160, 10].map(|latency| after(latency * MS)), [80 * MS, 90 * MS, 80 * MS]);
    }
}
