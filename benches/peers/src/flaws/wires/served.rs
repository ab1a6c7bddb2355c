//! Servers that are to stop, and servers to which many come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use stonework::server::{Server, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::flaws::{Found, block_on};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here.test\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_millis(300);

/// Whose handler says that it was called, and hangs.
fn hangs(called: &Arc<Notify>) -> Router {
    let called = Arc::clone(called);
    Router::new().fallback(async move || {
        called.notify_one();
        std::future::pending::<()>().await;
    })
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A client waits for an answer, and the server is told to stop: when it has, if that is soon.
async fn stopped<T>(
    address: SocketAddr,
    called: &Notify,
    stop: impl FnOnce(),
    serving: JoinHandle<T>,
) -> Option<Duration> {
    let mut client = TcpStream::connect(address).await.expect("it listens");
    client.write_all(REQUEST).await.expect("it is open");
    called.notified().await;
    stop();
    let start = Instant::now();
    timeout(PATIENCE, serving).await.is_ok().then(|| start.elapsed())
}

fn when(stopped: Option<Duration>) -> String {
    stopped.map_or("not within 2 s".to_owned(), |stopped| format!("after {stopped:.0?}"))
}

pub(super) fn drain() -> Found {
    block_on(async {
        let (listener, address) = listen().await;
        let (called, (stop, told)) = (Arc::default(), oneshot::channel::<()>());
        let serving = axum::serve(listener, hangs(&called)).with_graceful_shutdown(async {
            // Dropped, it is told, too.
            let _ = told.await;
        });
        let serving = tokio::spawn(async { serving.await });
        let stopped = stopped(address, &called, || drop(stop), serving).await;
        Found::new(stopped.is_none(), when(stopped))
    })
}

pub(super) fn our_drain() -> Found {
    block_on(async {
        let settings = ServerSettings::new().drain_timeout(LIMIT);
        let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.expect("a free port");
        let (address, handle, called) = (server.local_addr(), server.handle(), Arc::default());
        let serving = tokio::spawn(server.serve(hangs(&called)));
        let stopped = stopped(address, &called, || handle.shut_down(), serving).await;
        Found::new(stopped.is_some_and(|stopped| stopped < 4 * LIMIT), when(stopped))
    })
}

/// Of so many who stay connected, one after the other, how many are answered. The first who has to wait is the last who is asked for.
async fn answered(address: SocketAddr) -> usize {
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(REQUEST).await.expect("it is open");
        let mut first = [0];
        if !matches!(timeout(PATIENCE, client.read(&mut first)).await, Ok(Ok(1))) {
            break;
        }
        clients.push(client);
    }
    clients.len()
}

pub(super) fn crowd() -> Found {
    block_on(async {
        let (listener, address) = listen().await;
        tokio::spawn(async { axum::serve(listener, Router::new()).await });
        let answered = answered(address).await;
        Found::new(answered == 100, answered.to_string())
    })
}

pub(super) fn our_crowd() -> Found {
    block_on(async {
        let settings = ServerSettings::new().max_connections(50);
        let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr();
        tokio::spawn(server.serve(Router::new()));
        let answered = answered(address).await;
        Found::new(answered == 50, answered.to_string())
    })
}
