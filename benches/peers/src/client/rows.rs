//! The rows: clients, and one of their tasks, which asks for the same over and over.

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use stonework::Body;
use stonework::client::ClientSettings;
use stonework::observe::Propagation;
use stonework::timeout::BodyLimits;
use tokio::net::TcpStream;

use crate::server::{HELLO, Http};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Hyper,
    HyperUtil,
    Reqwest,
    /// With every layer switched off.
    Bare,
    Ours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) http: Http,
    pub(crate) peer: Peer,
}

impl Row {
    pub(crate) const ALL: [Self; 10] = {
        let (one, two) = (Http::One, Http::Two);
        [
            Self { http: one, peer: Peer::Hyper },
            Self { http: one, peer: Peer::HyperUtil },
            Self { http: one, peer: Peer::Reqwest },
            Self { http: one, peer: Peer::Bare },
            Self { http: one, peer: Peer::Ours },
            Self { http: two, peer: Peer::Hyper },
            Self { http: two, peer: Peer::HyperUtil },
            Self { http: two, peer: Peer::Reqwest },
            Self { http: two, peer: Peer::Bare },
            Self { http: two, peer: Peer::Ours },
        ]
    };

    pub(crate) fn at(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).expect("a row")
    }

    pub(crate) const fn name(self) -> &'static str {
        match (self.http, self.peer) {
            (Http::One, Peer::Hyper) => "hyper, a connection for each task",
            (Http::Two, Peer::Hyper) => "hyper, one connection",
            (_, Peer::HyperUtil) => "hyper-util, legacy",
            (_, Peer::Reqwest) => "reqwest",
            (_, Peer::Bare) => "stonework, all layers off",
            (_, Peer::Ours) => "stonework",
        }
    }
}

/// One of many tasks, with one request in flight.
pub(crate) trait Task: Send + 'static {
    /// One request, to the end of its answer.
    fn ask(&mut self) -> impl Future<Output = ()> + Send;
}

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

fn uri(port: u16) -> Uri {
    format!("http://127.0.0.1:{port}/").parse().expect("a URI")
}

fn get<B>(uri: &Uri, body: B) -> Request<B> {
    let mut request = Request::new(body);
    request.uri_mut().clone_from(uri);
    request.headers_mut().insert(ACCEPT, ANYTHING);
    request
}

async fn read(answer: http::Response<Incoming>) {
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, HELLO);
}

async fn connect(port: u16) -> TokioIo<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    TokioIo::new(stream)
}

/// A connection of its own.
pub(crate) struct HyperOne {
    sender: http1::SendRequest<Empty<Bytes>>,
    uri: Uri,
    host: HeaderValue,
}

impl HyperOne {
    pub(crate) async fn new(port: u16) -> Self {
        let (sender, session) = http1::handshake(connect(port).await).await.expect("HTTP/1.1");
        tokio::spawn(session);
        let host = HeaderValue::try_from(format!("127.0.0.1:{port}")).expect("a value");
        Self { sender, uri: Uri::from_static("/"), host }
    }
}

impl Task for HyperOne {
    async fn ask(&mut self) {
        self.sender.ready().await.expect("an open connection");
        let mut request = get(&self.uri, Empty::new());
        request.headers_mut().insert(HOST, self.host.clone());
        read(self.sender.send_request(request).await.expect("an answer")).await;
    }
}

/// Clones share a connection.
#[derive(Clone)]
pub(crate) struct HyperTwo {
    sender: http2::SendRequest<Empty<Bytes>>,
    uri: Uri,
}

impl HyperTwo {
    pub(crate) async fn new(port: u16) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), connect(port).await);
        let (sender, session) = handshake.await.expect("HTTP/2");
        tokio::spawn(session);
        Self { sender, uri: uri(port) }
    }
}

impl Task for HyperTwo {
    async fn ask(&mut self) {
        self.sender.ready().await.expect("an open connection");
        let request = get(&self.uri, Empty::new());
        read(self.sender.send_request(request).await.expect("an answer")).await;
    }
}

#[derive(Clone)]
pub(crate) struct HyperUtil {
    client: hyper_util::client::legacy::Client<HttpConnector, Empty<Bytes>>,
    uri: Uri,
}

impl HyperUtil {
    pub(crate) fn new(http: Http, port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Self { client: client.http2_only(http == Http::Two).build(connector), uri: uri(port) }
    }
}

impl Task for HyperUtil {
    async fn ask(&mut self) {
        let request = get(&self.uri, Empty::new());
        read(self.client.request(request).await.expect("an answer")).await;
    }
}

#[derive(Clone)]
pub(crate) struct Reqwest {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Reqwest {
    pub(crate) fn new(http: Http, port: u16) -> Self {
        // What the environment says of proxies is no matter here. The header `accept` is one that it sends by itself.
        let client = reqwest::Client::builder().no_proxy();
        let client = if http == Http::Two { client.http2_prior_knowledge() } else { client };
        let url = uri(port).to_string().parse().expect("a URL");
        Self { client: client.build().expect("a client"), url }
    }
}

impl Task for Reqwest {
    async fn ask(&mut self) {
        let answer = self.client.get(self.url.clone()).send().await.expect("an answer");
        assert_eq!(answer.bytes().await.expect("a body"), HELLO);
    }
}

#[derive(Clone)]
pub(crate) struct Stonework {
    client: stonework::client::Client,
    uri: Uri,
}

impl Stonework {
    /// `bare`: without any layer above the transport, which is as it comes.
    pub(crate) fn new(http: Http, port: u16, bare: bool) -> Self {
        let mut settings = ClientSettings::new();
        if bare {
            settings = settings
                .body(BodyLimits::none())
                .without_attempt_timeout()
                .without_breaker()
                .without_deadline()
                .without_deadline_header()
                .without_redirects()
                .propagation(Propagation::Off)
                .without_retry();
        }
        if http == Http::Two {
            settings = settings.http2_only();
        }
        let client = stonework::client::Client::builder().settings(settings).build();
        Self { client: client.expect("valid settings"), uri: uri(port) }
    }
}

impl Task for Stonework {
    async fn ask(&mut self) {
        let answer = self.client.send(get(&self.uri, Body::empty())).await.expect("an answer");
        assert_eq!(answer.bytes().await.expect("a body"), HELLO);
    }
}
