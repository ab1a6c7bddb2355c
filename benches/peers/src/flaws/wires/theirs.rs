//! hyper-util, reqwest, `axum::serve`.

use std::time::Duration;

use axum::Router;
use http::{StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::service_fn;

use super::kit::{self, Host, Slowly};
use crate::flaws::{Found, block_on};
use crate::rows::Content;

async fn without_the_first(http2: bool) -> usize {
    let host = Host::start(Duration::ZERO, 0).await;
    let slowly = Slowly::to(&host);
    let connects = slowly.clone();
    let connector = service_fn(move |_: Uri| {
        let connecting = connects.clone().connect();
        Box::pin(async { connecting.await.map(TokioIo::new) })
    });
    let client: Client<_, Content> = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
    let uri: Uri = host.uri().parse().expect("valid");
    let call = || {
        let asked = client.get(uri.clone());
        async { asked.await.is_ok() }
    };
    kit::without_the_first(&slowly, call).await
}

pub(super) fn dial() -> Found {
    block_on(async {
        let (answered, one) = (without_the_first(true).await, without_the_first(false).await);
        Found::new((answered, one) == (0, 4), format!("{answered} (over HTTP/1.1: {one})"))
    })
}

async fn told_why(http2: bool) -> usize {
    let slowly = Slowly::in_vain();
    let connector = service_fn(move |_: Uri| {
        let connecting = slowly.clone().connect();
        Box::pin(async { connecting.await.map(TokioIo::new) })
    });
    let client: Client<_, Content> = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
    let call = || {
        let asked = client.get(Uri::from_static("http://far.test/"));
        async { asked.await.is_err_and(|error| kit::says_why(&error)) }
    };
    kit::many(5, call).await
}

pub(super) fn why() -> Found {
    block_on(async {
        let (told, one) = (told_why(true).await, told_why(false).await);
        Found::new((told, one) == (1, 5), format!("{told} (over HTTP/1.1: {one})"))
    })
}

pub(super) fn dials() -> Found {
    block_on(async {
        let host = Host::start(Duration::from_millis(50), 0).await;
        // The only setting there is.
        let client: Client<HttpConnector, Full<_>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(8).build_http();
        let (client, uri): (Client<_, Content>, Uri) = (client, host.uri().parse().expect("valid"));
        let call = || {
            let asked = client.get(uri.clone());
            async { asked.await.is_ok() }
        };
        let answered = kit::many(50, call).await;
        let connections = host.connections();
        Found::new(answered == 50 && connections == 50, connections.to_string())
    })
}

pub(super) fn streams() -> Found {
    block_on(async {
        let host = Host::start(Duration::from_millis(100), 0).await;
        let client: Client<_, Content> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let uri: Uri = host.uri().parse().expect("valid");
        let call = || {
            let asked = client.get(uri.clone());
            async { asked.await.is_ok() }
        };
        let (connections, took) = kit::streams(&host, call).await;
        Found::new(connections == 1, format!("{connections}, after {took:.0?}"))
    })
}

pub(super) fn at_once() -> Found {
    block_on(async {
        let host = Host::start(Duration::ZERO, 2).await;
        let retry = reqwest::retry::for_host("127.0.0.1").classify_fn(|seen| match seen.status() {
            Some(StatusCode::SERVICE_UNAVAILABLE) => seen.retryable(),
            _ => seen.success(),
        });
        let client = reqwest::Client::builder().no_proxy().retry(retry).build().expect("valid settings");
        let status = client.get(host.uri()).send().await.map(|answer| answer.status());
        let pauses = host.pauses();
        let is_at_once = pauses.len() == 2 && pauses.iter().all(|pause| *pause < Duration::from_millis(500));
        Found::new(is_at_once, format!("{pauses:.0?}, then {status:?}"))
    })
}

pub(super) fn half_head() -> Found {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async { axum::serve(listener, Router::new()).await });
        let closed = kit::half_a_head(address).await;
        Found::new(
            closed.is_none(),
            closed.map_or("not within 2 s".to_owned(), |after| format!("{after:.0?}")),
        )
    })
}
