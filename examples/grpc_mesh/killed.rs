//! One of the three Bs is killed in the middle of its calls, and comes back.

use std::time::Duration;

use stonework::base::{BoxError, Event};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use crate::kit::Verdict;
use crate::mesh::{Mesh, NAMES};
use crate::proto::{BUY, Order, Price, QUOTE, Wish, call};
use crate::traffic::{shares, traffic};

const KILLED: Duration = Duration::from_millis(800);
const BACK: Duration = Duration::from_millis(1_800);
/// By then it was probed often enough, and its slow start is over.
const CALM: Duration = Duration::from_millis(3_400);
const END: Duration = Duration::from_millis(4_400);
/// The one in the middle.
const VICTIM: usize = 1;

pub(crate) async fn play(mesh: &mut Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!(
        "\nA hundred calls a second; {} is killed after {KILLED:?}, and back after {BACK:?}\n",
        NAMES[VICTIM]
    );
    drop(mesh.events.take());
    let start = Instant::now();
    let asked = tokio::spawn(traffic(mesh.front.clone(), "killed", END));
    sleep_until(start + KILLED).await;
    let (quote, buy) = (under_way(mesh, QUOTE).await?, under_way(mesh, BUY).await?);
    mesh.bs[VICTIM].kill().await?;
    sleep_until(start + BACK).await;
    mesh.restart(VICTIM).await?;
    let (asked, quote, buy) = (asked.await?, quote.end().await?, buy.end().await?);

    println!("  answered by      {}", NAMES.join("   "));
    for (name, from, to) in [
        ("all are well", Duration::ZERO, KILLED),
        ("one is dead", KILLED, BACK),
        ("it is back", BACK, CALM),
        ("and is warm", CALM, END),
    ] {
        let shares = shares(&asked, from, to).map(|share| format!("{share:>4} "));
        println!("  {name:<13} {}", shares.concat());
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

    let quotes = || asked.iter().filter(|asked| asked.path == QUOTE);
    let failed = quotes().filter(|asked| asked.answer.is_err()).count();
    verdict.claim(
        failed == 0 && again + over > 0,
        format!("no call fails that may be repeated: {} of {} did", failed, quotes().count()),
    );
    let buys = || asked.iter().filter(|asked| asked.path == BUY);
    verdict.claim(
        buys().all(|asked| mesh.log.at_b(&asked.item).len() <= 1),
        format!("none of {} that may not is made twice", buys().count()),
    );
    let times = mesh.log.at_b(&quote.item).len();
    verdict.claim(
        times == 2 && quote.answer.is_ok_and(|price| price.by != NAMES[VICTIM]),
        "the call that it had in hand and that may be repeated is, by A: its caller waits longer, and has his answer",
    );
    let (times, code) =
        (mesh.log.at_b(&buy.item).len(), buy.answer.map_or_else(|status| status.code(), |_| Code::Ok));
    verdict.claim(
        (times, code) == (1, Code::Unavailable),
        format!(
            "the one that may not is not: its caller is told {code:?}, and has to look what became of it"
        ),
    );
    let dead = shares(&asked, KILLED + Duration::from_millis(200), BACK);
    verdict.claim(
        dead[VICTIM] == 0 && dead.iter().sum::<usize>() > 20,
        "while it is dead, the others have all of it",
    );
    let last = shares(&asked, CALM, END);
    // A third of a hundred is what is expected, and never by chance a third of that.
    let share = last[VICTIM] as f64 / last.iter().sum::<usize>().max(1) as f64;
    verdict.claim(
        share > 0.1,
        format!("when it is back it has its share again, with nobody's help: {:.0} %", 100.0 * share),
    );
    Ok(())
}

/// A call that the victim is in the middle of.
struct UnderWay {
    item: String,
    calling: JoinHandle<Result<Price, Status>>,
}

/// What became of it.
struct Ended {
    item: String,
    answer: Result<Price, Status>,
}

async fn under_way(mesh: &Mesh, path: &'static str) -> Result<UnderWay, BoxError> {
    // Who gets a call is the balancer's affair, so there are as many as it takes. Those that others have keep them busy.
    for number in 0..30 {
        let (front, item) = (mesh.front.clone(), format!("slow {path} {number}"));
        let order = Order::new(item.clone(), Wish::Slow);
        let calling = tokio::spawn(async move { call(&front, path, order).await });
        if mesh.log.begun_at_b(&item).await? == NAMES[VICTIM] {
            return Ok(UnderWay { item, calling });
        }
    }
    Err("the balancer never asks the one that is to be killed".into())
}

impl UnderWay {
    async fn end(self) -> Result<Ended, BoxError> {
        Ok(Ended { answer: self.calling.await?, item: self.item })
    }
}
