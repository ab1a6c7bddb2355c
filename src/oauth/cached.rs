//! The token that there is, when it is replaced, and what happens when that fails. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use tokio::time::Instant;

use super::AccessToken;
use super::answer::Granted;
use super::error::NoToken;
use super::settings::TokenSettings;
use crate::base::{Deadline, Rng};

/// No server is left alone for longer, whatever it says: it may be well again, and nobody would find out.
pub(super) const MOST_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);
/// However short a token lives, it is not asked for more often than that.
pub(super) const LEAST_LIFETIME: Duration = Duration::from_secs(1);
/// A new one is asked for when this part of its life is over at the earliest …
const EARLIEST: f64 = 0.7;
/// … and when this one is, at the latest: by chance, so that not all who began together ask together.
const LATEST: f64 = 0.9;

/// What one source knows. `W` is what those have who wait for a fetch.
#[derive(Debug)]
pub(super) struct Cached<W> {
    settings: TokenSettings,
    rng: Rng,
    held: Option<Held>,
    fetching: Option<Fetching<W>>,
    failed: Option<Failed>,
    /// How many were begun, which is also the number of the last one.
    begun: u64,
    failures: u64,
    /// When a token was last asked for because one was refused.
    renewed: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    token: AccessToken,
    until: Instant,
    refresh_at: Instant,
}

#[derive(Debug)]
struct Fetching<W> {
    number: u64,
    on: W,
}

#[derive(Debug)]
struct Failed {
    why: NoToken,
    until: Instant,
    pause: Duration,
    in_a_row: u32,
}

/// What there is for somebody who needs a token.
#[derive(Debug)]
pub(super) enum Look<W> {
    /// This one is good.
    Good(AccessToken),
    /// There is none; it comes with this.
    Wait(W),
    /// There is none, and the server is left alone for so long.
    Failed(NoToken, Duration),
}

/// A fetch that is to be begun: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin(pub(super) u64);

/// How a fetch ended, for those who waited for it: a token, or why there is none and for how long the server is left alone.
pub(super) type Ended = Result<AccessToken, (NoToken, Duration)>;

impl<W: Clone> Cached<W> {
    pub(super) const fn new(settings: TokenSettings, rng: Rng) -> Self {
        Self { settings, rng, held: None, fetching: None, failed: None, begun: 0, failures: 0, renewed: None }
    }

    /// Somebody needs a token. `waiting` makes what they wait for, if a fetch is to be begun.
    pub(super) fn look(&mut self, now: Instant, waiting: impl FnOnce() -> W) -> (Look<W>, Option<Begin>) {
        let pause = self.pause(now);
        if let Some(held) = self.held.as_ref().filter(|held| now < held.until) {
            let (token, is_due) = (held.token.clone(), now >= held.refresh_at);
            // While it is good, nobody waits for a better one.
            let begin = is_due && self.fetching.is_none() && pause.is_none();
            return (Look::Good(token), begin.then(|| self.begin(waiting()).0));
        }
        if let Some(fetching) = &self.fetching {
            return (Look::Wait(fetching.on.clone()), None);
        }
        if let Some((why, pause)) = pause {
            return (Look::Failed(why, pause), None);
        }
        let (begin, on) = self.begin(waiting());
        (Look::Wait(on), Some(begin))
    }

    /// This token was refused. Nothing, if there is no hope for another now. Those who come with the same one wait for the same fetch, and once
    /// in a while is enough: a server that refuses whatever it is shown is not to make us ask for a token with each request. Until there is
    /// another, the old one stays: if one server errs, it is good for the others.
    pub(super) fn renew(
        &mut self,
        refused: &AccessToken,
        now: Instant,
        waiting: impl FnOnce() -> W,
    ) -> (Option<Look<W>>, Option<Begin>) {
        if let Some(held) = self.held.as_ref().filter(|held| now < held.until && !held.token.is(refused)) {
            return (Some(Look::Good(held.token.clone())), None);
        }
        if let Some(fetching) = &self.fetching {
            return (Some(Look::Wait(fetching.on.clone())), None);
        }
        let rests =
            self.renewed.is_some_and(|at| now.saturating_duration_since(at) < self.settings.renewal_pause);
        if rests || self.pause(now).is_some() {
            return (None, None);
        }
        self.renewed = Some(now);
        let (begin, on) = self.begin(waiting());
        (Some(Look::Wait(on)), Some(begin))
    }

    /// This fetch ended, whose request was `sent` then. `advice` is what the server said when to come back.
    pub(super) fn ended(
        &mut self,
        Begin(number): Begin,
        sent: Instant,
        found: Result<Granted, NoToken>,
        advice: Option<Duration>,
        now: Instant,
    ) -> Ended {
        let is_current = self.fetching.as_ref().is_some_and(|fetching| fetching.number == number);
        if is_current {
            self.fetching = None;
        }
        match found {
            Ok(Granted { token, lifetime }) => {
                let lifetime = lifetime
                    .unwrap_or(self.settings.default_lifetime)
                    .clamp(LEAST_LIFETIME, self.settings.max_lifetime);
                // Counted from when it was asked for: it was made later than that.
                let at = |length| Deadline::after(sent, length).instant();
                let part = EARLIEST + (LATEST - EARLIEST) * self.rng.unit();
                let (until, refresh_at) = (at(lifetime), at(lifetime.mul_f64(part)));
                self.held = Some(Held { token: token.clone(), until, refresh_at });
                self.failed = None;
                Ok(token)
            }
            Err(why) => {
                let before = self.failed.take();
                let (in_a_row, last) = before.map_or((0, Duration::ZERO), |f| (f.in_a_row, f.pause));
                let pause = self.settings.backoff.delay(in_a_row, last, &self.rng);
                let pause = pause.max(advice.unwrap_or_default().min(MOST_RETRY_AFTER));
                self.failures += 1;
                self.failed = Some(Failed {
                    why: why.clone(),
                    until: Deadline::after(now, pause).instant(),
                    pause,
                    in_a_row: in_a_row.saturating_add(1),
                });
                Err((why, pause))
            }
        }
    }

    /// This fetch ended without an answer, if it has not ended already.
    pub(super) fn given_up(&mut self, begin: Begin, now: Instant) {
        if self.fetching.as_ref().is_some_and(|fetching| fetching.number == begin.0) {
            let _ = self.ended(begin, now, Err(NoToken::GivenUp), None, now);
        }
    }

    /// What those have who wait for the fetch under way.
    pub(super) fn waited_for(&mut self, Begin(number): Begin) -> Option<&mut W> {
        self.fetching.as_mut().filter(|fetching| fetching.number == number).map(|fetching| &mut fetching.on)
    }

    pub(super) fn fetching(&self) -> Option<&W> {
        self.fetching.as_ref().map(|fetching| &fetching.on)
    }

    /// For how long the token that there is will be good.
    pub(super) fn good_for(&self, now: Instant) -> Option<Duration> {
        let left = self.held.as_ref()?.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    /// How many fetches were begun, and how many failed.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.begun, self.failures)
    }

    fn begin(&mut self, on: W) -> (Begin, W) {
        self.begun += 1;
        self.fetching = Some(Fetching { number: self.begun, on: on.clone() });
        (Begin(self.begun), on)
    }

    /// Why nobody is asked now, and for how long.
    fn pause(&self, now: Instant) -> Option<(NoToken, Duration)> {
        let failed = self.failed.as_ref().filter(|failed| now < failed.until)?;
        Some((failed.why.clone(), failed.until - now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn token(secret: &str) -> AccessToken {
        AccessToken::new(secret, None).unwrap()
    }

    /// It holds a token from now on, for a hundred seconds.
    fn holding(now: Instant) -> (Cached<()>, AccessToken) {
        let settings = TokenSettings::new().renewal_pause(10 * SECOND);
        let mut cached = Cached::new(settings, Rng::seeded(1));
        let begin = cached.look(now, || ()).1.expect("there is none");
        let held = got(&mut cached, begin, now);
        (cached, held)
    }

    fn got(cached: &mut Cached<()>, begin: Begin, now: Instant) -> AccessToken {
        let granted = Granted { token: token("a"), lifetime: Some(100 * SECOND) };
        cached.ended(begin, now, Ok(granted), None, now).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_are_refused_are_replaced_once_in_each_pause() {
        let now = Instant::now();
        let (mut cached, first) = holding(now);
        let begin = cached.renew(&first, now, || ()).1.expect("nobody has asked yet");
        let second = got(&mut cached, begin, now);
        let pause = now + 10 * SECOND;
        for (at, begins) in [(pause - Duration::from_nanos(1), false), (pause, true)] {
            assert_eq!(cached.renew(&second, at, || ()).1.is_some(), begins);
        }
        assert_eq!(cached.counts(), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_refused_with_another_token_gets_this_one_until_its_end_has_come() {
        let now = Instant::now();
        let (mut cached, _) = holding(now);
        let end = now + 100 * SECOND;
        for (at, is_good) in [(end - Duration::from_nanos(1), true), (end, false)] {
            let (look, begin) = cached.renew(&token("another"), at, || ());
            assert_eq!((matches!(look, Some(Look::Good(_))), begin.is_none()), (is_good, is_good));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_was_given_up_is_not_taken_for_the_one_after_it() {
        let now = Instant::now();
        let mut cached = Cached::new(TokenSettings::new(), Rng::seeded(1));
        let first = cached.look(now, || ()).1.expect("there is none");
        cached.given_up(first, now);
        let later = now + 60 * SECOND;
        let second = cached.look(later, || ()).1.expect("nobody asks any more");
        cached.given_up(first, later);
        assert!(second != first && cached.waited_for(second).is_some());
    }
}
