//! One of the three Bs freezes: its connections stay, and it says nothing more. That is worse than being dead, for nobody is told.

use std::time::Duration;

use stonework::base::{BoxError, Ending, EndpointState, Event, Kind};
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::kit::Verdict;
use crate::mesh::{Mesh, NAMES};
use crate::proto::{BUY, QUOTE};
use crate::traffic::{shares, traffic};

const FREEZES: Duration = Duration::from_millis(300);
/// Longer than two probes take that have no answer, and than an attempt may take.
const THAWS: Duration = Duration::from_millis(3_000);
/// By then it was probed often enough, and its slow start is over.
const CALM: Duration = Duration::from_millis(4_300);
const END: Duration = Duration::from_millis(5_000);
const VICTIM: usize = 0;
/// For what ought to come soon.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn play(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    let name = NAMES[VICTIM];
    println!("\nA hundred calls a second; {name} freezes after {FREEZES:?}, and thaws after {THAWS:?}\n");
    drop(mesh.events.take());
    let start = Instant::now();
    let asked = tokio::spawn(traffic(mesh.front.clone(), "frozen", END));
    sleep_until(start + FREEZES).await;
    let ice = mesh.bs[VICTIM].freeze()?;
    timeout(SOON, left_alone(mesh)).await?;
    let (noticed, before) = (start.elapsed(), mesh.sent_to(VICTIM));
    sleep_until(start + THAWS).await;
    let after = mesh.sent_to(VICTIM);
    drop(ice);
    let asked = asked.await?;

    let slowest = asked.iter().map(|asked| asked.took).max().unwrap_or_default();
    println!("  noticed after {noticed:.1?}; the slowest call of all took {slowest:.1?}");
    println!(
        "  answered by {}: {:?}, while it is frozen {:?}, and in the end {:?}\n",
        NAMES.join(", "),
        shares(&asked, Duration::ZERO, FREEZES),
        shares(&asked, FREEZES, THAWS),
        shares(&asked, CALM, END)
    );
    let of = |path: &'static str| asked.iter().filter(move |asked| asked.path == path);
    let failed = of(QUOTE).filter(|asked| asked.answer.is_err()).count();
    let is_late =
        |event: &Event| matches!(event, Event::AttemptEnded { ending: Ending::Error(Kind::Timeout), .. });
    let given_up = mesh.events.take().iter().filter(|event| is_late(event)).count();
    verdict.claim(
        failed == 0 && given_up > 0,
        format!(
            "no call fails that may be repeated: {failed} of {}; {given_up} attempts heard nothing and were given up",
            of(QUOTE).count()
        ),
    );
    verdict.claim(
        of(BUY).all(|asked| mesh.log.at_b(&asked.item).len() <= 1),
        "none that may not is made twice, also where it lay in the ice",
    );
    verdict.claim(
        noticed < THAWS && before == after,
        "two probes without an answer are enough: from then on it is sent nothing",
    );
    let last = shares(&asked, CALM, END);
    let share = last[VICTIM] as f64 / last.iter().sum::<usize>().max(1) as f64;
    verdict.claim(share > 0.1, format!("it has its share again when it answers: {:.0} %", 100.0 * share));
    Ok(())
}

/// Looks every now and then, until the balancer does not count on it any more.
async fn left_alone(mesh: &Mesh) {
    let mut looks = interval(Duration::from_millis(20));
    while mesh.state_of(VICTIM) == Some(EndpointState::Ready) {
        looks.tick().await;
    }
}
