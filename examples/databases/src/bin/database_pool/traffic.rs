//! Customers who book seats and send money, and those whom something happens to.

use std::time::Duration;

use stonework::pool::Pool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::engine::{Database, Done};
use super::{ACCOUNTS, SEATS};

const CUSTOMERS: i64 = 40;
const ORDERS: u64 = 16;
/// One keeps a connection for so long, whatever others want.
const KEPT: Duration = Duration::from_millis(1_000);

/// What came of one order.
pub(crate) struct Order {
    pub(crate) what: &'static str,
    pub(crate) waited: Duration,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The seat was taken, or the account empty.
    No,
    CutOff,
    Killed,
    NoConnection,
    Failed,
}

#[derive(Default)]
pub(crate) struct Told {
    pub(crate) orders: Vec<Order>,
    /// Seats that customers were told are theirs.
    pub(crate) seats: Vec<(i64, i64)>,
    pub(crate) errors: Vec<String>,
}

pub(crate) async fn traffic<D: Database>(pool: &Pool<D>) -> Done<Told> {
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
