//! Idempotency keys in PostgreSQL: a server that restarts, connections that are lost, and handlers that write there themselves.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use stonework::base::Rng;
use stonework::idempotency::conformance::check;
use stonework::idempotency::{
    AfterCrash, Begun, Claim, Final, Fingerprint, Held, InvalidEntry, NewClaim, Owner, PostgresError,
    PostgresStore, Record, Scope, Store,
};
use stonework_databases::Session;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Config, NoTls};

use crate::agreement::{BY_ITSELF, agrees_with_entry};
use crate::kit::{Server, until};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// In a schema of its own, so that no test sees another's rows.
struct Schema<'a> {
    server: &'a Server,
    name: &'static str,
    aside: Session,
}

impl<'a> Schema<'a> {
    async fn new(server: &'a Server, name: &'static str) -> Self {
        let aside = server.aside().await;
        let create =
            format!("CREATE SCHEMA {name}; SET search_path TO {name}; CREATE TABLE charges (cents bigint)");
        aside.batch_execute(&create).await.unwrap();
        let schema = Self { server, name, aside };
        schema.store().create_table().await.unwrap();
        schema
    }

    fn config(&self) -> Config {
        let mut config: Config = self.server.url().parse().unwrap();
        config.options(format!("-c search_path={}", self.name)).application_name(self.name);
        config
    }

    /// With a connection of its own.
    fn store(&self) -> PostgresStore {
        PostgresStore::new(self.config(), NoTls)
    }

    /// A handler's.
    async fn session(&self) -> Session {
        use stonework::pool::Manage;
        let manager = self.server.manager("handler").first(format!("SET search_path TO {}", self.name));
        manager.connect().await.unwrap()
    }

    async fn count(&self, table: &str) -> i64 {
        self.aside.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    }
}

fn claim() -> NewClaim {
    NewClaim {
        fingerprint: Fingerprint::from_bytes([1; 32]),
        owner: Owner::new(&Rng::from_entropy()),
        lease: HOUR,
        keep: HOUR,
        after_crash: AfterCrash::FailClosed,
    }
}

fn scope(number: u8) -> Scope {
    Scope::from_bytes([number; 32])
}

fn answer(text: &'static str) -> Record {
    Record::new(&Response::new(Bytes::from(text)))
}

fn end(record: &Record) -> Final {
    Final::Record(record.encode())
}

fn ended(record: &Record) -> Begun {
    Begun::Ended(end(record))
}

async fn begun(store: &PostgresStore, scope: Scope) -> Claim {
    let claim = claim();
    assert_eq!(store.begin(scope, &claim).await.unwrap(), Begun::Run { fence: 1 });
    claim.won(scope, 1)
}

/// The sessions of stores, cut off.
async fn kill_sessions(schema: &Schema<'_>) -> i64 {
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    schema.aside.query_one(kill, &[&schema.name]).await.unwrap().get(0)
}

#[tokio::test]
async fn postgres_keeps_what_a_store_promises() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "conformance").await;
    assert_eq!(check(&schema.store()).await, []);
}

fn serializable(schema: &Schema<'_>, config: &mut Config) {
    config.options(format!("-c search_path={} -c default_transaction_isolation=serializable", schema.name));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_it_where_transactions_are_serializable() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "serializable").await;
    let mut config = schema.config();
    serializable(&schema, &mut config);
    let (store, other) = (PostgresStore::new(config.clone(), NoTls), PostgresStore::new(config, NoTls));
    let busy = tokio::spawn(async move {
        for number in (1..u8::MAX).cycle() {
            let brief = NewClaim { lease: MS, keep: MS, ..claim() };
            other.begin(scope(number), &brief).await.unwrap();
        }
    });
    assert_eq!(check(&store).await, []);
    busy.abort();
}

#[tokio::test]
async fn postgres_answers_as_an_entry_decides() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "agreement").await;
    agrees_with_entry(&schema.store(), 0..10, &BY_ITSELF, |_| 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_made_by_many_at_once_and_made_again_with_no_harm() {
    let server = some!(Server::shared());
    for round in 0..5 {
        let name: &'static str = format!("made_{round}").leak();
        let schema = Schema::new(&server, name).await;
        schema.aside.batch_execute("DROP TABLE stonework_idempotency").await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let store = schema.store();
            tasks.spawn(async move { store.create_table().await });
        }
        for made in tasks.join_all().await {
            made.unwrap();
        }
        let store = schema.store();
        begun(&store, scope(1)).await;
        store.create_table().await.unwrap();
        assert_eq!(store.begin(scope(1), &claim()).await.unwrap(), Begun::InFlight);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_machines_one_is_told_to_run() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "machines").await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = schema.store();
        tasks.spawn(async move {
            let mut won = Vec::new();
            for number in 0..100 {
                if store.begin(scope(number), &claim()).await.unwrap() == (Begun::Run { fence: 1 }) {
                    won.push(number);
                }
            }
            won
        });
    }
    let mut won = tasks.join_all().await.concat();
    won.sort_unstable();
    assert_eq!(won, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_take_over_one_at_a_time_is_told_to_run_again() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "takeover").await;
    let mut strict = schema.config();
    serializable(&schema, &mut strict);
    let over = NewClaim { lease: Duration::ZERO, ..claim() };
    for (config, first) in [(schema.config(), 0), (strict, 100)] {
        let stores: Vec<_> = (0..6).map(|_| PostgresStore::new(config.clone(), NoTls)).collect();
        for number in first..first + 50 {
            assert_eq!(stores[0].begin(scope(number), &over).await.unwrap(), Begun::Run { fence: 1 });
            let begin = |lease| {
                let mut tasks = JoinSet::new();
                for store in stores.clone() {
                    let rerun = NewClaim { lease, after_crash: AfterCrash::Rerun, ..claim() };
                    tasks.spawn(async move { store.begin(scope(number), &rerun).await.unwrap() });
                }
                tasks.join_all()
            };
            // Whose lease is over at once is taken over by the next one, and so on: each has a fence of its own.
            let mut fences: Vec<u64> = begin(Duration::ZERO).await.into_iter().map(fence).collect();
            fences.sort_unstable();
            assert_eq!(fences, [2, 3, 4, 5, 6, 7]);
            let answers = begin(HOUR).await;
            let run = answers.iter().filter(|answer| **answer == Begun::Run { fence: 8 }).count();
            let wait = answers.iter().filter(|answer| **answer == Begun::InFlight).count();
            assert_eq!((run, wait), (1, 5), "{answers:?}");
        }
    }
}

fn fence(begun: Begun) -> u64 {
    match begun {
        Begun::Run { fence } => fence,
        other => panic!("it is not told to run: {other:?}"),
    }
}

// ───────────────────────────────────────────────────────────────────────────── connections that are lost

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_known_when_the_server_was_restarted() {
    let server = some!(Server::new());
    tokio::task::block_in_place(|| server.start());
    let schema = Schema::new(&server, "restarted").await;
    let store = schema.store();
    let (done, running, record) =
        (begun(&store, scope(1)).await, begun(&store, scope(2)).await, answer("done"));
    assert_eq!(store.complete(&done, &end(&record)).await.unwrap(), Held::Yes);
    tokio::task::block_in_place(|| server.stop());
    let error = store.begin(scope(1), &claim()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(PostgresError::Postgres(_))), "{error}");
    tokio::task::block_in_place(|| server.start());
    assert_eq!(store.begin(scope(1), &claim()).await.unwrap(), ended(&record));
    assert_eq!(store.complete(&running, &end(&record)).await.unwrap(), Held::Yes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_is_made_anew_and_nobody_is_told() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "lost").await;
    let store = schema.store();
    for number in 0..20 {
        let claim = begun(&store, scope(number)).await;
        // One that was killed before may not be gone yet.
        assert!(kill_sessions(&schema).await >= 1);
        assert_eq!(store.complete(&claim, &Final::TooLarge).await.unwrap(), Held::Yes);
    }
}

/// A way to the server over which, when it is told so, nothing comes and nothing is said; each connection takes so long to be made.
async fn lossy(server: &Server, delay: Duration) -> (u16, watch::Sender<u32>) {
    let (lose, lost) = watch::channel(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.port);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut lost = lost.clone();
            lost.mark_unchanged();
            tokio::spawn(async move {
                sleep(delay).await;
                let mut far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = lost.changed() => sleep(HOUR).await,
                }
            });
        }
    });
    (port, lose)
}

async fn through(schema: &Schema<'_>, port: u16) -> PostgresStore {
    let config = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let mut config: Config = config.parse().unwrap();
    config.options(format!("-c search_path={}", schema.name));
    PostgresStore::new(config, NoTls)
}

#[tokio::test]
async fn a_connection_over_which_nothing_is_heard_is_given_up_for_a_new_one() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "silent").await;
    let (port, lose) = lossy(&server, Duration::ZERO).await;
    let store = through(&schema, port).await;
    let claim = begun(&store, scope(1)).await;
    lose.send(1).unwrap();
    let start = Instant::now();
    // As a layer asks: with a limit on each call, and again.
    let mut asked = 0;
    while timeout(100 * MS, store.complete(&claim, &Final::TooLarge)).await.is_err() {
        asked += 1;
        assert!(start.elapsed() < Duration::from_secs(20), "it was asked {asked} times");
    }
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_takes_longer_to_be_made_than_anybody_waits_is_made_all_the_same() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "slow").await;
    let (port, _lose) = lossy(&server, 400 * MS).await;
    let store = through(&schema, port).await;
    for number in 0..3 {
        assert!(timeout(100 * MS, store.begin(scope(number), &claim())).await.is_err());
    }
    sleep(500 * MS).await;
    timeout(Duration::from_secs(2), begun(&store, scope(10))).await.unwrap();
}

// ───────────────────────────────────────────────────────────────────────────── a handler's own transaction

#[tokio::test]
async fn a_record_is_committed_with_what_the_handler_did() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "committed").await;
    let (store, mut orders) = (schema.store(), schema.session().await);
    let (claim, record) = (begun(&store, scope(1)).await, answer("charged"));
    let transaction = orders.transaction().await.unwrap();
    transaction.execute("INSERT INTO charges VALUES (1)", &[]).await.unwrap();
    assert_eq!(store.complete_in(&transaction, &claim, &record).await.unwrap(), Held::Yes);
    assert_eq!(store.complete_in(&transaction, &claim, &answer("twice")).await.unwrap(), Held::Ended);
    // Nobody sees it yet.
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), Begun::InFlight);
    transaction.commit().await.unwrap();
    assert_eq!(store.complete(&claim, &Final::TooLarge).await.unwrap(), Held::Ended);
    assert_eq!(store.release(&claim).await.unwrap(), Held::Ended);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), ended(&record));
    assert_eq!(schema.count("charges").await, 1);
}

#[tokio::test]
async fn a_record_that_is_rolled_back_was_never_there() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "rolled_back").await;
    let (store, mut orders) = (schema.store(), schema.session().await);
    let claim = begun(&store, scope(1)).await;
    let transaction = orders.transaction().await.unwrap();
    transaction.execute("INSERT INTO charges VALUES (1)", &[]).await.unwrap();
    assert_eq!(store.complete_in(&transaction, &claim, &answer("charged")).await.unwrap(), Held::Yes);
    transaction.rollback().await.unwrap();
    assert_eq!(schema.count("charges").await, 0);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), Begun::InFlight);
    let failed = answer("it failed");
    assert_eq!(store.complete(&claim, &end(&failed)).await.unwrap(), Held::Yes);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), ended(&failed));
}

#[tokio::test]
async fn a_handler_that_comes_late_is_told_so_in_time_to_roll_back() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "late").await;
    let (store, mut orders) = (schema.store(), schema.session().await);
    let over = NewClaim { lease: Duration::ZERO, ..claim() };
    for (number, after_crash) in [(1, AfterCrash::FailClosed), (2, AfterCrash::Rerun)] {
        assert_eq!(store.begin(scope(number), &over).await.unwrap(), Begun::Run { fence: 1 });
        let other = NewClaim { after_crash, ..claim() };
        let taken = store.begin(scope(number), &other).await.unwrap();
        let transaction = orders.transaction().await.unwrap();
        transaction.execute("INSERT INTO charges VALUES (1)", &[]).await.unwrap();
        let late = over.won(scope(number), 1);
        assert_eq!(store.complete_in(&transaction, &late, &answer("late")).await.unwrap(), Held::Lost);
        transaction.rollback().await.unwrap();
        assert_eq!(store.begin(scope(number), &other).await.unwrap(), taken, "as if it had not been");
    }
    let transaction = orders.transaction().await.unwrap();
    let never = claim().won(scope(3), 1);
    assert_eq!(store.complete_in(&transaction, &never, &answer("never begun")).await.unwrap(), Held::Lost);
    drop(transaction);
    assert_eq!(schema.count("charges").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_waits_for_those_who_are_about_to_change_its_key() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "waits").await;
    let (store, mut orders, mut other) = (schema.store(), schema.session().await, schema.session().await);
    let claim = begun(&store, scope(1)).await;
    // As a renewal does, but for longer.
    let lock = other.transaction().await.unwrap();
    lock.execute("UPDATE stonework_idempotency SET forget_at = forget_at + 1", &[]).await.unwrap();
    let handler = tokio::spawn(async move {
        let transaction = orders.transaction().await.unwrap();
        let held = store.complete_in(&transaction, &claim, &answer("charged")).await.unwrap();
        transaction.commit().await.unwrap();
        (held, store.begin(scope(1), &self::claim()).await.unwrap())
    });
    sleep(100 * MS).await;
    assert!(!handler.is_finished());
    lock.commit().await.unwrap();
    assert_eq!(handler.await.unwrap(), (Held::Yes, ended(&answer("charged"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_open_holds_up_its_own_key_and_no_other() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "open").await;
    let (store, mut orders) = (schema.store(), schema.session().await);
    let over = NewClaim { lease: Duration::ZERO, ..claim() };
    assert_eq!(store.begin(scope(1), &over).await.unwrap(), Begun::Run { fence: 1 });
    let record = answer("charged");
    let transaction = orders.transaction().await.unwrap();
    let mine = over.won(scope(1), 1);
    assert_eq!(store.complete_in(&transaction, &mine, &record).await.unwrap(), Held::Yes);
    // Its lease is over, and those who ask want to write that nobody knows what became of it.
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.begin(scope(1), &claim()).await.unwrap() })
        })
        .collect();
    let renews = tokio::spawn({
        let store = store.clone();
        async move { store.renew(&mine).await.unwrap() }
    });
    sleep(100 * MS).await;
    // Over the same connection.
    let others = async {
        for number in 2..50 {
            begun(&store, scope(number)).await;
        }
    };
    timeout(Duration::from_secs(5), others).await.expect("nobody else waits");
    assert!(waiting.iter().all(|task| !task.is_finished()) && !renews.is_finished());
    transaction.commit().await.unwrap();
    for task in waiting {
        assert_eq!(task.await.unwrap(), ended(&record));
    }
    assert_eq!(renews.await.unwrap(), Held::Ended);
}

// ───────────────────────────────────────────────────────────────────────────── the rest

#[tokio::test]
async fn what_is_over_is_deleted_by_and_by() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "forgotten").await;
    let store = schema.store();
    begun(&store, scope(0)).await;
    let brief = NewClaim { lease: Duration::ZERO, keep: Duration::ZERO, ..claim() };
    for number in 1..100 {
        assert_eq!(store.begin(scope(number), &brief).await.unwrap(), Begun::Run { fence: 1 });
    }
    let rows = schema.count("stonework_idempotency").await;
    assert!(rows <= 6, "{rows}");
    assert_eq!(store.begin(scope(0), &claim()).await.unwrap(), Begun::InFlight);
}

#[tokio::test]
async fn what_somebody_else_has_written_is_not_guessed_at() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "half_done").await;
    let store = schema.store();
    begun(&store, scope(1)).await;
    schema.aside.execute("UPDATE stonework_idempotency SET state = 'half done'", &[]).await.unwrap();
    let error = store.begin(scope(1), &claim()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(PostgresError::Entry(InvalidEntry { .. }))), "{error}");
    begun(&store, scope(2)).await;
    schema.aside.batch_execute("DROP TABLE stonework_idempotency").await.unwrap();
    let error = store.begin(scope(2), &claim()).await.unwrap_err();
    assert!(error.to_string().contains("\"stonework_idempotency\" does not exist"), "{error}");
}

#[test]
fn what_users_hold_can_cross_threads_and_be_moved() {
    fn holds<T: Send + Sync + Unpin + Clone + std::fmt::Debug>() {}
    holds::<PostgresStore>();
    holds::<PostgresError>();
    let config: Config = "host=db.internal user=shop password=secret".parse().unwrap();
    assert!(!format!("{:?}", PostgresStore::new(config, NoTls)).contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_leaves_no_session_behind() {
    let server = some!(Server::shared());
    let schema = Schema::new(&server, "gone").await;
    let store = schema.store();
    let clones: Vec<_> = (0..3).map(|_| store.clone()).collect();
    for (number, store) in (1..).zip(&clones) {
        begun(store, scope(number)).await;
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gone'";
    let sessions = async || schema.aside.query_one(count, &[]).await.unwrap().get::<_, i64>(0);
    until("one for all", async || sessions().await == 1).await;
    drop((store, clones));
    until("none", async || sessions().await == 0).await;
}
