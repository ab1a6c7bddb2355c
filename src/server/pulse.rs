use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Facts, HASTE, LAST_WORDS, is_flood};

/// What a connection is doing: written by its socket and its requests, read by its timer.
///
/// Over HTTP/1 all of them are one task. Over HTTP/2 requests are tasks of their own; whatever they change, the task of the
/// connection is woken to send it, and looks again.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    http2: AtomicBool,
    in_flight: AtomicU32,
    /// Tasks beside that of the connection: over HTTP/2 what sees to a request, or to the tunnel that came of it.
    tasks: AtomicU32,
    /// Bodies of requests that somebody may still read.
    bodies: AtomicU32,
    begun: AtomicU32,
    /// Of these, taken back at once.
    hasty: AtomicU32,
    in_head: AtomicBool,
    clean: AtomicBool,
    // Nanoseconds after `start`.
    since: AtomicU64,
    taken: AtomicU64,
    /// 0: it is not.
    stalled: AtomicU64,
    /// When the client was told that nothing new is taken on; 0: it was not.
    told: AtomicU64,
    /// It goes on nevertheless.
    defies: AtomicBool,
    /// The task of the connection, if it waits for others.
    waits: Mutex<Option<Waker>>,
}

impl Pulse {
    /// Of a connection that was accepted now. What comes first is a head.
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            http2: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            tasks: AtomicU32::new(0),
            bodies: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            hasty: AtomicU32::new(0),
            in_head: AtomicBool::new(true),
            clean: AtomicBool::new(true),
            since: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            told: AtomicU64::new(0),
            defies: AtomicBool::new(false),
            waits: Mutex::new(None),
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// It speaks HTTP/2, whose heads come in frames, and whose pings show that the client is there.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
        self.in_head.store(false, Relaxed);
    }

    /// The TLS handshake is over, and the time for a first request begins.
    #[cfg(feature = "tls")]
    pub(super) fn is_secured(&self) {
        self.since.store(self.now(), Relaxed);
    }

    /// A request has come, whole but for its body; `more` if it has one.
    pub(super) fn begin(&self, more: bool) {
        self.in_head.store(false, Relaxed);
        self.clean.store(!more, Relaxed);
        self.in_flight.fetch_add(1, AcqRel);
        self.begun.fetch_add(1, Relaxed);
    }

    /// A request that was begun then has ended without an answer.
    pub(super) fn taken_back(&self, begun: Instant) {
        if begun.elapsed() < HASTE {
            self.hasty.fetch_add(1, Relaxed);
        }
    }

    /// It has a body, which somebody is given to read.
    pub(super) fn begin_body(&self) {
        self.bodies.fetch_add(1, AcqRel);
    }

    /// Nobody reads it any more; `whole` if it was read to the end.
    pub(super) fn end_body(&self, whole: bool) {
        if whole {
            self.clean.store(true, Relaxed);
        }
        self.bodies.fetch_sub(1, AcqRel);
    }

    /// Its answer is over. Over HTTP/1 the end of it is still to be taken by the client, and that is when it is idle.
    pub(super) fn end(&self) {
        if self.http2.load(Relaxed) {
            // Before it is seen that nothing is in flight. Of several at once, none knows that it is the last.
            self.since.store(self.now(), Relaxed);
        }
        self.in_flight.fetch_sub(1, AcqRel);
    }

    /// A task has begun that is no request's alone: it may outlive the answer.
    pub(super) fn begin_task(&self) {
        self.tasks.fetch_add(1, AcqRel);
    }

    /// It is gone, and all it had.
    pub(super) fn end_task(&self) {
        self.since.store(self.now(), Relaxed);
        if self.tasks.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        // What it sent last may have gone out before, and nobody else would have the connection look again.
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take();
        waits.into_iter().for_each(Waker::wake);
    }

    /// This task is to be woken when another one ends.
    pub(super) fn wakes(&self, task: &Waker) {
        if self.http2.load(Relaxed) {
            *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
        }
    }

    /// The client sent something.
    pub(super) fn received(&self) {
        // While something is in flight it is of a body, or the next head before its turn.
        if self.is_idle() && !self.http2.load(Relaxed) {
            self.since.store(self.now(), Relaxed);
            // A body may be read after the answer.
            self.in_head.store(self.bodies.load(Acquire) == 0, Relaxed);
        }
    }

    /// The client took something.
    pub(super) fn took(&self) {
        self.taken.store(self.now(), Relaxed);
        self.stalled.store(0, Release);
    }

    /// It has taken all there is. That alone is no sign of life, since there may have been nothing.
    pub(super) fn flushed(&self) {
        if self.stalled.load(Relaxed) > 0 {
            self.took();
        }
    }

    /// It does not take what there is.
    pub(super) fn stalls(&self) {
        if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.now().max(1), Relaxed);
        }
    }

    /// More than its last request was read, in one piece with it: a head has begun.
    pub(super) fn holds_more(&self) {
        self.since.store(self.now(), Relaxed);
        self.in_head.store(true, Relaxed);
    }

    /// The client is told that nothing new is taken on.
    pub(super) fn tells(&self) {
        self.told.store(self.now().max(1), Relaxed);
    }

    /// Whether a request that comes now is taken on. One that was under way when its client was told is; of HTTP/2 the server is sure that it was
    /// only when the client says so, and one that never does is not waited for.
    pub(super) fn takes_on(&self) -> bool {
        let told = self.told.load(Relaxed);
        let defies = told > 0 && self.at(told).elapsed() >= LAST_WORDS;
        if defies {
            self.defies.store(true, Relaxed);
        }
        !defies
    }

    /// The client makes requests long after it was told that nothing new is taken on.
    pub(super) fn defies(&self) -> bool {
        self.defies.load(Relaxed)
    }

    /// Most requests are taken back as soon as they are made.
    pub(super) fn floods(&self) -> bool {
        is_flood(self.begun.load(Relaxed), self.hasty.load(Relaxed))
    }

    /// Everything that came was of a request, and was read.
    pub(super) fn is_at_rest(&self) -> bool {
        self.clean.load(Relaxed) && !self.is_in_head()
    }

    /// A head is coming, and is not whole yet.
    pub(super) fn is_in_head(&self) -> bool {
        self.in_head.load(Relaxed)
    }

    /// Nothing is in flight; the next bytes are of a head.
    fn is_idle(&self) -> bool {
        self.in_flight.load(Acquire) == 0 && !self.in_head.load(Relaxed)
    }

    /// When the last request was over, or the client took the last of its answer.
    pub(super) fn idle_since(&self) -> Instant {
        self.at(self.since.load(Relaxed).max(self.taken.load(Relaxed)))
    }

    pub(super) fn facts(&self, closing: Option<(Instant, bool)>, old_at: Option<Instant>) -> Facts {
        let stalled = self.stalled.load(Acquire);
        Facts {
            http2: self.http2.load(Relaxed),
            in_flight: self.in_flight.load(Acquire) + self.tasks.load(Acquire),
            reads: self.bodies.load(Acquire) > 0,
            in_head: self.in_head.load(Relaxed),
            since: self.at(self.since.load(Relaxed)),
            taken: self.at(self.taken.load(Relaxed)),
            stalled: (stalled > 0).then(|| self.at(stalled)),
            clean: self.clean.load(Relaxed),
            floods: self.floods(),
            defies: self.defies(),
            closing,
            old_at,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn at(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_requests_that_are_taken_back_within_a_second_are_a_flood() {
        let begun = Instant::now();
        let pulse = Pulse::new(begun);
        (0..999).for_each(|_| pulse.begin(false));
        tokio::time::advance(HASTE).await;
        (0..999).for_each(|_| pulse.taken_back(begun));
        assert!(!pulse.floods(), "they had their time");
        (0..499).for_each(|_| pulse.taken_back(Instant::now()));
        assert!(!pulse.floods() && !pulse.facts(None, None).floods);
        pulse.taken_back(Instant::now());
        assert!(pulse.floods() && pulse.facts(None, None).floods);
    }

    struct Count(AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_task_wakes_the_connection_and_no_other_does() {
        let count = std::sync::Arc::new(Count(AtomicU32::new(0)));
        let pulse = Pulse::new(Instant::now());
        pulse.wakes(&Waker::from(std::sync::Arc::clone(&count)));
        pulse.begin_task();
        pulse.end_task();
        assert_eq!(count.0.load(Relaxed), 0, "over HTTP/1 all is one task");
        pulse.speaks_http2();
        pulse.begin_task();
        pulse.begin_task();
        pulse.wakes(&Waker::from(std::sync::Arc::clone(&count)));
        pulse.end_task();
        assert_eq!(count.0.load(Relaxed), 0, "another one is at work");
        pulse.end_task();
        assert_eq!(count.0.load(Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_at_rest_once_all_that_came_was_of_a_request_and_was_read() {
        let pulse = Pulse::new(Instant::now());
        let seen = || (pulse.is_in_head(), pulse.is_at_rest());
        assert_eq!(seen(), (true, false), "what comes first is a head");
        pulse.begin(false);
        assert_eq!(seen(), (false, true));
        pulse.end();
        pulse.received();
        assert_eq!(seen(), (true, false), "the next one");
        pulse.begin(true);
        pulse.begin_body();
        assert_eq!(seen(), (false, false), "a body follows");
        pulse.end_body(true);
        assert_eq!(seen(), (false, true));
        pulse.holds_more();
        assert_eq!(seen(), (true, false), "the next one has begun");
    }
}
