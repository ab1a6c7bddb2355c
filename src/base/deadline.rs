//! The instant at which a call is of no more use to anybody.
//!
//! A deadline travels with the work, not with the request: while a limit polls what is inside it, its deadline is *in
//! scope*, and every limit, retry and client call below sees it and can only shorten it. So a server's time limit
//! reaches the client that its handler uses, without anyone passing it on.
//!
//! What is spawned does not inherit it; [`carry`] takes it along, [`detached`] leaves it behind:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use stonework::base::deadline::{self, Deadline};
//!
//! let limit = Deadline::within(Duration::from_secs(1));
//! let seen = limit.bound(async {
//!     let spawned = tokio::spawn(async { Deadline::current() });
//!     let carried = tokio::spawn(deadline::carry(async { Deadline::current() }));
//!     let detached = deadline::detached(async { Deadline::current() });
//!     (Deadline::current(), spawned.await.unwrap(), carried.await.unwrap(), detached.await)
//! });
//! assert_eq!(seen.await.unwrap(), (Some(limit), None, Some(limit), None));
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Instant;

use super::alarm::{Alarm, Limited};
use super::error::Error;
use super::kind::Kind;
use super::nesting::{self, Nesting};
use super::scope::{self, Along};

/// Tokio's clock cannot go much further than this on every platform.
const DECADES: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// An absolute instant of tokio's clock. See the [module](self).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use stonework::base::Deadline;
///
/// let late = Deadline::within(Duration::MAX); // far in the future; it does not overflow
/// let soon = Deadline::within(Duration::from_millis(20));
/// assert_eq!(soon.min(late), soon);
///
/// let error = soon.bound(std::future::pending::<()>()).await.unwrap_err();
/// assert_eq!(error.to_string(), "no answer within 20ms");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// `limit` from now. A limit beyond what the clock can count lies some decades ahead.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self::after(Instant::now(), limit)
    }

    /// `limit` after `start`, saturating like [`within`](Self::within).
    #[must_use]
    #[inline]
    pub fn after(start: Instant, limit: Duration) -> Self {
        Self(start.checked_add(countable(limit)).unwrap_or(start))
    }

    /// At this instant.
    ///
    /// ```
    /// use stonework::base::Deadline;
    /// use tokio::time::Instant;
    ///
    /// let now = Instant::now();
    /// assert_eq!(Deadline::at(now).instant(), now);
    /// ```
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline in scope: that of the innermost limit whose work is being called or polled here and now.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::base::Deadline;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), stonework::base::Elapsed> {
    /// assert_eq!(Deadline::current(), None);
    /// let soon = Deadline::within(Duration::from_secs(1));
    /// soon.bound(async { assert_eq!(Deadline::current(), Some(soon)) }).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    #[inline]
    pub fn current() -> Option<Self> {
        scope::current().deadline.map(Self)
    }

    /// This one, or the one in scope if that is earlier.
    #[must_use]
    #[inline]
    pub(crate) fn in_scope(self) -> Self {
        scope::current().deadline.map_or(self, |outer| self.min(Self(outer)))
    }

    /// The instant itself.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// What is left at `now`; zero when it has passed.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Run `work` with this deadline in scope, and give up when it passes.
    ///
    /// `work` is polled at least once, also when the time is over already; an answer then goes before the clock.
    ///
    /// *Errors:* [`Elapsed`]. *Panics:* when polled outside a Tokio runtime with timers. *Cancellation:* dropping the
    /// future drops the work.
    pub fn bound<F: Future>(self, work: F) -> Bound<F> {
        Bound { work, alarm: Alarm::new(), at: self.0, start: Instant::now() }
    }
}

/// The limit, or some decades if it is longer: what can be added to any instant. Hyper adds limits without a check.
#[inline]
pub(crate) fn countable(limit: Duration) -> Duration {
    limit.min(DECADES)
}

/// Work with a deadline. See [`Deadline::bound`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Bound<F> {
    #[pin]
    work: F,
    #[pin]
    alarm: Alarm,
    at: Instant,
    start: Instant,
}

impl<F: Future> Future for Bound<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match ready!(this.alarm.poll_limited(cx, *this.at, |cx| this.work.as_mut().poll(cx))) {
            Limited::Done(answer) => Poll::Ready(Ok(answer)),
            Limited::Elapsed => Poll::Ready(Err(Elapsed::new(
                Phase::Response,
                this.at.saturating_duration_since(*this.start),
            ))),
        }
    }
}

/// Take the deadline in scope along, for instance into `tokio::spawn`, and with it whether this is part of a
/// [retry](crate::retry::HopLayer). The [module](self) has an example.
///
/// `work` sees it; it is not ended by it. For that, use [`Deadline::bound`] as well.
pub fn carry<F: Future>(work: F) -> Carry<F> {
    Carry { work, deadlines: Some(Along::here()), attempt: nesting::current().attempt }
}

/// Leave the deadline in scope behind: what `work` calls is not cut to it. The [module](self) has an example.
///
/// *Cancellation:* whoever limits the future that awaits this one still drops both when the time is over. Work that has
/// to be done whether or not anyone waits for it belongs into a task of its own, where no deadline is in scope anyway.
pub fn detached<F: Future>(work: F) -> Carry<F> {
    Carry { work, deadlines: None, attempt: nesting::current().attempt }
}

/// Work that brings its deadline along, or none. See [`carry`] and [`detached`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Carry<F> {
    #[pin]
    work: F,
    // Nothing, if deadlines do not pass at all.
    deadlines: Option<Along>,
    attempt: u32,
}

impl<F: Future> Future for Carry<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let entered = nesting::enter(Nesting::or_part_of(*this.attempt));
        let poll = || this.work.poll(cx);
        let poll = match this.deadlines {
            Some(along) => along.poll(poll),
            None => scope::poll(None, poll),
        };
        if entered.pass_on() {
            nesting::tell_spent();
        }
        poll
    }
}

/// A limit of time ran out: the event at the end of the chain of an [`Error`] of kind [`Kind::Timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    phase: Phase,
    granted: Option<Duration>,
}

impl Elapsed {
    /// `granted` is the time there was, counted from where the limit that ran out began.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::base::{Elapsed, Phase};
    ///
    /// let late = Elapsed::new(Phase::Response, Duration::from_secs(2));
    /// assert_eq!(late.to_string(), "no answer within 2s");
    /// assert_eq!((late.phase(), late.granted()), (Phase::Response, Some(Duration::from_secs(2))));
    /// ```
    #[must_use]
    pub const fn new(phase: Phase, granted: Duration) -> Self {
        Self { phase, granted: Some(granted) }
    }

    /// A deadline passed that somebody else had set.
    pub(crate) const fn before_deadline(phase: Phase) -> Self {
        Self { phase, granted: None }
    }

    /// What was being waited for.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The time there was, if it was this layer that limited it: the limit, or what an outer deadline had left of it.
    #[must_use]
    pub const fn granted(&self) -> Option<Duration> {
        self.granted
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.phase {
            Phase::BodyIdle => "no data",
            Phase::BodyRate => "too little data",
            Phase::BodyTotal => "the body did not end",
            Phase::Connect => "no connection",
            Phase::Preface => "no HTTP/2 settings from the peer",
            Phase::Proxy => "no tunnel through the proxy",
            Phase::Resolve => "no address of the host",
            Phase::Tls => "no end of the TLS handshake",
            Phase::Pool => "nothing free",
            Phase::Readiness => "not ready",
            Phase::Response => "no answer",
        };
        match self.granted {
            Some(granted) => write!(f, "{what} within {granted:?}"),
            None => write!(f, "{what} before the deadline"),
        }
    }
}

impl std::error::Error for Elapsed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Kind::Timeout)
    }
}

impl From<Elapsed> for Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(Kind::Timeout, elapsed)
    }
}

/// What a limit was waiting for when it ran out. See [`Elapsed::new`] and [`Elapsed::phase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// For the next piece of a body: whoever sends it was silent.
    BodyIdle,
    /// For a body that came too slowly.
    BodyRate,
    /// For the end of a body.
    BodyTotal,
    /// For a connection of TCP, or of whatever stands in its place.
    Connect,
    /// For something from a pool.
    Pool,
    /// For the first settings of an HTTP/2 peer.
    Preface,
    /// For a proxy that was asked for a tunnel.
    Proxy,
    /// For the service to become ready: no request had been handed to it.
    Readiness,
    /// For the addresses of a host.
    Resolve,
    /// For the response.
    Response,
    /// For the end of a TLS handshake.
    Tls,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_up_to_thirty_years() {
        let thirty_years = Duration::from_secs(946_080_000);
        for (limit, counted) in [
            (Duration::from_nanos(1), Duration::from_nanos(1)),
            (thirty_years, thirty_years),
            (thirty_years + Duration::from_nanos(1), thirty_years),
            (Duration::MAX, thirty_years),
        ] {
            assert_eq!(countable(limit), counted);
        }
    }
}
