//! bb8, deadpool, mobc.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::Timeouts;

use super::kit::{self, LIFETIME, Noted, Scripted, TOGETHER};
use crate::flaws::{Found, block_on, block_on_paused};
use crate::pool::kit::{Bb8, By, Deadpool, Mobc, Numbers};

fn bb8(things: &Scripted, max: u32) -> Bb8<Scripted> {
    Bb8::builder().max_size(max).build_unchecked(By(things.clone()))
}

fn deadpool(things: &Scripted, max: usize) -> Deadpool<Scripted> {
    Deadpool::builder(By(things.clone())).max_size(max).build().expect("no timeouts")
}

pub(super) fn panic_bb8() -> Found {
    let had = block_on(async { kit::after_a_panic(bb8(&Scripted::first_panics(), 2)).await });
    Found::new(had < 2, had.to_string())
}

pub(super) fn overtaken_bb8() -> Found {
    block_on(async {
        let pool = Bb8::builder().max_size(1).build_unchecked(By(Numbers));
        let overtaken = kit::overtaken(pool).await;
        let pool = Deadpool::builder(By(Numbers)).max_size(1).build().expect("no timeouts");
        let deadpool = kit::overtaken(pool).await;
        Found::new(overtaken == 100, format!("{overtaken} (deadpool: {deadpool})"))
    })
}

pub(super) fn for_ever_deadpool() -> Found {
    let pool = Deadpool::builder(By(Numbers)).max_size(1).build().expect("no timeouts");
    let told = block_on(kit::told(pool, Duration::from_secs(6)));
    Found::new(told.is_none(), told.map_or("not within 6 s".to_owned(), |told| format!("{told:.1?}")))
}

pub(super) fn dead_deadpool() -> Found {
    let things = Scripted::default();
    let (asked, took) = block_on(kit::dead(&things, deadpool(&things, kit::DEAD as usize)));
    Found::new(asked == kit::DEAD, format!("{asked}, in {took:.0?}"))
}

pub(super) fn dead_bb8() -> Found {
    let things = Scripted::default();
    let (asked, took) = block_on(async { kit::dead(&things, bb8(&things, kit::DEAD)).await });
    Found::new(asked == kit::DEAD, format!("{asked}, in {took:.0?}"))
}

pub(super) fn dial_deadpool() -> Found {
    let things = Scripted::makes_in(Duration::from_millis(50));
    let served = block_on(kit::impatient(deadpool(&things, 2)));
    // It connects in a task of its own.
    let others = Scripted::makes_in(Duration::from_millis(50));
    let bb8 = block_on(async { kit::impatient(bb8(&others, 2)).await });
    let (begun, of_bb8) = (things.begun(), others.begun());
    Found::new((served, begun) == (0, 20), format!("{served}, {begun} begun (bb8: {bb8}, {of_bb8} begun)"))
}

pub(super) fn dial_mobc() -> Found {
    let things = Scripted::makes_in(Duration::from_millis(50));
    let served = block_on(kit::impatient(Mobc::builder().max_open(2).build(By(things.clone()))));
    let begun = things.begun();
    Found::new((served, begun) == (0, 20), format!("{served}, {begun} begun"))
}

pub(super) fn lifetime_bb8() -> Found {
    block_on(async {
        let (things, all) = (Noted::default(), u32::try_from(TOGETHER).expect("a few"));
        // It looks for old ones each 30 s, unless it is told otherwise.
        let pool = Bb8::builder().max_size(all).min_idle(all).max_lifetime(LIFETIME);
        let pool =
            pool.reaper_rate(LIFETIME / 300).build(By(things.clone())).await.expect("they can be made");
        let (busiest, anew) = kit::made_anew(&things, pool).await;
        Found::new(busiest * 4 > TOGETHER * 3, format!("{busiest} of {anew}"))
    })
}

pub(super) fn limit_deadpool() -> Found {
    block_on(async {
        let had = async |runtime: Option<Runtime>| {
            let mut pool = Deadpool::builder(By(Numbers)).max_size(1);
            if let Some(runtime) = runtime {
                pool = pool.runtime(runtime);
            }
            let pool = pool.build().expect("no timeouts");
            drop(pool.get().await.expect("it can be made"));
            pool.timeout_get(&Timeouts::wait_millis(1_000)).await.map(drop)
        };
        let (without, with) = (had(None).await, had(Some(Runtime::Tokio1)).await);
        let figures = without.as_ref().map_or_else(|error| format!("\"{error}\""), |()| "yes".to_owned());
        let told = if with.is_ok() { "yes" } else { "no" };
        Found::new(without.is_err() && with.is_ok(), format!("{figures} (built with a runtime: {told})"))
    })
}

pub(super) fn kept_deadpool() -> Found {
    block_on_paused(async {
        let pool = deadpool(&Scripted::default(), kit::DEAD as usize);
        kit::peak(&pool).await;
        let kept = pool.status().size;
        Found::new(kept == kit::DEAD as usize, kept.to_string())
    })
}
