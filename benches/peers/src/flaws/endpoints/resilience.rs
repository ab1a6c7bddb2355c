//! tower-resilience-router, which says that it waits for all.

use tower_resilience_router::WeightedRouter;

use super::kit;
use crate::flaws::{Found, block_on};

pub(super) fn stalled() -> Found {
    block_on(async {
        let router =
            kit::three().fold(WeightedRouter::builder(), |router, endpoint| router.route(endpoint, 1));
        let answered = kit::answered(router.build()).await;
        Found::new(answered == 0, answered.to_string())
    })
}
