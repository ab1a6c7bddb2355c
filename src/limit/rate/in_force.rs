use std::sync::PoisonError;

use super::Quota;
use super::bucket::Plan;
use super::log::Window;
use super::pace::Pace;
use crate::base::sync::{AtomicU64, Mutex, Ordering};

/// The quota in force, which is read without a lock and can be changed.
pub(super) struct InForce {
    /// Odd while it is being changed.
    version: AtomicU64,
    interval: AtomicU64,
    /// The time that all of it takes, or the length of the window.
    whole: AtomicU64,
    /// The amount of a window; zero for a pace.
    amount: AtomicU64,
    /// Held by whoever changes it.
    quota: Mutex<Quota>,
}

impl InForce {
    pub(super) fn new(quota: Quota) -> Self {
        let [interval, whole, amount] = parts(Plan::of(&quota)).map(AtomicU64::new);
        Self { version: AtomicU64::new(0), interval, whole, amount, quota: Mutex::new(quota) }
    }

    #[inline]
    pub(super) fn plan(&self) -> Plan {
        self.read().0
    }

    /// The plan, and by what [`is_still`](Self::is_still) tells whether it is the one in force.
    #[inline]
    pub(super) fn read(&self) -> (Plan, Version) {
        loop {
            // Whoever sees a part that is being changed sees here that it is, or was meanwhile.
            let before = self.version.load(Ordering::Acquire);
            let interval = self.interval.load(Ordering::Acquire);
            let whole = self.whole.load(Ordering::Acquire);
            let amount = self.amount.load(Ordering::Acquire);
            if is_settled(before, self.version.load(Ordering::Relaxed)) {
                let plan = match u32::try_from(amount) {
                    Ok(0) | Err(_) => Plan::Paced(Pace { interval, whole }),
                    Ok(amount) => Plan::Strict(Window { amount, length: whole }),
                };
                return (plan, Version(before));
            }
            // Until whoever changes it is done.
            let _ = self.quota();
        }
    }

    /// Whether nobody has begun to change it. Asked under a lock that is taken for every change of what was spent, this holds until that is let
    /// go of.
    #[inline]
    pub(super) fn is_still(&self, version: Version) -> bool {
        self.version.load(Ordering::Acquire) == version.0
    }

    pub(super) fn quota(&self) -> Quota {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change it, and meanwhile what was spent by the old one.
    pub(super) fn change(&self, quota: Quota, meanwhile: impl FnOnce(Plan, Plan)) {
        let mut in_force = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (Plan::of(&in_force), Plan::of(&quota));
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        for (part, value) in [&self.interval, &self.whole, &self.amount].into_iter().zip(parts(new)) {
            part.store(value, Ordering::Release);
        }
        *in_force = quota;
        // Also by a panic, which a key's own code may begin.
        let _changed = Changed { version: &self.version, to: version.wrapping_add(2) };
        meanwhile(old, new);
    }
}

/// Of which change a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u64);

struct Changed<'a> {
    version: &'a AtomicU64,
    to: u64,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.version.store(self.to, Ordering::Release);
    }
}

/// Whether what was read between these versions belongs together.
const fn is_settled(before: u64, after: u64) -> bool {
    before & 1 == 0 && before == after
}

fn parts(plan: Plan) -> [u64; 3] {
    match plan {
        Plan::Paced(pace) => [pace.interval, pace.whole, 0],
        Plan::Strict(window) => [0, window.length, u64::from(window.amount)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_counts_only_if_nobody_changed_it_meanwhile() {
        assert!(is_settled(0, 0) && is_settled(4, 4));
        assert!(!is_settled(1, 1), "somebody is at it all the time");
        assert!(!is_settled(0, 2), "somebody was at it");
        assert!(!is_settled(0, 1) && !is_settled(1, 2));
    }

    #[test]
    fn from_when_it_begins_to_change_it_is_not_what_was_read() {
        let in_force = InForce::new(Quota::per_hour(1));
        let (_, version) = in_force.read();
        assert!(in_force.is_still(version));
        in_force.change(Quota::per_second(1), |_, _| assert!(!in_force.is_still(version)));
        assert!(!in_force.is_still(version) && in_force.is_still(in_force.read().1));
    }
}
