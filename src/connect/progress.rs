use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::base::{Phase, Timings};

/// What a dial is doing, for whoever waits for it, and how long each step took. Clones are of the same one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use stonework::base::Phase;
/// use stonework::connect::Progress;
///
/// let progress = Progress::default();
/// progress.begin(Phase::Resolve);
/// tokio::time::sleep(Duration::from_millis(3)).await;
/// progress.begin(Phase::Connect);
/// assert_eq!(progress.step(), Phase::Connect);
/// assert_eq!(progress.timings().resolve, Some(Duration::from_millis(3)));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The last step that was begun, and when; not when it is over.
    step: Option<Phase>,
    since: Option<Instant>,
    done: Timings,
    peer: Option<SocketAddr>,
}

impl Progress {
    /// A step begins, and the one before is over. A step that is begun again goes on counting.
    pub fn begin(&self, step: Phase) {
        let mut state = self.state();
        state.pass(Instant::now());
        state.step = Some(step);
        state.since = Some(Instant::now());
    }

    /// What was begun last turns out to be this step.
    pub(super) fn is_rather(&self, step: Phase) {
        let mut state = self.state();
        state.step = Some(step);
        state.since = state.since.or_else(|| Some(Instant::now()));
    }

    /// The last step is over.
    pub fn end(&self) {
        let mut state = self.state();
        state.pass(Instant::now());
    }

    /// The step that was begun last: [`Phase::Resolve`], until one is.
    #[must_use]
    pub fn step(&self) -> Phase {
        self.state().step.unwrap_or(Phase::Resolve)
    }

    /// How long each step took until now.
    #[must_use]
    pub fn timings(&self) -> Timings {
        let state = self.state();
        let mut timings = state.done;
        if let (Some(step), Some(since)) = (state.step, state.since) {
            timings.add(step, since.elapsed());
        }
        timings
    }

    /// Say what is at the other end of the connection: the host, or the proxy.
    pub fn set_peer(&self, peer: SocketAddr) {
        self.state().peer = Some(peer);
    }

    /// What is at the other end, if it has an address and is known yet.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.state().peer
    }

    /// Nobody holds it for longer than it takes to copy a few numbers.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pass(&mut self, now: Instant) {
        if let (Some(step), Some(since)) = (self.step, self.since.take()) {
            self.done.add(step, now.saturating_duration_since(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_step_is_measured_and_one_that_comes_twice_is_the_sum() {
        let progress = Progress::default();
        assert_eq!((progress.step(), progress.timings()), (Phase::Resolve, Timings::default()));
        for (step, millis) in
            [(Phase::Resolve, 1), (Phase::Connect, 2), (Phase::Tls, 3), (Phase::Proxy, 4), (Phase::Tls, 5)]
        {
            progress.begin(step);
            sleep(Duration::from_millis(millis)).await;
        }
        let running = progress.timings();
        progress.end();
        sleep(Duration::from_secs(1)).await;
        progress.end();
        let ms = |millis| Some(Duration::from_millis(millis));
        let expected = Timings { resolve: ms(1), connect: ms(2), proxy: ms(4), tls: ms(8), preface: None };
        assert_eq!(progress.timings(), expected);
        assert_eq!(running, expected, "also while it is under way");
        assert_eq!(progress.clone().step(), Phase::Tls);
    }
}
