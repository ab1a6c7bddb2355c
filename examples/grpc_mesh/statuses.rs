//! What each status asks for, and who does it.

use stonework::base::BoxError;
use tokio::time::Instant;
use tonic::Code;

use crate::kit::Verdict;
use crate::mesh::Mesh;
use crate::proto::{BUY, Order, QUOTE, Wish, call};
use crate::services::PUSHBACK;

pub(crate) async fn play(mesh: &Mesh, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nStatuses: what the caller is told, and how often each is asked\n");
    println!("  what happens     method  the caller is told  A  B  C  took");
    let mut rows = Vec::new();
    for (wish, path) in [
        (Wish::UnavailableOnce, QUOTE),
        (Wish::UnavailableOnce, BUY),
        (Wish::Invalid, QUOTE),
        (Wish::ExhaustedOnce, QUOTE),
        (Wish::Exhausted, QUOTE),
        (Wish::StockAway, QUOTE),
    ] {
        let (item, began) = (format!("{wish:?} {path}"), Instant::now());
        let answer = call(&mesh.front, path, Order::new(item.clone(), wish)).await;
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        let asked =
            [mesh.log.of("A", &item), mesh.log.at_b(&item), mesh.log.of("C", &item)].map(|notes| notes.len());
        let [a, b, c] = asked;
        println!(
            "  {:<15}  {:<6}  {:<18}  {a}  {b}  {c}  {:.0?}",
            format!("{wish:?}"),
            path.rsplit('/').next().unwrap_or_default(),
            format!("{code:?}"),
            began.elapsed()
        );
        rows.push((code, asked, mesh.log.at_b(&item)));
    }
    println!();
    let told: Vec<_> = rows.iter().map(|(code, asked, _)| (*code, *asked)).collect();
    verdict.claim(
        told[0] == (Code::Ok, [1, 2, 1]),
        "UNAVAILABLE is asked again, by A, and its caller hears nothing of it",
    );
    verdict.claim(told[1] == (Code::Unavailable, [1, 1, 0]), "but not what must not be done twice");
    verdict.claim(told[2] == (Code::InvalidArgument, [1, 1, 0]), "INVALID_ARGUMENT is not asked again");
    let waited = rows[3].2.windows(2).map(|two| two[1].begun - two[0].begun).min();
    verdict.claim(
        told[3] == (Code::Ok, [1, 2, 1]) && waited >= Some(PUSHBACK),
        format!(
            "RESOURCE_EXHAUSTED is, no sooner than after the {PUSHBACK:?} that it asks for: {:.0?}",
            waited.unwrap_or_default()
        ),
    );
    verdict.claim(told[4] == (Code::ResourceExhausted, [1, 1, 0]), "and not at all where it says so");
    verdict.claim(
        told[5] == (Code::Unavailable, [1, 1, 3]),
        "three hops with three attempts each are three attempts at the last, not twenty-seven",
    );
    Ok(())
}
