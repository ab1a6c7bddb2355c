//! tower-resilience-retry.

use std::time::Duration;

use http::{Request, Response};
use tower::Layer;
use tower_resilience_retry::{
    ExponentialRandomBackoff, IntervalFunction, RetryBudgetBuilder, RetryConfigBuilder, RetryLayer,
};

use super::kit::{self, CAP, Down, FIRST_PAUSE};
use crate::flaws::{Found, block_on, block_on_paused};
use crate::rows::{Broken, Content};

type Builder = RetryConfigBuilder<Request<Content>, Response<Content>, Broken>;

/// The defaults: three attempts.
fn builder() -> Builder {
    RetryLayer::builder()
}

pub(super) fn together() -> Found {
    block_on_paused(async {
        let layer = builder().max_attempts(2).exponential_backoff(FIRST_PAUSE).build();
        let down = Down::default();
        let (busiest, all) = kit::together(layer.layer(down.clone()), &down).await;
        Found::new(all == 200 && busiest > 180, format!("{busiest} of {all}"))
    })
}

pub(super) fn unlimited() -> Found {
    block_on(async {
        let (down, layer) = (Down::default(), builder().fixed_backoff(Duration::from_millis(1)).build());
        let (requests, _) = kit::down(layer.layer(down.clone()), &down).await;
        Found::new(requests == 3_000, requests.to_string())
    })
}

pub(super) fn ratio() -> Found {
    block_on(async {
        let requests = async |budget| {
            let layer = builder().fixed_backoff(Duration::from_millis(1)).budget(budget).build();
            let down = Down::at_first();
            kit::down(layer.layer(down.clone()), &down).await.0
        };
        let bucket = requests(RetryBudgetBuilder::new().token_bucket().build().expect("the defaults")).await;
        let aimd = requests(RetryBudgetBuilder::new().aimd().build().expect("the defaults")).await;
        Found::new((bucket, aimd) == (2_000, 2_000), format!("{bucket}, with its AIMD budget {aimd}"))
    })
}

pub(super) fn uncapped() -> Found {
    block_on_paused(async {
        let (down, layer) = (Down::default(), builder().max_attempts(20).build());
        let longest = kit::longest_pause(layer.layer(down.clone()), &down).await;
        Found::new(longest > Duration::from_secs(60 * 60), format!("{longest:.0?}"))
    })
}

pub(super) fn above_cap() -> Found {
    let pauses = ExponentialRandomBackoff::new(CAP / 10, 0.5).expect("valid settings").max_interval(CAP);
    let (longer, longest) = kit::above_cap((0..1_000).map(|_| pauses.next_interval(10)));
    Found::new(longer > 300, format!("{longer}, up to {longest:.0?}"))
}
