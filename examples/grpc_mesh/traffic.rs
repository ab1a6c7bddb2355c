//! Many who ask the front, and what they are told.

use std::time::Duration;

use stonework::base::BoxError;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::Status;

use crate::mesh::NAMES;
use crate::proto::{BUY, Order, Price, QUOTE, Wish, call};
use crate::stack::Stack;

/// A hundred calls a second: each is three, with those behind it.
const PACE: Duration = Duration::from_millis(10);
/// Every so many buys; the others only ask.
const BUYS: u32 = 10;
/// Whatever happens, it ends.
const MOST: u32 = 5_000;

pub(crate) struct Asked {
    pub(crate) item: String,
    pub(crate) path: &'static str,
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) answer: Result<Price, Status>,
}

/// Callers who come and come, until they are told not to.
pub(crate) struct Traffic {
    enough: watch::Sender<bool>,
    /// How many there were.
    count: watch::Receiver<u32>,
    asking: JoinHandle<Vec<Asked>>,
}

impl Traffic {
    /// Its calls have this name, and a number.
    pub(crate) fn start(front: Stack, name: &'static str) -> Self {
        let ((enough, told), (tell, count)) = (watch::channel(false), watch::channel(0));
        Self { enough, count, asking: tokio::spawn(ask(front, name, told, tell)) }
    }

    /// Waits until so many more have come: by their number and not by time, so that shares say as much on a slow machine.
    pub(crate) async fn more(&mut self, calls: u32) -> Result<(), BoxError> {
        let until = *self.count.borrow() + calls;
        timeout(Duration::from_secs(30), self.count.wait_for(|count| *count >= until)).await??;
        Ok(())
    }

    /// No more of them. Waits until all have their answer.
    pub(crate) async fn end(self) -> Result<Vec<Asked>, BoxError> {
        self.enough.send_replace(true);
        Ok(self.asking.await?)
    }
}

async fn ask(
    front: Stack,
    name: &'static str,
    enough: watch::Receiver<bool>,
    count: watch::Sender<u32>,
) -> Vec<Asked> {
    let (mut ticks, mut calls) = (interval(PACE), JoinSet::new());
    // Where the machine was busy, callers come later, and not all at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..MOST {
        ticks.tick().await;
        if *enough.borrow() {
            break;
        }
        let path = if number % BUYS == 0 { BUY } else { QUOTE };
        let (front, item, at) = (front.clone(), format!("{name} {number}"), Instant::now());
        count.send_replace(number + 1);
        calls.spawn(async move {
            let answer = call(&front, path, Order::new(item.clone(), Wish::Usual)).await;
            Asked { item, path, at, took: at.elapsed(), answer }
        });
    }
    calls.join_all().await
}

/// Of those who asked for this: how many there were, how many were told nothing but that it failed, and what the first of these was told.
pub(crate) fn failures(asked: &[Asked], paths: &[&str]) -> (usize, usize, String) {
    let of = || asked.iter().filter(|asked| paths.contains(&asked.path));
    let failed = || of().filter_map(|asked| Some((asked.took, asked.answer.as_ref().err()?)));
    let first = failed().next().map(|(took, status)| format!(", such as, after {took:.1?}: {status}"));
    (of().count(), failed().count(), first.unwrap_or_default())
}

/// Of those who asked then: how many were answered by each B, in the order of their names.
pub(crate) fn shares(asked: &[Asked], from: Instant, to: Instant) -> [usize; 3] {
    let then = || asked.iter().filter(|asked| (from..to).contains(&asked.at));
    NAMES.map(|name| then().filter(|asked| asked.answer.as_ref().is_ok_and(|price| price.by == name)).count())
}

/// How much of it all this one has.
pub(crate) fn part(shares: [usize; 3], at: usize) -> f64 {
    shares[at] as f64 / shares.iter().sum::<usize>().max(1) as f64
}
