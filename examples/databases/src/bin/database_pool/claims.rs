//! What came of it: a table, and what is claimed.

use std::collections::BTreeMap;
use std::time::Duration;

use stonework::base::PoolClose;
use stonework::pool::PoolStats;

use super::audit::Audit;
use super::kit::Verdict;
use super::limits::Limits;
use super::traffic::{Order, Outcome, Told};
use super::{ACCOUNTS, BALANCE, CONNECTIONS, SEATS, WAIT, WAITING};

const CLOSES: [PoolClose; 8] = [
    PoolClose::Broken,
    PoolClose::Checked,
    PoolClose::Closed,
    PoolClose::Discarded,
    PoolClose::Dropped,
    PoolClose::Idle,
    PoolClose::Old,
    PoolClose::Surplus,
];

impl Told {
    pub(crate) fn table(&self, stats: &PoolStats) {
        println!("order      number  done   no  cut off  failed   wait p50   wait p99   slowest");
        let mut kinds: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
        for order in &self.orders {
            kinds.entry(order.what).or_default().push(order);
        }
        for (what, orders) in kinds {
            let count = |wanted: &[Outcome]| orders.iter().filter(|o| wanted.contains(&o.outcome)).count();
            let mut waits: Vec<_> = orders.iter().map(|order| order.waited).collect();
            waits.sort();
            let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
            println!(
                "{what:<10} {:>6} {:>5} {:>4} {:>8} {:>7} {:>10.1?} {:>10.1?} {:>9.1?}",
                orders.len(),
                count(&[Outcome::Done]),
                count(&[Outcome::No]),
                count(&[Outcome::CutOff, Outcome::Killed]),
                count(&[Outcome::NoConnection, Outcome::Failed]),
                at(0.5),
                at(0.99),
                orders.iter().map(|order| order.took).max().unwrap_or_default(),
            );
        }
        let closed = CLOSES.map(|why| (why, stats.closed(why)));
        let closed: Vec<_> =
            closed.iter().filter(|(_, n)| *n > 0).map(|(why, n)| format!("{n} ({why})")).collect();
        println!(
            "\npool: {} connected, {} handed out, {} refused, {} waited in vain; closed: {}\n",
            stats.connected(),
            stats.handed_out(),
            stats.refused(),
            stats.timed_out(),
            if closed.is_empty() { "none".to_owned() } else { closed.join(", ") },
        );
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.orders.iter().filter(|order| order.outcome == outcome).count()
    }
}

pub(crate) fn claims(
    told: &Told,
    limits: &Limits,
    whole: usize,
    audit: &Audit,
    stats: &PoolStats,
    peak: usize,
) -> Verdict {
    let mut verdict = Verdict::default();
    let (orders, failed) =
        (told.orders.len(), told.count(Outcome::NoConnection) + told.count(Outcome::Failed));
    verdict.claim(
        failed == 0,
        format!("of {orders} orders none failed for want of a good connection: {failed}"),
    );
    told.errors.iter().take(3).for_each(|error| println!("    {error}"));
    verdict.claim(
        peak == CONNECTIONS,
        format!("there are never more than {CONNECTIONS} connections: {peak} at most"),
    );
    let slowest = told.orders.iter().map(|order| order.waited).max().unwrap_or_default();
    verdict.claim(slowest < WAIT, format!("nobody waits for longer than {WAIT:?}: {slowest:.0?} at most"));

    let cut_off = told.count(Outcome::CutOff) as u64;
    let dropped = stats.closed(PoolClose::Dropped);
    verdict.claim(
        cut_off > 0 && dropped == cut_off,
        format!("what is given up in the middle of a transaction is closed: {dropped} of {cut_off}"),
    );
    let broken = stats.closed(PoolClose::Broken);
    verdict.claim(
        broken == 1,
        format!(
            "a connection that was killed is found out and replaced, whatever its user says: {broken} of 1"
        ),
    );
    let (sum, meant) = (audit.money, ACCOUNTS * BALANCE);
    verdict.claim(sum == meant, format!("the sum of all money is what it was: {sum} of {meant}"));
    verdict.claim(
        audit.sold == sorted(&told.seats) && !audit.sold.is_empty() && audit.each_once(),
        format!("each seat is sold once, to whoever was told so: {} of {SEATS}", audit.sold.len()),
    );

    let (refused, served) = (limits.refused, limits.served);
    verdict.claim(
        refused == 200 - WAITING && limits.slowest_refusal < Duration::from_millis(250),
        format!(
            "of 200 that come when nothing is free {WAITING} wait, and {refused} know at once: after {:.1?}",
            limits.slowest_refusal
        ),
    );
    verdict
        .claim(served == WAITING && limits.failed == 0, format!("and those that wait are served: {served}"));
    let vain = limits.waited_in_vain;
    let told_why =
        limits.exhausted.as_ref().is_some_and(|e| (e.in_use(), e.max()) == (CONNECTIONS, CONNECTIONS));
    verdict.claim(
        told_why && vain >= WAIT && vain < WAIT + Duration::from_millis(500),
        format!("whoever waits in vain is told why after {vain:.1?}: {}", limits.why),
    );
    verdict.claim(whole == CONNECTIONS, format!("no place was lost: {whole} of {CONNECTIONS} can be had"));
    verdict.claim(stats.open() == 0, format!("a pool that was closed has nothing open: {}", stats.open()));
    verdict
}

fn sorted(seats: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut seats = seats.to_vec();
    seats.sort_unstable();
    seats
}
