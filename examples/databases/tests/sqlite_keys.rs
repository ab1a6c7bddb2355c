//! Idempotency keys in a file of SQLite: processes that are killed, others that write, and handlers that write there themselves.

#[path = "../../../tests/promises/idempotency/agreement.rs"]
mod agreement;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agreement::{BY_ITSELF, agrees_with_entry};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use stonework::base::{BoxError, Kind, Rng};
use stonework::idempotency::conformance::check;
use stonework::idempotency::{
    AfterCrash, Begun, Claim, Final, Fingerprint, Held, IdempotencyLayer, InvalidEntry, NewClaim, Owner,
    Record, Scope, SqliteError, SqliteStore, Store,
};
use stonework::{Body, Error};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// A file in a folder that goes with it.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stonework-keys-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("keys.db")
    }

    async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    /// A connection that the store knows nothing of.
    fn aside(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    fn rows(&self) -> i64 {
        let count = "SELECT count(*) FROM stonework_idempotency";
        self.aside().query_row(count, (), |row| row.get(0)).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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

fn scope(number: u32) -> Scope {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Scope::from_bytes(bytes)
}

fn answer(text: impl Into<String>) -> Record {
    Record::new(&Response::new(Bytes::from(text.into())))
}

fn ended(record: &Record) -> Begun {
    Begun::Ended(Final::Record(record.encode()))
}

async fn begun(store: &SqliteStore, scope: Scope) -> Claim {
    let claim = claim();
    assert_eq!(store.begin(scope, &claim).await.unwrap(), Begun::Run { fence: 1 });
    claim.won(scope, 1)
}

fn immediate(connection: &mut Connection) -> Transaction<'_> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap()
}

#[tokio::test]
async fn sqlite_keeps_what_a_store_promises() {
    let file = File::new();
    assert_eq!(check(&file.store().await).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_it_on_several_threads_and_beside_another_who_writes() {
    let file = File::new();
    let (store, other) = (file.store().await, file.store().await);
    let busy = tokio::spawn(async move {
        for number in 0.. {
            begun(&other, scope(number)).await;
            sleep(5 * MS).await;
        }
    });
    assert_eq!(check(&store).await, []);
    busy.abort();
}

#[tokio::test]
async fn sqlite_answers_as_an_entry_decides() {
    let file = File::new();
    agrees_with_entry(&file.store().await, 0..6, &BY_ITSELF, |_| 0).await;
}

#[tokio::test]
async fn what_was_done_is_known_when_the_file_is_opened_again() {
    let file = File::new();
    let store = file.store().await;
    let (done, running) = (begun(&store, scope(1)).await, begun(&store, scope(2)).await);
    let record = answer("done");
    assert_eq!(store.complete(&done, &Final::Record(record.encode())).await.unwrap(), Held::Yes);
    drop(store);
    let store = file.store().await;
    assert_eq!(store.begin(scope(1), &claim()).await.unwrap(), ended(&record));
    assert_eq!(store.begin(scope(2), &claim()).await.unwrap(), Begun::InFlight);
    assert_eq!(store.complete(&running, &Final::TooLarge).await.unwrap(), Held::Yes);
}

// ───────────────────────────────────────────────────────────────────────────── other processes

const PEER: &str = "STONEWORK_SQLITE_PEER";

/// This program once more, in which one test does something with the file.
fn peer(file: &File, name: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(PEER, file.path());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

async fn store_of_the_peer() -> Option<SqliteStore> {
    let path = std::env::var(PEER).ok()?;
    Some(SqliteStore::open(path).await.unwrap())
}

/// The number after a word, of each line that is whole.
fn numbers(lines: &[String], word: &str) -> Vec<u32> {
    lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
}

/// Another process of the test below. Here it does nothing.
#[tokio::test]
async fn as_a_process_of_its_own_does_one_after_the_other_until_it_is_killed() {
    let Some(store) = store_of_the_peer().await else { return };
    for number in 0.. {
        let claim = begun(&store, scope(number)).await;
        println!("\nbegun {number};");
        let end = Final::Record(answer(format!("answer {number}")).encode());
        assert_eq!(store.complete(&claim, &end).await.unwrap(), Held::Yes);
        println!("\ndone {number};");
    }
}

#[tokio::test]
async fn what_a_process_was_answered_is_known_when_it_was_killed() {
    let file = File::new();
    drop(file.store().await);
    let (mut child, output) =
        peer(&file, "as_a_process_of_its_own_does_one_after_the_other_until_it_is_killed");
    let mut lines = Vec::new();
    let mut output = output.lines();
    while !lines.iter().any(|line: &String| line.starts_with("done 30;")) {
        lines.push(output.next().expect("it goes on until it is killed").unwrap());
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    lines.extend(output.map_while(Result::ok));
    let lines: Vec<String> =
        lines.iter().filter_map(|line| Some(line.strip_suffix(';')?.to_owned())).collect();
    let (all_begun, all_done) = (numbers(&lines, "begun"), numbers(&lines, "done"));
    assert!(all_done.len() > 30);

    let store = file.store().await;
    for number in &all_done {
        let right = ended(&answer(format!("answer {number}")));
        assert_eq!(store.begin(scope(*number), &claim()).await.unwrap(), right);
    }
    for number in &all_begun {
        // What was done after it was begun, and not told any more, is known as well.
        let known = store.begin(scope(*number), &claim()).await.unwrap();
        assert!(known == Begun::InFlight || known == ended(&answer(format!("answer {number}"))), "{known:?}");
    }
}

/// Other processes of the test below. Here it does nothing.
#[tokio::test]
async fn as_a_process_of_its_own_begins_all_that_it_can() {
    let Some(store) = store_of_the_peer().await else { return };
    for number in 0..200 {
        if store.begin(scope(number), &claim()).await.unwrap() == (Begun::Run { fence: 1 }) {
            println!("\nwon {number}");
        }
    }
}

#[tokio::test]
async fn of_two_processes_and_two_handles_one_is_told_to_run() {
    let file = File::new();
    drop(file.store().await);
    let peers = [(); 2].map(|()| peer(&file, "as_a_process_of_its_own_begins_all_that_it_can"));
    let mut tasks = JoinSet::new();
    for store in [file.store().await, file.store().await] {
        tasks.spawn(async move {
            let mut won = Vec::new();
            for number in 0..200 {
                if store.begin(scope(number), &claim()).await.unwrap() == (Begun::Run { fence: 1 }) {
                    won.push(number);
                }
            }
            won
        });
    }
    let mut won = tasks.join_all().await.concat();
    for (mut child, output) in peers {
        let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
        assert!(child.wait().unwrap().success(), "{lines:?}");
        won.extend(numbers(&lines, "won"));
    }
    won.sort_unstable();
    assert_eq!(won, (0..200).collect::<Vec<_>>());
}

// ───────────────────────────────────────────────────────────────────────────── a handler's own transaction

fn charges(file: &File) -> Connection {
    let orders = file.aside();
    orders.execute_batch("CREATE TABLE IF NOT EXISTS charges (cents INTEGER)").unwrap();
    orders
}

fn charged(orders: &Connection) -> i64 {
    orders.query_row("SELECT count(*) FROM charges", (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_record_is_committed_with_what_the_handler_did() {
    let file = File::new();
    let (store, mut orders) = (file.store().await, charges(&file));
    let (claim, record) = (begun(&store, scope(1)).await, answer("charged"));
    let transaction = immediate(&mut orders);
    transaction.execute("INSERT INTO charges VALUES (1)", ()).unwrap();
    assert_eq!(store.complete_in(&transaction, &claim, &record).unwrap(), Held::Yes);
    assert_eq!(store.complete_in(&transaction, &claim, &answer("twice")).unwrap(), Held::Ended);
    transaction.commit().unwrap();
    // What is said after that changes nothing.
    assert_eq!(store.complete(&claim, &Final::TooLarge).await.unwrap(), Held::Ended);
    assert_eq!(store.release(&claim).await.unwrap(), Held::Ended);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), ended(&record));
    assert_eq!(charged(&orders), 1);
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Answers,
    Fails,
    Panics,
}

#[tokio::test]
async fn what_a_handler_has_committed_is_answered_whatever_becomes_of_it_then() {
    for then in [Then::Answers, Then::Fails, Then::Panics] {
        let file = File::new();
        let (store, orders) = (file.store().await, charges(&file));
        let handler = service_fn({
            let (store, path) = (store.clone(), file.path());
            move |request: Request<Body>| {
                let claim = *Claim::of(request.extensions()).expect("it has a key");
                let response = Response::builder().status(201).body(Bytes::from("charged")).unwrap();
                let mut orders = Connection::open(&path).unwrap();
                let transaction = immediate(&mut orders);
                transaction.execute("INSERT INTO charges VALUES (1)", ()).unwrap();
                let held = store.complete_in(&transaction, &claim, &Record::new(&response)).unwrap();
                assert_eq!(held, Held::Yes);
                transaction.commit().unwrap();
                async move {
                    match then {
                        Then::Answers => Ok(response.map(Body::from)),
                        Then::Fails => Err(Error::new(Kind::Other, "its own fault")),
                        Then::Panics => panic!("in a handler"),
                    }
                }
            }
        });
        let service = IdempotencyLayer::new(store).layer(handler);
        for round in 0..3 {
            let request = Request::post("/charges").header("idempotency-key", "\"one\"");
            let asked = service.clone().oneshot(request.body(Body::from("5 EUR")).unwrap());
            // What panics may be told to the one who asked first.
            let Ok(Ok(response)) = tokio::spawn(asked).await else {
                assert!(round == 0 && matches!(then, Then::Panics), "{then:?}, {round}");
                continue;
            };
            assert_eq!(response.status(), 201, "{then:?}, {round}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "charged", "{then:?}, {round}");
        }
        assert_eq!(charged(&orders), 1, "{then:?}");
    }
}

#[tokio::test]
async fn a_record_that_is_rolled_back_was_never_there() {
    let file = File::new();
    let (store, mut orders) = (file.store().await, charges(&file));
    let claim = begun(&store, scope(1)).await;
    let transaction = immediate(&mut orders);
    transaction.execute("INSERT INTO charges VALUES (1)", ()).unwrap();
    assert_eq!(store.complete_in(&transaction, &claim, &answer("charged")).unwrap(), Held::Yes);
    drop(transaction);
    assert_eq!(charged(&orders), 0);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), Begun::InFlight);
    let failed = answer("it failed");
    assert_eq!(store.complete(&claim, &Final::Record(failed.encode())).await.unwrap(), Held::Yes);
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), ended(&failed));
}

#[tokio::test]
async fn a_handler_that_comes_late_is_told_so_in_time_to_roll_back() {
    let file = File::new();
    let (store, mut orders) = (file.store().await, charges(&file));
    let over = NewClaim { lease: Duration::ZERO, ..claim() };
    for (number, after_crash) in [(1, AfterCrash::FailClosed), (2, AfterCrash::Rerun)] {
        assert_eq!(store.begin(scope(number), &over).await.unwrap(), Begun::Run { fence: 1 });
        let other = NewClaim { after_crash, ..claim() };
        let taken = store.begin(scope(number), &other).await.unwrap();
        let transaction = immediate(&mut orders);
        transaction.execute("INSERT INTO charges VALUES (1)", ()).unwrap();
        let late = over.won(scope(number), 1);
        assert_eq!(store.complete_in(&transaction, &late, &answer("late")).unwrap(), Held::Lost);
        transaction.rollback().unwrap();
        assert_eq!(store.begin(scope(number), &other).await.unwrap(), taken, "as if it had not been");
    }
    let transaction = immediate(&mut orders);
    let never = claim().won(scope(3), 1);
    assert_eq!(store.complete_in(&transaction, &never, &answer("never begun")).unwrap(), Held::Lost);
    drop(transaction);
    assert_eq!(charged(&orders), 0);
}

#[tokio::test]
async fn a_transaction_of_another_file_is_an_error() {
    let (file, elsewhere) = (File::new(), File::new());
    let (store, mut orders) = (file.store().await, charges(&elsewhere));
    let claim = begun(&store, scope(1)).await;
    let error = store.complete_in(&immediate(&mut orders), &claim, &answer("charged")).unwrap_err();
    assert!(error.to_string().contains("no such table: stonework_idempotency"), "{error}");
    orders.execute_batch(SqliteStore::SCHEMA).unwrap();
    assert_eq!(store.complete_in(&immediate(&mut orders), &claim, &answer("charged")).unwrap(), Held::Lost);
}

// ───────────────────────────────────────────────────────────────────────────── waiting, giving up, forgetting

#[tokio::test]
async fn of_what_is_given_up_while_it_waits_a_begin_is_not_done_and_a_completion_is() {
    let file = File::new();
    let (store, mut other) = (file.store().await, file.aside());
    let claim = begun(&store, scope(1)).await;
    let lock = immediate(&mut other);
    // The first is tried at once, and waits for the lock. What comes after it waits for it.
    let first = tokio::spawn({
        let store = store.clone();
        async move { begun(&store, scope(2)).await }
    });
    sleep(50 * MS).await;
    let record = answer("done");
    first.abort();
    assert!(timeout(20 * MS, store.begin(scope(3), &self::claim())).await.is_err());
    assert!(timeout(20 * MS, store.complete(&claim, &Final::Record(record.encode()))).await.is_err());
    drop(lock);
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(store.begin(scope(1), &self::claim()).await.unwrap(), ended(&record));
    for number in [2, 3] {
        begun(&store, scope(number)).await;
    }
}

#[tokio::test]
async fn as_many_wait_as_may_and_no_more() {
    let file = File::new();
    let (store, mut other) = (file.store().await, file.aside());
    let lock = immediate(&mut other);
    let mut tasks = JoinSet::new();
    for number in 0..1200 {
        let store = store.clone();
        tasks.spawn(async move { store.begin(scope(number), &claim()).await });
    }
    sleep(100 * MS).await;
    drop(lock);
    let answers = tasks.join_all().await;
    let full = answers.iter().filter_map(|answer| answer.as_ref().err());
    let full = full.filter(|error| matches!(error.downcast_ref(), Some(SqliteError::Full))).count();
    let run = answers.iter().flatten().filter(|answer| **answer == Begun::Run { fence: 1 }).count();
    assert_eq!(full + run, 1200);
    // Those that were at work when the others came are beside the 1024.
    assert!((1024..1024 + 64 + 1).contains(&run), "{run}");
    begun(&store, scope(5000)).await;
}

#[tokio::test]
async fn nothing_else_waits_for_sqlite() {
    let file = File::new();
    let (store, mut other) = (file.store().await, file.aside());
    let lock = immediate(&mut other);
    let waits = tokio::spawn(async move { begun(&store, scope(1)).await });
    // On this one thread, too, the timer goes on.
    timeout(Duration::from_secs(2), sleep(100 * MS)).await.unwrap();
    assert!(!waits.is_finished());
    drop(lock);
    waits.await.unwrap();
}

#[tokio::test]
async fn what_is_over_is_deleted_by_and_by() {
    let file = File::new();
    let store = file.store().await;
    let brief = NewClaim { lease: Duration::ZERO, keep: Duration::ZERO, ..claim() };
    for number in 0..50 {
        assert_eq!(store.begin(scope(number), &brief).await.unwrap(), Begun::Run { fence: 1 });
    }
    assert!(file.rows() <= 2, "{}", file.rows());
    // What is to be kept is not among it.
    begun(&store, scope(100)).await;
    for number in 200..250 {
        store.begin(scope(number), &brief).await.unwrap();
    }
    assert_eq!(store.begin(scope(100), &claim()).await.unwrap(), Begun::InFlight);
}

/// Begins these behind one who waits for a lock, so that they are next, together.
async fn in_one_transaction(
    file: &File,
    store: &SqliteStore,
    scopes: [Scope; 2],
) -> [Result<Begun, BoxError>; 2] {
    let mut other = file.aside();
    let lock = immediate(&mut other);
    let first = tokio::spawn({
        let store = store.clone();
        async move { begun(&store, scope(1000)).await }
    });
    sleep(50 * MS).await;
    let claims = [claim(), claim()];
    let both = async { tokio::join!(store.begin(scopes[0], &claims[0]), store.begin(scopes[1], &claims[1])) };
    let unlock = async {
        sleep(50 * MS).await;
        drop(lock);
    };
    let ((one, another), ()) = tokio::join!(both, unlock);
    first.await.unwrap();
    [one, another]
}

#[tokio::test]
async fn what_somebody_else_has_written_is_an_error_of_that_key_alone() {
    let file = File::new();
    let store = file.store().await;
    begun(&store, scope(1)).await;
    file.aside().execute("UPDATE stonework_idempotency SET state = 'half done'", ()).unwrap();
    let [wrong, right] = in_one_transaction(&file, &store, [scope(1), scope(2)]).await;
    let error = wrong.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SqliteError::Entry(InvalidEntry { .. }))), "{error}");
    assert_eq!(right.unwrap(), Begun::Run { fence: 1 });
}

#[tokio::test]
async fn what_could_not_be_written_is_an_error_of_all_that_was_to_be_written_with_it() {
    let file = File::new();
    let store = file.store().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON stonework_idempotency WHEN new.scope = zeroblob(32) \
        BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    file.aside().execute_batch(refuse).unwrap();
    let answers = in_one_transaction(&file, &store, [scope(1), scope(0)]).await;
    let errors = answers.map(|answer| answer.unwrap_err().to_string());
    assert_eq!(errors, ["SQLite: the disk is full", "SQLite: the disk is full"]);
    assert_eq!(file.rows(), 1, "that of the one who was first");
    begun(&store, scope(1)).await;
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_what_is_broken_is_said() {
    let file = File::new();
    std::fs::write(file.path(), vec![b'x'; 4096]).unwrap();
    let error = SqliteStore::open(file.path()).await.unwrap_err();
    assert_eq!(error.to_string(), "SQLite: file is not a database");
    let file = File::new();
    let store = file.store().await;
    file.aside().execute_batch("DROP TABLE stonework_idempotency").unwrap();
    for _ in 0..2 {
        let error = store.begin(scope(1), &claim()).await.unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
    }
    drop(file.store().await);
    begun(&store, scope(1)).await;
}

#[test]
fn what_users_hold_can_cross_threads_and_be_moved() {
    fn holds<T: Send + Sync + Unpin + Clone + std::fmt::Debug>() {}
    holds::<SqliteStore>();
    holds::<SqliteError>();
}

#[test]
fn a_store_serves_one_runtime_after_the_other() {
    let file = File::new();
    let run = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = run().block_on(file.store());
    for number in 0..3 {
        run().block_on(begun(&store, scope(number)));
        // Its work may be cut off with it.
        let runtime = run();
        let also = store.clone();
        runtime.spawn(async move { begun(&also, scope(100 + number)).await });
        runtime.shutdown_background();
    }
    run().block_on(begun(&store, scope(50)));
}
