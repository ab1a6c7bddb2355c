//! Handles that are asked for keys: each clone has one of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stonework::idempotency::{AfterCrash, Fingerprint, NewClaim, Owner, Scope};

use crate::limit::address;

/// As many as a client has, and more than there are tasks at once.
const KEYS: u64 = 128;

/// With a key that no other clone has at the same time.
pub(super) struct Own<T> {
    pub(super) shared: T,
    pub(super) key: IpAddr,
    next: Arc<AtomicU64>,
}

impl<T> Own<T> {
    pub(super) fn of(shared: T) -> Self {
        Self { shared, key: address(0), next: Arc::default() }
    }

    /// What a request with this key would ask a store for.
    pub(super) fn claim(&self) -> (Scope, NewClaim) {
        let IpAddr::V6(key) = self.key else { unreachable!("all of them are") };
        let (half, whole) = (key.octets(), [key.octets(), key.octets()].concat());
        let whole: [u8; 32] = whole.try_into().expect("32 bytes");
        let claim = NewClaim {
            fingerprint: Fingerprint::from_bytes(whole),
            owner: Owner::from_bytes(half),
            lease: Duration::from_secs(60),
            keep: Duration::from_secs(60 * 60),
            after_crash: AfterCrash::FailClosed,
        };
        (Scope::from_bytes(whole), claim)
    }
}

impl<T: Clone> Clone for Own<T> {
    fn clone(&self) -> Self {
        let key = address(self.next.fetch_add(1, Ordering::Relaxed) % KEYS);
        Self { shared: self.shared.clone(), key, next: Arc::clone(&self.next) }
    }
}
