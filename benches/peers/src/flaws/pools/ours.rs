//! Ours.

use std::time::Duration;

use stonework::pool::PoolSettings;

use super::kit::{self, LIFETIME, Noted, Scripted, TOGETHER};
use crate::flaws::{Found, block_on, block_on_paused};
use crate::pool::kit::{By, Ours, Things};

fn pool<T: Things>(things: &T, settings: PoolSettings) -> Ours<T> {
    Ours::builder(By(things.clone())).settings(settings).build().expect("valid settings")
}

fn at_most(max: usize) -> PoolSettings {
    PoolSettings::new().max(max)
}

pub(super) fn panic() -> Found {
    let had = block_on(kit::after_a_panic(pool(&Scripted::first_panics(), at_most(2))));
    Found::new(had == 2, had.to_string())
}

pub(super) fn overtaken() -> Found {
    let overtaken = block_on(kit::overtaken(pool(&Scripted::default(), at_most(1))));
    Found::new(overtaken == 0, overtaken.to_string())
}

pub(super) fn for_ever() -> Found {
    let told = block_on(kit::told(pool(&Scripted::default(), at_most(1)), Duration::from_secs(6)));
    let in_time = told.is_some_and(|told| (4_900..5_500).contains(&told.as_millis()));
    Found::new(in_time, told.map_or("not within 6 s".to_owned(), |told| format!("after {told:.1?}")))
}

pub(super) fn dead() -> Found {
    let things = Scripted::default();
    // Not only what has lain idle for a while.
    let settings = at_most(kit::DEAD as usize).check_after(Duration::ZERO);
    let (asked, took) = block_on(kit::dead(&things, pool(&things, settings)));
    Found::new(asked <= 2, format!("{asked}, in {took:.0?}"))
}

pub(super) fn dial() -> Found {
    let things = Scripted::makes_in(Duration::from_millis(50));
    let served = block_on(kit::impatient(pool(&things, at_most(2))));
    let begun = things.begun();
    Found::new(served >= 15 && begun <= 2, format!("{served}, {begun} begun"))
}

pub(super) fn lifetime() -> Found {
    block_on(async {
        let (things, settings) = (Noted::default(), at_most(TOGETHER).min_idle(TOGETHER).lifetime(LIFETIME));
        let pool = pool(&things, settings);
        let (busiest, anew) = kit::made_anew(&things, pool).await;
        Found::new(anew == TOGETHER && busiest < TOGETHER / 2, format!("{busiest} of {anew}"))
    })
}

pub(super) fn limit() -> Found {
    block_on(async {
        let pool = pool(&Scripted::default(), at_most(1).wait_timeout(Duration::from_secs(1)));
        drop(pool.get().await.expect("it can be made"));
        let had = pool.get().await;
        Found::new(had.is_ok(), had.map_or_else(|error| error.to_string(), |_| "yes".to_owned()))
    })
}

pub(super) fn kept() -> Found {
    block_on_paused(async {
        let pool = pool(&Scripted::default(), at_most(kit::DEAD as usize));
        kit::peak(&pool).await;
        let kept = pool.stats().idle();
        Found::new(kept == 0, kept.to_string())
    })
}
