//! Calendar time, for what other machines wrote down.

use std::time::SystemTime;

use tokio::time::Instant;

/// The calendar clock: it reads dates that others wrote, such as `Retry-After` or the expiry of a token.
///
/// How long something takes is never measured with it, since it jumps when it is set; all durations come from tokio's
/// clock. A layer is handed one, so that a test can say what day it is.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use stonework::base::WallClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
/// let clock = WallClock::fixed_at(noon);
/// tokio::time::sleep(Duration::from_secs(3600)).await; // in a test with a paused clock, at once
/// assert_eq!(clock.now(), noon + Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    source: Source,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Fixed {
        anchor: SystemTime,
        since: Instant,
    },
}

impl WallClock {
    /// The clock of the machine, which is also the default.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use stonework::base::WallClock;
    ///
    /// let before = SystemTime::UNIX_EPOCH;
    /// assert!(WallClock::system().now() > before);
    /// ```
    #[must_use]
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that shows `anchor` now and moves with tokio's clock from here on.
    ///
    /// In a test whose tokio clock is paused it stands still, and moves when that clock is advanced.
    #[must_use]
    pub fn fixed_at(anchor: SystemTime) -> Self {
        Self { source: Source::Fixed { anchor, since: Instant::now() } }
    }

    /// The date and time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self.source {
            #[expect(clippy::disallowed_methods, reason = "the one place where calendar time enters")]
            Source::System => SystemTime::now(),
            // Past the last date that the platform can show, the clock stands still.
            Source::Fixed { anchor, since } => anchor.checked_add(since.elapsed()).unwrap_or(anchor),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fixed_clock_moves_with_the_paused_clock_of_tokio_only() {
        let anchor = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let clock = WallClock::fixed_at(anchor);
        assert_eq!(clock.now(), anchor);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now(), anchor + Duration::from_millis(1_500));
        assert_eq!(clock.clone().now(), clock.now());
    }

    #[test]
    fn the_default_clock_is_that_of_the_machine() {
        assert!(WallClock::default().now() > SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    }
}
