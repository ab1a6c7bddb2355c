//! What a pool of four connections does for a bank and a theatre, while everything goes wrong that does.
//!
//! *The problem:* a database takes few connections, and many want one. Some give up in the middle of a transaction, one connection is
//! killed, somebody keeps one for as long as it likes, and at times too many come at once.
//!
//! *What to look at:* [`traffic`](traffic.rs), where each line that begins with `pool.get()` is what a user writes; the table; and the audit below it.
//! The managers of the pool are in this package's library. It runs over a file of SQLite's, or, where `DATABASE_URL` is set, over a server
//! of PostgreSQL, in a schema of its own that is removed again:
//!
//!     cargo run -p stonework-databases --bin database_pool
//!     DATABASE_URL=postgres://me@localhost/test cargo run -p stonework-databases --bin database_pool
//!
//! It takes about three seconds, and ends with exit code 0 if every claim held.

mod audit;
mod claims;
mod engine;
#[path = "../../../../kit/mod.rs"]
mod kit;
mod limits;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stonework::pool::{Pool, PoolSettings, PoolStats};
use stonework_databases::{Postgres, Sqlite};
use tokio::time::{sleep, timeout};

use self::claims::claims;
use self::engine::{Database, Done};
use self::kit::Verdict;
use self::limits::{limits, whole};
use self::traffic::traffic;

const CONNECTIONS: usize = 4;
const WAIT: Duration = Duration::from_secs(2);
const WAITING: usize = 64;

const ACCOUNTS: i64 = 20;
const BALANCE: i64 = 1_000;
const SEATS: i64 = 150;

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

/// The most that were open at once.
#[derive(Default)]
struct Peak(AtomicUsize);

async fn watch<D: Database>(pool: Pool<D>, peak: Arc<Peak>) {
    loop {
        peak.0.fetch_max(pool.stats().open(), Ordering::Relaxed);
        sleep(Duration::from_millis(1)).await;
    }
}
