//! Whom to ask, in one's own way: which endpoints there are and how much each weighs, by what servers say of themselves; which of them gets a
//! call; and which calls belong together.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::balance::{
    Balancer, BalancerSettings, Candidate, Candidates, Discover, Member, Pick, Picker, StickyKey,
};
use stonework::base::{BoxError, EndpointId, Rng};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;
use tower::{Service, ServiceExt, service_fn};

use crate::kit::Verdict;

/// What the servers have reported of themselves: their names, and how much more they could take.
type Reports = Vec<(&'static str, u32)>;

/// Each gets as much as it has room for.
struct ByRoom(watch::Receiver<Reports>);

impl Discover for ByRoom {
    async fn next(&mut self) -> Option<Result<Vec<Member>, BoxError>> {
        self.0.changed().await.ok()?;
        let reports = self.0.borrow_and_update();
        // Who has no room is left out: a weight says how much of the rest, and never nothing.
        let some = reports.iter().filter(|(_, room)| *room > 0);
        Some(Ok(some.map(|(name, room)| Member::new(*name).weight(*room)).collect()))
    }
}

/// Fills one up before it begins with the next, so that those at the end can be switched off: for servers that are paid for by the hour. Where
/// all are full, whoever has the least to do gets more.
struct FillUp {
    room: u64,
}

impl Picker for FillUp {
    fn pick<'a>(&self, candidates: &Candidates<'a>, _: &Rng) -> Option<Candidate<'a>> {
        let with_room = candidates.iter().filter(|candidate| candidate.in_flight() < self.room);
        // Of two that have as much to do the one whose name comes first, so that it is the same one each time.
        let fullest = with_room.max_by_key(|candidate| (candidate.in_flight(), Reverse(candidate.id())));
        fullest.or_else(|| candidates.iter().min_by_key(Candidate::in_flight))
    }
}

/// A customer's calls go to one server, which has his things at hand then: by the first part of the path.
fn customer<B>(request: &Request<B>) -> Option<StickyKey> {
    let first = request.uri().path().split('/').nth(1);
    first.filter(|name| !name.is_empty()).map(StickyKey::of)
}

// ───────────────────────────────────────────────────────────────────────────── what comes of it

const CALLS: u32 = 1_000;
const CUSTOMERS: u32 = 60;

/// Who answers a call to this path.
async fn who<S, B>(service: &S, path: &str) -> Result<String, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
{
    let request = Request::get(path).body(Body::empty())?;
    let answer = service.clone().oneshot(request).await.map_err(Into::into)?;
    let name = answer.headers().get("server").ok_or("it does not say who it is")?;
    Ok(name.to_str()?.to_owned())
}

/// Waits until the balancer has heard of a list with so many.
async fn heard<S: Clone + Send + Sync + 'static>(
    balancer: &Balancer<S>,
    members: usize,
) -> Result<(), BoxError> {
    // It hears in a task of its own, on this thread: a few turns are enough.
    for _ in 0..100 {
        let endpoints = balancer.stats().endpoints().len();
        if endpoints == members {
            return Ok(());
        }
        yield_now().await;
    }
    Err("the balancer has not heard of the list".into())
}

/// A server that answers with its name, after so long.
fn server(
    id: EndpointId,
    takes: Duration,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |_: Request<Body>| {
        let answer = Response::builder().header("server", id.as_str()).body(Body::empty());
        async move {
            sleep(takes).await;
            Ok(answer.unwrap_or_default())
        }
    })
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nWhom to ask: by what servers report of themselves, and by who the customer is\n");
    lists_and_customers(verdict).await?;
    println!("\nWhom to ask: one after the other\n");
    one_after_the_other(verdict).await
}

async fn lists_and_customers(verdict: &mut Verdict) -> Result<(), BoxError> {
    let (report, reports) = watch::channel(Reports::new());
    // By turns, each as often as it weighs: so the shares are exact. Nobody has just come, as to whom this is about.
    let settings = BalancerSettings::new().pick(Pick::WeightedRoundRobin).without_slow_start();
    let balancer = Balancer::builder(|id| server(id.clone(), Duration::ZERO))
        .discover(ByRoom(reports))
        .settings(settings)
        .build()?;

    let service = balancer.service();
    for (said, expected) in [
        (vec![("a", 6), ("b", 3), ("c", 1)], [600, 300, 100]),
        (vec![("a", 0), ("b", 1), ("c", 1)], [0, 500, 500]),
    ] {
        report.send_replace(said.clone());
        heard(&balancer, said.iter().filter(|(_, room)| *room > 0).count()).await?;
        let mut shares = BTreeMap::new();
        for _ in 0..CALLS {
            *shares.entry(who(&service, "/").await?).or_insert(0) += 1;
        }
        let shares = ["a", "b", "c"].map(|name| shares.get(name).copied().unwrap_or(0));
        println!("  room {said:?}: calls {shares:?} of {CALLS}");
        verdict.claim(shares == expected, format!("they get what they have room for: {expected:?}"));
    }

    report.send_replace(vec![("a", 1), ("b", 1), ("c", 1)]);
    heard(&balancer, 3).await?;
    let sticky = balancer.service().sticky(customer::<Body>);
    let places = async || {
        let mut places = Vec::new();
        for customer in 0..CUSTOMERS {
            places.push(who(&sticky, &format!("/customer-{customer}/orders")).await?);
        }
        Ok::<_, BoxError>(places)
    };
    let (first, again) = (places().await?, places().await?);
    report.send_replace(vec![("a", 1), ("b", 1)]);
    heard(&balancer, 2).await?;
    let without = places().await?;
    let at = |name: &str| first.iter().filter(|place| *place == name).count();
    let moved = first.iter().zip(&without).filter(|(before, after)| before != after).count();
    println!(
        "  {CUSTOMERS} customers: {} at a, {} at b, {} at c; when c goes, {moved} move",
        at("a"),
        at("b"),
        at("c")
    );
    verdict.claim(first == again, "a customer stays with a server");
    verdict.claim(["a", "b", "c"].iter().all(|name| at(name) > 10), "each server has its customers");
    verdict.claim(moved == at("c"), "when one goes, only its own customers move");
    Ok(())
}

async fn one_after_the_other(verdict: &mut Verdict) -> Result<(), BoxError> {
    const ROOM: u64 = 10;
    let names = ["a", "b", "c", "d"];
    for (at_once, expected, words) in [
        (7, [7, 0, 0, 0], "of a few calls one server has all, and the others could be switched off"),
        (25, [10, 10, 5, 0], "of more it fills one up before it begins with the next"),
        (48, [12, 12, 12, 12], "where all are full, they share evenly"),
    ] {
        let balancer = Balancer::builder(|id| server(id.clone(), Duration::from_secs(1)));
        let balancer = balancer.members(names).picker(FillUp { room: ROOM }).build()?;
        let service = balancer.service();
        let mut calls = JoinSet::new();
        for _ in 0..at_once {
            let service = service.clone();
            calls.spawn(async move { who(&service, "/").await });
        }
        let answered: Vec<_> = calls.join_all().await.into_iter().collect::<Result<_, _>>()?;
        let shares = names.map(|name| answered.iter().filter(|answer| *answer == name).count());
        println!("  {at_once:>2} calls at once, room for {ROOM} at each: {shares:?}");
        verdict.claim(shares == expected, words);
    }
    Ok(())
}
