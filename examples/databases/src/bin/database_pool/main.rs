//! What a pool of four connections does for a bank and a theatre, while everything goes wrong that does.
//!
//! *The problem:* a database takes few connections, and many want one. Some give up in the middle of a transaction, one connection is
//! killed, somebody keeps one for as long as it likes, and at times too many come at once.
//!
//! *What to look at:* [`traffic`], where each line that begins with `pool.get()` is what a user writes; the table; and the audit below it.
//! The managers of the pool are in this package's library. It runs over a file of SQLite's, or, where `DATABASE_URL` is set, over a server
//! of PostgreSQL, in a schema of its own that is removed again:
//!
//!     cargo run -p stonework-databases --bin database_pool
//!     DATABASE_URL=postgres://me@localhost/test cargo run -p stonework-databases --bin database_pool
//!
//! It takes about three seconds, and ends with exit code 0 if every claim held.

mod audit;
mod engine;
#[path = "../../../../kit/mod.rs"]
mod kit;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stonework::base::{Error, PoolClose};
use stonework::pool::{Pool, PoolExhausted, PoolSettings, PoolStats, Pooled};
use stonework_databases::{Postgres, Sqlite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::audit::Audit;
use self::engine::{Database, Done};
use self::kit::Verdict;

const CONNECTIONS: usize = 4;
const WAIT: Duration = Duration::from_secs(2);
const WAITING: usize = 64;

const ACCOUNTS: i64 = 20;
const BALANCE: i64 = 1_000;
const SEATS: i64 = 150;
const CUSTOMERS: i64 = 40;
const ORDERS: u64 = 16;
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
/// One keeps a connection for so long, whatever others want.
const KEPT: Duration = Duration::from_millis(1_000);

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Done<Verdict> {
    match std::env::var("DATABASE_URL") {
        Ok(url) => {
            let schema = format!("stonework_pool_{}", std::process::id());
            let name = format!("database_pool {}", std::process::id());
            let manager = Postgres::new(&url)?.named(&name).first(format!("SET search_path TO {schema}"));
            run(manager).await
        }
        Err(_) => {
            let folder = Folder::new()?;
            run(Sqlite::new(folder.0.join("bank.db"))).await
        }
    }
}

/// Removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("stonework-pool-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn run<D: Database>(manager: D) -> Done<Verdict> {
    let settings = PoolSettings::new().max(CONNECTIONS).wait_timeout(WAIT).max_waiting(WAITING);
    println!("{}: {settings}\n", D::NAME);
    let pool = Pool::builder(manager).settings(settings).name("bank").build()?;
    D::set_up(pool.get().await?, ACCOUNTS, BALANCE, SEATS).await?.0.put_back();

    let peak = Arc::new(Peak::default());
    let watching = tokio::spawn(watch(pool.clone(), Arc::clone(&peak)));
    let told = traffic(&pool).await?;
    let limits = limits(&pool).await?;
    // What was cut off comes to its end by itself.
    let whole = whole(&pool).await?;
    watching.abort();

    let connection = pool.get().await?;
    let (connection, audit) = D::audit(connection).await?;
    D::tear_down(connection).await?.0.put_back();
    let (before, stats) = (pool.stats(), closed(&pool).await);
    told.table(&before);
    Ok(claims(&told, &limits, whole, &audit, &stats, peak.0.load(Ordering::Relaxed)))
}

/// The end: nothing is left open.
async fn closed<D: Database>(pool: &Pool<D>) -> PoolStats {
    let _ = timeout(WAIT, pool.close()).await;
    pool.stats()
}

// ───────────────────────────────────────────────────────────────────────────── the traffic

/// What came of one order.
struct Order {
    what: &'static str,
    waited: Duration,
    took: Duration,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The seat was taken, or the account empty.
    No,
    CutOff,
    Killed,
    NoConnection,
    Failed,
}

#[derive(Default)]
struct Told {
    orders: Vec<Order>,
    /// Seats that customers were told are theirs.
    seats: Vec<(i64, i64)>,
    errors: Vec<String>,
}

async fn traffic<D: Database>(pool: &Pool<D>) -> Done<Told> {
    let mut tasks: JoinSet<Done<Told>> = JoinSet::new();
    for customer in 0..CUSTOMERS {
        tasks.spawn(buys(pool.clone(), customer));
    }
    tasks.spawn(is_killed(pool.clone()));
    tasks.spawn(keeps(pool.clone()));
    let mut told = Told::default();
    while let Some(task) = tasks.join_next().await {
        let Told { orders, seats, errors } = task??;
        told.orders.extend(orders);
        told.seats.extend(seats);
        told.errors.extend(errors);
    }
    Ok(told)
}

/// A customer, who books seats and sends money, and now and then gives up in the middle of it.
async fn buys<D: Database>(pool: Pool<D>, customer: i64) -> Done<Told> {
    let mut told = Told::default();
    let mut dice = Dice(customer.unsigned_abs());
    for order in 0..ORDERS {
        let began = Instant::now();
        let (from, to) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS));
        let (seat, amount) = (dice.below(SEATS), 1 + dice.below(50));
        let what = match (order + customer.unsigned_abs()) % 8 {
            7 => "gives up",
            even if even % 2 == 0 => "transfer",
            _ => "seat",
        };
        let (mut waited, mut outcome) = (Duration::ZERO, Outcome::NoConnection);
        match pool.get().await {
            Err(error) => told.errors.push(format!("{error:#}")),
            Ok(connection) => {
                waited = began.elapsed();
                let result = match what {
                    "transfer" => D::transfer(connection, from, to, amount).await,
                    "seat" => D::book(connection, seat, customer).await,
                    // The money is taken from one, and before the other one has it, the caller is gone.
                    _ => {
                        let given_up = D::take_and_hang(connection, from, amount);
                        outcome = Outcome::CutOff;
                        if timeout(Duration::from_millis(10), given_up).await.is_ok() {
                            outcome = Outcome::Failed;
                        }
                        told.orders.push(Order { what, waited, took: began.elapsed(), outcome });
                        continue;
                    }
                };
                outcome = match result {
                    Ok((connection, done)) => {
                        connection.put_back();
                        if done && what == "seat" {
                            told.seats.push((seat, customer));
                        }
                        if done { Outcome::Done } else { Outcome::No }
                    }
                    Err(error) => {
                        told.errors.push(error.to_string());
                        Outcome::Failed
                    }
                };
            }
        }
        told.orders.push(Order { what, waited, took: began.elapsed(), outcome });
        sleep(Duration::from_millis(dice.below(5).unsigned_abs())).await;
    }
    Ok(told)
}

/// Somebody's connection dies in its hands.
async fn is_killed<D: Database>(pool: Pool<D>) -> Done<Told> {
    let (mut told, began) = (Told::default(), Instant::now());
    sleep(Duration::from_millis(50)).await;
    let (victim, other) = (pool.get().await?, pool.get().await?);
    let waited = began.elapsed();
    let (victim, other) = D::kill(victim, other).await?;
    other.put_back();
    // It says that all is well. The pool looks for itself.
    victim.put_back();
    told.orders.push(Order { what: "is killed", waited, took: began.elapsed(), outcome: Outcome::Killed });
    Ok(told)
}

/// Somebody does not give it back until it is told to.
async fn keeps<D: Database>(pool: Pool<D>) -> Done<Told> {
    let (mut told, began) = (Told::default(), Instant::now());
    let connection = pool.get().await?;
    let waited = began.elapsed();
    sleep(KEPT).await;
    connection.put_back();
    told.orders.push(Order { what: "keeps", waited, took: began.elapsed(), outcome: Outcome::Done });
    Ok(told)
}

// ───────────────────────────────────────────────────────────────────────────── the limits

/// What those are told who come when nothing is left.
struct Limits {
    refused: usize,
    served: usize,
    slowest_refusal: Duration,
    waited_in_vain: Duration,
    why: String,
    exhausted: Option<PoolExhausted>,
    failed: usize,
}

async fn limits<D: Database>(pool: &Pool<D>) -> Done<Limits> {
    let held = all(pool).await?;
    let mut tasks: JoinSet<(Duration, Option<Error>)> = JoinSet::new();
    for _ in 0..200 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let began = Instant::now();
            let got = pool.get().await;
            let took = began.elapsed();
            (took, got.map(Pooled::put_back).err())
        });
    }
    let mut refusals = Vec::new();
    while refusals.len() < 200 - WAITING {
        let (took, error) = tasks.join_next().await.ok_or("they wait")??;
        refusals.push((took, error.ok_or("nothing is free")?));
    }
    held.into_iter().for_each(Pooled::put_back);
    let (mut served, mut failed) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        *(if task?.1.is_none() { &mut served } else { &mut failed }) += 1;
    }

    let held = all(pool).await?;
    let began = Instant::now();
    let error = pool.get().await.err().ok_or("nothing is free")?;
    let waited_in_vain = began.elapsed();
    held.into_iter().for_each(Pooled::put_back);
    Ok(Limits {
        refused: refusals.iter().filter(|(_, error)| error.is_overload()).count(),
        served,
        slowest_refusal: refusals.iter().map(|(took, _)| *took).max().unwrap_or_default(),
        waited_in_vain,
        why: format!("{error:#}"),
        exhausted: error.is_timeout().then(|| error.cause::<PoolExhausted>().cloned()).flatten(),
        failed,
    })
}

async fn all<D: Database>(pool: &Pool<D>) -> Result<Vec<Pooled<D>>, Error> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(pool.get().await?);
    }
    Ok(held)
}

/// Whether all places are still there after all of this: as many as may be, at once.
async fn whole<D: Database>(pool: &Pool<D>) -> Done<usize> {
    let held = all(pool).await?;
    let number = held.len();
    held.into_iter().for_each(Pooled::put_back);
    Ok(if pool.stats().in_use() == 0 { number } else { 0 })
}

/// The most that were open at once.
#[derive(Default)]
struct Peak(AtomicUsize);

async fn watch<D: Database>(pool: Pool<D>, peak: Arc<Peak>) {
    loop {
        peak.0.fetch_max(pool.stats().open(), Ordering::Relaxed);
        sleep(Duration::from_millis(1)).await;
    }
}

// ───────────────────────────────────────────────────────────────────────────── what came of it

impl Told {
    fn table(&self, stats: &PoolStats) {
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

fn claims(
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

/// The same orders each time: the numbers of SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % end.unsigned_abs()) as i64
    }
}
