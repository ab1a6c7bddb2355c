//! One of the three Bs is told to stop, as for a new version.

use std::time::Duration;

use stonework::base::BoxError;
use tokio::time::{Instant, sleep_until, timeout};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::kit::Verdict;
use crate::mesh::{Mesh, NAMES};
use crate::node::SERVICE;
use crate::proto::{BUY, LOOK, Order, QUOTE, Wish, call};
use crate::services::SLOW;
use crate::stack::bare;
use crate::traffic::{Traffic, failures, shares};

/// How long it goes well at first.
const WELL: Duration = Duration::from_millis(500);
/// How long everybody goes on when it has gone.
const GONE: Duration = Duration::from_millis(500);
const LEAVER: usize = 2;
/// For what ought to come at once.
const SOON: Duration = Duration::from_secs(5);

pub(crate) async fn play(mesh: &mut Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    let name = NAMES[LEAVER];
    println!("\nA hundred calls a second; {name} is told to stop, in the middle of a call of {SLOW:?}\n");
    mesh.all_well().await?;
    let (start, traffic) = (Instant::now(), Traffic::start(mesh.front.clone(), "drained"));
    sleep_until(start + WELL).await;

    // Past the balancer, so that it is certain who has it.
    let to = mesh.to(LEAVER)?;
    let slow = tokio::spawn(async move { call(&to, LOOK, Order::new("slow", Wish::Slow)).await });
    mesh.log.begun(name, "slow").await?;
    let origin = format!("http://{}", mesh.bs[LEAVER].id()).parse()?;
    let about = HealthCheckRequest { service: SERVICE.to_owned() };
    let mut health = HealthClient::with_origin(bare()?, origin).watch(about).await?.into_inner();
    let before = timeout(SOON, health.message()).await??;

    let told = Instant::now();
    let hears = async {
        let heard = timeout(SOON, health.message()).await??;
        Ok::<_, BoxError>((heard, told.elapsed()))
    };
    let (report, heard) = tokio::join!(mesh.bs[LEAVER].stop(), hears);
    let (report, (after, noticed)) = (report?, heard?);
    let (gone, slow) = (Instant::now(), slow.await?);
    sleep_until(gone + GONE).await;
    let asked = traffic.end().await?;
    let [begin, end] = [shares(&asked, start, told), shares(&asked, gone, Instant::now())];

    let of = mesh.log.notes().into_iter().filter(|note| note.by == name && note.begun >= told);
    let last = of.map(|note| note.begun - told).max().unwrap_or_default();
    println!(
        "  it says that it does not serve after {noticed:.1?}; the last call came after {last:.0?}; it had gone after {:.1?}",
        report.took
    );
    println!("  answered by {}: {begin:?}, and when it has gone {end:?}\n", NAMES.join(", "));

    let says = |message: Option<tonic_health::pb::HealthCheckResponse>| message.map(|message| message.status);
    verdict.claim(
        (says(before), says(after))
            == (Some(ServingStatus::Serving as i32), Some(ServingStatus::NotServing as i32)),
        "whoever asks gRPC's health protocol hears SERVING, and then NOT_SERVING",
    );
    verdict.claim(
        slow.is_ok_and(|price| price.by == name) && report.aborted == 0,
        format!("what it has begun it finishes, and nothing is cut off: {} were finished", report.finished),
    );
    let (all, failed, first) = failures(&asked, &[QUOTE, BUY]);
    verdict.claim(
        failed == 0 && all > 0,
        format!("no call fails, of those neither that must not be made twice: {failed} of {all}{first}"),
    );
    verdict.claim(
        begin[LEAVER] > 0 && end[LEAVER] == 0 && end.iter().sum::<usize>() > 0,
        "the other two have its share",
    );
    Ok(())
}
