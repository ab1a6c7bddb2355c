//! An API that many want something of: polite clients, greedy ones, and ones that lie about who they are.
//!
//! *The problem:* a server with no limit does the most for whoever asks the most; and one that limits each client has to know who asks, behind
//! a proxy that adds the address of its peer to `X-Forwarded-For`, a header in which clients can write what they like.
//!
//! *What to look at:* [`play`], where the server is built with what each client may ask for in a second and what is in flight at once; then
//! each kind of client. Everything is real but their addresses, which the proxy is told.
//!
//! *What it shows:* what each of them gets, what refusals say, who is never refused, and a client that keeps to a rate by itself.
//!
//!     cargo run --example guarded_api
//!
//! It takes about three seconds, and ends with exit code 0 if every claim held.

mod kit;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use stonework::Body;
use stonework::client::{Client, ClientSettings, Response};
use stonework::health::Health;
use stonework::limit::{ConcurrencyLimiter, ConcurrencySettings, KeyedRateLimiter, Quota, TrustedProxies};
use stonework::server::{Server, ServerHandle, ServerSettings};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::kit::Verdict;

/// Ten at once, and then twenty a second.
const RATE: u32 = 20;
const BURST: u32 = 10;
/// How many requests are served at once.
const AT_ONCE: usize = 8;
const FOR: Duration = Duration::from_secs(2);

type Done<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Done<Verdict> {
    let gate = Arc::new(Notify::new());
    let slow = Arc::clone(&gate);
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(move || async move { slow.notified().await }));

    let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(AT_ONCE))?;
    let rates = KeyedRateLimiter::named("client", Quota::per_second(RATE).burst(BURST))?;
    let settings = ServerSettings::new().trusted_proxies(TrustedProxies::hops(1)?).lame_duck(Duration::ZERO);
    let server = Server::builder()
        .settings(settings)
        .health(Health::builder().build()?)
        .concurrency_limiter(limiter.clone())
        .rate_limiter(rates.clone())
        .bind("127.0.0.1:0")
        .await?;
    println!("{}", server.explain());
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve(app));
    let proxy = Proxy::before(address)?;

    let mut verdict = Verdict::default();
    let began = Instant::now();
    let (polite, greedy, crowd, health) = tokio::join!(
        polite(&proxy, client("192.0.2.1")),
        greedy(&proxy, client("192.0.2.66")),
        crowd(&proxy),
        health(&proxy),
    );
    let most = |took: Duration| f64::from(BURST) + f64::from(RATE) * took.as_secs_f64();

    let (asked, refused, again) = polite?;
    println!(
        "polite: {asked} requests, {refused} of them refused; {again} refused again after waiting as told"
    );
    verdict.claim(refused > 0 && again == 0, "a client that waits as long as it was told is admitted next");

    let (asked, admitted, took) = greedy?;
    println!("greedy: {asked} requests with forged addresses in {took:.1?}, {admitted} admitted");
    verdict.claim(f64::from(admitted) <= most(took), "a client cannot get more by making up addresses");
    verdict.claim(admitted >= BURST, "it gets what every client gets");

    let (asked, admitted, took) = crowd?;
    println!(
        "crowd: {asked} requests from as many addresses of one IPv6 network in {took:.1?}, {admitted} admitted"
    );
    verdict.claim(f64::from(admitted) <= most(took), "an IPv6 network of 64 bits is one client");

    let (asked, well) = health?;
    println!("health: {asked} probes, {well} answered with 200");
    verdict.claim(asked > 0 && asked == well, "probes are never refused");

    println!("\n{} kept clients, {} refusals in {:.1?}", rates.len(), rates.refused(), began.elapsed());
    verdict.claim(rates.len() == 3, "as many clients are kept as there were");

    at_once(&proxy, &limiter, &gate, &mut verdict).await?;

    // The same limit in the client: it does not even ask.
    let calm = Client::builder()
        .settings(ClientSettings::new().rate_limit(Quota::per_second(RATE).burst(1)).without_retry())
        .build()?;
    let began = Instant::now();
    for _ in 0..5 {
        calm.get(format!("http://{address}/livez")).send().await?;
    }
    let took = began.elapsed();
    println!("\na client that limits itself: 5 requests in {took:.0?}");
    verdict.claim(took >= 4 * Duration::from_secs(1) / RATE, "a client can keep to a rate by itself");

    stop(&handle);
    serving.await?;
    Ok(verdict)
}

/// Obeys: waits as long as it is told.
async fn polite(proxy: &Proxy, me: IpAddr) -> Done<(u32, u32, u32)> {
    let (mut asked, mut refused, mut again, mut waited) = (0, 0, 0, false);
    let began = Instant::now();
    while began.elapsed() < FOR {
        let response = proxy.ask(me, "/", None).await?;
        asked += 1;
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            waited = false;
            continue;
        }
        refused += 1;
        again += u32::from(waited);
        waited = true;
        let seconds = response.headers()["retry-after"].to_str()?.parse()?;
        sleep(Duration::from_secs(seconds)).await;
    }
    Ok((asked, refused, again))
}

/// Asks as fast as it can, and claims to be somebody else every time.
async fn greedy(proxy: &Proxy, me: IpAddr) -> Done<(u32, u32, Duration)> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..4_u32 {
        let proxy = proxy.clone();
        tasks.spawn(async move {
            let (mut asked, mut admitted) = (0, 0);
            while began.elapsed() < FOR {
                asked += 1;
                let [a, b] = [asked / 250 % 250, asked % 250];
                let forged = match asked % 4 {
                    0 => format!("203.{task}.{a}.{b}"),
                    1 => vec![format!("203.{task}.{a}.{b}"); 50].join(", "),
                    2 => format!("\"203.{task}.{a}.{b}, for=10.0.0.1"),
                    _ => format!("2001:db8:{task}:{asked:x}::1, unknown, ,"),
                };
                let response = proxy.ask(me, "/", Some(&forged)).await?;
                admitted += u32::from(response.status() == StatusCode::OK);
                // Not so fast that nothing else gets a turn on a small machine.
                sleep(Duration::from_millis(2)).await;
            }
            Done::Ok((asked, admitted))
        });
    }
    let (mut asked, mut admitted) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        let (more, of_them) = task??;
        asked += more;
        admitted += of_them;
    }
    Ok((asked, admitted, began.elapsed()))
}

/// Each from an address of its own, all of one network.
async fn crowd(proxy: &Proxy) -> Done<(u32, u32, Duration)> {
    let began = Instant::now();
    let mut admitted = 0;
    for host in 1..=200_u16 {
        let response = proxy.ask(client(&format!("2001:db8:7:7::{host:x}")), "/", None).await?;
        admitted += u32::from(response.status() == StatusCode::OK);
    }
    Ok((200, admitted, began.elapsed()))
}

async fn health(proxy: &Proxy) -> Done<(u32, u32)> {
    let (began, mut asked, mut well) = (Instant::now(), 0, 0);
    while began.elapsed() < FOR {
        let response = proxy.ask(client("192.0.2.250"), "/livez", None).await?;
        asked += 1;
        well += u32::from(response.status() == StatusCode::OK);
        sleep(Duration::from_millis(20)).await;
    }
    Ok((asked, well))
}

/// A hundred at once, of clients that have asked for nothing else.
async fn at_once(proxy: &Proxy, limiter: &ConcurrencyLimiter, gate: &Notify, verdict: &mut Verdict) -> Done {
    let mut tasks = JoinSet::new();
    for host in 0..100_u8 {
        let proxy = proxy.clone();
        tasks.spawn(async move { proxy.ask(client(&format!("198.51.100.{host}")), "/slow", None).await });
    }
    let mut refused = Vec::new();
    while refused.len() < 100 - AT_ONCE {
        refused.push(tasks.join_next().await.ok_or("they wait")???);
    }
    let in_flight = limiter.in_flight();
    let probe = proxy.ask(client("192.0.2.250"), "/readyz", None).await?.status();
    // Nobody was let in that could still be refused.
    gate.notify_waiters();
    let mut served = 0;
    while let Some(answer) = tasks.join_next().await {
        served += usize::from(answer??.status() == StatusCode::OK);
    }
    let told = |response: &Response| {
        response.status() == StatusCode::SERVICE_UNAVAILABLE && response.headers()["retry-after"] == "1"
    };
    println!("\nat once: 100 requests, {} refused, {served} served, {in_flight} in flight", refused.len());
    verdict.claim(served == AT_ONCE && in_flight == AT_ONCE, "as many are served at once as may be");
    verdict.claim(refused.iter().all(told), "all others are told when to come back");
    verdict.claim(probe == StatusCode::OK, "probes are answered while the server is full");
    Ok(())
}

fn stop(server: &ServerHandle) {
    server.shut_down();
}

fn client(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// What a proxy does: it takes a request of a client, adds the address of its peer to what the client wrote, and passes it on.
#[derive(Clone)]
struct Proxy {
    client: Client,
    to: SocketAddr,
}

impl Proxy {
    fn before(to: SocketAddr) -> Done<Self> {
        // As many as its own clients need: here answers are kept unread, each with its connection.
        let settings = ClientSettings::new().without_retry().without_breaker().max_connections_per_host(1000);
        Ok(Self { client: Client::builder().settings(settings).build()?, to })
    }

    async fn ask(&self, peer: IpAddr, path: &str, written: Option<&str>) -> Done<Response> {
        let list = match written {
            Some(written) => format!("{written}, {peer}"),
            None => peer.to_string(),
        };
        let request = Request::get(format!("http://{}{path}", self.to)).header("x-forwarded-for", list);
        Ok(self.client.send(request.body(Body::empty())?).await?)
    }
}
