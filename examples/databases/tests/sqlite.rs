//! The pool over a file of SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use stonework::base::{Kind, PoolClose};
use stonework::pool::{ConnectFailed, Pool, PoolSettings};
use stonework_databases::{OpenError, Sqlite, blocking};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

struct File(std::path::PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("stonework-sqlite-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn pool(&self, max: usize) -> Pool<Sqlite> {
        let settings = PoolSettings::new().max(max);
        Pool::builder(Sqlite::new(self.0.join("test.db"))).settings(settings).build().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT coalesce(sum(n), 0) FROM numbers", (), |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_set_up() {
    let file = File::new("set-up");
    let connection = file.pool(1).get().await.unwrap();
    let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!((number("foreign_keys"), number("busy_timeout"), number("synchronous")), (1, 5_000, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_one_writes_each_commit_to_the_disk() {
    let file = File::new("durable");
    // What SQLite calls 1 is NORMAL, and 2 is FULL.
    for (manager, level) in
        [(Sqlite::new(file.0.join("test.db")), 1), (Sqlite::new(file.0.join("test.db")).durable(), 2)]
    {
        let pool = Pool::builder(manager).build().unwrap();
        let connection = pool.get().await.unwrap();
        let says: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(says, level);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_write_through_few_connections_that_all_open_at_once() {
    let file = File::new("many");
    let pool = file.pool(4);
    let make = |connection: &mut Connection| connection.execute_batch("CREATE TABLE numbers (n INTEGER)");
    // Four open a file that is not there yet.
    let (one, two, three, four) = tokio::join!(pool.get(), pool.get(), pool.get(), pool.get());
    for connection in [two, three, four] {
        connection.unwrap().put_back();
    }
    assert_eq!(pool.stats().connected(), 4);
    let (connection, made) = blocking(one.unwrap(), make).await;
    made.unwrap();
    connection.put_back();

    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..40 {
        let (pool, most) = (pool.clone(), Arc::clone(&most));
        tasks.spawn(async move {
            for _ in 0..5 {
                let connection = pool.get().await.unwrap();
                most.fetch_max(pool.stats().open(), Ordering::Relaxed);
                let (connection, added) = blocking(connection, move |connection| {
                    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    transaction.execute("INSERT INTO numbers VALUES (?)", (n,))?;
                    transaction.commit()
                })
                .await;
                added.unwrap();
                connection.put_back();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(count(&pool.get().await.unwrap()), 5 * 40 * 39 / 2);
    assert!(most.load(Ordering::Relaxed) <= 4);
    assert_eq!(pool.stats().closed(PoolClose::Dropped), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_dropped_is_used_again_unless_it_is_in_a_transaction() {
    let file = File::new("dropped");
    let pool = file.pool(1);
    let connection = pool.get().await.unwrap();
    connection.execute_batch("CREATE TABLE numbers (n INTEGER)").unwrap();
    drop(connection);
    assert_eq!((pool.stats().idle(), pool.stats().closed(PoolClose::Dropped)), (1, 0));

    let connection = pool.get().await.unwrap();
    connection.execute_batch("BEGIN; INSERT INTO numbers VALUES (1)").unwrap();
    drop(connection);
    assert_eq!((pool.stats().idle(), pool.stats().closed(PoolClose::Dropped)), (0, 1));
    assert_eq!(count(&pool.get().await.unwrap()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_whose_caller_gave_up_goes_on_to_its_end_with_a_connection_of_its_own() {
    let file = File::new("given-up");
    let pool = file.pool(1);
    pool.get().await.unwrap().execute_batch("CREATE TABLE numbers (n INTEGER)").unwrap();
    let (go, started) = (std::sync::mpsc::channel(), Arc::new(Notify::new()));
    let work = blocking(pool.get().await.unwrap(), {
        let started = Arc::clone(&started);
        move |connection| {
            started.notify_one();
            go.1.recv().unwrap();
            connection.execute("INSERT INTO numbers VALUES (7)", ()).unwrap()
        }
    });
    assert!(timeout(Duration::from_millis(50), work).await.is_err());
    started.notified().await;
    // It is still in use.
    assert_eq!(pool.stats().in_use(), 1);
    assert!(timeout(Duration::from_millis(50), pool.get()).await.is_err());
    go.0.send(()).unwrap();
    assert_eq!(count(&pool.get().await.unwrap()), 7);
    assert_eq!(pool.stats().connected(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_panics_costs_its_connection_and_nothing_else() {
    let file = File::new("panics");
    let pool = file.pool(1);
    for round in 1..=3 {
        let connection = pool.get().await.unwrap();
        let work = tokio::spawn(blocking(connection, |_| panic!("as it is meant to")));
        assert!(work.await.unwrap_err().is_panic());
        assert_eq!((pool.stats().open(), pool.stats().closed(PoolClose::Dropped)), (0, round));
    }
    pool.get().await.unwrap().put_back();
    assert_eq!(pool.stats().idle(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_its_user_has_closed_is_found_out() {
    let file = File::new("closed");
    let pool = file.pool(1);
    let mut connection = pool.get().await.unwrap();
    let closed = std::mem::replace(&mut *connection, Connection::open_in_memory().unwrap());
    closed.close().unwrap();
    connection.put_back();
    assert_eq!((pool.stats().idle(), pool.stats().closed(PoolClose::Broken)), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_opened_is_said_to_be_so() {
    let pool = Pool::new(Sqlite::new("/dev/null/nothing/test.db"));
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.cause::<ConnectFailed>().is_some() && error.cause::<OpenError>().is_some());
    assert!(error.cause::<rusqlite::Error>().is_some(), "{error:#}");
}
