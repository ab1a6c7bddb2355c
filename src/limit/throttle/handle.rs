use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

use super::decide::chance;
use super::window::Window;
use super::{InvalidThrottle, Sent, ThrottleSettings, Throttled};
use crate::base::{Ratio, Rng, scope};

/// Holds back what a service would only refuse, by what it took lately. It is a handle: its clones share what was counted.
///
/// **Guarantee.** A request is not sent with the chance `max(0, (requests − K · accepts) / (requests + 1))`, counted over the last two
/// minutes, and never with more than nine tenths. Under an overload a service gets about `K` times what it takes, and nobody has to wait
/// or be told by it. As long as it takes at least one in `K`, and answers it within a [stretch](ThrottleSettings::window) of that time, which
/// is five seconds, nothing is held back.
///
/// ```
/// use stonework::base::{Outcome, Rng};
/// use stonework::limit::{AdaptiveThrottle, ThrottleSettings};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), stonework::limit::InvalidThrottle> {
/// let throttle = AdaptiveThrottle::new(ThrottleSettings::new())?.rng(Rng::seeded(1));
/// // A service that refuses everything.
/// let mut sent = 0;
/// for _ in 0..1_000 {
///     match throttle.try_send() {
///         Ok(request) => {
///             sent += 1;
///             request.settle(Outcome::Overload);
///         }
///         Err(throttled) => assert!(throttled.chance().as_f64() <= 0.9),
///     }
/// }
/// assert!((80..180).contains(&sent), "{sent}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AdaptiveThrottle {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) settings: ThrottleSettings,
    pub(super) window: Window,
    rng: Rng,
    throttled: AtomicU64,
}

impl AdaptiveThrottle {
    /// One that has counted nothing yet.
    ///
    /// # Errors
    ///
    /// [`InvalidThrottle`], which names the setting.
    pub fn new(settings: ThrottleSettings) -> Result<Self, InvalidThrottle> {
        settings.check()?;
        Ok(Self::with(settings, Rng::default()))
    }

    /// The settings were checked.
    pub(super) fn with(settings: ThrottleSettings, rng: Rng) -> Self {
        let window = Window::new(settings.window, Instant::now());
        Self { shared: Arc::new(Shared { settings, window, rng, throttled: AtomicU64::new(0) }) }
    }

    /// The same with chance from here. Default: seeded by the operating system. It is said before the handle is shared: it begins with
    /// nothing counted.
    #[must_use]
    pub fn rng(self, rng: Rng) -> Self {
        Self::with(self.shared.settings, rng)
    }

    /// Ask whether to send a request, which counts either way.
    ///
    /// # Errors
    ///
    /// [`Throttled`], if it is not to be sent.
    pub fn try_send(&self) -> Result<Sent, Throttled> {
        let shared = &*self.shared;
        let at = shared.window.at(scope::now());
        let chance = chance(shared.window.sums(at), &shared.settings);
        shared.window.asked(at);
        // While all goes well, no number is drawn.
        if chance > 0.0 && shared.rng.unit() < chance {
            shared.window.refused(at);
            shared.throttled.fetch_add(1, Relaxed);
            return Err(Throttled::new(Ratio::try_from(chance).unwrap_or(Ratio::ZERO)));
        }
        Ok(Sent::new(Arc::clone(&self.shared), at, scope::fair_deadline()))
    }

    /// How large a part of the requests is not sent at the moment.
    #[must_use]
    pub fn chance(&self) -> Ratio {
        let shared = &*self.shared;
        let counted = shared.window.sums(shared.window.at(Instant::now()));
        Ratio::try_from(chance(counted, &shared.settings)).unwrap_or(Ratio::ZERO)
    }

    /// How many were not sent so far.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.shared.throttled.load(Relaxed)
    }

    /// Whether nobody else has it.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

/// With [`ThrottleSettings::new`].
impl Default for AdaptiveThrottle {
    fn default() -> Self {
        Self::with(ThrottleSettings::new(), Rng::default())
    }
}

impl fmt::Debug for AdaptiveThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveThrottle").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
