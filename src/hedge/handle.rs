use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::HedgeSettings;
use super::quantile::{Known, Latencies, Rules, says_something};
use crate::base::sync::Mutex;

/// A handle to what is known of how long calls take, shared by cloning.
///
/// Layers, and the services that they make, learn together if they are made from clones of one handle. What is measured is the first
/// attempt of each call that may be sent twice, until the head of its answer, if it had to be waited for at all.
///
/// ```
/// use stonework::hedge::{Hedge, HedgeLayer};
///
/// let hedge = Hedge::default();
/// let layer = HedgeLayer::from(hedge.clone());
/// assert_eq!(hedge.delay(), None); // nothing is known yet
/// # let _ = layer;
/// ```
#[derive(Clone)]
pub struct Hedge {
    core: Arc<Core>,
}

/// What clones share.
struct Core {
    settings: HedgeSettings,
    /// Nobody waits for it. A call that ends while another one is being counted, is not.
    latencies: Mutex<Latencies>,
    /// What is known, in microseconds; 0, if nothing is. The two need not be of the same moment.
    delay: AtomicU64,
    typical: AtomicU64,
    fired: AtomicU64,
    won: AtomicU64,
    refused: AtomicU64,
}

impl Hedge {
    /// With these settings.
    #[must_use]
    pub fn new(settings: HedgeSettings) -> Self {
        let HedgeSettings { quantile, min_calls, window, .. } = settings;
        let core = Core {
            settings,
            latencies: Mutex::new(Latencies::new(Rules { quantile, min_calls, window }, Instant::now())),
            delay: AtomicU64::new(0),
            typical: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            won: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        Self { core: Arc::new(core) }
    }

    /// The settings that it was made from.
    pub fn settings(&self) -> &HedgeSettings {
        &self.core.settings
    }

    /// How long a call is waited for before the next attempt goes out: the [fixed one](HedgeSettings::fixed_delay), or what was
    /// learned. `None`, as long as too few calls were measured.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.core.settings.fixed_delay.or_else(|| self.learned())
    }

    /// What has happened so far. The numbers are read one after another, so they may differ by calls in between.
    #[must_use]
    pub fn stats(&self) -> HedgeStats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        HedgeStats {
            fired: read(&self.core.fired),
            won: read(&self.core.won),
            refused: read(&self.core.refused),
        }
    }

    fn learned(&self) -> Option<Duration> {
        match self.core.delay.load(Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// Half of all calls take no longer, as far as is known.
    pub(super) fn typical(&self) -> Duration {
        Duration::from_micros(self.core.typical.load(Relaxed))
    }

    /// A first attempt took so long, until it was answered or given up.
    pub(super) fn note(&self, took: Duration, answered: bool, now: Instant) {
        if !says_something(answered, took, self.learned()) {
            return;
        }
        let Ok(mut latencies) = self.core.latencies.try_lock() else { return };
        if let Some(Known { delay, typical }) = latencies.note(took, now) {
            // Within the lock, so that what is older does not come later.
            self.core.delay.store(delay.as_micros() as u64, Relaxed);
            self.core.typical.store(typical.as_micros() as u64, Relaxed);
        }
    }

    pub(super) fn note_fired(&self) {
        self.core.fired.fetch_add(1, Relaxed);
    }

    pub(super) fn note_won(&self) {
        self.core.won.fetch_add(1, Relaxed);
    }

    pub(super) fn note_refused(&self) {
        self.core.refused.fetch_add(1, Relaxed);
    }
}

/// With the default [`HedgeSettings`].
impl Default for Hedge {
    fn default() -> Self {
        Self::new(HedgeSettings::new())
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("settings", &self.core.settings)
            .field("delay", &self.delay())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a [`Hedge`] has seen since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct HedgeStats {
    /// Attempts that were sent beside or after the first one of their call.
    pub fired: u64,
    /// Those of them whose answer was the result of the call.
    pub won: u64,
    /// Those that the budget did not allow.
    pub refused: u64,
}
