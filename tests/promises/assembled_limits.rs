//! The limits of the assembled server and client, on sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use http::{Request, StatusCode};
use stonework::Body;
use stonework::base::{ClientAddress, Delivery, Error, Kind, Network, Priority, RateLimited};
use stonework::breaker::BreakerSettings;
use stonework::client::{Client, ClientSettings, Response};
use stonework::health::Health;
use stonework::limit::{
    AdaptiveSettings, ConcurrencyLimiter, ConcurrencySettings, KeyedConcurrencyLimiter, KeyedRateLimiter,
    Overloaded, Quota, TrustedProxies,
};
use stonework::server::{Server, ServerBuilder, ServerSettings};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::soon;

/// What is refused at once takes much less, what waits much more.
const LONG: Duration = Duration::from_secs(20);

struct Running {
    addr: SocketAddr,
    gate: Arc<Notify>,
    _stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    /// It answers `/` with the client's address, and `/slow` when the gate is opened.
    async fn start(builder: ServerBuilder) -> Self {
        let gate = Arc::new(Notify::new());
        let slow = Arc::clone(&gate);
        let router = Router::new()
            .route("/", get(|Extension(client): Extension<ClientAddress>| async move { client.to_string() }))
            .route("/slow", get(move || async move { slow.notified().await }));
        let health = Health::builder().build().unwrap();
        let server = builder.health(health).bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = async move {
            server.serve_until(router, stopped).await;
        };
        Self { addr, gate, _stop: stop, serving: tokio::spawn(serving) }
    }

    async fn ask(&self, path: &str, forwarded: &str) -> Response {
        let request = Request::get(self.uri(path)).header("x-forwarded-for", forwarded);
        soon(plain().send(request.body(Body::empty()).unwrap())).await.unwrap()
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

/// A client that does nothing by itself; each is a connection of its own.
fn plain() -> Client {
    let settings = ClientSettings::new().without_retry().without_breaker().without_idle_connections();
    Client::builder().settings(settings).build().unwrap()
}

fn behind_one_proxy() -> ServerSettings {
    ServerSettings::new().trusted_proxies(TrustedProxies::hops(1).unwrap()).lame_duck(Duration::ZERO)
}

// ───────────────────────────────────────────────────────────────────────────── a server

#[tokio::test]
async fn each_client_of_a_server_has_its_quota_whatever_the_connection_and_whatever_it_claims() {
    let settings = behind_one_proxy().rate_limit(Quota::per_minute(1).burst(2));
    let server = Running::start(Server::builder().settings(settings)).await;
    let first = server.ask("/", "192.0.2.1").await;
    assert_eq!(first.headers()["ratelimit"], r#""client";r=1;t=60"#);
    assert_eq!(first.text().await.unwrap(), "192.0.2.1");
    assert_eq!(server.ask("/", "203.0.113.1, 192.0.2.1").await.status(), 200);
    let refused = server.ask("/", "203.0.113.2, 192.0.2.1").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(server.ask("/", "192.0.2.2").await.status(), 200, "another client");
    assert_eq!(server.ask("/livez", "192.0.2.1").await.status(), 200, "probes are never refused");
}

#[tokio::test]
async fn nobody_is_believed_about_addresses_unless_a_server_is_told_so() {
    let settings = ServerSettings::new().rate_limit(Quota::per_minute(1));
    let server = Running::start(Server::builder().settings(settings)).await;
    let answer = server.ask("/", "192.0.2.1").await;
    assert_eq!(answer.text().await.unwrap(), "127.0.0.1");
    assert_eq!(server.ask("/", "192.0.2.2").await.status(), 429);
}

#[tokio::test]
async fn a_full_server_refuses_at_once_answers_probes_and_serves_again_when_there_is_room() {
    let limiter = ConcurrencyLimiter::new(1).unwrap();
    let rates = KeyedRateLimiter::<Network>::new(Quota::per_hour(100)).unwrap();
    let settings = behind_one_proxy();
    let builder = Server::builder().settings(settings);
    let server =
        Running::start(builder.concurrency_limiter(limiter.clone()).rate_limiter(rates.clone())).await;
    let slow = tokio::spawn(plain().get(server.uri("/slow")).send());
    soon(async {
        while limiter.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = server.ask("/", "192.0.2.1").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(limiter.refused(), 1);
    assert_eq!(server.ask("/readyz", "192.0.2.1").await.status(), 200);

    server.gate.notify_one();
    assert_eq!(soon(slow).await.unwrap().unwrap().status(), 200);
    soon(async {
        while limiter.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let served = server.ask("/", "192.0.2.1").await;
    // Who was refused because the server was full has spent nothing of its quota.
    assert_eq!(served.headers()["ratelimit"], r#""default";r=99;t=36"#);
    limiter.set_limit(0);
    assert_eq!(server.ask("/", "192.0.2.1").await.status(), 503, "changed while it runs");
}

#[tokio::test]
async fn where_it_is_told_to_a_server_lets_requests_wait_in_the_order_of_arrival() {
    let settings =
        ServerSettings::new().concurrency(ConcurrencySettings::new(1).queue(1)).queue_timeout(LONG);
    let server = Running::start(Server::builder().settings(settings)).await;
    let ask = || tokio::spawn(plain().get(server.uri("/slow")).send());
    let mut asked = [ask(), ask(), ask()];
    // One is served, one waits, and one is refused; nobody knows which came first.
    let refused = soon(async {
        loop {
            if let Some(refused) = asked.iter_mut().position(|asked| asked.is_finished()) {
                return refused;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut served = 0;
    for (at, asked) in asked.into_iter().enumerate() {
        if at == refused {
            assert_eq!(asked.await.unwrap().unwrap().status(), 503);
            continue;
        }
        server.gate.notify_one();
        served += u32::from(soon(asked).await.unwrap().unwrap().status() == 200);
    }
    assert_eq!(served, 2);
}

#[tokio::test]
async fn a_server_whose_limit_finds_itself_explains_it_and_refuses_what_matters_less_first() {
    let settings = ServerSettings::new().overload_queue();
    let builder = Server::builder().settings(settings).priority(|request| match request.uri().query() {
        Some("batch") => Priority::Batch,
        Some("health") => Priority::Health,
        _ => Priority::Interactive,
    });
    let limit = ConcurrencySettings::adaptive(AdaptiveSettings::new().initial(1).max(1)).queue(1);
    let limiter = ConcurrencyLimiter::new(limit).unwrap();
    let server = Running::start(builder.concurrency_limiter(limiter.clone())).await;
    let ask = |path: &'static str| {
        let uri = server.uri(path);
        tokio::spawn(async move { plain().get(uri).send().await.unwrap().status().as_u16() })
    };
    let first = ask("/slow");
    soon(async {
        while limiter.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It need not wait for room.
    assert_eq!(soon(ask("/?health")).await.unwrap(), 200);
    let batch = ask("/?batch");
    assert_eq!(soon(batch).await.unwrap(), 503, "nobody waits for long");
    server.gate.notify_one();
    assert_eq!(soon(first).await.unwrap(), 200);
    assert_eq!(soon(ask("/?batch")).await.unwrap(), 200);
}

#[tokio::test]
async fn servers_that_are_given_the_same_limiters_share_their_limits() {
    let rates = KeyedRateLimiter::<Network>::new(Quota::per_hour(1)).unwrap();
    let builder = || Server::builder().settings(behind_one_proxy()).rate_limiter(rates.clone());
    let (one, other) = (Running::start(builder()).await, Running::start(builder()).await);
    assert_eq!(one.ask("/", "192.0.2.1").await.status(), 200);
    assert_eq!(other.ask("/", "192.0.2.1").await.status(), 429);
    rates.set_quota(Quota::per_hour(2)).unwrap();
    assert_eq!(other.ask("/", "192.0.2.1").await.status(), 200, "one of two is spent");
}

#[tokio::test]
async fn a_server_explains_what_a_request_meets_whatever_the_order_of_its_setters() {
    let settings = behind_one_proxy().rate_limit(Quota::per_second(50)).queue_timeout(LONG);
    let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(10).queue(5)).unwrap();
    let health = || Health::builder().build().unwrap();
    let there =
        Server::builder().settings(settings.clone()).concurrency_limiter(limiter.clone()).health(health());
    let back = Server::builder().health(health()).concurrency_limiter(limiter).settings(settings);
    let there = there.bind("127.0.0.1:0").await.unwrap().explain();
    assert_eq!(there, back.bind("127.0.0.1:0").await.unwrap().explain());
    let order =
        ["connections:", "tls: off", "health:", "client address:", "rate limit:", "concurrency:", "service"];
    let places: Vec<_> = order.iter().map(|line| there.find(line).expect(line)).collect();
    assert!(places.is_sorted(), "{there}");
    for line in [
        "client address: 1 hop of X-Forwarded-For\n",
        "concurrency: 10 at once, 5 more wait up to 20s\n",
        "rate limit: 50 in 1s for each client\n",
    ] {
        assert!(there.contains(line), "{there}");
    }
    let adaptive = ServerSettings::new().concurrency(AdaptiveSettings::new().into()).overload_queue();
    let adaptive = Server::builder().settings(adaptive).bind("127.0.0.1:0").await.unwrap().explain();
    let line =
        "concurrency: 20 at once just now, as latency allows; more wait in a queue that never gets old\n";
    assert!(adaptive.contains(line), "{adaptive}");
    let none = Server::builder().settings(ServerSettings::new().without_concurrency());
    let none = none.bind("127.0.0.1:0").await.unwrap().explain();
    for line in ["client address: the peer\n", "concurrency: off\n", "rate limit: off\n"] {
        assert!(none.contains(line), "{none}");
    }
}

#[tokio::test]
async fn a_server_explains_how_old_a_connection_gets_and_what_it_has_then_to_finish() {
    let aged = ServerSettings::new().max_age(LONG);
    for (settings, ending) in [
        (aged.clone(), ", each for about 20s\n"),
        (aged.age_grace(LONG), ", each for about 20s, and 20s to finish\n"),
        (ServerSettings::new().age_grace(LONG).without_max_age(), ", of any age\n"),
    ] {
        let told = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap().explain();
        let first = told.split_inclusive('\n').next().unwrap_or_default();
        assert!(first.starts_with("connections: ") && first.ends_with(ending), "{told}");
    }
}

#[test]
fn limits_stand_in_a_file_and_what_cannot_be_is_refused_by_name() {
    let server = |text: &str| serde_json::from_str::<ServerSettings>(text).map_err(|error| error.to_string());
    let read = server(
        r#"{ "concurrency": { "limit": 100, "queue": 10 }, "queue_timeout": "250ms", "trusted_proxies": { "hops": 2 },
             "rate_limit": { "amount": 50, "per": "1s", "burst": 10 } }"#,
    );
    let settings = ServerSettings::new()
        .concurrency(ConcurrencySettings::new(100).queue(10))
        .queue_timeout(Duration::from_millis(250))
        .trusted_proxies(TrustedProxies::hops(2).unwrap())
        .rate_limit(Quota::per_second(50).burst(10));
    assert_eq!(read.unwrap(), settings);
    let client = |text: &str| serde_json::from_str::<ClientSettings>(text).map_err(|error| error.to_string());
    let read = client(r#"{ "concurrency": { "limit": 9 }, "rate_limit": { "amount": 5, "per": "1m" } }"#);
    let settings =
        ClientSettings::new().concurrency(ConcurrencySettings::new(9)).rate_limit(Quota::per_minute(5));
    assert_eq!(read.unwrap(), settings);
    assert_eq!(client(r#"{ "queue_timeout": "off" }"#).unwrap(), ClientSettings::new().without_queue());
    for (text, named) in [
        (r#"{ "concurrency": { "limit": 0 } }"#, "`limit`"),
        (r#"{ "concurrency": { "limit": 1, "cue": 1 } }"#, "`cue`"),
        (r#"{ "rate_limit": { "amount": 0, "per": "1s" } }"#, "`amount`"),
        (r#"{ "rate_limit": { "amount": 1, "per": "0s" } }"#, "`per`"),
        (r#"{ "rate_limit": { "amount": 1, "per": "1s", "burst": 2, "strict": true } }"#, "`burst`"),
        (r#"{ "queue_timeout": "0s" }"#, "`queue_timeout`"),
    ] {
        for refused in [server(text).unwrap_err(), client(text).unwrap_err()] {
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
    let read = server(r#"{ "concurrency": { "limit": "adaptive" }, "overload_queue": true }"#);
    let settings = ServerSettings::new().concurrency(AdaptiveSettings::new().into()).overload_queue();
    assert_eq!(read.unwrap(), settings);
    let refused = server(r#"{ "overload_queue": true, "queue_timeout": "1s" }"#).unwrap_err();
    assert!(refused.contains("`queue_timeout` and `overload_queue`"), "{refused}");
    let refused = server(r#"{ "concurrency": "off", "overload_queue": true }"#).unwrap_err();
    assert!(refused.contains("`overload_queue`") && refused.contains("`concurrency`"), "{refused}");
    let refused = server(r#"{ "concurrency": "off", "queue_timeout": "1s" }"#).unwrap_err();
    assert!(refused.contains("`queue_timeout`") && refused.contains("`concurrency`"), "{refused}");
}

// ───────────────────────────────────────────────────────────────────────────── a client

fn calm(settings: ClientSettings) -> Client {
    Client::builder().settings(settings.without_retry()).build().unwrap()
}

#[tokio::test]
async fn a_client_keeps_to_the_rate_of_each_host_by_itself() {
    let [one, other] = [Running::start(Server::builder()).await, Running::start(Server::builder()).await];
    let client = calm(ClientSettings::new().rate_limit(Quota::per_second(10).burst(1)));
    let began = Instant::now();
    for _ in 0..4 {
        client.get(one.uri("/")).send().await.unwrap();
        client.get(other.uri("/")).send().await.unwrap();
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < 10 * Duration::from_millis(300), "one host does not wait for another: {took:?}");
}

#[tokio::test]
async fn where_nothing_may_wait_a_client_is_refused_by_itself_and_no_circuit_counts_it() {
    let server = Running::start(Server::builder()).await;
    let settings = ClientSettings::new()
        .rate_limit(Quota::per_hour(1))
        .without_queue()
        .breaker(BreakerSettings::new().min_calls(1));
    let client = calm(settings);
    client.get(server.uri("/")).send().await.unwrap();
    for _ in 0..5 {
        let error: Error = client.get(server.uri("/")).send().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
        assert_eq!(error.cause::<RateLimited>().unwrap().policy(), "host");
        assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_secs(3_000)));
    }
    assert!(client.breakers().unwrap().states().iter().all(|(_, state)| state.lets_all_through()));
}

#[tokio::test]
async fn clients_that_are_given_one_limiter_have_so_many_in_flight_to_each_host_together() {
    let [one, other] = [Running::start(Server::builder()).await, Running::start(Server::builder()).await];
    let limiter = KeyedConcurrencyLimiter::new(1).unwrap();
    let client = || {
        let builder = Client::builder().concurrency_limiter(limiter.clone());
        builder.settings(ClientSettings::new().without_retry().without_queue()).build().unwrap()
    };
    let first = client();
    let slow = tokio::spawn(first.get(one.uri("/slow")).send());
    soon(async {
        while limiter.in_flight().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = client().get(one.uri("/")).send().await.unwrap_err();
    assert!(refused.is_overload() && refused.cause::<Overloaded>().is_some());
    client().get(other.uri("/")).send().await.unwrap();

    // The limit is free again when the body has ended, or was dropped.
    one.gate.notify_one();
    let answer = soon(slow).await.unwrap().unwrap();
    drop(answer);
    client().get(one.uri("/")).send().await.unwrap();
    assert!(limiter.in_flight().is_empty());
}

#[test]
fn a_client_explains_its_limits() {
    let settings = ClientSettings::new();
    let none = Client::builder().settings(settings.clone()).build().unwrap().explain();
    assert!(!none.contains("concurrency:") && !none.contains("rate limit:"), "{none}");
    let settings = settings.concurrency(ConcurrencySettings::new(9)).rate_limit(Quota::per_minute(5));
    let all = Client::builder().settings(settings).build().unwrap().explain();
    let order = ["breaker:", "concurrency:", "rate limit:", "response body:", "transport:"];
    assert!(order.iter().map(|line| all.find(line).expect(line)).is_sorted(), "{all}");
    assert!(all.contains("concurrency: by host and port; 9 at once, others wait up to 1s\n"), "{all}");
    assert!(all.contains("rate limit: by host and port; 5 in 60s, others wait up to 1s\n"), "{all}");
}
