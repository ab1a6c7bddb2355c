//! One of the three Bs is killed in the middle of its calls, and comes back.

use std::time::Duration;

use stonework::base::{BoxError, Event};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status};

use crate::kit::Verdict;
use crate::mesh::{Mesh, NAMES, SLOW_START};
use crate::proto::{BUY, Order, Price, QUOTE, Wish, call};
use crate::traffic::{Traffic, failures, part, shares};

/// How long it goes well at first.
const WELL: Duration = Duration::from_millis(700);
const DEAD: Duration = Duration::from_millis(1_000);
/// How many call in the last part, in which it has all that it had before.
const CALM: u32 = 100;
/// The one in the middle.
const VICTIM: usize = 1;

pub(crate) async fn play(mesh: &mut Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nA hundred calls a second; {} is killed, and comes back after {DEAD:?}\n", NAMES[VICTIM]);
    mesh.all_well().await?;
    drop(mesh.events.take());
    let (start, mut traffic) = (Instant::now(), Traffic::start(mesh.front.clone(), "killed"));
    sleep_until(start + WELL).await;
    let (quote, buy) = (in_hand(mesh, QUOTE).await?, in_hand(mesh, BUY).await?);
    let killed = Instant::now();
    mesh.bs[VICTIM].kill().await?;
    let dead = Instant::now();
    // Not before everybody has noticed.
    mesh.left_alone(VICTIM).await?;
    sleep_until(dead + DEAD).await;
    let back = Instant::now();
    mesh.restart(VICTIM).await?;
    mesh.taken_back(VICTIM).await?;
    sleep(SLOW_START).await;
    let calm = Instant::now();
    traffic.more(CALM).await?;
    let (asked, quote, buy) = (traffic.end().await?, quote.end().await?, buy.end().await?);

    let end = Instant::now();
    println!("  answered by        {}", NAMES.join("   "));
    for (name, from, to) in [
        ("all are well", start, killed),
        ("one is dead", dead, back),
        ("it is back", back, calm),
        ("and is warm", calm, end),
    ] {
        println!("  {name:<15} {}", shares(&asked, from, to).map(|share| format!("{share:>4} ")).concat());
    }
    let events = mesh.events.timed_events();
    println!();
    for (at, event) in &events {
        if let Event::EndpointChanged { endpoint, from, to, why, .. } = event {
            let name = mesh.bs.iter().position(|b| b.id() == *endpoint).map_or("?", |at| NAMES[at]);
            println!("  {name} after {:.2?}: {from}, now {to}: {why}", *at - start);
        }
    }
    let again = events
        .iter()
        .filter(|(_, event)| matches!(event, Event::AttemptStarted { attempt: 2.., .. }))
        .count();
    let over = events.iter().filter(|(_, event)| matches!(event, Event::FailedOver { .. })).count();
    println!("\n  {again} attempts were repeated, {over} were not sent and went to another at once\n");

    let (all, failed, first) = failures(&asked, &[QUOTE]);
    verdict.claim(
        failed == 0 && again + over > 0,
        format!("no call fails that may be repeated: {failed} of {all}{first}"),
    );
    let buys = || asked.iter().filter(|asked| asked.path == BUY);
    verdict.claim(
        buys().all(|asked| mesh.log.at_b(&asked.item).len() <= 1),
        format!("none of {} that may not is made twice", buys().count()),
    );
    let times = mesh.log.at_b(&quote.item).len();
    verdict.claim(
        times > 1 && quote.answer.is_ok_and(|price| price.by != NAMES[VICTIM]),
        "the call that it had in hand and that may be repeated is, by A: its caller waits longer, and has his answer",
    );
    let (times, code) =
        (mesh.log.at_b(&buy.item).len(), buy.answer.map_or_else(|status| status.code(), |_| Code::Ok));
    verdict.claim(
        times == 1 && code != Code::Ok,
        format!(
            "the one that may not is not: its caller is told {code:?}, and has to look what became of it"
        ),
    );
    let meanwhile = asked.iter().filter(|asked| (dead..back).contains(&asked.at)).count();
    let by_others = shares(&asked, dead, back).iter().sum::<usize>();
    verdict.claim(
        by_others == meanwhile && meanwhile > 0,
        format!("while it is dead, the others have all of it: {by_others} of {meanwhile}"),
    );
    let share = part(shares(&asked, calm, end), VICTIM);
    // A third of a hundred is what is expected, and never by chance a third of that.
    verdict.claim(
        share > 0.1,
        format!("when it is back it has its share again, with nobody's help: {:.0} %", 100.0 * share),
    );
    Ok(())
}

/// A call that the victim has in hand.
struct InHand {
    item: String,
    calling: JoinHandle<Result<Price, Status>>,
}

/// What became of it.
struct Ended {
    item: String,
    answer: Result<Price, Status>,
}

async fn in_hand(mesh: &Mesh, path: &'static str) -> Result<InHand, BoxError> {
    // Who gets a call is the balancer's affair, so there are as many as it takes. Those that others have keep them busy.
    for number in 0..30 {
        let (front, item) = (mesh.front.clone(), format!("stuck {path} {number}"));
        let order = Order::new(item.clone(), Wish::StuckOnce);
        let calling = tokio::spawn(async move { call(&front, path, order).await });
        if mesh.log.begun_at_b(&item).await? == NAMES[VICTIM] {
            return Ok(InHand { item, calling });
        }
    }
    Err("the balancer never asks the one that is to be killed".into())
}

impl InHand {
    async fn end(self) -> Result<Ended, BoxError> {
        Ok(Ended { answer: self.calling.await?, item: self.item })
    }
}
