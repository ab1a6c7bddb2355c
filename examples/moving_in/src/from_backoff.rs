//! From `backoff`, in two steps: first with the schedule that one has, then with ours and what it has not, a budget that callers share.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use http::{StatusCode, Uri};
use stonework::base::{Backoff, BoxError, Budget, BudgetSettings, FromBackoff};
use stonework::retry::{Policy, retry};
use stonework::testing::respond;
use tokio::task::JoinSet;

use crate::kit::Verdict;
use crate::stage::{Told, chapter, scene, watch};

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(50);
/// How long it is tried.
const PATIENCE: Duration = Duration::from_millis(500);

fn schedule() -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(SHORTEST)
        .with_max_interval(LONGEST)
        .with_max_elapsed_time(Some(PATIENCE))
        .build()
}

/// What is tried: any operation that can fail.
async fn fetch(client: &reqwest::Client, uri: &Uri) -> Result<StatusCode, reqwest::Error> {
    Ok(client.get(uri.to_string()).send().await?.error_for_status()?.status())
}

async fn before(client: reqwest::Client, uri: Uri) -> Told {
    let operation = || async { fetch(&client, &uri).await.map_err(backoff::Error::transient) };
    Ok(backoff::future::retry(schedule(), operation).await?)
}

/// The first step: another function, the same schedule, which says when it is enough. So no number of attempts does.
async fn between(client: reqwest::Client, uri: Uri) -> Told {
    let policy = Policy::new().attempts(u32::MAX).schedule(FromBackoff::new(schedule));
    Ok(retry(|| fetch(&client, &uri), policy).await?)
}

async fn after(client: reqwest::Client, uri: Uri, budget: Budget) -> Told {
    let policy =
        Policy::new().attempts(u32::MAX).schedule(Backoff::exponential(SHORTEST, LONGEST)?).budget(budget);
    Ok(retry(|| fetch(&client, &uri), policy).await?)
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("backoff → retry::retry, with FromBackoff on the way");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let [busy, well] = [respond(503).keep_alive(), respond(200).keep_alive()];
    let budget = || Budget::new(BudgetSettings::default());

    scene("503 twice, then 200");
    let script = [busy.clone(), busy.clone(), well];
    let all = [
        watch("before", &script, async |uri| before(client.clone(), uri).await).await,
        watch("between", &script, async |uri| between(client.clone(), uri).await).await,
        watch("after", &script, async |uri| after(client.clone(), uri, budget()).await).await,
    ];
    let same = all.iter().all(|seen| seen.requests.len() == 3 && seen.is_told(StatusCode::OK));
    verdict.claim(same, "all ask three times, and are answered");

    scene("503 each time, one caller");
    let script = [busy];
    let one = watch("before", &script, async |uri| before(client.clone(), uri).await).await;
    let two = watch("between", &script, async |uri| between(client.clone(), uri).await).await;
    // It ends where the next pause would be too long.
    let least = PATIENCE - 2 * LONGEST;
    let in_time =
        [&one, &two].iter().all(|seen| seen.told.is_err() && seen.pauses.iter().sum::<Duration>() >= least);
    verdict.claim(in_time, "before, and with the same schedule, it is tried for half a second");

    scene("503 each time, twenty callers at once");
    let one = watch("before", &script, async |uri| {
        all_fail((0..CALLERS).map(|_| before(client.clone(), uri.clone()))).await
    })
    .await;
    let shared = budget();
    let two = watch("after", &script, async |uri| {
        all_fail((0..CALLERS).map(|_| after(client.clone(), uri.clone(), shared.clone()))).await
    })
    .await;
    let seconds = two.pauses.iter().sum::<Duration>().as_secs_f64();
    // The defaults of a budget: ten at first, one for ten calls, and one a second.
    let most = CALLERS as f64 * 1.1 + 10.0 + seconds;
    let [before, after] = [&one, &two].map(|seen| seen.requests.len());
    verdict.claim(before > after, format!("before, each tries for itself: {before} requests"));
    verdict.claim(
        after as f64 <= most && after > CALLERS,
        format!("after, they have a budget together: {after} requests, of {most:.1} at most"),
    );
    Ok(())
}

const CALLERS: usize = 20;

/// Callers at once; told is what one of them was told.
async fn all_fail(callers: impl Iterator<Item = impl Future<Output = Told> + Send + 'static>) -> Told {
    let mut tasks: JoinSet<Told> = callers.collect();
    let mut told = Err("nobody called".into());
    while let Some(one) = tasks.join_next().await {
        told = one?;
    }
    told
}
