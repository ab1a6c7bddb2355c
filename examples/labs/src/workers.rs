use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// A server: so many workers, and an endless queue before them, first come, first served. Its clones are the same server.
///
/// Work begins in the very instant in which a worker is done with what it had, not with the millisecond in which a timer says so: no
/// capacity is lost by rounding.
#[derive(Clone, Debug)]
pub struct Workers {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    count: usize,
    busy: usize,
    queue: VecDeque<oneshot::Sender<Busy>>,
    stalls: Vec<Range<Instant>>,
}

/// A worker that is taken. Dropped, it goes on with the next in the queue.
#[derive(Debug)]
struct Busy {
    server: Option<Workers>,
    since: Instant,
    /// When it is done, if it has come to its end.
    done: Option<Instant>,
}

impl Workers {
    #[must_use]
    pub fn new(count: usize) -> Self {
        let state = State { count, busy: 0, queue: VecDeque::new(), stalls: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// In this time, from now on, nobody works: what is under way goes on after it. To be said before it begins, one after another.
    pub fn stall(&self, time: Range<Duration>) {
        let now = Instant::now();
        self.state().stalls.push(now + time.start..now + time.end);
    }

    /// From now on there are so many. Those that are too many end what they have.
    pub fn resize(&self, count: usize) {
        let mut state = self.state();
        state.count = count;
        self.hand_over(&mut state, Instant::now());
    }

    /// Wait for a worker, then for as long as it takes it. A caller that is dropped leaves the queue; dropped while it is worked for, it
    /// lets the worker go. A server that does not notice that callers have gone is one that is called in a task of its own.
    ///
    /// # Panics
    ///
    /// Never, unless a thread has panicked with the server's lock.
    pub async fn work(&self, time: Duration) {
        let mut busy = self.enter().await;
        loop {
            let end = self.state().end_of(busy.since, time);
            // The timer may be late by less than a millisecond, which is no reason to wait once more.
            if busy.done == Some(end) {
                return;
            }
            busy.done = Some(end);
            sleep_until(end).await;
        }
    }

    /// How many wait, and how many are worked for.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.iter().filter(|waiter| !waiter.is_closed()).count(), state.busy)
    }

    async fn enter(&self) -> Busy {
        let turn = {
            let mut state = self.state();
            if state.busy < state.count {
                state.busy += 1;
                return self.busy(Instant::now());
            }
            let (waiter, turn) = oneshot::channel();
            state.queue.push_back(waiter);
            turn
        };
        turn.await.expect("whoever leaves the queue was given a worker")
    }

    fn hand_over(&self, state: &mut State, since: Instant) {
        while state.busy < state.count {
            let Some(waiter) = state.queue.pop_front() else { return };
            if waiter.is_closed() {
                continue;
            }
            state.busy += 1;
            if let Err(mut unwanted) = waiter.send(self.busy(since)) {
                // Not by its drop, which wants the lock.
                unwanted.server = None;
                state.busy -= 1;
            }
        }
    }

    fn busy(&self, since: Instant) -> Busy {
        Busy { server: Some(self.clone()), since, done: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

impl State {
    /// When work is done that began then.
    fn end_of(&self, since: Instant, time: Duration) -> Instant {
        let mut end = since + time;
        for stall in &self.stalls {
            if stall.start < end && stall.end > since {
                end += stall.end - stall.start.max(since);
            }
        }
        end
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        let mut state = server.state();
        state.busy = state.busy.saturating_sub(1);
        let now = Instant::now();
        // Given up before its end, or in it.
        let since = self.done.filter(|done| *done <= now).unwrap_or(now);
        server.hand_over(&mut state, since);
    }
}
