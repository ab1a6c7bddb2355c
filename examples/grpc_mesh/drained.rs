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
use crate::proto::{LOOK, Order, Wish, call};
use crate::services::SLOW;
use crate::stack::client;
use crate::traffic::{shares, traffic};

const STOPPED: Duration = Duration::from_millis(500);
const END: Duration = Duration::from_millis(3_200);
/// The last part, in which it has gone.
const GONE: Duration = Duration::from_millis(2_400);
const LEAVER: usize = 2;
/// For what ought to come at once.
const SOON: Duration = Duration::from_secs(5);

pub(crate) async fn play(mesh: &mut Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    let name = NAMES[LEAVER];
    println!(
        "\nA hundred calls a second; {name} is told to stop after {STOPPED:?}, in the middle of a call of {SLOW:?}\n"
    );
    let start = Instant::now();
    let asked = tokio::spawn(traffic(mesh.front.clone(), "drained", END));
    sleep_until(start + STOPPED).await;

    // Past the balancer, so that it is certain who has it.
    let to = mesh.to(LEAVER)?;
    let slow = tokio::spawn(async move { call(&to, LOOK, Order::new("slow", Wish::Slow)).await });
    mesh.log.begun(name, "slow").await?;
    let origin = format!("http://{}", mesh.bs[LEAVER].id()).parse()?;
    let about = HealthCheckRequest { service: SERVICE.to_owned() };
    let mut health = HealthClient::with_origin(client()?, origin).watch(about).await?.into_inner();
    let before = timeout(SOON, health.message()).await??;

    let told = Instant::now();
    let hears = async {
        let heard = timeout(SOON, health.message()).await??;
        Ok::<_, BoxError>((heard, told.elapsed()))
    };
    let (report, heard) = tokio::join!(mesh.bs[LEAVER].stop(), hears);
    let (report, (after, noticed)) = (report?, heard?);
    let slow = slow.await?;
    let asked = asked.await?;

    let of = mesh.log.notes().into_iter().filter(|note| note.by == name && note.begun >= told);
    let last = of.map(|note| note.begun - told).max().unwrap_or_default();
    println!(
        "  it says that it does not serve after {noticed:.1?}; the last call came after {last:.0?}; it had gone after {:.1?}",
        report.took
    );
    println!(
        "  answered by {}: {:?}, and in the end {:?}\n",
        NAMES.join(", "),
        shares(&asked, Duration::ZERO, STOPPED),
        shares(&asked, GONE, END)
    );

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
    let failed = asked.iter().filter(|asked| asked.answer.is_err()).count();
    verdict.claim(
        failed == 0 && asked.len() > 100,
        format!("no call fails, of those neither that must not be made twice: {failed} of {}", asked.len()),
    );
    let [end, begin] = [shares(&asked, GONE, END), shares(&asked, Duration::ZERO, STOPPED)];
    verdict.claim(
        begin[LEAVER] > 0 && end[LEAVER] == 0 && end.iter().sum::<usize>() > 20,
        "the other two have its share",
    );
    if let Some(status) = asked.iter().find_map(|asked| asked.answer.as_ref().err()) {
        println!("\n  for instance: {status}");
    }
    Ok(())
}
