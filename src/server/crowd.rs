use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who is connected, and how many may be.
#[derive(Debug)]
pub(super) struct Crowd {
    most: Option<usize>,
    most_per_address: Option<usize>,
    present: Mutex<Present>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The address has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Crowd {
    pub(super) fn new(most: Option<usize>, most_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, present: Mutex::default(), left: Notify::new() })
    }

    /// Waits until one more may come.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.left.notified().await;
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.most.is_none_or(|most| self.present().all < most)
    }

    /// Waits until nobody is left.
    pub(super) async fn empty(&self) {
        while self.present().all > 0 {
            self.left.notified().await;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.present().all
    }

    /// A place for a connection from there. One without an address, as over a Unix socket, is counted with all.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, TooMany> {
        let mut present = self.present();
        let counted = address.map(origin).filter(|_| self.most_per_address.is_some());
        if let Some(origin) = counted {
            let count = present.by_address.entry(origin).or_default();
            if self.most_per_address.is_some_and(|most| *count >= most) {
                return Err(TooMany);
            }
            *count += 1;
        }
        present.all += 1;
        Ok(Place { crowd: Arc::clone(self), counted })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        // Nothing in here panics half-way.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    counted: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.crowd.present();
        present.all -= 1;
        if let Some(origin) = self.counted {
            if let Some(count) = present.by_address.get_mut(&origin) {
                *count -= 1;
                if *count == 0 {
                    present.by_address.remove(&origin);
                }
            }
        }
        drop(present);
        self.crowd.left.notify_one();
    }
}

/// Whom an address stands for: itself; in IPv6, where a single host has many, the network of 64 bits that it is in. An IPv4
/// address that came as an IPv6 one is the IPv4 address.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_places_and_an_ipv6_network_counts_as_one() {
        let crowd = Crowd::new(None, Some(2));
        let first = crowd.enter(address("2001:db8::1")).unwrap();
        let _second = crowd.enter(address("2001:db8::2:0:0:1")).unwrap();
        assert!(crowd.enter(address("2001:db8::3")).is_err());
        let _other = crowd.enter(address("2001:db8:0:1::3")).unwrap();
        drop(first);
        let _again = crowd.enter(address("2001:db8::3")).unwrap();

        let _four =
            [crowd.enter(address("192.0.2.1")).unwrap(), crowd.enter(address("::ffff:192.0.2.1")).unwrap()];
        assert!(crowd.enter(address("192.0.2.1")).is_err());
        let _unnamed: Vec<_> = (0..5).map(|_| crowd.enter(None).unwrap()).collect();
        assert_eq!(crowd.count(), 10);
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let crowd = Crowd::new(None, Some(2));
        drop(crowd.enter(address("192.0.2.1")).unwrap());
        assert!(crowd.present().by_address.is_empty());
        assert_eq!(crowd.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_room_is_woken_when_somebody_leaves() {
        let crowd = Crowd::new(Some(1), None);
        crowd.room().await;
        let place = crowd.enter(None).unwrap();
        let waiting = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        waiting.await.unwrap();
        crowd.empty().await;
    }
}
