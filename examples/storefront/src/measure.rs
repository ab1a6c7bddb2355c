//! What the server's process has, and what it says of itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use stonework::base::BoxError;
use storefront::customer::Tally;
use tokio::time::{Instant, sleep};

use crate::rude::{ask, request};

/// For connections to close and tasks to end when all clients have gone.
const SETTLES: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(100);

/// Of the server's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) descriptors: usize,
    pub(crate) tasks: u64,
}

impl Left {
    pub(crate) const fn is_no_more_than(self, base: Self) -> bool {
        self.descriptors <= base.descriptors && self.tasks <= base.tasks
    }
}

/// When nothing changes any more, and it is as it should be; or what it is at the end of our patience.
pub(crate) async fn settled(
    shop: SocketAddr,
    tally: &Tally,
    process: u32,
    is_good: impl Fn(Left) -> bool,
) -> Result<Left, BoxError> {
    let (began, mut last, mut same) = (Instant::now(), None, 0);
    loop {
        let tasks = value(&metrics(shop, tally).await?, "tokio_tasks")?;
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let left = Left { descriptors, tasks };
        same = if last == Some(left) { same + 1 } else { 0 };
        last = Some(left);
        if (same >= 10 && is_good(left)) || began.elapsed() > SETTLES {
            return Ok(left);
        }
        sleep(LOOK).await;
    }
}

/// In KiB.
pub(crate) fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(crate) fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// What the server says of itself.
pub(crate) async fn metrics(shop: SocketAddr, tally: &Tally) -> Result<String, BoxError> {
    let (status, said) = ask(shop, &request("GET /metrics", &[], "")).await?;
    tally.add(status);
    Ok(said)
}

/// A count or a gauge that is there once.
pub(crate) fn value(said: &str, name: &str) -> Result<u64, BoxError> {
    let line = said.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or_else(|| format!("the server says nothing of {name}").into())
}

/// How many requests it has answered.
pub(crate) fn by_status(said: &str) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for line in said.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{")) {
        let status =
            line.split("http_response_status_code=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        if let (Some(Ok(status)), Some(count)) = (status.map(str::parse), count) {
            *counts.entry(status).or_default() += count;
        }
    }
    counts
}

/// No client has heard what the server has not said; and what nobody has heard are answers for which nobody waited.
pub(crate) fn agree(said: &BTreeMap<u16, u64>, heard: &BTreeMap<u16, u64>, unheard: u64) -> bool {
    let said_of = |status: &u16| said.get(status).copied().unwrap_or(0);
    let heard_of = |status: &u16| heard.get(status).copied().unwrap_or(0);
    let surplus: u64 = said.keys().map(|status| said_of(status).saturating_sub(heard_of(status))).sum();
    heard.keys().all(|status| heard_of(status) <= said_of(status)) && surplus <= unheard
}
