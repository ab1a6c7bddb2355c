//! To whom? Four servers, of which one is slow, one is killed and comes back, and a fifth that joins them.
//!
//! *The problem:* a list of addresses is no cluster. Whoever asks them by turns asks the slow one as often as the others; whoever finds
//! out with a user's request that one is dead has a user who knows it, too; and a dead one that is never asked again is lost.
//!
//! *What to look at:* [`stack`], the client that everybody uses here; then [`play`], which lets the same happen to three ways to pick an
//! endpoint, and [`sessions`], which stick to one.
//!
//! *What it shows:* who gets which share of 300 requests a second, and how long they take; that nobody sees an error, whatever
//! happens; and that a session moves only when its server goes. It writes a plot of the shares, as an SVG.
//!
//!     cargo run --package stonework-labs --bin cluster [FILE]
//!
//! It takes about fifteen seconds, longer on a busy machine, and ends with exit code 0 if every claim held.

mod node;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use stonework::Body;
use stonework::balance::{Balancer, BalancerSettings, Member, Pick, StickyHeader};
use stonework::base::{Backoff, BoxError, EndpointId};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetryLayer;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use stonework_labs::{Verdict, end};
use tokio::time::{Instant, interval};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};

use self::node::Node;

/// How long servers think, and the slow one.
const THINKS: Duration = Duration::from_millis(8);
const SLOW: Duration = Duration::from_millis(80);
/// One request after so long: 300 a second.
const PACE: Duration = Duration::from_micros(3_333);
/// What happens when.
const KILLED: Duration = Duration::from_millis(1_000);
const BACK: Duration = Duration::from_millis(2_000);
const JOINS: Duration = Duration::from_millis(2_500);
const END: Duration = Duration::from_millis(4_500);
/// A quarter of what the slow one takes, and how often a run is made at most.
const LATE: Duration = Duration::from_millis(20);
const TRIES: usize = 6;
/// The last part, in which all five are there.
const CALM: Duration = Duration::from_millis(3_500);

type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

#[tokio::main]
async fn main() -> ExitCode {
    let file = std::env::args().nth(1).map(PathBuf::from);
    let file = file.unwrap_or_else(|| std::env::temp_dir().join("stonework-cluster.svg"));
    end(play(&file).await)
}

/// What everybody calls, and the balancer in it: deadline, retry, a limit for each attempt, and whom to ask.
fn stack(
    members: impl IntoIterator<Item = Member>,
    pick: Pick,
) -> Result<(Stack, Balancer<Stack>), BoxError> {
    // The balancer's endpoints have what belongs to each alone; here these are its connections.
    let client =
        Client::builder().settings(ClientSettings::new().without_retry().without_breaker()).build()?;
    let endpoint = move |id: &EndpointId| {
        let to = id.clone();
        boxed(ServiceExt::<Request<Body>>::map_request(client.clone(), move |request: Request<Body>| {
            at(&to, request)
        }))
    };
    let settings = BalancerSettings::new()
        .pick(pick)
        // Everything goes faster here than elsewhere.
        .slow_start(Duration::from_secs(1))
        .decay(Duration::from_secs(1))
        .backoff(Backoff::exponential(Duration::from_millis(50), Duration::from_millis(400))?);
    let balancer = Balancer::builder(endpoint).members(members).settings(settings).build()?;
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(RetryLayer::new())
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(balancer.service());
    Ok((boxed(stack), balancer))
}

/// With a type that has a name.
fn boxed<S, B>(service: S) -> Stack
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let whole = |response: Response<B>| response.map(Body::new);
    BoxCloneSyncService::new(service.map_response(whole).map_err(Into::into))
}

/// The same request, there.
fn at(id: &EndpointId, mut request: Request<Body>) -> Request<Body> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{id}{path}").parse().expect("an address and a path");
    request
}

// ─────────────────────────────────────────────────────────────────────────────────── what happens

async fn play(file: &std::path::Path) -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    let mut runs = Vec::new();
    for (pick, title) in [
        (Pick::WeightedRoundRobin, "by turns"),
        (Pick::LeastLoaded, "the one of two that has less to do"),
        (Pick::PeakEwma, "the one of two that will have cost less time (the default)"),
    ] {
        let run = undisturbed(pick).await?;
        println!("\n{title}\n");
        println!(
            "    {:<8}{:>14}{:>14}{:>14}{:>14}",
            "server", "all are well", "b is dead", "b is back", "all five"
        );
        for (at, name) in NAMES.into_iter().enumerate() {
            let note = if name == SLOWEST { ", slow" } else { "" };
            print!("    {:<8}", format!("{name}{note}"));
            for (from, to) in PARTS {
                print!("{:>13.1}%", 100.0 * run.share(at, from, to));
            }
            println!();
        }
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| run.latency(part).as_secs_f64() * 1e3);
        println!(
            "\n    {} requests, {} failed; p50 {p50:.0} ms, p90 {p90:.0} ms, p99 {p99:.0} ms\n",
            run.answers.len(),
            run.failed
        );
        verdict.claim(run.failed == 0 && run.answers.len() > 1_000, "nobody sees an error");
        verdict.claim(run.share(1, KILLED + BACK / 10, BACK) == 0.0, "the dead one gets nothing");
        verdict.claim(
            run.share(1, CALM, END) > 0.1,
            "and its share again when it is back, without being asked for",
        );
        verdict.claim(run.share(4, CALM, END) > 0.1, "the fifth gets its share");
        runs.push((title, run));
    }
    let slow = |run: &Run| run.share(3, Duration::ZERO, KILLED);
    let late = |run: &Run| run.latency(0.9);
    let [turns, loaded, ewma] = [0, 1, 2].map(|at| &runs[at].1);
    println!();
    verdict.claim((slow(turns) - 0.25).abs() < 0.02, "by turns the slow one gets as much as the others");
    verdict.claim(slow(loaded) < slow(turns) / 2.0, "by what they have to do, less");
    verdict.claim(slow(ewma) < slow(loaded), "by what they cost, least");
    verdict.claim(late(ewma) < late(turns) / 2, "and nine in ten are answered in half of the time");
    sessions(&mut verdict).await?;
    plot::draw(file, &runs)?;
    println!("\nplot: {}", file.display());
    Ok(verdict)
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const SLOWEST: &str = "d";
const PARTS: [(Duration, Duration); 4] =
    [(Duration::ZERO, KILLED), (KILLED, BACK), (BACK, CALM), (CALM, END)];

/// On a machine with too much else to do everybody is slow, whoever was picked. Whether it is, is seen where no server is asked: in when
/// requests are sent. Such a run is no measurement, and is made again.
async fn undisturbed(pick: Pick) -> Result<Run, BoxError> {
    for _ in 0..TRIES {
        let run = traffic(pick).await?;
        let all = run.answers.len() + run.failed;
        // What failed has failed, whoever was busy.
        if run.failed > 0 || run.late * 50 <= all {
            return Ok(run);
        }
        println!("\n    {} of {all} requests were sent late, so this run says nothing: once more", run.late);
    }
    Err("the machine has too much else to do".into())
}

/// One way to pick, in all that happens.
async fn traffic(pick: Pick) -> Result<Run, BoxError> {
    let mut nodes = Vec::new();
    for name in NAMES {
        nodes.push(Node::start(name, if name == SLOWEST { SLOW } else { THINKS }, 0).await?);
    }
    let members =
        |count: usize| nodes[..count].iter().map(|node| Member::new(node.address())).collect::<Vec<_>>();
    let (stack, balancer) = stack(members(4), pick)?;
    let all = members(5);

    let run = Arc::new(Mutex::new(Run::default()));
    let (began, mut ticks) = (Instant::now(), interval(PACE));
    let (mut killed, mut back, mut joined) = (None, None, false);
    let mut calls = tokio::task::JoinSet::new();
    while began.elapsed() < END {
        let late = ticks.tick().await.elapsed() > LATE;
        run.lock().expect("nobody panics with it").late += usize::from(late);
        let now = began.elapsed();
        // In tasks of their own: requests do not wait for what happens.
        if now >= KILLED && killed.is_none() {
            killed = Some(tokio::spawn(nodes.remove(1).kill()));
        }
        if now >= BACK && back.is_none() {
            let port = killed.take().ok_or("it is dead by now")?.await??;
            killed = Some(tokio::spawn(async move { Ok(port) }));
            back = Some(tokio::spawn(Node::start("b", THINKS, port)));
        }
        if now >= JOINS && !joined {
            balancer.set(all.clone());
            joined = true;
        }
        let (stack, run) = (stack.clone(), Arc::clone(&run));
        calls.spawn(async move {
            let answered = name_of(stack, Request::get("/").body(Body::empty()).expect("a request")).await;
            let mut run = run.lock().expect("nobody panics with it");
            match answered {
                Ok(name) => run.answers.push(Answer { at: now, name, took: began.elapsed() - now }),
                Err(_) => run.failed += 1,
            }
        });
    }
    calls.join_all().await;
    Ok(std::mem::take(&mut *run.lock().expect("nobody panics with it")))
}

/// Who answers.
async fn name_of(stack: Stack, request: Request<Body>) -> Result<usize, BoxError> {
    let response = stack.oneshot(request).await?;
    if response.status() != StatusCode::OK {
        return Err(response.status().to_string().into());
    }
    let body = response.into_body().collect_up_to(100).await?;
    NAMES.iter().position(|name| name.as_bytes() == &*body).ok_or_else(|| "nobody has this name".into())
}

/// Two hundred sessions, each of which stays where it is as long as its server does.
async fn sessions(verdict: &mut Verdict) -> Result<(), BoxError> {
    const SESSIONS: usize = 200;
    let mut nodes = Vec::new();
    for name in &NAMES[..4] {
        nodes.push(Node::start(name, Duration::ZERO, 0).await?);
    }
    let members: Vec<_> = nodes.iter().map(|node| Member::new(node.address())).collect();
    let (_, balancer) = stack(members.clone(), Pick::PeakEwma)?;
    let sticky = balancer.service().sticky(StickyHeader::new(HeaderName::from_static("x-session")));
    let sticky = boxed(sticky);
    let places = async || {
        let mut places = Vec::new();
        for session in 0..SESSIONS {
            let request = Request::get("/").header("x-session", format!("session {session}"));
            places.push(name_of(sticky.clone(), request.body(Body::empty())?).await?);
        }
        Ok::<_, BoxError>(places)
    };
    let (first, again) = (places().await?, places().await?);
    let mut without_c = members.clone();
    drop(without_c.remove(2));
    balancer.set(without_c);
    let without = places().await?;
    balancer.set(members);
    let back = places().await?;

    let of_c = first.iter().filter(|place| **place == 2).count();
    let moved = first.iter().zip(&without).filter(|(before, after)| before != after).count();
    println!("\n{SESSIONS} sessions: {of_c} at c, which is taken away: {moved} move\n");
    verdict.claim(first == again, "a session stays where it is");
    verdict.claim(
        (0..4).all(|at| first.iter().filter(|place| **place == at).count() > SESSIONS / 8),
        "each server has some",
    );
    verdict.claim(moved == of_c, "only those move whose server goes");
    verdict.claim(back == first, "and they move back");
    Ok(())
}

// ─────────────────────────────────────────────────────────────────────────────────── what is seen

struct Answer {
    at: Duration,
    /// Whose.
    name: usize,
    took: Duration,
}

#[derive(Default)]
pub(crate) struct Run {
    answers: Vec<Answer>,
    failed: usize,
    /// Requests that were sent late.
    late: usize,
}

impl Run {
    /// How much of what was asked then this one has answered.
    fn share(&self, name: usize, from: Duration, to: Duration) -> f64 {
        let asked = self.answers.iter().filter(|answer| (from..to).contains(&answer.at));
        let (all, own) =
            asked.fold((0, 0), |(all, own), answer| (all + 1, own + i32::from(answer.name == name)));
        f64::from(own) / f64::from(all).max(1.0)
    }

    /// Within which time this part of all was answered, while all four were well.
    fn latency(&self, part: f64) -> Duration {
        let mut all: Vec<_> =
            self.answers.iter().filter(|answer| answer.at < KILLED).map(|answer| answer.took).collect();
        all.sort_unstable();
        all[((all.len() - 1) as f64 * part) as usize]
    }
}
