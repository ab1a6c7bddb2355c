//! The pool over a real PostgreSQL: sessions that the server kills, queries that their callers give up, and a server that goes away.
//! And idempotency keys in it.
//!
//! They are skipped where there is none, which is said; with `STONEWORK_JUDGES=1` they fail instead.

/// A server, or the end of this test.
macro_rules! some {
    ($server:expr) => {
        match $server {
            Some(server) => server,
            None => return,
        }
    };
}

#[path = "../../../../tests/promises/idempotency/agreement.rs"]
mod agreement;
mod keys;
mod kit;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use kit::{Server, WAIT, is_whole, pool, sessions, settings, until};
use stonework::base::{Kind, PoolClose};
use stonework::pool::ConnectFailed;
use stonework_databases::Session;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

async fn kill(aside: &Session, pid: i32) {
    aside.query("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let alive = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
    until("it is gone", async || aside.query_opt(alive, &[&pid]).await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_killed_while_it_was_idle_disturbs_nobody() {
    let server = some!(Server::shared());
    let (aside, pool) = (server.aside().await, pool(&server, "idle killed", settings(3)));
    is_whole(&pool).await;
    for round in 1..=10 {
        // Of those that lie idle, the next.
        let session = pool.get().await.unwrap();
        let pid = session.pid().await.unwrap();
        session.put_back();
        kill(&aside, pid).await;
        // The client learns of it when its task has read the end, which the server has sent by now.
        sleep(Duration::from_millis(20)).await;
        for _ in 0..6 {
            let pid_now = pool.with(async |session| session.pid().await).await.unwrap().unwrap();
            assert_ne!(pid_now, pid);
        }
        assert_eq!(pool.stats().closed(PoolClose::Broken), round);
        is_whole(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_killed_in_use_fails_for_its_user_alone_and_is_replaced() {
    let server = some!(Server::shared());
    let (aside, pool) = (server.aside().await, pool(&server, "used killed", settings(2)));
    for round in 1..=10 {
        let victim = pool.get().await.unwrap();
        let other = pool.get().await.unwrap();
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.with(async |session| session.pid().await).await.unwrap().unwrap() }
        });
        let pid = victim.pid().await.unwrap();
        kill(&aside, pid).await;
        assert!(victim.query_one("SELECT 1", &[]).await.is_err());
        until("the client knows", async || victim.is_closed()).await;
        // It says that all is well, and is not believed.
        victim.put_back();
        assert_ne!(waiting.await.unwrap(), pid);
        assert!(other.pid().await.is_ok());
        other.put_back();
        assert_eq!(pool.stats().closed(PoolClose::Broken), round);
        is_whole(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_the_rows_of_a_query_that_another_gave_up() {
    let server = some!(Server::shared());
    let pool = pool(&server, "given up", settings(2));
    let next = Arc::new(AtomicI64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..4_u64 {
        let (pool, next) = (pool.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            for round in 0..50_u64 {
                let marker = next.fetch_add(1, Ordering::Relaxed);
                let slow = async {
                    let session = pool.get().await.unwrap();
                    session.query("SELECT $1::bigint, pg_sleep(30)", &[&marker]).await.unwrap();
                    session.put_back();
                };
                // At any point: before it was sent, and while it runs.
                assert!(timeout(Duration::from_millis((task * 3 + round) % 13), slow).await.is_err());
                let marker = next.fetch_add(1, Ordering::Relaxed);
                let seen = pool
                    .with(async |session| {
                        let row = session.query_one("SELECT $1::bigint", &[&marker]).await.unwrap();
                        row.get::<_, i64>(0)
                    })
                    .await
                    .unwrap();
                assert_eq!(seen, marker);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let stats = pool.stats();
    assert!(stats.closed(PoolClose::Dropped) > 50, "{stats:?}");
    assert_eq!(stats.closed(PoolClose::Broken), 0);
    is_whole(&pool).await;
    // Nor does the server go on with them: thirty seconds have not passed.
    let aside = server.aside().await;
    until("queries that were given up have ended", async || sessions(&aside, "given up").await == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_was_given_up_is_rolled_back_and_its_session_closed() {
    let server = some!(Server::shared());
    let pool = pool(&server, "rolled back", settings(1));
    pool.with(async |session| session.batch_execute("CREATE TABLE notes (text TEXT)").await)
        .await
        .unwrap()
        .unwrap();
    let before = pool.with(async |session| session.pid().await).await.unwrap().unwrap();
    let gives_up = async {
        let mut session = pool.get().await.unwrap();
        let transaction = session.transaction().await.unwrap();
        transaction.execute("INSERT INTO notes VALUES ('never')", &[]).await.unwrap();
        std::future::pending::<()>().await;
        transaction.commit().await.unwrap();
    };
    assert!(timeout(Duration::from_millis(200), gives_up).await.is_err());
    let (after, notes) = pool
        .with(async |session| {
            let notes = session.query_one("SELECT count(*) FROM notes", &[]).await.unwrap();
            (session.pid().await.unwrap(), notes.get::<_, i64>(0))
        })
        .await
        .unwrap();
    assert_eq!((notes, pool.stats().closed(PoolClose::Dropped)), (0, 1));
    assert_ne!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_never_sees_more_sessions_than_there_may_be() {
    const MAX: usize = 5;
    let server = some!(Server::shared());
    let (aside, pool) = (server.aside().await, pool(&server, "most", settings(MAX)));
    let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looks = tokio::spawn({
        let (over, most) = (Arc::clone(&over), Arc::clone(&most));
        async move {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(sessions(&aside, "most").await as usize, Ordering::Relaxed);
            }
            aside
        }
    });
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let pool = pool.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                let slept = pool.with(async |session| session.batch_execute("SELECT pg_sleep(0.001)").await);
                slept.await.unwrap().unwrap();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let aside = looks.await.unwrap();
    assert_eq!((most.load(Ordering::Relaxed), pool.stats().connected()), (MAX, MAX as u64));
    pool.close().await;
    assert_eq!(pool.stats().open(), 0);
    until("the server sees none", async || sessions(&aside, "most").await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_in_the_middle_of_traffic_is_found_again_and_no_place_is_lost() {
    let server = some!(Server::new());
    server.start();
    let pool = pool(&server, "restart", settings(4).without_lifetime().wait_timeout(Duration::from_secs(2)));
    let (over, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut tasks: JoinSet<Instant> = JoinSet::new();
    for _ in 0..20 {
        let (pool, over, failed) = (pool.clone(), Arc::clone(&over), Arc::clone(&failed));
        tasks.spawn(async move {
            loop {
                let ending = over.load(Ordering::Relaxed);
                // Each has to get through once after the end.
                match pool.with(async |session| session.batch_execute("SELECT pg_sleep(0.002)").await).await {
                    Ok(Ok(())) if ending => return Instant::now(),
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
    }
    for _ in 0..2 {
        sleep(Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| server.stop());
        sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| server.start());
    }
    let up = Instant::now();
    over.store(true, Ordering::Relaxed);
    let recovered = async {
        let mut last = up;
        while let Some(task) = tasks.join_next().await {
            last = last.max(task.unwrap());
        }
        last
    };
    let last = timeout(WAIT, recovered).await.expect("all recover");
    // The longest pause of the backoff, and a machine that has something else to do.
    assert!(last - up < Duration::from_secs(2), "{:?}", last - up);
    assert!(failed.load(Ordering::Relaxed) > 0, "the server was away");
    assert!(pool.stats().connect_failures() > 0);
    is_whole(&pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_at_first_is_said_to_be_so_and_found_when_it_is_up() {
    let server = some!(Server::new());
    let pool = pool(&server, "down", settings(2));
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.cause::<ConnectFailed>().is_some());
    assert!(error.cause::<tokio_postgres::Error>().is_some(), "{error:#}");
    let refused = error.cause::<std::io::Error>().map(std::io::Error::kind);
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused), "{error:#}");
    tokio::task::block_in_place(|| server.start());
    until("it works", async || pool.get().await.map(stonework::pool::Pooled::put_back).is_ok()).await;
    is_whole(&pool).await;
}

#[test]
fn the_program_keeps_its_promises_over_postgres_too() {
    let server = some!(Server::shared());
    let output =
        Command::new(env!("CARGO_BIN_EXE_database_pool")).env("DATABASE_URL", server.url()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("PostgreSQL: ") && said.trim_end().ends_with("every claim held"), "{said}");
}
