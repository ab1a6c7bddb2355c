//! Hosts that speak HTTP/2 over sockets, calls to several of them, and stonework's client, to which this is done.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use stonework::client::{Client, ClientSettings, UpstreamSettings};
use stonework::connect::{Connector, Target, connect_fn};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::flaws::{Found, block_on, block_on_paused};

/// Takes so long for an answer, and counts what it is asked.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Host {
    pub(super) async fn start(takes: Duration) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let answer = move || {
            counts.fetch_add(1, Ordering::Relaxed);
            sleep(takes)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(async move || answer().await);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, asked }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address")
}

/// 100 calls, one after the other: how many fail.
pub(super) async fn failed<F: Future<Output = bool>>(call: impl Fn() -> F) -> usize {
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(!call().await);
    }
    failed
}

pub(super) const QUICK: Duration = Duration::from_millis(1);
pub(super) const SLOW: Duration = Duration::from_millis(100);

/// Eight callers, each with fifty calls, one after the other.
pub(super) async fn eight<F>(call: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        // What a call borrows is made before it is spawned.
        let call = call.clone();
        let calls: Vec<_> = (0..50).map(|_| call()).collect();
        callers.spawn(async move {
            for call in calls {
                assert!(call.await, "both hosts are well");
            }
        });
    }
    callers.join_all().await;
}

/// Counts how often it was tried to connect, which fails.
#[derive(Clone, Default)]
pub(super) struct Tried(Arc<AtomicUsize>);

impl Tried {
    pub(super) async fn connect<T>(&self) -> io::Result<T> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other("the cable is cut"))
    }

    pub(super) fn so_often(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// 100 calls, one after the other, with pauses of 10 ms, all of which fail.
pub(super) async fn paced<F: Future<Output = bool>>(call: impl Fn() -> F) {
    for _ in 0..100 {
        assert!(!call().await, "it cannot be connected to");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(super) const MANY: usize = 1_100;

/// As many addresses that differ.
pub(super) fn addresses() -> impl Iterator<Item = String> {
    (0..MANY).map(|at| format!("10.0.{}.{}:80", at / 200, at % 200))
}

const ORIGIN: &str = "http://orders.test";

/// What is seen is to be what one attempt does.
fn over(hosts: impl IntoIterator<Item = String>) -> Client {
    let settings = ClientSettings::new().without_retry().http2_only();
    let settings = settings.upstream(ORIGIN, UpstreamSettings::new().members(hosts));
    Client::builder().settings(settings).build().expect("valid settings")
}

fn get(client: &Client) -> impl Future<Output = bool> + Send + use<> {
    let asked = client.get(ORIGIN);
    async { asked.send().await.is_ok() }
}

pub(super) fn dead() -> Found {
    block_on(async {
        let host = Host::start(QUICK).await;
        let client = over([host.address, nobody().await].map(|host| host.to_string()));
        let failed = failed(|| get(&client)).await;
        Found::new(failed == 0, failed.to_string())
    })
}

pub(super) fn dials() -> Found {
    block_on_paused(async {
        let tried = Tried::default();
        let counts = tried.clone();
        let transport = connect_fn(move |_: Target| {
            let counts = counts.clone();
            async move { counts.connect::<TcpStream>().await }
        });
        let connector = Connector::builder().transport(transport).build().expect("valid settings");
        let settings = ClientSettings::new().without_retry().http2_only();
        let client = Client::builder().settings(settings).connector(connector).build();
        let client = client.expect("valid settings");
        paced(|| get(&client)).await;
        Found::new(tried.so_often() <= 30, tried.so_often().to_string())
    })
}

pub(super) fn load() -> Found {
    block_on(async {
        let (slow, quick) = (Host::start(SLOW).await, Host::start(QUICK).await);
        let client = over([&slow, &quick].map(|host| host.address.to_string()));
        eight(move || get(&client)).await;
        let (got, rest) = (slow.asked(), quick.asked());
        Found::new(got < 100 && got + rest == 400, got.to_string())
    })
}

pub(super) fn many() -> Found {
    block_on(async {
        let client = over(addresses());
        let known = client.upstream(ORIGIN).map(|balancer| balancer.stats().endpoints().len());
        Found::new(known == Some(MANY), known.map_or("no".to_owned(), |known| format!("yes, {known}")))
    })
}
