//! What does the author of a library write, whose users call an API that fails?
//!
//! *The problem:* the users of an SDK want a method with types, an answer within the time that they have, and where there is none an error
//! that says what they can do now. What they get is mostly a loop around a request: it orders twice, comes back too early, waits too
//! long, or goes on knocking at a door behind which nobody is.
//!
//! *What to look at:* [`sdk`], which is what such an author writes over `stonework::client`, with options for a single call; [`error`], which
//! is made from what the client's error knows; [`timeline`], an observer that draws what became of each attempt. The rest is a show: [`api`]
//! is a shop that has a bad day, [`callers`] are two hundred of its customers, [`claims`] looks at the books of both.
//!
//! *What it shows:* one deadline for a call and a limit for each attempt in it; an order without a key that is never sent twice, and one with a
//! key that is; a shop that is left alone for as long as it asks for, or not asked again where that is too long; a budget that ends
//! retries before they are most of the load; a circuit that opens, probes and closes, with callers who are told at once; one client for
//! calls with different options.
//!
//!     cargo run --example resilient_client
//!
//! It takes nine seconds, and ends with exit code 0 if every claim held.

mod api;
mod callers;
mod claims;
mod error;
#[path = "../kit/mod.rs"]
mod kit;
mod sdk;
mod timeline;

use std::process::ExitCode;
use std::time::Duration;

use stonework::base::{BoxError, Budget, BudgetSettings, Ratio};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::api::{Api, Mood};
use self::callers::Told;
use self::claims::Day;
use self::kit::Verdict;
use self::sdk::Shop;
use self::timeline::Timeline;

/// The shop's day: how it is from which caller on. By callers and not by time, so that each meets the same on a slow machine. Each part is
/// longer than what it takes to find out; the last is longer than the circuit is ever open, so that it can close.
const SCRIPT: [(u32, Mood); 8] = [
    (0, Mood::Well),
    (16, Mood::Slow),
    (36, Mood::Busy),
    (52, Mood::Well),
    (72, Mood::Closed),
    (86, Mood::Resets),
    (110, Mood::Silent),
    (140, Mood::Well),
];
/// Some twenty calls a second: enough for a circuit to know something within a second.
const PACE: Duration = Duration::from_millis(45);
const CALLERS: u32 = 200;
/// A fifth of the calls, one a second, and five to begin with: less than a whole shop of customers would like.
const RESERVE: u32 = 5;
const FLOOR: u32 = 1;
const RATIO: u8 = 20;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Result<Verdict, BoxError> {
    let (api, timeline) = (Api::start().await, Timeline::default());
    let settings =
        BudgetSettings::default().reserve(RESERVE).floor_per_second(FLOOR).ratio(Ratio::percent(RATIO));
    let shop = Shop::new(api.base(), Budget::new(settings), timeline.clone())?;
    println!("{CALLERS} callers, one every {PACE:?}\n");

    let start = Instant::now();
    let (told, moods) = open(&api, &shop).await;
    let took = start.elapsed();
    println!("{}", timeline.draw(start, &moods, took));

    let mut verdict = Verdict::default();
    Day { start, took, moods, told, arrivals: api.arrivals(), timeline }.judge(&mut verdict);
    Ok(verdict)
}

/// Lets everybody in, and the shop be as the script has it. Says what they were told, and how the shop was from when on.
async fn open(api: &Api, shop: &Shop) -> (Vec<Told>, Vec<(Instant, Mood)>) {
    let (mut ticks, mut calls, mut moods) = (interval(PACE), JoinSet::new(), Vec::new());
    // Where the machine was busy, callers come later, and not all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..CALLERS {
        ticks.tick().await;
        if let Some((_, mood)) = SCRIPT.iter().find(|(from, _)| *from == number) {
            api.be(*mood);
            moods.push((Instant::now(), *mood));
        }
        calls.spawn(callers::call(shop.clone(), number));
    }
    (calls.join_all().await.into_iter().flatten().collect(), moods)
}
