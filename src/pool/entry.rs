use std::time::Duration;

use tokio::time::Instant;

use super::PoolSettings;
use crate::base::{Deadline, PoolClose, Rng};

/// An object with what the pool knows of it.
pub(super) struct Entry<O> {
    pub(super) object: O,
    /// When it was last handed out, made or found to be good.
    pub(super) used: Instant,
    /// It was connected, and nobody has had it yet.
    pub(super) is_new: bool,
    /// When it is too old.
    dies: Option<Instant>,
    /// When it is too old, or idle for too long if nobody uses it.
    pub(super) ends: Option<Instant>,
}

impl<O> Entry<O> {
    pub(super) fn new(object: O, now: Instant, settings: &PoolSettings, rng: &Rng) -> Self {
        let dies = settings.lifetime.map(|lifetime| {
            let own = lifetime - rng.duration_below(lifetime / 10);
            Deadline::after(now, own).instant()
        });
        Self { object, used: now, is_new: false, dies, ends: None }.used(now, settings.idle_timeout)
    }

    /// The same, as somebody uses it now.
    #[inline]
    pub(super) fn used(mut self, now: Instant, idle_timeout: Option<Duration>) -> Self {
        (self.used, self.is_new) = (now, false);
        let idle = idle_timeout.map(|limit| Deadline::after(now, limit).instant());
        self.ends = match (idle, self.dies) {
            (Some(idle), Some(dies)) => Some(idle.min(dies)),
            (one, other) => one.or(other),
        };
        self
    }

    /// Whether it was used, or found to be good, so lately that nobody has to ask it.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant, check_after: Option<Duration>) -> bool {
        check_after.is_none_or(|after| now < Deadline::after(self.used, after).instant())
    }

    /// Whether it is as old as it may become.
    #[inline]
    pub(super) fn old(&self, now: Instant) -> bool {
        self.dies.is_some_and(|dies| dies <= now)
    }

    /// Why it is to be closed now, if it is.
    #[inline]
    pub(super) fn over(&self, now: Instant) -> Option<PoolClose> {
        if self.ends.is_none_or(|ends| now < ends) {
            return None;
        }
        Some(if self.old(now) { PoolClose::Old } else { PoolClose::Idle })
    }
}
