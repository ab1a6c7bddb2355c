//! A deadline is that of everybody behind, less what was used; and who is given up, ends.

use std::time::Duration;

use stonework::Deadline;
use stonework::base::BoxError;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::kit::Verdict;
use crate::log::End;
use crate::mesh::Mesh;
use crate::proto::{Order, Price, QUOTE, Wish, call};
use crate::services::THINKS;

/// What the first caller has: enough for all three, also on a machine that has other things to do.
const GIVEN: Duration = Duration::from_millis(1_000);
/// What the second has, for an answer that never comes.
const SHORT: Duration = Duration::from_millis(250);
/// What each hop keeps for the way back of the answer: the default of those who tell the next one, in microseconds, the last of which is
/// not whole.
const MARGIN: Duration = Duration::from_micros(10_001);
/// What anything may take longer there. The next limit on whatever is given up here is seconds away.
const LATE: Duration = Duration::from_millis(500);

/// Gives the call up after so long, as a handler with a deadline does.
async fn within(limit: Duration, call: impl Future<Output = Result<Price, Status>>) -> Result<Price, Status> {
    let late = |elapsed: stonework::base::Elapsed| Err(Status::deadline_exceeded(elapsed.to_string()));
    Deadline::within(limit).bound(call).await.unwrap_or_else(late)
}

pub(crate) async fn play(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    handed_on(mesh, verdict).await?;
    given_up(mesh, verdict).await?;
    cancelled(mesh, verdict).await
}

async fn handed_on(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("A deadline of {GIVEN:?} at the caller; A and B each think for {THINKS:?}\n");
    let began = Instant::now();
    let answer = within(GIVEN, call(&mesh.front, QUOTE, Order::new("deadline", Wish::Think))).await;
    let [a, b, c] = [mesh.log.of("A", "deadline"), mesh.log.at_b("deadline"), mesh.log.of("C", "deadline")]
        .map(|notes| notes.first().and_then(|note| Some((note.begun - began, note.left?))));
    let (Some(a), Some(b), Some(c)) = (a, b, c) else {
        verdict.claim(false, format!("everybody has a deadline: {a:?}, {b:?}, {c:?}"));
        return Ok(());
    };
    for (name, (after, left)) in [("A", a), ("B", b), ("C", c)] {
        println!("  {name} is asked after {after:>5.1?}, and has {left:.1?}");
    }
    println!();
    verdict.claim(answer.is_ok(), "the call is answered in time");
    verdict.claim(
        a.1 <= GIVEN && b.1 + THINKS <= a.1 && c.1 + THINKS <= b.1,
        "each has what the one before had, less what that used",
    );
    let is_all = |(hops, (after, left)): (u32, (Duration, Duration))| left + after + hops * MARGIN >= GIVEN;
    verdict.claim(
        [(1, a), (2, b), (3, c)].into_iter().all(is_all),
        format!("and all of it, but for {} ms a hop, which are for the way back", MARGIN.as_millis()),
    );
    Ok(())
}

async fn given_up(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nA deadline of {SHORT:?}, and a C that never answers\n");
    let began = Instant::now();
    let answer = within(SHORT, call(&mesh.front, QUOTE, Order::new("given up", Wish::Hang))).await;
    let over = Instant::now();
    let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
    verdict.claim(
        code == Code::DeadlineExceeded && over - began < SHORT + LATE,
        format!("the caller is told {code:?} after {:.0?}", over - began),
    );
    ends_with(mesh, verdict, "given up", over).await
}

async fn cancelled(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nA caller with seconds to spare, who goes away in the middle\n");
    let front = mesh.front.clone();
    let calling = tokio::spawn(async move { call(&front, QUOTE, Order::new("gone", Wish::Hang)).await });
    mesh.log.begun("C", "gone").await?;
    let over = Instant::now();
    calling.abort();
    ends_with(mesh, verdict, "gone", over).await
}

/// Whether C has ended what nobody waits for.
async fn ends_with(mesh: &Mesh, verdict: &mut Verdict, item: &str, over: Instant) -> Result<(), BoxError> {
    let notes = mesh.log.ended("C", item).await?;
    let dropped = notes.iter().all(|note| matches!(note.ended, Some((_, End::Dropped))));
    let last = notes.iter().filter_map(|note| note.ended).map(|(at, _)| at).max().unwrap_or(over);
    let when = match last.checked_duration_since(over) {
        Some(after) => format!("{after:.1?} later"),
        None => format!("{:.1?} earlier, for each hop keeps something for the way back", over - last),
    };
    verdict.claim(dropped && last < over + LATE, format!("C drops what nobody waits for {when}"));
    Ok(())
}
