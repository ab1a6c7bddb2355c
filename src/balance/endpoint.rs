use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::core::Core;
use super::load::Load;
use super::record::Record;
use super::rendezvous;
use crate::base::EndpointId;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering};

/// One endpoint, from when it comes until its last call has ended.
///
/// What each call writes comes first, beside the count of references, so that a core that has a call there waits for few cache lines.
#[repr(C)]
pub(super) struct Endpoint<S> {
    pub(super) load: Load,
    pub(super) record: Record,
    /// As that of its [life](super::life::Life), for those who do not hold the lock.
    epoch: AtomicU64,
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
            record: Record::new(),
            core,
            news: Notify::new(),
            epoch: AtomicU64::new(0),
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
        match self.load.cost(now, decay) {
            Some(cost) => cost * (calls + 1.0),
            None if calls == 0.0 => 0.0,
            None => UNKNOWN * (calls + 1.0),
        }
    }

    /// The calls it has under way, for its weight.
    pub(super) fn calls(&self, share: f64) -> f64 {
        self.load.in_flight() as f64 / share
    }
}
