use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::RemoteKeysSettings;
use super::fetch::Fetched;
use super::missing::Missing;
use super::schedule::{Ask, Schedule, Standing};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Error, Event, Observe, Rng};
use crate::jwt::Keys;

/// What the handles and the one who fetches share.
pub(super) struct Core {
    /// Those in use. They do not know of this, so that nobody holds themselves.
    pub(super) keys: Keys,
    pub(super) settings: RemoteKeysSettings,
    /// For whoever watches: the issuer, or the address.
    pub(super) name: Arc<str>,
    observe: Observe,
    rng: Rng,
    state: Mutex<State>,
    /// Something has to be done earlier than was known.
    pub(super) news: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

struct State {
    schedule: Schedule,
    /// The last pause after a failure, as it grows by itself.
    pause: Duration,
    missing: Missing,
    /// Names that are looked for by the next fetch, or by the one that runs and was begun for them.
    wanted: Vec<Box<str>>,
}

/// As many names as are remembered if they are not found.
const MOST_WANTED: usize = 512;

impl Core {
    pub(super) fn new(
        keys: Keys,
        settings: RemoteKeysSettings,
        name: Arc<str>,
        observe: Observe,
        rng: Rng,
        now: Instant,
    ) -> Self {
        let schedule = Schedule::new(settings.cooldown, settings.max_stale, now);
        let missing = Missing::new(settings.missing_ttl, now);
        let state = Mutex::new(State { schedule, pause: Duration::ZERO, missing, wanted: Vec::new() });
        let (news, ended) = (Notify::new(), watch::Sender::new(0));
        Self { keys, settings, name, observe, rng, state, news, ended }
    }

    /// A token names a key that is not there: waits until it has been looked for, or nobody looks for it now.
    pub(super) async fn look_for(&self, name: &str) {
        // One that was under way already may have begun before the key was there; then it is looked for once more.
        let both = async {
            for _ in 0..2 {
                let Some(until) = self.ask(name) else { return };
                let mut ended = self.ended.subscribe();
                if ended.wait_for(|ended| *ended >= until).await.is_err() || self.knows(name) {
                    return;
                }
            }
        };
        // Whoever waits for too long is refused: nobody found it.
        let _ = timeout(self.settings.unknown_wait, both).await;
    }

    fn ask(&self, name: &str) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state();
        if state.missing.has(name, now) {
            return None;
        }
        let Ask::Await(until) = state.schedule.ask(now) else { return None };
        // That one which is under way does not bring it proves nothing.
        let is_begun = until == state.schedule.begun();
        if !is_begun && state.wanted.len() < MOST_WANTED {
            state.wanted.push(name.into());
        }
        drop(state);
        self.news.notify_one();
        Some(until)
    }

    fn knows(&self, name: &str) -> bool {
        self.keys.current().is_some_and(|set| set.has(name))
    }

    pub(super) async fn wait_ready(&self) {
        let mut ended = self.ended.subscribe();
        while self.keys.current().is_none() {
            // The sender is in here.
            let _ = ended.changed().await;
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.state().schedule.standing(Instant::now())
    }

    pub(super) fn fetches(&self) -> u64 {
        self.state().schedule.begun()
    }

    /// When there is something to do.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.state().schedule.next(now)
    }

    /// Lets go what is too old, and says whether to fetch now.
    pub(super) fn begin(&self, now: Instant) -> bool {
        let mut state = self.state();
        let (over, begins) = (state.schedule.expire(now), state.schedule.begin(now));
        let retry_after = self.retry_after(&state.schedule, now);
        drop(state);
        if over {
            self.keys.set_unavailable(retry_after);
        }
        begins
    }

    /// What came of it. Whoever waits is woken by [`tell_ended`](Self::tell_ended).
    pub(super) fn end(&self, now: Instant, fetched: Result<Fetched, Error>) {
        let mut state = self.state();
        let State { schedule, pause, missing, wanted } = &mut *state;
        match fetched {
            Ok(Fetched { keys, max_age }) => {
                schedule.succeeded(now, self.settings.fresh_for(max_age), self.rng.unit());
                *pause = Duration::ZERO;
                let until = schedule.usable_until();
                for name in wanted.drain(..).filter(|name| !keys.has(name)) {
                    missing.add(&name, now);
                }
                drop(state);
                self.keys.replace_until(keys, until);
            }
            Err(error) => {
                wanted.clear();
                *pause = self.settings.backoff.delay(schedule.failures(), *pause, &self.rng);
                // No provider can keep itself from being asked for longer than it could with good keys.
                let wished = error.retry_after().unwrap_or_default().min(self.settings.max_lifetime);
                schedule.failed(now, wished.max(*pause));
                let again_in = schedule.until_next(now);
                let (standing, retry_after) = (schedule.standing(now), self.retry_after(schedule, now));
                drop(state);
                if standing == Standing::None {
                    self.keys.set_unavailable(retry_after);
                }
                tracing::debug!(from = %self.name, %error, source = ?std::error::Error::source(&error), "no keys were fetched");
                let (from, kind) = (Arc::clone(&self.name), error.kind());
                self.observe.note(|| Event::KeysNotFetched { from, kind, again_in });
            }
        }
    }

    pub(super) fn tell_ended(&self) {
        let ended = self.state().schedule.begun();
        self.ended.send_replace(ended);
    }

    /// When to come back while there are none: when somebody has tried again.
    fn retry_after(&self, schedule: &Schedule, now: Instant) -> Duration {
        schedule.until_next(now).saturating_add(Duration::from_secs(1))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{Algorithm, Key, KeySet};

    fn core() -> Arc<Core> {
        let (settings, observe) = (RemoteKeysSettings::new(), Observe::default());
        let core =
            Core::new(Keys::pending(), settings, "issuer".into(), observe, Rng::seeded(1), Instant::now());
        Arc::new(core)
    }

    fn fetched(name: &str) -> Result<Fetched, Error> {
        let key = Key::secret(Algorithm::Hs256, &[7; 32]).unwrap().named(name);
        Ok(Fetched { keys: KeySet::from(key), max_age: None })
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_a_fetch_under_way_has_not_brought_is_looked_for_once_more() {
        for (brought, again) in [("a", false), ("b", true)] {
            let core = core();
            assert!(core.begin(Instant::now()));
            let looks = Arc::clone(&core);
            let looking = tokio::spawn(async move { looks.look_for("a").await });
            tokio::task::yield_now().await;
            core.end(Instant::now(), fetched(brought));
            core.tell_ended();
            tokio::task::yield_now().await;
            assert_eq!((core.begin(Instant::now()), looking.is_finished()), (again, !again), "{brought}");
            if again {
                core.end(Instant::now(), fetched("b"));
                core.tell_ended();
                looking.await.unwrap();
                assert_eq!(core.ask("a"), None, "it was not found");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_names_are_looked_for_at_once_than_are_remembered() {
        let core = core();
        for name in 0..2 * MOST_WANTED {
            assert_eq!(core.ask(&name.to_string()), Some(1));
        }
        assert_eq!(core.state().wanted.len(), MOST_WANTED);
    }
}
