//! Is a payment made once, when the line breaks, the customer is impatient and the server is killed?
//!
//! *The problem:* whoever gets no answer does not know whether they have paid. A client that does not ask again loses payments, one that does
//! makes some of them twice, and a server that remembers keys in its memory forgets them when it is needed most.
//!
//! *What to look at:* `shop.rs`, a server that keeps its charges and its idempotency keys in one file of SQLite; [`pay`], which asks
//! until it knows; and [`round`], in which both have a bad day: a line that breaks connections and swallows answers, and a
//! server that is killed (`SIGKILL`) and started anew, again and again.
//!
//! *What it shows*, by an audit of the file after each of three days: with the record of a key in one transaction with what was done,
//! every payment is made exactly once, and every customer learns it; without that help of the handler none is made twice, and customers
//! are told where nobody knows; without the layer some are made twice.
//!
//!     cargo run --package stonework-databases --bin payments
//!
//! It takes about ten seconds, and ends with exit code 0 if every claim held.

#[path = "../../../../kit/mod.rs"]
mod kit;
mod line;
mod shop;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{StatusCode, header};
use rusqlite::Connection;
use stonework::base::{Backoff, BoxError, Event, Rng};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetrySettings;
use stonework::testing::Recorder;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::kit::Verdict;
use self::shop::{Bookkeeping, LEASE};

/// How many customers there are, and how many payments each of them makes, one after the other.
const CUSTOMERS: usize = 8;
const PAYMENTS: usize = 15;
/// How long the server lives before it is killed.
const LIVES: Duration = Duration::from_millis(500);
/// How long a customer goes on asking.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    // The server is this program, too, so that it can be killed.
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some("serve") {
        return kit::end(days().await);
    }
    match shop::serve(words.collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn days() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();

    let day = round("in one transaction with the record of its key", Bookkeeping::Together).await?;
    verdict.claim(day.all_once() && day.charges == day.payments(), "every payment was made exactly once");
    verdict.claim(
        day.told == day.payments() && day.receipts_match,
        "every customer knows it, and has the number of their own charge",
    );

    let day = round("and the layer remembers by itself", Bookkeeping::Apart).await?;
    verdict.claim(day.all_once(), "no payment was made twice");
    verdict.claim(day.receipts_match, "whoever was told that they have paid has, once");
    verdict.claim(day.told + day.doubtful == day.payments(), "all others were told that nobody knows");

    let day = round("and there is no layer", Bookkeeping::Forgetful).await?;
    verdict.claim(!day.all_once(), "some payments were made twice or more: this is what the layer is for");
    Ok(verdict)
}

/// A bad day: all customers pay, over a bad line, at a server that is killed again and again.
async fn round(title: &str, how: Bookkeeping) -> Result<Day, BoxError> {
    let file = File::new(how);
    let mut shop = Shop::open(how, &file.0, 0).await?;
    let line = line::before(shop.port, Rng::seeded(2026)).await?;
    let url: Arc<str> = format!("http://{line}/charges").into();

    let recorder = Recorder::new();
    let retry = RetrySettings::new()
        .attempts(5)
        .backoff(Backoff::exponential(Duration::from_millis(10), Duration::from_millis(100))?)
        // Here most attempts fail, and nobody else is harmed by others.
        .without_budget();
    let settings = ClientSettings::new().retry(retry).without_breaker();
    let client = Client::builder().settings(settings).observer(recorder.clone()).build()?;

    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        let (client, url) = (client.clone(), Arc::clone(&url));
        customers.spawn(async move {
            let mut told = Vec::new();
            for number in 0..PAYMENTS {
                let payment = format!("customer {customer}, payment {number}");
                told.push((payment.clone(), pay(&client, &url, &payment).await?));
            }
            Ok::<_, BoxError>(told)
        });
    }
    let done = Arc::new(AtomicBool::new(false));
    let killer = {
        let done = Arc::clone(&done);
        async move {
            let mut killed = 0;
            while !done.load(Ordering::Relaxed) {
                sleep(LIVES).await;
                shop.process.kill().await?;
                killed += 1;
                shop = Shop::open(how, &file.0, shop.port).await?;
            }
            shop.process.kill().await?;
            Ok::<_, BoxError>((killed, file))
        }
    };
    let paying = async {
        let mut told = Vec::new();
        while let Some(customer) = customers.join_next().await {
            told.extend(customer??);
        }
        done.store(true, Ordering::Relaxed);
        Ok::<_, BoxError>(told)
    };
    let began = Instant::now();
    let (paid, killed) = tokio::join!(paying, killer);
    let (told, (killed, file)) = (paid?, killed?);

    let attempts =
        recorder.take().iter().filter(|event| matches!(event, Event::AttemptStarted { .. })).count();
    let day = audit(&file.0, &told)?;
    println!("\nA charge is a row, {title}\n");
    println!(
        "    {} payments, {attempts} requests, the server killed {killed} times in {:.1?}",
        day.payments(),
        began.elapsed()
    );
    println!("    {} customers know that they have paid, {} that nobody knows", day.told, day.doubtful);
    let [none, once, more] = day.times;
    println!(
        "    audit: {} charges; payments made never {none}, once {once}, more often {more}\n",
        day.charges
    );
    Ok(day)
}

/// What a customer was told in the end.
enum Told {
    /// The number of their charge.
    Paid(i64),
    /// It was begun, and nobody knows whether it was done.
    NobodyKnows,
}

/// Asks until there is an answer that says what happened, always with the same key.
async fn pay(client: &Client, url: &str, payment: &str) -> Result<Told, BoxError> {
    let asking = async {
        loop {
            let request = client.post(url).header("idempotency-key", format!("\"{payment}\""));
            let answer = match request.body(payment.to_owned()).send().await {
                Ok(answer) => answer,
                Err(_) => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let again = answer.headers().get(header::RETRY_AFTER).is_some();
            match answer.status() {
                // An answer that breaks off is none.
                StatusCode::CREATED => {
                    match answer.text().await.ok().and_then(|number| number.parse().ok()) {
                        Some(number) => return Told::Paid(number),
                        None => continue,
                    }
                }
                StatusCode::CONFLICT if !again => return Told::NobodyKnows,
                _ => sleep(LEASE / 4).await,
            }
        }
    };
    Ok(timeout(PATIENCE, asking).await?)
}

// ───────────────────────────────────────────────────────────────────────────────────── the audit

struct Day {
    /// How many payments were made never, once, and more often.
    times: [usize; 3],
    charges: usize,
    told: usize,
    doubtful: usize,
    /// Whoever was told a number was told that of a charge for their own payment, which is the only one.
    receipts_match: bool,
}

impl Day {
    fn payments(&self) -> usize {
        self.times.iter().sum()
    }

    fn all_once(&self) -> bool {
        self.times[2] == 0
    }
}

/// Compares what the file says with what customers were told.
fn audit(file: &Path, told: &[(String, Told)]) -> Result<Day, BoxError> {
    let charges = Connection::open(file)?;
    let mut statement = charges.prepare("SELECT payment, number FROM charges")?;
    let mut made: HashMap<String, Vec<i64>> = HashMap::new();
    for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (payment, number) = row?;
        made.entry(payment).or_default().push(number);
    }
    let mut day = Day { times: [0; 3], charges: 0, told: 0, doubtful: 0, receipts_match: true };
    for (payment, told) in told {
        let numbers = made.remove(payment).unwrap_or_default();
        day.times[numbers.len().min(2)] += 1;
        day.charges += numbers.len();
        match told {
            Told::Paid(number) => {
                day.told += 1;
                day.receipts_match &= numbers == [*number];
            }
            Told::NobodyKnows => day.doubtful += 1,
        }
    }
    if made.is_empty() { Ok(day) } else { Err("there are charges for payments that nobody has made".into()) }
}

// ────────────────────────────────────────────────────────────────────────────── a server to kill

/// A process that serves.
struct Shop {
    process: Child,
    port: u16,
}

impl Shop {
    /// On this port, or on any, with this file.
    async fn open(how: Bookkeeping, file: &Path, port: u16) -> Result<Self, BoxError> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", how.name(), &port.to_string()])
            .arg(file)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = process.stdout.take().ok_or("it has an output")?;
        let mut lines = BufReader::new(said).lines();
        let port = timeout(PATIENCE, lines.next_line()).await??.ok_or("the server did not begin")?.parse()?;
        Ok(Self { process, port })
    }
}

/// A file of its own, which is gone at the end.
struct File(PathBuf);

impl File {
    fn new(how: Bookkeeping) -> Self {
        let name = format!("stonework-payments-{}-{}.db", std::process::id(), how.name());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}
