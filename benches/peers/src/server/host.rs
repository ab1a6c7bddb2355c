//! The rows, and the process that serves one of them: a single thread that does nothing else.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rcgen::{Certificate, CertificateParams, KeyPair};
use stonework::base::{Event, Observer};
use stonework::limit::AdaptiveSettings;
use stonework::server::{Server, ServerBuilder, ServerSettings, ServerTls};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::measure;

/// Longer than a client here is silent, on a busy machine too.
const HEAD: Duration = Duration::from_secs(60);

/// What every row answers.
pub(crate) const HELLO: &str = "hello";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Hyper,
    Auto,
    Axum,
    Ours,
    OursRouter,
    OursWhole,
    HyperTls,
    OursTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) http: Http,
    pub(crate) host: Host,
}

impl Row {
    pub(crate) const ALL: [Self; 12] = {
        let (one, two) = (Http::One, Http::Two);
        [
            Self { http: one, host: Host::Hyper },
            Self { http: one, host: Host::Auto },
            Self { http: one, host: Host::Ours },
            Self { http: one, host: Host::Axum },
            Self { http: one, host: Host::OursRouter },
            Self { http: one, host: Host::OursWhole },
            Self { http: two, host: Host::Hyper },
            Self { http: two, host: Host::Auto },
            Self { http: two, host: Host::Ours },
            Self { http: two, host: Host::Axum },
            Self { http: two, host: Host::OursRouter },
            Self { http: two, host: Host::OursWhole },
        ]
    };

    /// Those of which only the memory is measured.
    pub(crate) const OVER_TLS: [Self; 2] =
        [Self { http: Http::One, host: Host::HyperTls }, Self { http: Http::One, host: Host::OursTls }];

    /// By their numbers.
    pub(crate) fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::OVER_TLS)
    }

    pub(crate) const fn is_over_tls(self) -> bool {
        matches!(self.host, Host::HyperTls | Host::OursTls)
    }

    pub(crate) const fn name(self) -> &'static str {
        match (self.http, self.host) {
            (_, Host::HyperTls) => "hyper http1 over tokio-rustls, service_fn",
            (_, Host::OursTls) => "stonework Server over TLS, service_fn",
            (Http::One, Host::Hyper) => "hyper http1, service_fn",
            (Http::Two, Host::Hyper) => "hyper http2, service_fn",
            (_, Host::Auto) => "hyper-util auto, service_fn",
            (_, Host::Axum) => "axum::serve, Router",
            (_, Host::Ours) => "stonework Server, service_fn",
            (_, Host::OursRouter) => "stonework Server, Router",
            (_, Host::OursWhole) => "stonework Server with more, service_fn",
        }
    }
}

/// Serves until standard input is at its end. Says two ports: this one, and one that tells each who connects how many bytes
/// of memory are in use. Over TLS it says its certificate, too.
pub(crate) fn host(row: Row) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let [listener, control] = [listen().await, listen().await];
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let own = row.is_over_tls().then(Own::new);
        let cert = own.as_ref().map(|own| BASE64.encode(own.cert.der())).unwrap_or_default();
        println!("{} {} {cert}", port(&listener), port(&control));
        std::io::stdout().flush().expect("somebody reads");
        tokio::spawn(tell(control));
        match own {
            Some(own) => serve_over_tls(row, listener, &own).await,
            None => serve(row, listener).await,
        }
    });
}

/// A certificate that this process signs itself, and its key.
struct Own {
    cert: Certificate,
    key: KeyPair,
}

impl Own {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let cert = params.self_signed(&key).expect("a certificate");
        Self { cert, key }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

async fn tell(control: TcpListener) {
    loop {
        let (mut socket, _) = control.accept().await.expect("a connection");
        let live = measure::live().to_string();
        socket.write_all(live.as_bytes()).await.expect("somebody reads");
    }
}

async fn hello<B>(_request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(HELLO)))
}

/// All clients have one address here, so the limit for each address is off; but for that and [`HEAD`], ours is as it is by
/// default.
async fn serve(row: Row, listener: TcpListener) {
    let router = Router::new().route("/", get(|| async { HELLO }));
    let ours = |listener| ours().listen(listener).expect("valid settings");
    match row.host {
        Host::OursWhole => {
            let _ = whole().listen(listener).expect("valid settings").serve(tower::service_fn(hello)).await;
        }
        Host::Hyper | Host::Auto => peers(row, listener).await,
        Host::Axum => axum::serve(listener, router).await.expect("it never fails"),
        Host::Ours => drop(ours(listener).serve(tower::service_fn(hello)).await),
        Host::OursRouter => drop(ours(listener).serve(router).await),
        Host::HyperTls | Host::OursTls => unreachable!("it has a certificate"),
    }
}

fn ours() -> ServerBuilder {
    let settings = ServerSettings::new().without_max_connections_per_address().header_read_timeout(HEAD);
    Server::builder().settings(settings)
}

async fn serve_over_tls(row: Row, listener: TcpListener, own: &Own) {
    if row.host == Host::OursTls {
        let tls = ServerTls::from_pem(own.cert.pem().as_bytes(), own.key.serialize_pem().as_bytes());
        let server = ours().tls(tls.expect("a certificate")).listen(listener).expect("valid settings");
        let _ = server.serve(tower::service_fn(hello)).await;
        return;
    }
    let key = PrivatePkcs8KeyDer::from(own.key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut one = http1::Builder::new();
    one.timer(TokioTimer::new()).header_read_timeout(HEAD);
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        socket.set_nodelay(true).expect("an open socket");
        let (acceptor, one) = (acceptor.clone(), one.clone());
        tokio::spawn(async move {
            let socket = acceptor.accept(socket).await.expect("a client that knows the certificate");
            drop(one.serve_connection(TokioIo::new(socket), service_fn(hello)).await);
        });
    }
}

/// With what a service wants that the server cannot know by itself: a limit on the whole call and on the size of bodies, a limit on what is in
/// flight that finds itself, with its queue, and somebody who listens.
pub(crate) fn whole() -> ServerBuilder {
    let settings = ServerSettings::new()
        .without_max_connections_per_address()
        .header_read_timeout(HEAD)
        .deadline(Duration::from_secs(30))
        .max_request_body(1 << 20)
        .concurrency(AdaptiveSettings::new().into())
        .overload_queue();
    Server::builder().settings(settings).observer(Listens)
}

struct Listens;

impl Observer for Listens {
    fn observe(&self, event: &Event) {
        std::hint::black_box(event);
    }
}

/// With the timers that our server has, as far as they have any.
async fn peers(row: Row, listener: TcpListener) {
    const PING: Duration = Duration::from_secs(30);
    const PONG: Duration = Duration::from_secs(20);
    let (mut one, mut two) = (http1::Builder::new(), http2::Builder::new(TokioExecutor::new()));
    one.timer(TokioTimer::new()).header_read_timeout(HEAD);
    two.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG);
    let mut auto = auto::Builder::new(TokioExecutor::new());
    auto.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    auto.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG);
    loop {
        let (socket, _): (TcpStream, _) = listener.accept().await.expect("a connection");
        socket.set_nodelay(true).expect("an open socket");
        let socket = TokioIo::new(socket);
        // One that ends with an error was closed by the one who measures.
        match (row.host, row.http) {
            (Host::Auto, _) => {
                let auto = auto.clone();
                tokio::spawn(async move { drop(auto.serve_connection(socket, service_fn(hello)).await) });
            }
            (_, Http::One) => {
                let session = one.serve_connection(socket, service_fn(hello));
                tokio::spawn(async { drop(session.await) });
            }
            (_, Http::Two) => {
                let session = two.serve_connection(socket, service_fn(hello));
                tokio::spawn(async { drop(session.await) });
            }
        }
    }
}
