//! Who does not answer, and when a caller is told.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use stonework::base::Error;
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Resolve, Resolved};
use stonework::testing::{Reaction, ScriptedServer, respond};
use tokio::time::{Instant, pause, resume, timeout};
use tower::service_fn;

use crate::flaws::{Found, block_on, block_on_paused};
use crate::rows::Content;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// When a call has failed, if that is within an hour; on a paused clock.
async fn told(call: impl Future<Output = bool>) -> Option<Duration> {
    let start = Instant::now();
    let ended = timeout(HOUR, call).await;
    assert!(ended != Ok(true), "nobody answers");
    ended.is_ok().then(|| start.elapsed())
}

fn when(told: Option<Duration>) -> String {
    told.map_or("not within an hour".to_owned(), |told| format!("after {told:.1?}"))
}

/// Answers once, and takes a second request without a word. From then on the clock is paused: nothing more comes over the wire.
async fn answers_once<F: Future<Output = bool>>(call: impl Fn(String) -> F) -> Option<Duration> {
    let mut is_first = true;
    let server = ScriptedServer::start(move |_: &_| {
        if std::mem::take(&mut is_first) { respond(200).keep_alive() } else { Reaction::new().hang() }
    })
    .await;
    let uri = server.uri("/").to_string();
    assert!(call(uri.clone()).await, "it is well");
    pause();
    let told = told(call(uri)).await;
    resume();
    told
}

pub(super) fn silent() -> Found {
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("the defaults");
        let told = answers_once(async |uri: String| client.get(uri).send().await.is_ok()).await;
        Found::new(told.is_none(), when(told))
    })
}

pub(super) fn our_silent() -> Found {
    block_on(async {
        let client = Client::new();
        let told = answers_once(async |uri: String| client.get(uri).send().await.is_ok()).await;
        Found::new(told.is_some_and(|told| told <= Duration::from_secs(31)), when(told))
    })
}

const LIMIT: Duration = Duration::from_millis(100);

pub(super) fn lookup() -> Found {
    block_on_paused(async {
        let resolver =
            service_fn(|_: Name| std::future::pending::<io::Result<std::vec::IntoIter<SocketAddr>>>());
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.set_connect_timeout(Some(LIMIT));
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let client: hyper_util::client::legacy::Client<_, Content> = client.build(connector);
        let told = told(async { client.get(Uri::from_static("http://far.test/")).await.is_ok() }).await;
        Found::new(told.is_none(), when(told))
    })
}

/// Knows no name, and does not say so.
struct Silent;

impl Resolve for Silent {
    async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
        std::future::pending().await
    }
}

pub(super) fn our_lookup() -> Found {
    block_on_paused(async {
        let connector = Connector::builder().resolver(Silent).build().expect("valid settings");
        let settings = ClientSettings::new().without_retry().connect_timeout(LIMIT);
        let client = Client::builder().settings(settings).connector(connector).build();
        let client = client.expect("valid settings");
        let told = told(async { client.get("http://far.test/").send().await.is_ok() }).await;
        Found::new(told.is_some_and(|told| told < 2 * LIMIT), when(told))
    })
}
