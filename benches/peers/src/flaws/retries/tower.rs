//! tower: `Retry` with the policy that one has to write, its pauses, its budget, and `Hedge`.

use std::time::Duration;

use http::{Request, Response};
use tower::Layer;
use tower::hedge::Hedge;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::util::rng::HasherRng;

use super::hedged::{self, CALLS as SLOW_CALLS, Slows};
use super::kit::{self, CALLS, Down, FIRST_PAUSE, SlowThenBroken};
use super::race::race;
use super::unready::{self, GoneOnce};
use crate::flaws::{Found, block_on, block_on_paused};
use crate::rows::{Broken, Content};

/// So often again, after pauses that the maker makes for each call.
#[derive(Clone)]
struct Again {
    left: u32,
    maker: ExponentialBackoffMaker,
    pauses: Option<ExponentialBackoff>,
}

impl Again {
    fn new(left: u32, maker: ExponentialBackoffMaker) -> Self {
        Self { left, maker, pauses: None }
    }
}

impl Policy<Request<Content>, Response<Content>, Broken> for Again {
    type Future = <ExponentialBackoff as Backoff>::Future;

    fn retry(
        &mut self,
        _: &mut Request<Content>,
        result: &mut Result<Response<Content>, Broken>,
    ) -> Option<Self::Future> {
        if result.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.pauses.get_or_insert_with(|| self.maker.make_backoff()).next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Content>) -> Option<Request<Content>> {
        Some(request.clone())
    }
}

pub(super) fn together() -> Found {
    block_on_paused(async {
        let maker = ExponentialBackoffMaker::new(FIRST_PAUSE, 20 * FIRST_PAUSE, 0.5, HasherRng::default());
        let policy = Again::new(1, maker.expect("valid settings"));
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

pub(super) fn uncapped() -> Found {
    block_on_paused(async {
        let (down, policy) = (Down::default(), Again::new(19, ExponentialBackoffMaker::default()));
        let longest = kit::longest_pause(RetryLayer::new(policy).layer(down.clone()), &down).await;
        Found::new(longest > Duration::from_secs(60 * 60), format!("{longest:.0?}"))
    })
}

pub(super) fn unready() -> Found {
    block_on_paused(async {
        let policy = Again::new(2, ExponentialBackoffMaker::default());
        let got = unready::got(RetryLayer::new(policy).layer(GoneOnce::default())).await;
        Found::new(got.is_none(), unready::told(got))
    })
}

pub(super) fn idle_budget() -> Found {
    block_on(async {
        // The least that its windows may be together.
        let budget = || TpsBudget::new(Duration::from_secs(1), 10, 0.2);
        let took =
            unready::after_idle_days(budget, |budget| assert!(budget.withdraw(), "it has a reserve")).await;
        Found::new(took > Duration::from_millis(5), format!("{took:.1?}"))
    })
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

/// Of all calls in ten seconds it sends again what takes longer than nine of ten did.
fn learning(below: &Slows) -> Hedge<Slows, Always> {
    Hedge::new(below.clone(), Always, 100, 0.9, hedged::WINDOW)
}

pub(super) fn slower() -> Found {
    block_on_paused(async {
        let below = Slows::default();
        let requests = hedged::slower(learning(&below), &below).await;
        Found::new(requests == 2 * SLOW_CALLS, requests.to_string())
    })
}

pub(super) fn forgotten() -> Found {
    block_on_paused(async {
        let below = Slows::default();
        let requests = hedged::after_a_quiet_hour(learning(&below), &below).await;
        Found::new(requests == 1, requests.to_string())
    })
}
