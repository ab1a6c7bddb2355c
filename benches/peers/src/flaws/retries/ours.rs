//! stonework's, to which the same is done.

use std::time::Duration;

use stonework::base::{Backoff, Budget, BudgetSettings, Ratio, Rng};
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use tokio::time::Instant;
use tower::Layer;

use super::hedged::{self, CALLS as SLOW_CALLS, Slows};
use super::kit::{self, CALLS, CAP, Down, FIRST_PAUSE, SlowThenBroken};
use super::race::race;
use super::unready::{self, GoneOnce};
use crate::flaws::{Found, block_on, block_on_paused};

pub(super) fn together() -> Found {
    block_on_paused(async {
        let pauses = Backoff::exponential(FIRST_PAUSE, 20 * FIRST_PAUSE).expect("valid pauses");
        // Its budget would repeat only some of them.
        let settings = RetrySettings::new().attempts(2).backoff(pauses).without_budget();
        let down = Down::default();
        let (busiest, all) = kit::together(RetryLayer::from(settings).layer(down.clone()), &down).await;
        Found::new(all == 200 && busiest < 100, format!("{busiest} of {all}"))
    })
}

pub(super) fn unlimited() -> Found {
    on_a_budget(Down::default())
}

pub(super) fn ratio() -> Found {
    on_a_budget(Down::at_first())
}

fn on_a_budget(down: Down) -> Found {
    block_on(async {
        let pauses = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
        let layer = RetryLayer::from(RetrySettings::new().backoff(pauses));
        let (requests, took) = kit::down(layer.layer(down.clone()), &down).await;
        // One for ten calls, ten to begin with, and one a second.
        let most = CALLS as usize * 11 / 10 + 10 + 1 + took.as_secs() as usize;
        Found::new((CALLS as usize..=most).contains(&requests), requests.to_string())
    })
}

pub(super) fn percent() -> Found {
    block_on(async {
        let granted = [40, 60, 75].map(|percent| {
            let settings = BudgetSettings::default().floor_per_second(0);
            let budget = Budget::new(settings.ratio(Ratio::percent(percent)));
            let gets =
                || budget.try_withdraw(Instant::now(), 1).map(|withdrawal| withdrawal.spend()).is_some();
            // What it has saved up to begin with.
            while gets() {}
            let wants = || {
                budget.deposit();
                gets()
            };
            (0..CALLS).filter(|_| wants()).count()
        });
        let [forty, sixty, more] = granted;
        Found::new(granted == [400, 600, 750], format!("{forty} / {sixty} / {more}"))
    })
}

pub(super) fn overdrawn() -> Found {
    let settings = BudgetSettings::default().reserve(1).floor_per_second(0);
    let now = Instant::now();
    let wants = |budget: &Budget| budget.try_withdraw(now, 1).map(|withdrawal| withdrawal.spend()).is_some();
    // Often enough that it would have shown itself.
    let race = race(|| Budget::new(settings), wants, |race| race.met >= 100);
    Found::new(race.both == 0 && race.met >= 100, race.figures())
}

pub(super) fn hedge() -> Found {
    block_on(async {
        let settings = HedgeSettings::new().fixed_delay(Duration::from_millis(10));
        let below = SlowThenBroken::default();
        let (is_answered, attempts) =
            kit::answered(HedgeLayer::from(settings).layer(below.clone()), &below).await;
        Found::new(is_answered && attempts == 2, kit::told(is_answered, attempts))
    })
}

pub(super) fn slower() -> Found {
    block_on_paused(async {
        let below = Slows::default();
        // It remembers for as long, by default.
        let requests = hedged::slower(HedgeLayer::new().layer(below.clone()), &below).await;
        // One for ten calls, ten to begin with, and one a second.
        let most = SLOW_CALLS * 11 / 10 + 10 + 5;
        Found::new(requests > SLOW_CALLS && requests <= most, requests.to_string())
    })
}

pub(super) fn forgotten() -> Found {
    block_on_paused(async {
        let below = Slows::default();
        let requests = hedged::after_a_quiet_hour(HedgeLayer::new().layer(below.clone()), &below).await;
        Found::new(requests == 2, requests.to_string())
    })
}

pub(super) fn uncapped() -> Found {
    block_on_paused(async {
        let settings = RetrySettings::new().attempts(20).without_budget();
        let down = Down::default();
        let longest = kit::longest_pause(RetryLayer::from(settings).layer(down.clone()), &down).await;
        // What a timer adds, which counts in milliseconds.
        let most = Duration::from_secs(10) + Duration::from_millis(1);
        Found::new(longest <= most && longest > Duration::from_secs(1), format!("{longest:.1?}"))
    })
}

pub(super) fn above_cap() -> Found {
    let pauses = Backoff::exponential(CAP / 10, CAP).expect("valid pauses");
    let rng = Rng::from_entropy();
    let (longer, longest) = kit::above_cap((0..1_000).map(|_| pauses.delay(10, Duration::ZERO, &rng)));
    Found::new(longer == 0, format!("{longer}, up to {longest:.0?}"))
}

pub(super) fn unready() -> Found {
    block_on_paused(async {
        let got = unready::got(RetryLayer::new().layer(GoneOnce::default())).await;
        Found::new(got == Some(http::StatusCode::OK), unready::told(got))
    })
}

pub(super) fn idle_budget() -> Found {
    block_on(async {
        let took = unready::after_idle_days(Budget::default, |budget| {
            assert!(budget.try_withdraw(Instant::now(), 1).is_some(), "it has a reserve");
        })
        .await;
        Found::new(took < Duration::from_millis(1), format!("{took:.1?}"))
    })
}
