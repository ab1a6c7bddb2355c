//! When keys are fetched, and for how long they are used. The clock and chance are handed in.

use std::time::Duration;

use tokio::time::Instant;

/// About thirty years, as tokio's own far future: an instant cannot be much later.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// What is known of the keys of one issuer, and what is done next.
#[derive(Debug)]
pub(super) struct Schedule {
    cooldown: Duration,
    max_stale: Duration,
    /// Those in use, if there are any.
    good: Option<Good>,
    /// When they are fetched, if nobody asks earlier.
    next: Instant,
    /// Failures since the last success.
    failures: u32,
    /// When the last token came that made somebody look for its key.
    asked: Option<Instant>,
    /// It has come, and nobody has begun yet.
    wanted: bool,
    /// The fetch that runs is made for it.
    for_name: bool,
    begun: u64,
    ended: u64,
}

#[derive(Clone, Copy, Debug)]
struct Good {
    fresh_until: Instant,
    usable_until: Instant,
}

/// What to do about a name that no key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// It was looked for a short while ago, by this token or another.
    NotNow,
    /// Wait until so many fetches have ended.
    Await(u64),
}

/// How good what is known is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are no keys, and nobody has come back yet.
    Unknown,
    /// There are none, since nobody could fetch them.
    None,
    /// They should have been fetched again, and could not be.
    Stale,
    Fresh,
}

impl Schedule {
    /// Fetches at once.
    pub(super) const fn new(cooldown: Duration, max_stale: Duration, now: Instant) -> Self {
        Self {
            cooldown,
            max_stale,
            good: None,
            next: now,
            failures: 0,
            asked: None,
            wanted: false,
            for_name: false,
            begun: 0,
            ended: 0,
        }
    }

    /// A token names a key that is not there. The pause is counted from here, so that it does not matter what becomes of the fetch.
    pub(super) fn ask(&mut self, now: Instant) -> Ask {
        if self.is_running() {
            return Ask::Await(self.begun);
        }
        if !self.wanted {
            if self.asked.is_some_and(|at| now < later(at, self.cooldown)) {
                return Ask::NotNow;
            }
            self.asked = Some(now);
            self.wanted = true;
        }
        Ask::Await(self.begun + 1)
    }

    /// When there is something to do.
    pub(super) fn next(&self, now: Instant) -> Instant {
        if self.wanted {
            return now;
        }
        self.good.map_or(self.next, |good| self.next.min(good.usable_until))
    }

    /// Whether to fetch them now; if so, it has begun.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_running() && (self.wanted || now >= self.next);
        if begins {
            self.for_name = std::mem::take(&mut self.wanted);
            self.begun += 1;
        }
        begins
    }

    /// There are keys, which are fresh for so long. `spread` is a number from 0 to 1, by chance.
    pub(super) fn succeeded(&mut self, now: Instant, fresh_for: Duration, spread: f64) {
        let fresh_until = later(now, fresh_for);
        self.good = Some(Good { fresh_until, usable_until: later(fresh_until, self.max_stale) });
        self.failures = 0;
        // Ahead of time, and not all replicas at once: between three quarters of it and nine tenths.
        self.next = later(now, fresh_for.mul_f64(0.75 + 0.15 * spread.clamp(0.0, 1.0)));
        self.end();
    }

    /// There are no new ones; `delay` is how long to wait. Those that are there stay.
    pub(super) fn failed(&mut self, now: Instant, delay: Duration) {
        self.failures = self.failures.saturating_add(1);
        // What a stranger's token has caused is not repeated: the next fetch comes when it would have come anyway.
        if !self.for_name || self.next <= now {
            self.next = later(now, delay);
        }
        self.end();
    }

    /// Whether those in use have just become too old; they are in use no longer.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let over = self.good.is_some_and(|good| now >= good.usable_until);
        if over {
            self.good = None;
        }
        over
    }

    /// Until when those that are there may be used, whatever becomes of whoever fetches them.
    pub(super) fn usable_until(&self) -> Option<Instant> {
        self.good.map(|good| good.usable_until)
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.good {
            Some(good) if now < good.fresh_until => Standing::Fresh,
            Some(good) if now < good.usable_until => Standing::Stale,
            Some(_) => Standing::None,
            None if self.ended == 0 => Standing::Unknown,
            None => Standing::None,
        }
    }

    /// How long it is until somebody tries again, at the latest.
    pub(super) fn until_next(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// How often in a row it has failed.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// How many fetches have begun.
    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    const fn is_running(&self) -> bool {
        self.begun > self.ended
    }

    fn end(&mut self) {
        self.ended = self.begun;
        self.for_name = false;
    }
}

fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Fetched at the start, and good for a hundred seconds.
    fn fetched(now: Instant) -> Schedule {
        let mut schedule = Schedule::new(30 * S, 1_000 * S, now);
        assert!(schedule.begin(now));
        schedule.succeeded(now, 100 * S, 0.0);
        schedule
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_ahead_of_their_end_and_not_by_all_at_once() {
        let now = Instant::now();
        for (spread, next) in [(0.0, 75), (0.5, 82), (1.0, 90), (7.0, 90)] {
            let mut schedule = Schedule::new(30 * S, 1_000 * S, now);
            assert!(schedule.next(now) == now && schedule.begin(now) && !schedule.begin(now));
            schedule.succeeded(now, 100 * S, spread);
            assert_eq!(schedule.next(now).duration_since(now).as_secs(), next, "{spread}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_for_once_in_each_pause_whatever_becomes_of_it() {
        let now = Instant::now();
        for good in [true, false] {
            let mut schedule = fetched(now);
            let now = now + S;
            assert_eq!((schedule.ask(now), schedule.ask(now)), (Ask::Await(2), Ask::Await(2)));
            assert!(schedule.begin(now));
            assert_eq!(schedule.ask(now), Ask::Await(2), "the one that runs");
            if good {
                schedule.succeeded(now, 100 * S, 0.0)
            } else {
                schedule.failed(now, S)
            };
            for second in [0, 1, 29] {
                assert_eq!(schedule.ask(now + second * S), Ask::NotNow);
            }
            assert!(!schedule.begin(now + 29 * S), "it is not repeated");
            assert_eq!(schedule.ask(now + 30 * S), Ask::Await(3));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_stand_as_their_times_say_to_the_instant() {
        let now = Instant::now();
        let schedule = fetched(now);
        let standing = |at: Duration| schedule.standing(now + at);
        let one = Duration::from_nanos(1);
        assert_eq!((standing(100 * S - one), standing(100 * S)), (Standing::Fresh, Standing::Stale));
        let end = schedule.usable_until().unwrap().duration_since(now);
        assert_eq!((standing(end - one), standing(end)), (Standing::Stale, Standing::None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_was_due_anyway_leaves_the_names_their_own() {
        let now = Instant::now();
        let mut schedule = fetched(now);
        let now = now + 75 * S;
        assert!(schedule.begin(now));
        assert_eq!(schedule.ask(now), Ask::Await(2));
        schedule.failed(now, S);
        assert_eq!(schedule.ask(now), Ask::Await(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_for_a_name_that_fails_when_one_was_due_anyway_counts_as_that_one() {
        let mut schedule = fetched(Instant::now());
        let due = schedule.next(Instant::now());
        assert_eq!(schedule.ask(due), Ask::Await(2));
        assert!(schedule.begin(due));
        schedule.failed(due, 7 * S);
        assert_eq!((schedule.next(due), schedule.until_next(due)), (due + 7 * S, 7 * S));
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_stay_through_failures_until_they_are_too_old() {
        let start = Instant::now();
        let mut schedule = fetched(start);
        assert_eq!(schedule.standing(start + 100 * S), Standing::Stale);
        let mut now = start;
        while !schedule.expire(now) {
            let expected = if now < start + 100 * S { Standing::Fresh } else { Standing::Stale };
            assert_eq!(schedule.standing(now), expected);
            if schedule.begin(now) {
                schedule.failed(now, 7 * S);
            }
            now = schedule.next(now);
        }
        assert_eq!(now, start + 1_100 * S);
        assert_eq!(schedule.standing(now), Standing::None);
        assert!(!schedule.expire(now) && schedule.failures() > 100);
        assert!(schedule.until_next(now) <= 7 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn no_length_is_too_long() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Duration::MAX, Duration::MAX, now);
        assert_eq!(schedule.standing(now), Standing::Unknown);
        assert!(schedule.begin(now));
        schedule.failed(now, Duration::MAX);
        assert_eq!(schedule.ask(now), Ask::Await(2));
        assert!(schedule.begin(now));
        schedule.succeeded(now, FAR, 1.0);
        assert_eq!(schedule.ask(now + FAR / 2), Ask::NotNow);
    }
}
