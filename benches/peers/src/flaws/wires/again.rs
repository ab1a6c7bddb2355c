//! What is sent again: by reqwest's own retries, by reqwest-retry, and by stonework's client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use stonework::base::{Backoff, Error, Outcome};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetrySettings;
use stonework::testing::{ScriptedServer, in_order, respond};
use tokio::net::TcpListener;

use crate::flaws::{Found, block_on};

/// Answers 503, each time.
async fn busy() -> ScriptedServer {
    ScriptedServer::start(|_: &_| respond(503).keep_alive()).await
}

/// Sends again what is answered 503, if it goes to this host.
fn when_busy(host: &'static str) -> reqwest::retry::Builder {
    reqwest::retry::for_host(host).classify_fn(|seen| match seen.status() {
        Some(StatusCode::SERVICE_UNAVAILABLE) => seen.retryable(),
        _ => seen.success(),
    })
}

fn reqwest() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy()
}

pub(super) fn scope() -> Found {
    block_on(async {
        let server = busy().await;
        let client = reqwest().retry(when_busy("other.test")).build().expect("valid settings");
        let sent = client.post(server.uri("/").to_string()).body("one piano").send().await;
        assert!(sent.is_ok_and(|answer| answer.status() == 503), "it is answered");
        let times = server.seen().len();
        Found::new(times == 2, times.to_string())
    })
}

pub(super) fn our_scope() -> Found {
    block_on(async {
        let server = busy().await;
        let sent = Client::new().post(server.uri("/").to_string()).body("one piano").send().await;
        assert!(sent.is_ok_and(|answer| answer.status() == 503), "it is answered");
        let times = server.seen().len();
        Found::new(times == 1, times.to_string())
    })
}

/// Speaks HTTP/2, does not process the first request, and says so.
async fn refuses_the_first() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let has_refused = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let has_refused = Arc::clone(&has_refused);
            tokio::spawn(async move {
                let Ok(mut wire) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut answer))) = wire.accept().await {
                    if has_refused.swap(true, Ordering::Relaxed) {
                        // Whoever asked may be gone.
                        let _ = answer.send_response(Response::new(()), true);
                    } else {
                        answer.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                }
            });
        }
    });
    address
}

fn told(is_answered: bool) -> &'static str {
    if is_answered { "200" } else { "an error" }
}

pub(super) fn refused() -> Found {
    block_on(async {
        let is_answered = async |client: reqwest::ClientBuilder| {
            let client = client.http2_prior_knowledge().build().expect("valid settings");
            let uri = format!("http://{}/", refuses_the_first().await);
            client.post(uri).body("one piano").send().await.is_ok()
        };
        let by_rule = is_answered(reqwest().retry(when_busy("127.0.0.1"))).await;
        let without = is_answered(reqwest()).await;
        Found::new(!by_rule && without, format!("{} (without a rule: {})", told(by_rule), told(without)))
    })
}

/// Only 503 has failed.
fn rule(result: Result<&Response<stonework::Body>, &Error>) -> Outcome {
    match result {
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => Outcome::Failure,
        _ => Outcome::Success,
    }
}

pub(super) fn our_refused() -> Found {
    block_on(async {
        let client = Client::builder().settings(ClientSettings::new().http2_only()).classify(rule).build();
        let client = client.expect("valid settings");
        let uri = format!("http://{}/", refuses_the_first().await);
        let is_answered = client.post(uri).body("one piano").send().await.is_ok();
        Found::new(is_answered, told(is_answered))
    })
}

const PAUSE: Duration = Duration::from_millis(50);

async fn says_why_twice() -> ScriptedServer {
    let why = || respond(503).body(vec![b'.'; 48 * 1024]).keep_alive();
    ScriptedServer::start(in_order([why(), why(), respond(200).keep_alive()])).await
}

pub(super) fn undrained() -> Found {
    block_on(async {
        let server = says_why_twice().await;
        let policy = ExponentialBackoff::builder().retry_bounds(PAUSE, PAUSE).build_with_max_retries(2);
        let client = ClientBuilder::new(reqwest().build().expect("valid settings"));
        let client = client.with(RetryTransientMiddleware::new_with_policy(policy)).build();
        let answer = client.get(server.uri("/").to_string()).send().await;
        assert!(answer.is_ok_and(|answer| answer.status() == 200), "the third is good");
        let connections = server.connections();
        Found::new(connections == 3, connections.to_string())
    })
}

pub(super) fn our_undrained() -> Found {
    block_on(async {
        let server = says_why_twice().await;
        let retry = RetrySettings::new().backoff(Backoff::constant(PAUSE).expect("a valid pause"));
        let client = Client::builder().settings(ClientSettings::new().retry(retry)).build();
        let answer = client.expect("valid settings").get(server.uri("/").to_string()).send().await;
        assert!(answer.is_ok_and(|answer| answer.status() == 200), "the third is good");
        let connections = server.connections();
        Found::new(connections == 1, connections.to_string())
    })
}
