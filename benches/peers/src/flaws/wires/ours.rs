//! stonework's, to which the same is done.

use std::time::Duration;

use axum::Router;
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::server::{Server, ServerSettings};

use super::kit::{self, HEAD, Host, Slowly};
use crate::flaws::{Found, block_on};

async fn without_the_first(settings: ClientSettings) -> usize {
    let host = Host::start(Duration::ZERO, 0).await;
    let slowly = Slowly::to(&host);
    let client = over(slowly.clone(), settings);
    kit::without_the_first(&slowly, || get(&client, &host)).await
}

fn over(slowly: Slowly, settings: ClientSettings) -> Client {
    let transport = connect_fn(move |_: Target| slowly.clone().connect());
    let connector = Connector::builder().transport(transport).build().expect("valid settings");
    Client::builder().settings(settings).connector(connector).build().expect("valid settings")
}

pub(super) fn why() -> Found {
    block_on(async {
        let slowly = Slowly::in_vain();
        let client = over(slowly, once().http2_only());
        let call = || {
            let asked = client.get("http://far.test/");
            async { asked.send().await.is_err_and(|error| kit::says_why(&error)) }
        };
        let told = kit::many(5, call).await;
        Found::new(told == 5, told.to_string())
    })
}

fn get(client: &Client, host: &Host) -> impl Future<Output = bool> + Send + use<> {
    let asked = client.get(host.uri());
    async { asked.send().await.is_ok() }
}

/// What is seen is to be what one attempt does.
fn once() -> ClientSettings {
    ClientSettings::new().without_retry()
}

pub(super) fn dial() -> Found {
    block_on(async {
        let (answered, one) = (without_the_first(once().http2_only()).await, without_the_first(once()).await);
        Found::new((answered, one) == (4, 4), answered.to_string())
    })
}

pub(super) fn dials() -> Found {
    block_on(async {
        let host = Host::start(Duration::from_millis(50), 0).await;
        let settings = once().max_connections_per_host(8);
        let client = Client::builder().settings(settings).build().expect("valid settings");
        let answered = kit::many(50, || get(&client, &host)).await;
        let connections = host.connections();
        Found::new(answered == 50 && connections == 8, connections.to_string())
    })
}

pub(super) fn streams() -> Found {
    block_on(async {
        let host = Host::start(Duration::from_millis(100), 0).await;
        let client = Client::builder().settings(once().http2_only()).build().expect("valid settings");
        let (connections, took) = kit::streams(&host, || get(&client, &host)).await;
        Found::new(connections == 4, format!("{connections}, after {took:.0?}"))
    })
}

pub(super) fn at_once() -> Found {
    block_on(async {
        let host = Host::start(Duration::ZERO, 2).await;
        let status = Client::new().get(host.uri()).send().await.map(|answer| answer.status());
        let pauses = host.pauses();
        let waits = pauses.len() == 2 && pauses.iter().all(|pause| *pause >= Duration::from_secs(1));
        Found::new(waits, format!("{pauses:.0?}, then {status:?}"))
    })
}

pub(super) fn half_head() -> Found {
    block_on(async {
        let settings = ServerSettings::new().header_read_timeout(HEAD);
        let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr();
        tokio::spawn(server.serve(Router::new()));
        let closed = kit::half_a_head(address).await;
        let figures = closed.map_or("not within 2 s".to_owned(), |after| format!("after {after:.0?}"));
        Found::new(closed.is_some_and(|after| after < 4 * HEAD), figures)
    })
}
