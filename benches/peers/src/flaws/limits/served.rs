//! What is done to a limit on a server, whoever made it: refusals are responses.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use stonework::base::Peer;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};

/// Answers at once.
#[derive(Clone, Copy)]
pub(super) struct Well;

impl Service<Request<()>> for Well {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

/// A server's service: only its answers say that a call was refused.
pub(super) trait Served<B>: Service<Request<()>, Response = Response<B>, Error: Debug> {}

impl<S: Service<Request<()>, Response = Response<B>, Error: Debug>, B> Served<B> for S {}

/// A request as it comes from this peer.
pub(super) fn from(peer: impl Into<IpAddr>) -> Request<()> {
    let peer = SocketAddr::new(peer.into(), 4711);
    let mut request = Request::new(());
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(Peer::from(peer));
    request
}

pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

async fn is_let_in<B>(service: &mut impl Served<B>, request: Request<()>) -> bool {
    let answer = service.ready().await.expect("it does not fail").call(request).await;
    let status = answer.expect("it does not fail").status();
    assert!(matches!(status, StatusCode::OK | StatusCode::TOO_MANY_REQUESTS), "{status}");
    status == StatusCode::OK
}

/// After the quota is used up, a client comes back as soon as it is told to, until it is let in: how often it is refused, and what it
/// is told first.
pub(super) async fn obedient<B>(mut service: impl Served<B>) -> (u32, String) {
    assert!(is_let_in(&mut service, from(PEER)).await);
    let (mut refused, mut told) = (0, None);
    loop {
        let answer = service.ready().await.expect("it does not fail").call(from(PEER)).await;
        let answer = answer.expect("it does not fail");
        if answer.status() == StatusCode::OK {
            return (refused, told.unwrap_or_default());
        }
        refused += 1;
        let field = answer.headers()[RETRY_AFTER].to_str().expect("ASCII");
        told.get_or_insert_with(|| field.to_owned());
        sleep(Duration::from_secs(field.parse().expect("seconds"))).await;
    }
}

/// A peer whose every request says that it comes from somebody else, as a proxy would: how many are let in.
pub(super) async fn forged<B>(mut service: impl Served<B>) -> u32 {
    let mut let_in = 0;
    for client in 0..200 {
        let mut request = from(PEER);
        let field = format!("198.51.100.{client}").parse().expect("ASCII");
        request.headers_mut().insert("x-forwarded-for", field);
        let_in += u32::from(is_let_in(&mut service, request).await);
    }
    let_in
}

/// 200 requests from as many addresses of one network: how many are let in.
pub(super) async fn neighbours<B>(mut service: impl Served<B>) -> u32 {
    let mut let_in = 0;
    for host in 0..200 {
        let peer = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, host);
        let_in += u32::from(is_let_in(&mut service, from(peer)).await);
    }
    let_in
}

/// A client is let in, and then refused, and its service is kept, as for a connection that stays. Whether another one is answered.
pub(super) async fn beside_a_refused_one<B, S: Served<B> + Clone>(service: S) -> bool {
    let (mut one, mut other) = (service.clone(), service);
    assert!(is_let_in(&mut one, from(PEER)).await, "it is the first");
    assert!(!is_let_in(&mut one, from(PEER)).await, "it is the second");
    let another = Ipv4Addr::new(203, 0, 113, 8);
    let answered = timeout(Duration::from_millis(300), is_let_in(&mut other, from(another))).await;
    drop(one);
    assert!(answered != Ok(false), "it is within its rate");
    answered.is_ok()
}

pub(super) fn said(answered: bool) -> &'static str {
    if answered { "yes" } else { "not within 300 ms" }
}

/// One peer, again and again for 1.1 s: how many are let in.
pub(super) async fn eager<B>(mut service: impl Served<B>) -> u32 {
    let (start, mut let_in) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(1_100) {
        let_in += u32::from(is_let_in(&mut service, from(PEER)).await);
        sleep(Duration::from_millis(1)).await;
    }
    let_in
}

/// So many peers, each of which comes once.
pub(super) async fn peers<B>(mut service: impl Served<B>) {
    for peer in 0..PEERS {
        assert!(is_let_in(&mut service, from(Ipv4Addr::from_bits(0x0a00_0000 | peer))).await);
    }
}

pub(super) const PEERS: u32 = 100_000;
