//! How the assembled client holds back, on sockets.

use std::time::Duration;

use http::Request;
use stonework::base::{Backoff, Delivery, Error, HostPort, Kind, Ratio, Rng};
use stonework::breaker::BreakerSettings;
use stonework::client::{Client, ClientSettings};
use stonework::limit::{
    ConcurrencySettings, KeyedAdaptiveThrottle, Quota, QuotaUsedUp, ServerQuotas, ThrottleSettings, Throttled,
};
use stonework::retry::RetrySettings;
use stonework::testing::{ScriptedServer, SeenRequest, in_order, respond};
use tokio::time::Instant;

/// What is refused at once takes much less.
const LONG: Duration = Duration::from_secs(20);

/// A circuit that opens with the first failure.
fn nervous() -> ClientSettings {
    let breaker = BreakerSettings::new().min_calls(1).failure_rate(Ratio::percent(1));
    ClientSettings::new().deadline(LONG).attempt_timeout(LONG).breaker(breaker)
}

fn quick(settings: ClientSettings) -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).unwrap();
    settings.retry(RetrySettings::new().backoff(backoff))
}

async fn refuses() -> ScriptedServer {
    ScriptedServer::start(|_: &SeenRequest| respond(429).keep_alive()).await
}

/// It says after the first request that there is none left for so many seconds.
async fn says(seconds: u32) -> ScriptedServer {
    ScriptedServer::start(move |_: &SeenRequest| {
        let left = format!(r#""all";r=0;t={seconds}"#);
        respond(200).header("ratelimit", &left).keep_alive()
    })
    .await
}

fn host(server: &ScriptedServer) -> HostPort {
    HostPort::of(&Request::get(server.uri("/")).body(()).unwrap())
}

fn all_closed(client: &Client) -> bool {
    client.breakers().unwrap().states().iter().all(|(_, state)| state.lets_all_through())
}

#[tokio::test]
async fn what_a_host_refuses_is_held_back_by_a_throttle_and_no_circuit_counts_it() {
    let (busy, well) =
        (refuses().await, ScriptedServer::start(|_: &SeenRequest| respond(200).keep_alive()).await);
    let settings = nervous().throttle(ThrottleSettings::new().min_requests(5)).without_retry();
    let client = Client::builder().rng(Rng::seeded(1)).settings(settings).build().unwrap();
    let mut held_back = 0;
    for _ in 0..200 {
        match client.get(busy.uri("/")).send().await {
            Ok(answer) => assert_eq!(answer.status(), 429),
            Err(error) => {
                assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
                assert!(error.cause::<Throttled>().is_some(), "{error:#}");
                held_back += 1;
            }
        }
        assert_eq!(client.get(well.uri("/")).send().await.unwrap().status(), 200);
    }
    assert!((130..190).contains(&held_back), "{held_back}");
    assert_eq!(busy.seen().len(), 200 - held_back);
    assert_eq!(well.seen().len(), 200, "another host");
    assert!(all_closed(&client));
}

#[tokio::test]
async fn each_attempt_counts_for_a_throttle_and_what_is_held_back_is_not_repeated() {
    let server = refuses().await;
    let throttle = KeyedAdaptiveThrottle::new(ThrottleSettings::new().min_requests(3)).unwrap();
    let client = Client::builder().throttle(throttle.clone()).settings(quick(nervous())).build().unwrap();
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.attempts()), (429, 3));
    assert_eq!(throttle.get(&host(&server)).chance(), Ratio::percent(75), "three of four, of three");
    let attempts = loop {
        match client.get(server.uri("/")).send().await {
            Ok(_) => {}
            Err(error) => break (error.attempts(), error.forbids_retry()),
        }
    };
    assert!(attempts.0 <= 3 && attempts.1, "{attempts:?}");
}

#[tokio::test]
async fn a_client_keeps_to_what_a_server_says_of_its_quota_and_no_circuit_counts_it() {
    let (server, other) = (says(60).await, says(60).await);
    let client = nervous().server_quotas().without_queue().without_retry();
    let client = Client::builder().settings(client).build().unwrap();
    client.get(server.uri("/")).send().await.unwrap();
    for _ in 0..5 {
        let error: Error = client.get(server.uri("/")).send().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
        assert_eq!(error.cause::<QuotaUsedUp>().unwrap().policy(), Some("all"));
        assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_secs(30)));
    }
    client.get(other.uri("/")).send().await.unwrap();
    assert_eq!((server.seen().len(), other.seen().len()), (1, 1));
    assert!(all_closed(&client));
}

#[tokio::test]
async fn an_attempt_waits_for_its_turn_under_a_servers_quota_or_the_next_one_comes_when_there_is_more() {
    for (settings, attempts) in [(nervous().queue_timeout(LONG), 1), (nervous().without_queue(), 2)] {
        let server = says(1).await;
        let quotas = ServerQuotas::new();
        let client =
            Client::builder().server_quotas(quotas.clone()).settings(quick(settings)).build().unwrap();
        client.get(server.uri("/")).send().await.unwrap();
        let began = Instant::now();
        let answer = client.get(server.uri("/")).send().await.unwrap();
        assert_eq!(answer.attempts(), attempts);
        assert!(began.elapsed() >= Duration::from_millis(900));
        assert_eq!((server.seen().len(), quotas.len()), (2, 1));
    }
}

#[tokio::test]
async fn what_a_servers_quota_keeps_back_says_nothing_to_a_throttle() {
    let server = says(60).await;
    let throttle = KeyedAdaptiveThrottle::new(ThrottleSettings::new().min_requests(1)).unwrap();
    let settings = nervous().without_queue().without_retry().server_quotas();
    let client = Client::builder().settings(settings).throttle(throttle.clone()).build().unwrap();
    client.get(server.uri("/")).send().await.unwrap();
    for _ in 0..50 {
        let error = client.get(server.uri("/")).send().await.unwrap_err();
        assert!(error.cause::<QuotaUsedUp>().is_some(), "{error:#}");
    }
    assert_eq!(throttle.get(&host(&server)).chance(), Ratio::ZERO);
}

#[tokio::test]
async fn what_a_throttle_keeps_back_takes_nothing_of_a_servers_quota() {
    // Refuses all, and says once that forty more would be counted.
    let says = |number| match number {
        0 => respond(429).header("ratelimit", r#""all";r=40;t=60"#).keep_alive(),
        _ => respond(429).keep_alive(),
    };
    let server = ScriptedServer::start(in_order((0..100).map(says))).await;
    let throttle = ThrottleSettings::new().min_requests(1);
    let settings = nervous().without_queue().without_retry().server_quotas().throttle(throttle);
    let client = Client::builder().rng(Rng::seeded(1)).settings(settings).build().unwrap();
    for _ in 0..100 {
        if let Err(error) = client.get(server.uri("/")).send().await {
            assert!(error.cause::<Throttled>().is_some(), "{error:#}");
        }
    }
    assert!(server.seen().len() < 40, "{}", server.seen().len());
}

#[cfg(feature = "serde")]
#[test]
fn how_a_client_holds_back_can_stand_in_a_file() {
    let read = |text: &str| serde_json::from_str::<ClientSettings>(text).map_err(|error| error.to_string());
    let settings = read(r#"{ "throttle": { "multiplier": 1.5, "window": "1m" }, "server_quotas": true }"#);
    let throttle = ThrottleSettings::new().multiplier(1.5).window(Duration::from_secs(60));
    assert_eq!(settings.clone().unwrap(), ClientSettings::new().server_quotas().throttle(throttle));
    let written = serde_json::to_string(&settings.unwrap()).unwrap();
    assert_eq!(read(&written).unwrap(), ClientSettings::new().server_quotas().throttle(throttle));
    let off = read(r#"{ "throttle": "off", "server_quotas": false }"#);
    assert_eq!(off.unwrap(), ClientSettings::new());
    for (text, named) in [
        (r#"{ "throttle": { "multiplier": 0.5 } }"#, "`multiplier`"),
        (r#"{ "throttle": { "windw": "1m" } }"#, "`windw`"),
        (r#"{ "throttle": "on" }"#, "throttle settings"),
        (r#"{ "server_quotas": "1m" }"#, "boolean"),
    ] {
        let refused = read(text).unwrap_err();
        assert!(refused.contains(named), "{text}: {refused}");
    }
}

#[test]
fn a_throttle_that_cannot_be_is_refused_by_name() {
    let settings = ClientSettings::new().throttle(ThrottleSettings::new().max_rejection(Ratio::percent(100)));
    let refused = Client::builder().settings(settings).build().unwrap_err().to_string();
    assert!(refused.starts_with("`throttle`: `max_rejection`"), "{refused}");
}

#[test]
fn a_client_explains_how_it_holds_back_whatever_the_order_of_the_setters() {
    let settings = ClientSettings::new();
    let none = Client::builder().settings(settings.clone()).build().unwrap().explain();
    assert!(!none.contains("throttle:") && !none.contains("server quotas:"), "{none}");
    let settings = settings.concurrency(ConcurrencySettings::new(9)).rate_limit(Quota::per_minute(5));
    let throttle = || KeyedAdaptiveThrottle::new(ThrottleSettings::new()).unwrap();
    let quotas = ServerQuotas::new;
    let builder = Client::builder;
    let all = builder().settings(settings.clone()).throttle(throttle()).server_quotas(quotas());
    let all = all.build().unwrap().explain();
    let turned = builder().server_quotas(quotas()).throttle(throttle()).settings(settings.clone());
    assert_eq!(turned.build().unwrap().explain(), all);
    let in_settings = settings.server_quotas().throttle(ThrottleSettings::new());
    assert_eq!(builder().settings(in_settings).build().unwrap().explain(), all);
    let lines = "throttle: by host and port; up to 2 times what is taken, of at least 20 in 120s; at most 90% held back\n\
                 server quotas: by host and port; as many as each says, others wait up to 1s\n\
                 breaker: ";
    assert!(all.contains(lines), "{all}");
    let order = ["retry:", "attempt timeout:", "collect:", "throttle:", "breaker:", "concurrency:", "rate"];
    assert!(order.iter().map(|line| all.find(line).expect(line)).is_sorted(), "{all}");
}
