//! Many who ask the front, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Status;

use crate::mesh::NAMES;
use crate::proto::{BUY, Order, Price, QUOTE, Wish, call};
use crate::stack::Stack;

/// A hundred calls a second: each is three, with those behind it.
const PACE: Duration = Duration::from_millis(10);
/// Every so many buys; the others only ask.
const BUYS: u32 = 10;

pub(crate) struct Asked {
    pub(crate) item: String,
    pub(crate) path: &'static str,
    /// When, from the beginning on.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) answer: Result<Price, Status>,
}

/// Asks for so long, under this name.
pub(crate) async fn traffic(front: Stack, name: &'static str, length: Duration) -> Vec<Asked> {
    let (start, mut ticks, mut calls) = (Instant::now(), interval(PACE), JoinSet::new());
    // Where the machine was busy, callers come later, and not all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        ticks.tick().await;
        let at = start.elapsed();
        if at >= length {
            break;
        }
        let path = if number % BUYS == 0 { BUY } else { QUOTE };
        let (front, item) = (front.clone(), format!("{name} {number}"));
        calls.spawn(async move {
            let answer = call(&front, path, Order::new(item.clone(), Wish::Usual)).await;
            Asked { item, path, at, took: start.elapsed() - at, answer }
        });
    }
    calls.join_all().await
}

/// How many of those who asked then were answered by each B, in the order of their names.
pub(crate) fn shares(asked: &[Asked], from: Duration, to: Duration) -> [usize; 3] {
    let mut shares = BTreeMap::new();
    for asked in asked.iter().filter(|asked| (from..to).contains(&asked.at)) {
        if let Ok(price) = &asked.answer {
            *shares.entry(price.by.as_str()).or_default() += 1;
        }
    }
    NAMES.map(|name| shares.get(name).copied().unwrap_or_default())
}
