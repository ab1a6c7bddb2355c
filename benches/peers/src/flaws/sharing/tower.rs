//! tower's `Buffer`.

use std::time::Duration;

use tower::buffer::Buffer;
use tower::limit::RateLimit;
use tower::limit::rate::Rate;

use super::kit::{self, Backend, Does, FailsOnce, RATE};
use crate::flaws::{Found, block_on, block_on_paused};

pub(super) fn buffer() -> Found {
    block_on(async {
        let rate = Rate::new(RATE.into(), Duration::from_secs(1));
        let answered = kit::answered(Buffer::new(RateLimit::new(FailsOnce::default(), rate), 8)).await;
        Found::new(answered == 0, answered.to_string())
    })
}

pub(super) fn idle_buffer() -> Found {
    block_on_paused(async {
        let buffer = Buffer::new(Backend::new(Does::Takes(Duration::ZERO)), 2);
        let answered = kit::beside_two_idle(buffer).await;
        Found::new(!answered, kit::said(answered))
    })
}
