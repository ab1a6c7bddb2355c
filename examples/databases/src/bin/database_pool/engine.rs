//! What a bank and a theatre ask of a database, in two dialects. Each takes a connection out of the pool's hands, and gives it back with
//! the result, so that its caller says whether it is clean. Where one fails, it is dropped, and the pool closes it.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use stonework::pool::{Manage, Pooled};
use stonework_databases::{Postgres, Sqlite, blocking};
use tokio::time::sleep;

use super::audit::Audit;

pub(crate) type Done<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Nobody waits for so long.
const FOR_EVER: Duration = Duration::from_secs(60 * 60);

const TABLES: &str =
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0));
    CREATE TABLE seats (id BIGINT PRIMARY KEY, customer BIGINT);
    CREATE TABLE sales (seat BIGINT NOT NULL REFERENCES seats, customer BIGINT NOT NULL);";
const MONEY: &str = "SELECT CAST(sum(balance) AS BIGINT) FROM accounts";
const SALES: &str = "SELECT seat, customer FROM sales ORDER BY seat, customer";

type Got<D, T> = Done<(Pooled<D>, T)>;

pub(crate) trait Database: Manage + Sized {
    const NAME: &str;

    fn set_up(
        connection: Pooled<Self>,
        accounts: i64,
        balance: i64,
        seats: i64,
    ) -> impl Future<Output = Got<Self, ()>> + Send;

    /// Whether there was enough money.
    fn transfer(
        connection: Pooled<Self>,
        from: i64,
        to: i64,
        amount: i64,
    ) -> impl Future<Output = Got<Self, bool>> + Send;

    /// Whether it was free.
    fn book(
        connection: Pooled<Self>,
        seat: i64,
        customer: i64,
    ) -> impl Future<Output = Got<Self, bool>> + Send;

    /// The first half of a transfer. The second half never comes.
    fn take_and_hang(connection: Pooled<Self>, from: i64, amount: i64) -> impl Future<Output = Done> + Send;

    /// One connection is lost in its user's hands; another one may help.
    fn kill(
        victim: Pooled<Self>,
        other: Pooled<Self>,
    ) -> impl Future<Output = Got<Self, Pooled<Self>>> + Send;

    fn audit(connection: Pooled<Self>) -> impl Future<Output = Got<Self, Audit>> + Send;

    fn tear_down(connection: Pooled<Self>) -> impl Future<Output = Got<Self, ()>> + Send;
}

// ───────────────────────────────────────────────────────────────────────────── SQLite

/// Out of the way of other tasks.
async fn on_a_thread<T: Send + 'static>(
    connection: Pooled<Sqlite>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Got<Sqlite, T> {
    let (connection, result) = blocking(connection, work).await;
    Ok((connection, result?))
}

// To SQLite these are names, which are numbered as they occur.
const TAKE: &str = "UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1";
const GIVE: &str = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
const BOOK: &str = "UPDATE seats SET customer = $1 WHERE id = $2";
const SELL: &str = "INSERT INTO sales (customer, seat) VALUES ($1, $2)";

impl Database for Sqlite {
    const NAME: &str = "SQLite";

    async fn set_up(connection: Pooled<Self>, accounts: i64, balance: i64, seats: i64) -> Got<Self, ()> {
        on_a_thread(connection, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLES)?;
            for id in 0..accounts {
                transaction.execute("INSERT INTO accounts VALUES (?, ?)", (id, balance))?;
            }
            for id in 0..seats {
                transaction.execute("INSERT INTO seats (id) VALUES (?)", (id,))?;
            }
            transaction.commit()
        })
        .await
    }

    async fn transfer(connection: Pooled<Self>, from: i64, to: i64, amount: i64) -> Got<Self, bool> {
        on_a_thread(connection, move |connection| {
            // Immediate, so that it waits for its turn to write here, and is not turned away later.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let taken = transaction.execute(TAKE, (amount, from))? == 1;
            if taken {
                transaction.execute(GIVE, (amount, to))?;
            }
            transaction.commit()?;
            Ok(taken)
        })
        .await
    }

    async fn book(connection: Pooled<Self>, seat: i64, customer: i64) -> Got<Self, bool> {
        on_a_thread(connection, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let free = "SELECT 1 FROM seats WHERE id = ? AND customer IS NULL";
            let free = transaction.query_row(free, (seat,), |_| Ok(())).optional()?.is_some();
            if free {
                transaction.execute(BOOK, (customer, seat))?;
                transaction.execute(SELL, (customer, seat))?;
            }
            transaction.commit()?;
            Ok(free)
        })
        .await
    }

    async fn take_and_hang(connection: Pooled<Self>, from: i64, amount: i64) -> Done {
        let (_connection, ()) = on_a_thread(connection, move |connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            connection.execute(TAKE, (amount, from)).map(drop)
        })
        .await?;
        sleep(FOR_EVER).await;
        Ok(())
    }

    /// Its handle is closed, and what is left is of no use.
    async fn kill(victim: Pooled<Self>, other: Pooled<Self>) -> Got<Self, Pooled<Self>> {
        let (victim, ()) = on_a_thread(victim, |connection| {
            let dead = std::mem::replace(connection, Connection::open_in_memory()?);
            dead.close().map_err(|(_, error)| error)
        })
        .await?;
        Ok((victim, other))
    }

    async fn audit(connection: Pooled<Self>) -> Got<Self, Audit> {
        on_a_thread(connection, |connection| {
            let money = connection.query_row(MONEY, (), |row| row.get(0))?;
            let mut sales = connection.prepare(SALES)?;
            let sold = sales.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Audit { money, sold: sold.collect::<Result<_, _>>()? })
        })
        .await
    }

    /// The file is removed with its folder.
    async fn tear_down(connection: Pooled<Self>) -> Got<Self, ()> {
        Ok((connection, ()))
    }
}

// ───────────────────────────────────────────────────────────────────────────── PostgreSQL

impl Database for Postgres {
    const NAME: &str = "PostgreSQL";

    async fn set_up(mut connection: Pooled<Self>, accounts: i64, balance: i64, seats: i64) -> Got<Self, ()> {
        let schema = schema(&connection).await?;
        let transaction = connection.transaction().await?;
        transaction.batch_execute(&format!("CREATE SCHEMA {schema}; {TABLES}")).await?;
        let made = "INSERT INTO accounts SELECT id, $2 FROM generate_series(0, $1::bigint - 1) AS id";
        transaction.execute(made, &[&accounts, &balance]).await?;
        transaction.execute("INSERT INTO seats SELECT generate_series(0, $1::bigint - 1)", &[&seats]).await?;
        transaction.commit().await?;
        Ok((connection, ()))
    }

    async fn transfer(mut connection: Pooled<Self>, from: i64, to: i64, amount: i64) -> Got<Self, bool> {
        let transaction = connection.transaction().await?;
        // Both in one order: else two that send each other money would wait for each other.
        let both = "SELECT 1 FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE";
        transaction.query(both, &[&from, &to]).await?;
        let taken = transaction.execute(TAKE, &[&amount, &from]).await? == 1;
        if taken {
            transaction.execute(GIVE, &[&amount, &to]).await?;
        }
        transaction.commit().await?;
        Ok((connection, taken))
    }

    async fn book(mut connection: Pooled<Self>, seat: i64, customer: i64) -> Got<Self, bool> {
        let transaction = connection.transaction().await?;
        let free = "SELECT 1 FROM seats WHERE id = $1 AND customer IS NULL FOR UPDATE";
        let free = transaction.query_opt(free, &[&seat]).await?.is_some();
        if free {
            transaction.execute(BOOK, &[&customer, &seat]).await?;
            transaction.execute(SELL, &[&customer, &seat]).await?;
        }
        transaction.commit().await?;
        Ok((connection, free))
    }

    async fn take_and_hang(mut connection: Pooled<Self>, from: i64, amount: i64) -> Done {
        let transaction = connection.transaction().await?;
        transaction.execute(TAKE, &[&amount, &from]).await?;
        sleep(FOR_EVER).await;
        Ok(transaction.commit().await?)
    }

    async fn kill(victim: Pooled<Self>, other: Pooled<Self>) -> Got<Self, Pooled<Self>> {
        let pid = victim.pid().await?;
        other.query("SELECT pg_terminate_backend($1)", &[&pid]).await?;
        while !victim.is_closed() {
            sleep(Duration::from_millis(1)).await;
        }
        Ok((victim, other))
    }

    async fn audit(connection: Pooled<Self>) -> Got<Self, Audit> {
        let money = connection.query_one(MONEY, &[]).await?.get(0);
        let sales = connection.query(SALES, &[]).await?;
        Ok((connection, Audit { money, sold: sales.iter().map(|row| (row.get(0), row.get(1))).collect() }))
    }

    async fn tear_down(connection: Pooled<Self>) -> Got<Self, ()> {
        let schema = schema(&connection).await?;
        connection.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await?;
        Ok((connection, ()))
    }
}

async fn schema(connection: &Pooled<Postgres>) -> Done<String> {
    Ok(connection.query_one("SELECT current_setting('search_path')", &[]).await?.get(0))
}
