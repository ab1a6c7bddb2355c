//! Good and bad clients for as long as one likes; and then: is anything left of them, and do all counts agree?

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use stonework::base::BoxError;
use storefront::customer::{Customer, Tally, line};
use storefront::instance::{Instance, Setup};
use storefront::scratch::Scratch;
use storefront::{Books, DEMO_USERS, Database, new_key};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::rude::{Rude, Unheard, ask, request};
use crate::verdict::Verdict;

/// Before anything is measured, so that what is made once has been made: connections to the database, buffers, threads.
const WARM_UP: Duration = Duration::from_secs(10);
/// Between two orders of a good customer.
const PAUSE: Duration = Duration::from_millis(10);
/// Every so many orders one is sent twice at a time, and all of them are looked at.
const TWICE: usize = 4;
/// How often it is looked at memory.
const LOOK: Duration = Duration::from_millis(500);
/// By how much the last quarter may need more than the second one. SQLite's caches, of 2 MiB for each of five connections, fill while the file
/// grows; forty bytes that are left of each request in ten minutes are more.
const SLACK: f64 = 1.1;
/// For connections to close and tasks to end when all clients have gone.
const SETTLES: Duration = Duration::from_secs(30);

/// Of the server's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    descriptors: usize,
    tasks: u64,
}

pub(crate) async fn soak(length: Duration) -> Result<Verdict, BoxError> {
    let server = std::env::var("DATABASE_URL").ok();
    let scratch = Scratch::new(server.as_deref()).await?;
    let (program, key) = (std::env::current_exe()?, new_key()?);
    let setup = Setup { program, database: scratch.url().to_owned(), key, idempotency: true };
    let instance = Instance::start(&setup, "a", "127.0.0.1:0").await?;
    let process = instance.process().ok_or("it runs")?;
    let tally = Tally::default();
    println!("a soak of {length:?} over {}, after {WARM_UP:?} to warm up", scratch.engine());

    let before = traffic(instance.address(), &tally, "warm-up", WARM_UP, process).await?;
    let base = settled(instance.address(), &tally, process, |_| true).await?;
    let after = traffic(instance.address(), &tally, "soak", length, process).await?;
    let no_more = |left: Left| left.descriptors <= base.descriptors && left.tasks <= base.tasks;
    let left = settled(instance.address(), &tally, process, no_more).await?;

    // What it says of itself is asked for once more, and is not in what it says then.
    let counts = tally.counts();
    let said = metrics(instance.address(), &tally).await?;
    let report = instance.stop().await?;
    let database = Database::open(scratch.url()).await?;
    let books = database.books().await?;
    drop(database);
    scratch.remove().await?;

    let mut verdict = Verdict::default();
    let answered = by_status(&said);
    let memory = after.memory;
    let quarter = |number: usize| mean(&memory[memory.len() * number / 4..memory.len() * (number + 1) / 4]);
    let quarters: Vec<String> = (0..4).map(|number| format!("{:.1}", quarter(number) / 1024.0)).collect();
    println!(
        "\n    {} orders; nobody waited for the answers of {} more, and of {} that broke off",
        after.told.len(),
        after.unheard.orders,
        after.unheard.halves
    );
    println!("    memory in MiB, by quarters: {}", quarters.join(", "));
    println!("    before: {base:?}; after: {left:?}");
    println!(
        "    the server says:  {answered:?}\n    the clients say: {:?}, and {} without an answer",
        counts.answers, counts.unanswered
    );
    println!("    {report}\n");

    verdict.promise(
        "memory is flat: the last quarter needs no more than the second",
        quarter(3) <= quarter(1) * SLACK,
    );
    verdict.promise("no descriptor and no task is left", no_more(left));
    let parts = [before.unheard, after.unheard];
    let unawaited: u64 = parts.iter().map(|part| part.orders).sum();
    let halves: u64 = parts.iter().map(|part| part.halves).sum();
    let unheard = unawaited + halves + counts.unanswered;
    verdict.promise(
        "the server has answered what clients say that it has, by status",
        agree(&answered, &counts.answers, unheard),
    );
    let (good, rude) = audit(&books, before.told.iter().chain(&after.told));
    verdict.promise(
        "each order of a good customer exists exactly once, under the name that they were told",
        good,
    );
    verdict.promise(
        "of those that nobody waited for each exists at most once, and of those that broke off none",
        rude,
    );
    let replayed = value(&said, "stonework_keyed_replayed_total");
    let made = *answered.get(&201).unwrap_or(&0) - replayed;
    // Nobody may have heard of an order that is there, since its client had gone.
    let orders = books.orders.len() as u64;
    verdict.promise(
        "the server has made as many orders as there are",
        made <= orders && orders <= made + unawaited,
    );
    verdict.promise("what was sold and what is left is what there was", books.add_up());
    verdict.promise("nothing was cut off at the end", report.contains("aborted: 0"));
    Ok(verdict)
}

// ───────────────────────────────────────────────────────────────────────────── traffic

struct Traffic {
    /// Users, notes, and the name of the order.
    told: Vec<(&'static str, String, String)>,
    unheard: Unheard,
    /// In KiB, at equal distances.
    memory: Vec<f64>,
}

async fn traffic(
    shop: SocketAddr,
    tally: &Tally,
    part: &'static str,
    length: Duration,
    process: u32,
) -> Result<Traffic, BoxError> {
    let (end, over) = watch::channel(false);
    let line = line([shop], tally)?;
    let mut good = JoinSet::new();
    for (user, password) in DEMO_USERS {
        let customer = Customer::log_in(line.clone(), user, password).await?;
        good.spawn(buys(customer, user, part, over.clone()));
    }
    // The connections of the good ones are theirs alone.
    drop(line);
    let token = token(shop, tally).await?;
    let rude = Rude { shop, token, tally: tally.clone(), over, part };
    let rude = tokio::spawn(rude.all());

    let (began, mut memory) = (Instant::now(), Vec::new());
    while began.elapsed() < length {
        memory.extend(resident(process));
        sleep(LOOK).await;
    }
    end.send_replace(true);
    let mut told = Vec::new();
    while let Some(customer) = good.join_next().await {
        told.extend(customer??);
    }
    Ok(Traffic { told, unheard: rude.await??, memory })
}

/// For those who do not use the client.
async fn token(shop: SocketAddr, tally: &Tally) -> Result<String, BoxError> {
    let (user, password) = DEMO_USERS[0];
    let credentials = serde_json::json!({ "user": user, "password": password }).to_string();
    let (status, answer) =
        ask(shop, &request("POST /login", &["content-type: application/json"], &credentials)).await?;
    tally.add(status);
    let token = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    Ok(token.ok_or_else(|| format!("no token: {answer}"))?.to_owned())
}

/// One good customer, until it is over.
async fn buys(
    customer: Customer,
    user: &'static str,
    part: &'static str,
    over: watch::Receiver<bool>,
) -> Result<Vec<(&'static str, String, String)>, BoxError> {
    let mut told = Vec::new();
    while !*over.borrow() {
        let number = told.len();
        let note = format!("{part}, order {number}");
        let press = || customer.order(&note, "bread", 1, &note);
        let id = if number % TWICE == 0 {
            let (first, second) = tokio::try_join!(press(), press())?;
            if first.id != second.id {
                return Err("two presses, two orders".into());
            }
            customer.get("/orders?limit=5").await?;
            first.id
        } else {
            press().await?.id
        };
        told.push((user, note, id));
        sleep(PAUSE).await;
    }
    Ok(told)
}

// ───────────────────────────────────────────────────────────────────────────── what is left, and what was counted

/// When nothing changes any more, and it is as it should be; or what it is at the end of our patience.
async fn settled(
    shop: SocketAddr,
    tally: &Tally,
    process: u32,
    is_good: impl Fn(Left) -> bool,
) -> Result<Left, BoxError> {
    let (began, mut last, mut same) = (Instant::now(), None, 0);
    loop {
        let tasks = value(&metrics(shop, tally).await?, "tokio_tasks");
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let left = Left { descriptors, tasks };
        same = if last == Some(left) { same + 1 } else { 0 };
        last = Some(left);
        if (same >= 10 && is_good(left)) || began.elapsed() > SETTLES {
            return Ok(left);
        }
        sleep(LOOK / 5).await;
    }
}

/// In KiB.
fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// What the server says of itself.
async fn metrics(shop: SocketAddr, tally: &Tally) -> Result<String, BoxError> {
    let (status, said) = ask(shop, &request("GET /metrics", &[], "")).await?;
    tally.add(status);
    Ok(said)
}

/// Zero, if it was never counted.
fn value(said: &str, name: &str) -> u64 {
    let line = said.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

fn by_status(said: &str) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for line in said.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{")) {
        let status =
            line.split("http_response_status_code=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        if let (Some(Ok(status)), Some(count)) = (status.map(str::parse), count) {
            *counts.entry(status).or_default() += count;
        }
    }
    counts
}

/// No client has heard what the server has not said; and what nobody has heard are answers for which nobody waited.
fn agree(said: &BTreeMap<u16, u64>, heard: &BTreeMap<u16, u64>, unheard: u64) -> bool {
    let said_of = |status: &u16| said.get(status).copied().unwrap_or(0);
    let heard_of = |status: &u16| heard.get(status).copied().unwrap_or(0);
    let surplus: u64 = said.keys().map(|status| said_of(status).saturating_sub(heard_of(status))).sum();
    heard.keys().all(|status| heard_of(status) <= said_of(status)) && surplus <= unheard
}

/// Whether the orders of good customers are there as they should be, and those of the others.
fn audit<'a>(books: &Books, told: impl Iterator<Item = &'a (&'static str, String, String)>) -> (bool, bool) {
    let mut made: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for order in &books.orders {
        made.entry((&order.customer, &order.note)).or_default().push(&order.id);
    }
    let mut good = true;
    for (user, note, id) in told {
        good &= made.remove(&(*user, note.as_str())).is_some_and(|ids| ids == [id]);
    }
    let rude = made.iter().all(|((_, note), ids)| note.starts_with("left in the ") && ids.len() == 1);
    (good, rude)
}
