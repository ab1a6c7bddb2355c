//! tower: `Retry` with the policy that one has to write, its pauses, its budget, and `Hedge`.

use std::time::Duration;

use http::{Request, Response};
use tower::Layer;
use tower::hedge::Hedge;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::util::rng::HasherRng;

use super::kit::{self, CALLS, Down, FIRST_PAUSE, SlowThenBroken};
use super::race::race;
use crate::flaws::{Found, block_on};
use crate::rows::{Broken, Content};

/// Once more, after a pause that the maker makes for each call.
#[derive(Clone)]
struct Once {
    again: bool,
    maker: ExponentialBackoffMaker,
}

impl Policy<Request<Content>, Response<Content>, Broken> for Once {
    type Future = <ExponentialBackoff as Backoff>::Future;

    fn retry(
        &mut self,
        _: &mut Request<Content>,
        result: &mut Result<Response<Content>, Broken>,
    ) -> Option<Self::Future> {
        let wants = std::mem::take(&mut self.again) && result.is_err();
        wants.then(|| self.maker.make_backoff().next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Content>) -> Option<Request<Content>> {
        Some(request.clone())
    }
}

pub(super) fn together() -> Found {
    block_on(async {
        let maker = ExponentialBackoffMaker::new(FIRST_PAUSE, 20 * FIRST_PAUSE, 0.5, HasherRng::default());
        let policy = Once { again: true, maker: maker.expect("valid settings") };
        let down = Down::default();
        let (busiest, all) = kit::together(RetryLayer::new(policy).layer(down.clone()), &down).await;
        Found::new(all == 200 && busiest > 180, format!("{busiest} of {all}"))
    })
}

pub(super) fn percent() -> Found {
    block_on(async {
        let granted = [0.4, 0.6, 0.75].map(|percent| {
            let budget = TpsBudget::new(Duration::from_secs(60), 0, percent);
            let wants = || {
                budget.deposit();
                budget.withdraw()
            };
            (0..CALLS).filter(|_| wants()).count()
        });
        let [forty, sixty, more] = granted;
        Found::new(granted == [500, 1000, 1000], format!("{forty} / {sixty} / {more}"))
    })
}

pub(super) fn overdrawn() -> Found {
    let one_left = || {
        let budget = TpsBudget::new(Duration::from_secs(60), 0, 1.0);
        budget.deposit();
        budget
    };
    let race = race(one_left, TpsBudget::withdraw, |race| race.both > 0);
    Found::new(race.both > 0, race.figures())
}

/// Every request may be sent twice.
#[derive(Clone)]
struct Always;

impl tower::hedge::Policy<Request<Content>> for Always {
    fn clone_request(&self, request: &Request<Content>) -> Option<Request<Content>> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Request<Content>) -> bool {
        true
    }
}

pub(super) fn hedge() -> Found {
    block_on(async {
        let below = SlowThenBroken::default();
        // It knows of ten calls, each of which took 10 ms.
        let hedge = Hedge::new_with_mock_latencies(below.clone(), Always, 10, 0.9, FIRST_PAUSE, &[10; 10]);
        let (is_answered, attempts) = kit::answered(hedge, &below).await;
        Found::new((is_answered, attempts) == (false, 2), kit::told(is_answered, attempts))
    })
}
