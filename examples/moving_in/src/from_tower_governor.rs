//! From `tower_governor`: a limit for each client, whose address a proxy tells, on a server that is reached through one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode, header};
use stonework::Body;
use stonework::base::BoxError;
use stonework::limit::{KeyedRateLimiter, Quota, TrustedProxies};
use stonework::reqwest::Transport;
use stonework::server::{Server, ServerSettings};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::SmartIpKeyExtractor;

use crate::kit::Verdict;
use crate::stage::{chapter, scene};

/// Two at once, and then one after so long: less than the second that `Retry-After` can say.
const BURST: u32 = 2;
const EACH: Duration = Duration::from_millis(900);

async fn before(router: Router) -> Result<SocketAddr, BoxError> {
    let config = GovernorConfigBuilder::default()
        .key_extractor(SmartIpKeyExtractor)
        .period(EACH)
        .burst_size(BURST)
        .finish()
        .ok_or("neither is zero")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = router.layer(GovernorLayer::new(config));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(address)
}

async fn after(router: Router) -> Result<SocketAddr, BoxError> {
    let rate = KeyedRateLimiter::named("client", Quota::new(1, EACH).burst(BURST))?;
    let server = Server::builder()
        .settings(ServerSettings::new().trusted_proxies(TrustedProxies::hops(1)?))
        .rate_limiter(rate)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.local_addr();
    tokio::spawn(server.serve(router));
    Ok(address)
}

// ─────────────────────────────────────────────────────────────────────────────────────── the same clients

/// What a proxy passes on: what its client wrote into the field, and then the address of the client.
async fn ask(
    client: &Transport,
    to: SocketAddr,
    written: &str,
) -> Result<(StatusCode, Option<u64>), BoxError> {
    let list = if written.is_empty() { CLIENT.to_owned() } else { format!("{written}, {CLIENT}") };
    let request = Request::get(format!("http://{to}/")).header("x-forwarded-for", list).body(Body::empty())?;
    let response = client.clone().oneshot(request).await?;
    let again = response.headers().get(header::RETRY_AFTER);
    let again = again.map(|seconds| Ok::<_, BoxError>(seconds.to_str()?.parse()?)).transpose()?;
    Ok((response.status(), again))
}

const CLIENT: &str = "192.0.2.1";
/// More than once a millisecond would only be noise.
const AT_LEAST: Duration = Duration::from_millis(1);

/// Comes back as soon as it is told to, from its first refusal on, until it is let in: how often it is refused, and what it was told.
async fn obedient(client: &Transport, to: SocketAddr) -> Result<(u32, Vec<u64>), BoxError> {
    let (began, mut refused, mut told) = (Instant::now(), 0, Vec::new());
    while began.elapsed() < 10 * EACH {
        let (status, again) = ask(client, to, "").await?;
        if status == StatusCode::OK {
            if refused > 0 {
                return Ok((refused, told));
            }
            continue;
        }
        refused += 1;
        let seconds = again.ok_or("a refusal says when to come back")?;
        if !told.contains(&seconds) {
            told.push(seconds);
        }
        sleep(Duration::from_secs(seconds).max(AT_LEAST)).await;
    }
    Err("it is not let in again".into())
}

/// Writes another address into the field each time: how many of fifty requests are answered.
async fn forger(client: &Transport, to: SocketAddr) -> Result<u32, BoxError> {
    let mut answered = 0;
    for number in 1..=50 {
        let (status, _) = ask(client, to, &format!("198.51.100.{number}")).await?;
        answered += u32::from(status == StatusCode::OK);
    }
    Ok(answered)
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("tower_governor → Server::builder().rate_limiter, which is limit::RateLimitLayer");
    let router = || Router::new().route("/", get(|| async { "hello" }));
    let client = Transport::build(reqwest::Client::builder().no_proxy())?;

    scene("a client that obeys `Retry-After`, after its quota is used up");
    let (old, new) = (before(router()).await?, after(router()).await?);
    let (refused, told) = obedient(&client, old).await?;
    println!("    before  refused {refused} times, and told to come back in {told:?} s");
    verdict.claim(refused > 10 && told == [0], "before, it is told to come back at once, and does");
    let (refused, told) = obedient(&client, new).await?;
    println!("    after   refused {refused} times, and told to come back in {told:?} s");
    verdict.claim(refused == 1 && told == [1], "after, it comes back once, and is let in");

    scene("a client that writes addresses of others into `X-Forwarded-For`, behind a proxy");
    let (old, new) = (before(router()).await?, after(router()).await?);
    let (one, began) = (forger(&client, old).await?, Instant::now());
    let two = forger(&client, new).await?;
    println!("    before  {one} of 50 answered\n    after   {two} of 50 answered");
    verdict.claim(one == 50, "before, each is somebody else");
    let most = BURST + began.elapsed().div_duration_f64(EACH) as u32;
    verdict
        .claim((BURST..=most).contains(&two), format!("after, all are one client, who has {most} at most"));
    Ok(())
}
