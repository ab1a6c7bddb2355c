use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::core::Core;
use super::load::{Latency, Load};
use super::record::Record;
use super::rendezvous;
use crate::base::EndpointId;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering};

/// One endpoint, from when it comes until its last call has ended.
///
/// What each call writes comes first, beside the count of references: they are 32 bytes, which mostly lie in one cache line, for which a
/// core waits that has a call there after another one.
#[repr(C)]
pub(super) struct Endpoint<S> {
    pub(super) load: Load,
    pub(super) record: Record,
    pub(super) latency: Latency,
    /// As that of its [life](super::life::Life), for those who do not hold the lock.
    epoch: AtomicU64,
    /// That in which what calls cost there was forgotten for the last time.
    known_since: AtomicU64,
    /// How many calls are still under way that were so by then.
    from_before: AtomicU64,
    /// Unique in this process, or nearly: by this it is known which of them a call has tried.
    pub(super) number: u32,
    /// Whether it could not be reached, and has not answered since.
    unproved: AtomicBool,
    /// The hash of its name, for keys that stick.
    pub(super) name: u64,
    pub(super) service: S,
    pub(super) id: EndpointId,
    pub(super) core: Weak<Core<S>>,
    /// For its task.
    pub(super) news: Notify,
}

impl<S> Endpoint<S> {
    pub(super) fn new(id: EndpointId, service: S, core: Weak<Core<S>>) -> Arc<Self> {
        // No part of what is guaranteed, so that it need not be explored.
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) | 1 << 31;
        Arc::new(Self {
            name: rendezvous::hash(id.as_str().as_bytes()),
            id,
            number,
            service,
            load: Load::new(),
            latency: Latency::new(),
            record: Record::new(),
            core,
            news: Notify::new(),
            epoch: AtomicU64::new(0),
            known_since: AtomicU64::new(0),
            from_before: AtomicU64::new(0),
            unproved: AtomicBool::new(false),
        })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Told by whoever holds the lock.
    pub(super) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// A call has ended that was begun in this epoch.
    pub(super) fn end(&self, begun: u64) {
        self.load.end();
        if begun < self.known_since.load(Ordering::Relaxed) {
            let one_less = |calls: u64| calls.checked_sub(1);
            let _ = self.from_before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
    }

    /// What calls cost there is not known any more, and none that is under way will tell. By whoever holds the lock.
    pub(super) fn forget(&self) {
        self.known_since.store(self.epoch(), Ordering::Relaxed);
        self.from_before.store(self.load.in_flight(), Ordering::Relaxed);
        self.latency.forget();
    }

    /// Whether a call is under way that will tell what calls cost there now.
    fn is_asked(&self) -> bool {
        self.load.in_flight() > self.from_before.load(Ordering::Relaxed)
    }

    pub(super) fn is_unproved(&self) -> bool {
        self.unproved.load(Ordering::Relaxed)
    }

    pub(super) fn set_unproved(&self, unproved: bool) {
        self.unproved.store(unproved, Ordering::Relaxed);
    }

    /// What one more call there would cost: the lower, the better. `share` is its weight where 1 is what there is on average.
    pub(super) fn cost(&self, now: u32, decay: Duration, share: f64) -> f64 {
        /// Eleven days in microseconds: more than any other, and one that waits for its first answer is asked by nobody else.
        const UNKNOWN: f64 = 1e12;
        let calls = self.load.in_flight() as f64 / share;
        match self.latency.cost(now, decay) {
            Some(cost) => cost * (calls + 1.0),
            None if self.is_asked() => UNKNOWN * (calls + 1.0),
            None => 0.0,
        }
    }

    /// The calls it has under way, for its weight.
    pub(super) fn calls(&self, share: f64) -> f64 {
        self.load.in_flight() as f64 / share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(endpoint: &Endpoint<()>) -> f64 {
        endpoint.cost(0, Duration::from_secs(10), 1.0)
    }

    #[test]
    fn one_that_comes_back_is_asked_once_whatever_is_still_under_way_there_from_before() {
        let endpoint = Endpoint::new(EndpointId::from("one"), (), Weak::new());
        let begin = || {
            endpoint.load.begin();
            endpoint.epoch()
        };
        let old = [begin(), begin()];
        assert!(cost(&endpoint) > 1e12, "it has been asked");
        endpoint.set_epoch(1);
        endpoint.forget();
        assert_eq!(cost(&endpoint), 0.0, "and now by nobody");
        for begun in old {
            let asked = begin();
            assert!(cost(&endpoint) > 1e12);
            endpoint.end(begun);
            assert!(cost(&endpoint) > 1e12, "that was not the one");
            // It came back unsent: there is still nothing that is known.
            endpoint.end(asked);
            assert_eq!(cost(&endpoint), 0.0);
        }
    }
}
