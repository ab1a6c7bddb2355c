//! One of the three Bs freezes: its connections stay, and it says nothing more. That is worse than being dead, for nobody is told.

use std::time::Duration;

use stonework::base::{BoxError, Ending, Event, Kind};
use tokio::time::{Instant, sleep, sleep_until};

use crate::kit::Verdict;
use crate::mesh::{Mesh, NAMES, SLOW_START};
use crate::proto::{BUY, QUOTE};
use crate::traffic::{Traffic, failures, part, shares};

/// How long it goes well at first.
const WELL: Duration = Duration::from_millis(300);
/// Longer than two probes take that have no answer, and than an attempt may take.
const FROZEN: Duration = Duration::from_millis(2_700);
/// How many call in the last part, in which it has all that it had before.
const CALM: u32 = 100;
const VICTIM: usize = 0;

pub(crate) async fn play(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nA hundred calls a second; {} freezes for {FROZEN:?}\n", NAMES[VICTIM]);
    mesh.all_well().await?;
    drop(mesh.events.take());
    let (start, mut traffic) = (Instant::now(), Traffic::start(mesh.front.clone(), "frozen"));
    sleep_until(start + WELL).await;
    let (freezes, ice) = (Instant::now(), mesh.bs[VICTIM].freeze()?);
    let noticed = mesh.left_alone(VICTIM).await?;
    let before = mesh.sent_to(VICTIM);
    sleep_until(freezes + FROZEN).await;
    let (thaws, after) = (Instant::now(), mesh.sent_to(VICTIM));
    drop(ice);
    let welcome = mesh.taken_back(VICTIM).await?;
    sleep(SLOW_START).await;
    let calm = Instant::now();
    traffic.more(CALM).await?;
    let asked = traffic.end().await?;

    let end = Instant::now();
    println!("  answered by           {}", NAMES.join("   "));
    for (name, from, to) in
        [("all are well", start, freezes), ("one is frozen", freezes, thaws), ("and again well", calm, end)]
    {
        println!("  {name:<18} {}", shares(&asked, from, to).map(|share| format!("{share:>4} ")).concat());
    }
    let slowest = asked.iter().map(|asked| asked.took).max().unwrap_or_default();
    println!(
        "\n  left alone after {noticed:.1?}, and asked again {welcome:.1?} after it thaws; the slowest call of all took {slowest:.1?}\n"
    );

    let buys = || asked.iter().filter(|asked| asked.path == BUY);
    let (all, failed, first) = failures(&asked, &[QUOTE]);
    let is_late =
        |event: &Event| matches!(event, Event::AttemptEnded { ending: Ending::Error(Kind::Timeout), .. });
    let given_up = mesh.events.take().iter().filter(|event| is_late(event)).count();
    verdict.claim(
        failed == 0 && given_up > 0,
        format!(
            "no call fails that may be repeated: {failed} of {all}{first}; attempts that heard nothing and were given up: {given_up}"
        ),
    );
    verdict.claim(
        buys().all(|asked| mesh.log.at_b(&asked.item).len() <= 1),
        format!("none of {} that may not is made twice, also where it lay in the ice", buys().count()),
    );
    verdict.claim(
        noticed < FROZEN && before == after,
        "two probes without an answer are enough: from then on it is sent nothing",
    );
    let share = part(shares(&asked, calm, end), VICTIM);
    // A third of a hundred is what is expected, and never by chance a third of that.
    verdict.claim(share > 0.1, format!("it has its share again when it answers: {:.0} %", 100.0 * share));
    Ok(())
}
