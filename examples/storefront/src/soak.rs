//! Good and bad clients for as long as one likes; and then: is anything left of them, and do all counts agree?

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use stonework::base::BoxError;
use storefront::customer::{Counts, Customer, Tally, client};
use storefront::instance::{Ending, Instance, Setup};
use storefront::scratch::Scratch;
use storefront::{Books, DEMO_USERS, Database, new_key};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::audit::{Told, audit};
use crate::kit::Verdict;
use crate::measure::{Left, agree, by_status, mean, metrics, resident, settled, value};
use crate::rude::{Rude, Unheard};

/// Before anything is measured, so that what is made once has been made: connections to the database, buffers, threads.
const WARM_UP: Duration = Duration::from_secs(10);
/// Between two orders of a good customer.
const PAUSE: Duration = Duration::from_millis(10);
/// Every so many orders one is sent twice at a time, and all of them are looked at.
const TWICE: usize = 4;
/// How often it is looked at memory.
const LOOK: Duration = Duration::from_millis(500);
/// By how much the last quarter may need more than the second one. SQLite's caches, of 2 MiB for each of five connections, fill while the file
/// grows; a hundred bytes that are left of each request in ten minutes are more.
const SLACK: f64 = 1.1;

pub(crate) async fn soak(length: Duration) -> Result<Verdict, BoxError> {
    let server = std::env::var("DATABASE_URL").ok();
    let scratch = Scratch::new(server.as_deref()).await?;
    println!("a soak of {length:?} over {}, after {WARM_UP:?} to warm up", scratch.engine());
    let (program, key) = (std::env::current_exe()?, new_key()?);
    let setup = Setup { program, database: scratch.url().to_owned(), key, idempotency: true };
    let soaked = run(&setup, length).await;
    scratch.remove().await?;
    Ok(promises(&soaked?))
}

/// What there was in the end.
struct Soaked {
    /// The warm-up, and the soak itself.
    parts: [Traffic; 2],
    base: Left,
    left: Left,
    /// What clients say, and what the server says of itself.
    heard: Counts,
    said: BTreeMap<u16, u64>,
    replayed: u64,
    books: Books,
    ending: Ending,
}

async fn run(setup: &Setup, length: Duration) -> Result<Soaked, BoxError> {
    let instance = Instance::start(setup, "a", "127.0.0.1:0").await?;
    let (shop, process) = (instance.address(), instance.process().ok_or("it runs")?);
    let tally = Tally::default();
    let before = traffic(shop, &tally, "warm-up", WARM_UP, process).await?;
    let base = settled(shop, &tally, process, |_| true).await?;
    let after = traffic(shop, &tally, "soak", length, process).await?;
    let left = settled(shop, &tally, process, |left| left.is_no_more_than(base)).await?;
    // In what the server says it does not count that it was asked for it just now.
    let heard = tally.counts();
    let said = metrics(shop, &tally).await?;
    let ending = instance.stop().await?;
    let books = Database::open(&setup.database).await?.books().await?;
    let replayed = value(&said, "stonework_keyed_replayed_total")?;
    let said = by_status(&said);
    Ok(Soaked { parts: [before, after], base, left, heard, said, replayed, books, ending })
}

fn promises(soaked: &Soaked) -> Verdict {
    let Soaked { parts, base, left, heard, said, replayed, books, ending } = soaked;
    let memory = &parts[1].memory;
    let quarter = |number: usize| mean(&memory[memory.len() * number / 4..memory.len() * (number + 1) / 4]);
    let quarters: Vec<String> = (0..4).map(|number| format!("{:.1}", quarter(number) / 1024.0)).collect();
    let Traffic { told, unheard: Unheard { orders, halves }, .. } = &parts[1];
    println!("\n    {} orders; nobody waited for {orders} more, and {halves} broke off", told.len());
    println!("    memory in MiB, by quarters: {}", quarters.join(", "));
    println!("    before: {base:?}; after: {left:?}");
    println!("    the server says:  {said:?}");
    println!("    its clients say:  {:?}, and {} without an answer\n", heard.answers, heard.unanswered);

    let mut verdict = Verdict::default();
    let is_flat = memory.len() >= 4 && quarter(3) <= quarter(1) * SLACK;
    verdict.claim(is_flat, "memory is flat: the last quarter needs no more than the second");
    verdict.claim(left.is_no_more_than(*base), "no descriptor and no task is left");
    let orders: u64 = parts.iter().map(|part| part.unheard.orders).sum();
    let halves: u64 = parts.iter().map(|part| part.unheard.halves).sum();
    let all_agree = agree(said, &heard.answers, orders + halves + heard.unanswered);
    verdict.claim(all_agree, "the server has answered what its clients say, by status");

    let told: Vec<&Told> = parts.iter().flat_map(|part| &part.told).collect();
    let audit = audit(books, told.iter().copied());
    let good = audit.times == [0, told.len(), 0] && audit.told == told.len();
    verdict
        .claim(good, "each order of a good customer exists exactly once, under the name that they were told");
    let notes: HashSet<&str> = audit.strangers.iter().map(|order| order.note.as_str()).collect();
    let rude =
        notes.len() == audit.strangers.len() && notes.iter().all(|note| note.starts_with("left in the "));
    verdict.claim(
        rude,
        "of those that nobody waited for each exists at most once, and of those that broke off none",
    );
    let made = said.get(&StatusCode::CREATED.as_u16()).copied().unwrap_or(0).saturating_sub(*replayed);
    let there = books.orders.len() as u64;
    // An order may be there whose answer was never made, since its client had gone.
    verdict.claim(made <= there && there <= made + orders, "the server has made as many orders as there are");
    verdict.claim(audit.adds_up, "what was sold and what is left is what there was");
    verdict.claim(ending.cut_off == 0, "nothing was cut off at the end");
    verdict
}

// ───────────────────────────────────────────────────────────────────────────── traffic

struct Traffic {
    told: Vec<Told>,
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
    let client = client([shop], tally)?;
    let (mut good, mut token) = (JoinSet::new(), String::new());
    for (user, password) in DEMO_USERS {
        let customer = Customer::log_in(client.clone(), user, password).await?;
        token = customer.token().to_owned();
        good.spawn(buys(customer, user, part, over.clone()));
    }
    // The connections of the good ones are theirs alone.
    drop(client);
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

/// One good customer, until it is over.
async fn buys(
    customer: Customer,
    user: &'static str,
    part: &'static str,
    over: watch::Receiver<bool>,
) -> Result<Vec<Told>, BoxError> {
    let mut told = Vec::new();
    while !*over.borrow() {
        let number = told.len();
        let (note, key) = (format!("{part}, order {number}"), format!("{part}-{number}"));
        let press = || customer.order(&key, "bread", 1, &note);
        let presses = if number % TWICE == 0 {
            let (first, second) = tokio::try_join!(press(), press())?;
            customer.get("/orders?limit=5").await?;
            vec![first, second]
        } else {
            vec![press().await?]
        };
        told.push(Told { user, note, presses });
        sleep(PAUSE).await;
    }
    Ok(told)
}
