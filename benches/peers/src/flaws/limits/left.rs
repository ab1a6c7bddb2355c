//! What is taken from a limit and not used.

use http::Request;
use tower::{Service, ServiceExt};

use super::kit::ask;
use crate::measure::live;

/// Ten clones become ready, and are dropped before they are called. Then another one is asked 20 times: how many are answered.
pub(super) async fn dropped_when_ready<S: Service<Request<()>> + Clone>(mut service: S) -> usize {
    for _ in 0..10 {
        assert!(service.clone().ready().await.is_ok(), "there is enough");
    }
    (0..20).filter(|_| ask(&mut service).is_some()).count()
}

/// In any hour.
pub(super) const MANY: u32 = 1_000_000;

/// Kilobytes that it has when it is made.
pub(super) fn kilobytes<S>(make: impl FnOnce() -> S) -> usize {
    let before = live();
    let service = make();
    let has = live().saturating_sub(before) / 1024;
    drop(service);
    has
}
