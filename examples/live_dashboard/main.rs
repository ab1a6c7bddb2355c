//! A page that shows what its server is doing, while it does it, and lets those who look at it talk.
//!
//! *The problem:* connections that stay. A stream of events and a WebSocket live as long as a page is open; they have no deadline, break off
//! when a laptop is closed or a server is replaced, and must neither lose what happened meanwhile nor hold up a shutdown.
//!
//! *What to look at:* [`stats`](stats.rs), a stream of numbered events that goes on behind `Last-Event-ID`, and [`chat`](chat.rs), a chat over WebSockets;
//! both listen for the end of the server. The numbers are the server's own: its limit on requests in flight, its connections,
//! and what its metrics say that it has answered. `page.html` needs nothing else from anywhere.
//!
//! *What it shows:* by itself it is its own audience. Two people talk, a stream is read, dropped and gone on with, requests are sent,
//! and the numbers of the page have to be those of the requests; then the server stops, and everybody is told.
//!
//!     cargo run --example live_dashboard
//!     cargo run --example live_dashboard -- --serve [ADDRESS]
//!
//! The first ends within a few seconds, with exit code 0 if every claim held. The second is for a browser, and stops with Ctrl-C.

mod chat;
#[path = "../kit/mod.rs"]
mod kit;
mod stats;

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{any, get};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use stonework::base::ServerPhase;
use stonework::client::Client;
use stonework::limit::ConcurrencyLimiter;
use stonework::observe::Prometheus;
use stonework::server::{Server, ServerBuilder, ServerSettings};
use stonework::sse::{EventSource, ServerEvent};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use self::chat::Chat;
use self::kit::Verdict;
use self::stats::Stats;

/// Nothing in the test takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
const REQUESTS: u64 = 200;
/// More would be refused.
const AT_ONCE: usize = 500;

/// What a user writes: a server, and a router with a page, a stream and a chat.
pub(crate) fn dashboard(metrics: Prometheus) -> (ServerBuilder, Stats, Router) {
    let limiter = ConcurrencyLimiter::new(AT_ONCE).expect("a valid limit");
    let settings = ServerSettings::streaming().metrics().drain_timeout(Duration::from_secs(5));
    let builder = Server::builder().settings(settings).concurrency_limiter(limiter.clone());
    let chat = Chat::default();
    let stats = Stats::new(limiter, metrics, chat.clone());
    let page = || async {
        // It is all of one piece, and asks for nothing from elsewhere.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        let headers = [(CONTENT_SECURITY_POLICY, policy), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        (headers, Html(include_str!("page.html")))
    };
    let router = Router::new()
        .route("/", get(page))
        .route("/favicon.ico", get(|| async { http::StatusCode::NO_CONTENT }))
        .route("/events", get(stats::events).with_state(stats.clone()))
        .route("/chat", any(chat::join).with_state(chat))
        .route("/work", get(|| async { sleep(Duration::from_millis(20)).await }));
    (builder, stats, router)
}

#[tokio::main]
async fn main() -> ExitCode {
    let metrics = Prometheus::install().expect("the only recorder");
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => test(metrics).await,
        Some("--serve") => {
            let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            let (builder, stats, router) = dashboard(metrics);
            let server = match builder.stop_on_signals().bind(address.as_str()).await {
                Ok(server) => server,
                Err(error) => {
                    eprintln!("{error}");
                    return ExitCode::FAILURE;
                }
            };
            println!("http://{}/", server.local_addr());
            stats.watch(server.handle());
            println!("{:?}", server.serve(router).await);
            ExitCode::SUCCESS
        }
        Some(_) => {
            eprintln!("usage: live_dashboard [--serve [ADDRESS]]");
            ExitCode::FAILURE
        }
    }
}

/// What an event of the stream says.
#[derive(Debug)]
struct Tick {
    id: u64,
    answered: u64,
    connections: u64,
    in_flight: u64,
    chatting: u64,
}

impl Tick {
    fn of(event: &ServerEvent) -> Self {
        let json: serde_json::Value = serde_json::from_str(event.data()).expect("JSON");
        let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
        Self {
            id: event.id().parse().expect("a number"),
            answered: number("answered"),
            connections: number("connections"),
            in_flight: number("in_flight"),
            chatting: number("chatting"),
        }
    }
}

type Events = EventSource<Client, stonework::Body>;

/// The first that is as it should be; none, if that takes too long.
async fn until(events: &mut Events, wanted: impl Fn(&Tick) -> bool) -> Option<Tick> {
    let look = async {
        loop {
            let tick = Tick::of(&events.next().await?.ok()?);
            if wanted(&tick) {
                return Some(tick);
            }
        }
    };
    timeout(PATIENCE, look).await.ok()?
}

/// Somebody in the chat.
struct Guest(WebSocketStream<TcpStream>);

impl Guest {
    async fn enter(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (socket, _) = client_async(format!("ws://{address}/chat"), stream).await.expect("a WebSocket");
        Self(socket)
    }

    /// The next thing that this one is told; none at the end.
    async fn hears(&mut self) -> Option<String> {
        match timeout(PATIENCE, self.0.next()).await.ok()?? {
            Ok(Message::Text(text)) => Some(text.to_string()),
            _ => None,
        }
    }

    async fn hears_in_time(&mut self, words: &str) -> bool {
        for _ in 0..10 {
            match self.hears().await {
                Some(said) if said.contains(words) => return true,
                Some(_) => {}
                None => return false,
            }
        }
        false
    }
}

async fn test(metrics: Prometheus) -> ExitCode {
    let (builder, stats, router) = dashboard(metrics);
    let server = builder.bind("127.0.0.1:0").await.expect("a free port");
    let (address, handle) = (server.local_addr(), server.handle());
    stats.watch(handle.clone());
    let report = tokio::spawn(server.serve(router));
    let uri = |path: &str| format!("http://{address}{path}").parse().expect("a valid URI");
    let client = Client::new();

    let page = client.get(uri("/")).send().await.expect("a page");
    let page = page.text().await.expect("text");
    let alone = !page.contains("http://") && !page.contains("https://");

    let mut events = EventSource::new(client.clone(), uri("/events"));
    let (mut alice, mut bob) = (Guest::enter(address).await, Guest::enter(address).await);
    let words = "does <b>anybody</b> hear me?";
    alice.0.send(Message::text(words)).await.expect("she is in the chat");
    let (heard, echoed) = (bob.hears_in_time("anybody").await, alice.hears_in_time("anybody").await);
    let before = until(&mut events, |tick| tick.chatting == 2).await;

    // The stream is in flight, too; what has become a WebSocket is not.
    let ask =
        || async { client.get(uri("/work")).send().await.is_ok_and(|answer| answer.status().is_success()) };
    let answered = join_all((0..REQUESTS).map(|_| ask())).await.into_iter().filter(|good| *good).count();
    let wanted = before.as_ref().map(|before| before.answered + REQUESTS);
    let after = until(&mut events, |tick| Some(tick.answered) >= wanted && tick.in_flight == 1).await;

    // Nobody reads for a while; then another goes on where the first one was.
    let last: u64 = events.last_event_id().parse().expect("a number");
    drop(events);
    sleep(Duration::from_millis(1_500)).await;
    let mut events = EventSource::new(client.clone(), uri("/events")).after(last.to_string());
    let mut missed = Vec::new();
    for _ in 0..5 {
        missed.extend(until(&mut events, |_| true).await.map(|tick| tick.id));
    }

    handle.shut_down();
    let goodbye = alice.hears().await.is_none();
    let report = timeout(PATIENCE, report).await.expect("it stops").expect("no panic");
    println!("before: {before:?}\nafter:  {after:?}\nmissed: {missed:?}\nreport: {report:?}\n");

    let counted = after.is_some_and(|tick| Some(tick.answered) == wanted);
    let gone_on_with = missed == (last + 1..last + 6).collect::<Vec<_>>();
    let whole = handle.phase() == ServerPhase::Stopped && report.aborted == 0;
    let mut verdict = Verdict::default();
    verdict.claim(alone && page.contains("EventSource"), "the page asks for nothing from elsewhere");
    verdict.claim(heard && echoed, "what one says in the chat, both hear");
    verdict.claim(before.is_some(), "the numbers know of both");
    verdict.claim(before.is_some_and(|tick| tick.connections >= 3), "and of their connections");
    verdict.claim(answered as u64 == REQUESTS, "each request was answered");
    verdict.claim(counted, "the numbers say how many were, to the last one");
    verdict.claim(gone_on_with, "a stream that is gone on with has what was missed, each once");
    verdict.claim(goodbye, "who is in the chat is told when the server stops");
    verdict.claim(whole, "nothing was cut off");
    verdict.claim(report.took < Duration::from_secs(4), "and nobody was waited for in vain");
    verdict.end()
}
