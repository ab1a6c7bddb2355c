//! The other process, and what it is asked.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::host::{HELLO, Http, Row};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n";

/// A process that serves one row, and ends with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    control: u16,
    /// What a client over TLS has to trust.
    tls: Option<TlsConnector>,
}

impl Process {
    /// `before`: what starts the program, if it is not started as it is.
    pub(crate) fn start(row: Row, before: &[&str]) -> Self {
        let at = Row::every().position(|known| known == row).expect("a row");
        let program = std::env::current_exe().expect("a path").to_string_lossy().into_owned();
        let at = at.to_string();
        let words = [before, &[&*program, "host", &at]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} is needed: {error}", words[0]));
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("two ports");
        let mut said = said.split_whitespace();
        let [port, control] =
            [(); 2].map(|()| said.next().and_then(|port| port.parse().ok()).expect("a port"));
        Self { child, port, control, tls: said.next().map(trusting) }
    }

    /// Nanoseconds that its only busy thread has had a processor for.
    pub(crate) fn cpu(&self) -> u64 {
        let file = format!("/proc/{}/schedstat", self.child.id());
        let stat = std::fs::read_to_string(file).expect("a kernel that counts");
        stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds")
    }

    /// Bytes of it that are in memory.
    pub(crate) fn resident(&self) -> usize {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(file).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    }

    /// Bytes that it has allocated.
    pub(crate) async fn heap(&self) -> usize {
        let mut control = TcpStream::connect(("127.0.0.1", self.control)).await.expect("a connection");
        let mut said = String::new();
        control.read_to_string(&mut said).await.expect("a number");
        said.parse().expect("a number")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let stream = stream.expect("a connection; `ulimit -n` may be too low");
        stream.set_nodelay(true).expect("an open socket");
        stream
    }

    /// Ends it, and gives what it wrote to standard error.
    pub(crate) fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Some clients of a process, each with one request in flight.
pub(crate) struct Clients {
    each: Vec<Client>,
}

pub(crate) enum Client {
    One(TcpStream),
    OverTls(Box<TlsStream<TcpStream>>),
    /// Several of these may share a connection.
    Two(SendRequest<Empty<Bytes>>),
}

impl Clients {
    /// With so many connections, and over HTTP/2 so many streams on each.
    pub(crate) async fn connect(process: &Process, http: Http, connections: usize, streams: usize) -> Self {
        let mut each = Vec::new();
        for _ in 0..connections {
            let socket = process.connect().await;
            match (http, &process.tls) {
                (_, Some(tls)) => {
                    let name = ServerName::try_from("localhost").expect("a name");
                    let socket = tls.connect(name, socket).await.expect("TLS");
                    each.push(Client::OverTls(Box::new(socket)));
                }
                (Http::One, None) => each.push(Client::One(socket)),
                (Http::Two, None) => {
                    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
                    let (sender, session) = handshake.expect("HTTP/2");
                    tokio::spawn(session);
                    each.extend((0..streams).map(|_| Client::Two(sender.clone())));
                }
            }
        }
        Self { each }
    }

    /// All of them at once, until each has had so many answers.
    pub(crate) async fn ask(&mut self, times: usize) {
        let mut asking = JoinSet::new();
        for mut client in self.each.drain(..) {
            asking.spawn(async move {
                for _ in 0..times {
                    client.ask().await;
                }
                client
            });
        }
        self.each = asking.join_all().await;
    }

    /// One after the other, once.
    pub(crate) async fn ask_in_turn(&mut self) {
        for client in &mut self.each {
            client.ask().await;
        }
    }
}

impl Client {
    async fn ask(&mut self) {
        match self {
            Self::One(socket) => ask(socket).await,
            Self::OverTls(socket) => ask(socket).await,
            Self::Two(sender) => {
                sender.ready().await.expect("an open connection");
                let request = Request::get("http://localhost/").header("accept", "*/*").body(Empty::new());
                let response = sender.send_request(request.expect("a request")).await.expect("an answer");
                let body = response.into_body().collect().await.expect("a body").to_bytes();
                assert_eq!(body, HELLO);
            }
        }
    }
}

async fn ask(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    socket.write_all(GET).await.expect("an open connection");
    let (mut answer, mut read) = ([0; 1024], 0);
    while !answer[..read].ends_with(HELLO.as_bytes()) {
        let more = socket.read(&mut answer[read..]).await.expect("an open connection");
        assert!(more > 0, "an answer");
        read += more;
    }
}

/// A client that trusts this certificate, in base64, and no other.
fn trusting(cert: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(BASE64.decode(cert).expect("base64").into()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
