//! What happens in the show: people buy, servers die, and somebody counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stonework::base::BoxError;
use stonework::client::Client;
use storefront::customer::{Counts, Customer, Tally, client};
use storefront::instance::{Ending, Instance, Setup};
use storefront::scratch::Scratch;
use storefront::{DEMO_USERS, Database, new_key};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{Audit, Told, audit};
use crate::kit::Verdict;

/// Two people for each user of the shop: one name, two places at a time.
const SHOPPERS: usize = 2 * DEMO_USERS.len();
/// Who presses the button twice: at every so many orders.
const TWICE: usize = 4;
const NAMES: [&str; 2] = ["a", "b"];

/// A day in the shop.
struct Plan {
    title: &'static str,
    idempotency: bool,
    /// How many each person buys, one after the other.
    orders: usize,
    /// How often an instance is killed, one by turns with the other, with as many orders in between.
    kills: usize,
}

const DAY: Plan = Plan { title: "A day in the shop", idempotency: true, orders: 30, kills: 6 };
/// Shorter: what it has to show it shows soon.
const WITHOUT: Plan =
    Plan { title: "The same without the idempotency layer", idempotency: false, orders: 8, kills: 2 };

/// The shop as it is, and as it would be.
pub(crate) async fn both() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    promises(&mut verdict, &day(&DAY).await?);
    let what = "the audit fails: orders exist twice, which nothing but the layer prevents";
    verdict.claim(day(&WITHOUT).await?.audit.times[2] > 0, what);
    Ok(verdict)
}

/// What is promised, of a shop that cannot keep it.
pub(crate) async fn without() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    promises(&mut verdict, &day(&WITHOUT).await?);
    Ok(verdict)
}

fn promises(verdict: &mut Verdict, day: &Day) {
    let Day { plan, audit, counts, served, endings, interchangeable } = day;
    let wanted = SHOPPERS * plan.orders;
    verdict.claim(audit.times == [0, wanted, 0], "each order exists exactly once");
    verdict.claim(audit.strangers.is_empty(), "there is none that nobody wanted");
    verdict.claim(
        audit.told == wanted,
        "whoever bought was told the name of that order, however often they asked",
    );
    verdict.claim(audit.adds_up, "what was sold and what is left is what there was");
    let both = NAMES.iter().all(|name| served.contains_key(*name));
    let what = "both instances served, took each other's tokens, and tell everybody the same";
    verdict.claim(both && *interchangeable && !counts.answers.contains_key(&401), what);
    verdict.claim(
        endings.iter().all(|ending| ending.cut_off == 0),
        "an instance that is told to stop finishes what it has begun",
    );
}

/// What came of it.
struct Day<'a> {
    plan: &'a Plan,
    audit: Audit,
    counts: Counts,
    /// How often each instance has told somebody of an order.
    served: BTreeMap<String, usize>,
    /// Of those that were told to stop: one in the middle, and both at the end.
    endings: Vec<Ending>,
    /// Each user is told the same by both instances, with one token.
    interchangeable: bool,
}

async fn day(plan: &Plan) -> Result<Day<'_>, BoxError> {
    let server = std::env::var("DATABASE_URL").ok();
    let scratch = Scratch::new(server.as_deref()).await?;
    println!("\n{}: two instances over {}, {SHOPPERS} people\n", plan.title, scratch.engine());
    let setup = Setup {
        program: std::env::current_exe()?,
        database: scratch.url().to_owned(),
        key: new_key()?,
        idempotency: plan.idempotency,
    };
    let day = open(&setup, plan).await;
    scratch.remove().await?;
    day
}

/// From the first instance to the audit.
async fn open<'a>(setup: &Setup, plan: &'a Plan) -> Result<Day<'a>, BoxError> {
    let mut instances = Vec::new();
    for name in NAMES {
        instances.push(Instance::start(setup, name, "127.0.0.1:0").await?);
    }
    let began = Instant::now();
    let tally = Tally::default();
    let client = client(instances.iter().map(Instance::address), &tally)?;
    let (progress, bought) = watch::channel(0);
    let (told, (instances, ending)) =
        tokio::try_join!(shopping(&client, plan, progress), kill(instances, setup, plan, bought))?;
    let took = began.elapsed();

    let interchangeable = interchangeable(&instances, &client, &tally).await?;
    let mut endings = vec![ending];
    for instance in instances {
        endings.push(instance.stop().await?);
    }
    let books = Database::open(&setup.database).await?.books().await?;
    let audit = audit(&books, &told);
    let mut served = BTreeMap::new();
    for press in told.iter().flat_map(|told| &told.presses) {
        *served.entry(press.served_by.clone()).or_default() += 1;
    }
    let day = Day { plan, audit, counts: tally.counts(), served, endings, interchangeable };
    print(&day, &told, took);
    Ok(day)
}

/// Everybody, at the same time.
async fn shopping(
    client: &Client,
    plan: &Plan,
    progress: watch::Sender<usize>,
) -> Result<Vec<Told>, BoxError> {
    let progress = Arc::new(progress);
    let mut people = JoinSet::new();
    for person in 0..SHOPPERS {
        people.spawn(buys(client.clone(), person, plan.orders, Arc::clone(&progress)));
    }
    let mut told = Vec::new();
    while let Some(person) = people.join_next().await {
        told.extend(person??);
    }
    Ok(told)
}

/// Whether each user, with one token, is told the same by each instance.
async fn interchangeable(instances: &[Instance], client: &Client, tally: &Tally) -> Result<bool, BoxError> {
    let mut same = true;
    for (user, password) in DEMO_USERS {
        let customer = Customer::log_in(client.clone(), user, password).await?;
        let mut told = Vec::new();
        for instance in instances {
            let alone = storefront::customer::client([instance.address()], tally)?;
            told.push(customer.with(alone).get("/orders?limit=100").await?);
        }
        same &= told.windows(2).all(|pair| pair[0] == pair[1]);
    }
    Ok(same)
}

/// One person, who buys one thing after the other.
async fn buys(
    client: Client,
    person: usize,
    orders: usize,
    progress: Arc<watch::Sender<usize>>,
) -> Result<Vec<Told>, BoxError> {
    let (user, password) = DEMO_USERS[person % DEMO_USERS.len()];
    let customer = Customer::log_in(client, user, password).await?;
    let mut told = Vec::new();
    for number in 0..orders {
        // The note tells us which one it is. To the shop it says nothing.
        let note = format!("person {person}, order {number}");
        let product = ["bread", "butter", "honey"][number % 3];
        let key = format!("person-{person}-order-{number}");
        let press = || customer.order(&key, product, 1 + number as u32 % 5, &note);
        let presses = if number % TWICE == 0 {
            let (first, second) = tokio::try_join!(press(), press())?;
            vec![first, second]
        } else {
            vec![press().await?]
        };
        told.push(Told { user, note, presses });
        progress.send_modify(|bought| *bought += 1);
    }
    // What was told is there, whoever is asked.
    let last = told.last().and_then(|told| told.presses.first()).ok_or("nothing was bought")?;
    customer.get(&format!("/orders/{}", last.id)).await?;
    Ok(told)
}

/// Kills one instance after the other, each time when some more has been bought. The last one is told to stop, as for a new version of it.
async fn kill(
    mut instances: Vec<Instance>,
    setup: &Setup,
    plan: &Plan,
    mut bought: watch::Receiver<usize>,
) -> Result<(Vec<Instance>, Ending), BoxError> {
    let wanted = SHOPPERS * plan.orders;
    let due = |turn: usize| turn * wanted / (plan.kills + 2);
    let tell = |so_far: usize, name: &str, what: &str, began: Instant| {
        let took = began.elapsed();
        println!(
            "    after {so_far} of {wanted} orders instance {name} was {what}; it is back after {took:.1?}"
        );
    };
    for turn in 1..=plan.kills {
        let so_far = *bought.wait_for(|bought| *bought >= due(turn)).await?;
        let (instance, began) = (&mut instances[turn % NAMES.len()], Instant::now());
        instance.kill_and_restart(setup).await?;
        tell(so_far, instance.name(), "killed", began);
    }
    let so_far = *bought.wait_for(|bought| *bought >= due(plan.kills + 1)).await?;
    let (instance, began) = (&mut instances[0], Instant::now());
    let ending = instance.restart(setup).await?;
    tell(so_far, instance.name(), "told to stop", began);
    Ok((instances, ending))
}

fn print(day: &Day<'_>, told: &[Told], took: Duration) {
    let Counts { answers, unanswered } = &day.counts;
    let twice = told.iter().filter(|told| told.presses.len() > 1).count();
    let replayed = told.iter().flat_map(|told| &told.presses).filter(|press| press.replayed).count();
    println!("\n    {} orders in {took:.1?}, {twice} of them by two presses of the button", told.len());
    println!("    attempts by status: {answers:?}; {unanswered} without an answer");
    println!("    told of orders by instance: {:?}; {replayed} times from the record of the key", day.served);
    let [never, once, more] = day.audit.times;
    println!("    audit: {never} orders exist never, {once} once, {more} more often\n");
}
