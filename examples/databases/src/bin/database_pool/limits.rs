//! What those are told who come when nothing is left, and whether anything was lost.

use std::time::Duration;

use stonework::base::Error;
use stonework::pool::{Pool, PoolExhausted, Pooled};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Database, Done};
use super::{CONNECTIONS, WAITING};

/// What those are told who come when nothing is left.
pub(crate) struct Limits {
    pub(crate) refused: usize,
    pub(crate) served: usize,
    pub(crate) slowest_refusal: Duration,
    pub(crate) waited_in_vain: Duration,
    pub(crate) why: String,
    pub(crate) exhausted: Option<PoolExhausted>,
    pub(crate) failed: usize,
}

pub(crate) async fn limits<D: Database>(pool: &Pool<D>) -> Done<Limits> {
    let held = all(pool).await?;
    let mut tasks: JoinSet<(Duration, Option<Error>)> = JoinSet::new();
    for _ in 0..200 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let began = Instant::now();
            let got = pool.get().await;
            let took = began.elapsed();
            (took, got.map(Pooled::put_back).err())
        });
    }
    let mut refusals = Vec::new();
    while refusals.len() < 200 - WAITING {
        let (took, error) = tasks.join_next().await.ok_or("they wait")??;
        refusals.push((took, error.ok_or("nothing is free")?));
    }
    held.into_iter().for_each(Pooled::put_back);
    let (mut served, mut failed) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        *(if task?.1.is_none() { &mut served } else { &mut failed }) += 1;
    }

    let held = all(pool).await?;
    let began = Instant::now();
    let error = pool.get().await.err().ok_or("nothing is free")?;
    let waited_in_vain = began.elapsed();
    held.into_iter().for_each(Pooled::put_back);
    Ok(Limits {
        refused: refusals.iter().filter(|(_, error)| error.is_overload()).count(),
        served,
        slowest_refusal: refusals.iter().map(|(took, _)| *took).max().unwrap_or_default(),
        waited_in_vain,
        why: format!("{error:#}"),
        exhausted: error.is_timeout().then(|| error.cause::<PoolExhausted>().cloned()).flatten(),
        failed,
    })
}

async fn all<D: Database>(pool: &Pool<D>) -> Result<Vec<Pooled<D>>, Error> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(pool.get().await?);
    }
    Ok(held)
}

/// Whether all places are still there after all of this: as many as may be, at once.
pub(crate) async fn whole<D: Database>(pool: &Pool<D>) -> Done<usize> {
    let held = all(pool).await?;
    let number = held.len();
    held.into_iter().for_each(Pooled::put_back);
    Ok(if pool.stats().in_use() == 0 { number } else { 0 })
}
