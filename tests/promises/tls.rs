//! What the server promises over TLS: in memory, on a paused clock, and once on sockets.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use stonework::Body;
use stonework::base::CloseReason;
use stonework::server::{InvalidTls, Server, ServerSettings, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};
use tower::service_fn;

use crate::connections::{Running, ask, get, handler};
use crate::support::SECOND;

/// A certificate and its key, as PEM.
#[derive(Clone)]
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let cert =
            CertificateParams::new(vec!["example.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn tls(&self) -> ServerTls {
        ServerTls::from_pem(self.cert.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// Of a client that trusts this certificate and no other.
    fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    async fn secure<T>(&self, socket: T, protocols: &[&str]) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        TlsConnector::from(self.client(protocols)).connect(name(), socket).await
    }

    /// What a client says first.
    fn hello(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientConnection::new(self.client(&[]), name()).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    }
}

fn name() -> ServerName<'static> {
    "example.test".try_into().unwrap()
}

fn start(settings: ServerSettings, tls: ServerTls) -> Running {
    Running::run(Server::builder().settings(settings).tls(tls))
}

async fn connect(server: &Running, trusting: &Pair) -> TlsStream<DuplexStream> {
    trusting.secure(server.connect(), &["http/1.1"]).await.unwrap()
}

/// What is left to read; an error, if the server did not say that this is all.
async fn rest(client: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut read = String::new();
    client.read_to_string(&mut read).await.map(|_| read)
}

#[tokio::test(start_paused = true)]
async fn clients_get_the_http_that_they_ask_for_and_http_2_if_they_like_both() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let both = pair.secure(server.connect(), &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(both).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = Request::get("https://example.test/").body(()).unwrap();
    let response = send.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let mut one = connect(&server, &pair).await;
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(ask(&mut one, &get("/"), "hello").await.starts_with("HTTP/1.1 200"));
    let mut unasked = pair.secure(server.connect(), &[]).await.unwrap();
    assert!(ask(&mut unasked, &get("/"), "hello").await.starts_with("HTTP/1.1 200"));

    let other = pair.secure(server.connect(), &["spdy/3"]).await.unwrap_err();
    assert!(other.to_string().contains("NoApplicationProtocol"), "{other}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_in_time_is_closed_and_holds_its_place_until_then() {
    let pair = Pair::new();
    let hello = pair.hello();
    let server = start(ServerSettings::new().max_connections(3), pair.tls());
    let begin = Instant::now();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(&hello[..hello.len() / 2]).await.unwrap();
    let mut unanswered = server.connect();
    unanswered.write_all(&hello).await.unwrap();
    let waiting = server.connect();
    sleep(9 * SECOND).await;
    assert_eq!(server.handle.connections(), 3);
    assert!(server.closed().is_empty());
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(half.read(&mut [0]).await.unwrap(), 0);
    unanswered.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(server.closed(), [CloseReason::Handshake; 3]);
    let mut next = pair.secure(waiting, &[]).await.expect("there is room now");
    ask(&mut next, &get("/"), "hello").await;

    let mut drips = server.connect();
    let begin = Instant::now();
    for byte in &hello {
        if drips.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(SECOND).await;
    }
    assert!(begin.elapsed() <= 11 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(server.closed(), [CloseReason::Handshake; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_head_begins_after_the_handshake() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let late = || async {
        let socket = server.connect();
        sleep(9 * SECOND).await;
        pair.secure(socket, &[]).await.unwrap()
    };
    let mut slow = late().await;
    let begin = Instant::now();
    sleep(9 * SECOND).await;
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let _ = rest(&mut slow).await;
    assert_eq!(begin.elapsed(), 10 * SECOND);
    let mut silent = late().await;
    let begin = Instant::now();
    assert_eq!(rest(&mut silent).await.unwrap(), "");
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(server.closed(), [CloseReason::Head; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_is_told_when_it_is_over_and_a_new_key_is_no_request() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let mut client = connect(&server, &pair).await;
    for pause in [0, 500, 1_500, 74_000] {
        sleep(Duration::from_millis(pause)).await;
        ask(&mut client, &get("/"), "hello").await;
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.flush().await.unwrap();
        sleep(40 * SECOND).await;
        ask(&mut client, &get("/"), "hello").await;
    }
    let begin = Instant::now();
    assert_eq!(rest(&mut client).await.unwrap(), "");
    assert_eq!(begin.elapsed(), 75 * SECOND);
    assert_eq!(server.closed(), [CloseReason::Idle]);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_certificate_is_that_of_new_connections_and_old_ones_go_on() {
    let (old, new) = (Pair::new(), Pair::new());
    let tls = old.tls();
    let server = start(ServerSettings::new(), tls.clone());
    let before = old.client(&[]);
    let secure =
        |config: &Arc<ClientConfig>| TlsConnector::from(Arc::clone(config)).connect(name(), server.connect());
    let mut established = secure(&before).await.unwrap();
    ask(&mut established, &get("/"), "hello").await;
    tls.replace_pem(new.cert.as_bytes(), new.key.as_bytes()).unwrap();

    ask(&mut established, &get("/"), "hello").await;
    let mut later = connect(&server, &new).await;
    ask(&mut later, &get("/"), "hello").await;
    // Nor is a session resumed that the old one vouched for.
    assert!(secure(&before).await.is_err());
}

/// Two files that are removed in the end.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("stonework-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_read_again_from_its_files_and_the_old_one_stays_if_that_fails() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = Files::new();
    let cert = files.write("tls.crt", &old.cert);
    let key = files.write("tls.key", &old.key);
    let tls = ServerTls::from_pem_files(&cert, &key).unwrap();
    let server = start(ServerSettings::new(), tls.clone());
    connect(&server, &old).await;

    files.write("tls.crt", &new.cert);
    assert!(matches!(tls.reload(), Err(InvalidTls::Mismatch)), "one of them is the old one still");
    connect(&server, &old).await;
    std::fs::remove_file(&key).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(&error, InvalidTls::Unreadable { path, .. } if *path == key), "{error}");
    assert!(error.to_string().ends_with("tls.key"), "{error}");
    connect(&server, &old).await;

    files.write("tls.key", &new.key);
    tls.reload().unwrap();
    connect(&server, &new).await;
    assert!(old.secure(server.connect(), &[]).await.is_err());
    assert!(matches!(old.tls().reload(), Err(InvalidTls::NoFiles)));
    assert!(matches!(ServerTls::from_pem_files("/nowhere", &key), Err(InvalidTls::Unreadable { .. })));
}

#[test]
fn what_is_wrong_with_a_certificate_or_a_key_is_named_and_nothing_of_it_shown() {
    let (pair, other) = (Pair::new(), Pair::new());
    let refused = |cert: &str, key: &str| {
        let error = ServerTls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
        let secret = pair.key.lines().nth(1).unwrap();
        let shown = format!("{error} {error:?}");
        // In bytes, too.
        assert!(!shown.contains(secret) && !shown.contains("77, 73"), "{shown}");
        assert!(std::error::Error::source(&error).is_none());
        error
    };
    let Pair { cert, key } = &pair;
    assert!(matches!(refused("", key), InvalidTls::NoCertificate));
    assert!(matches!(refused(key, key), InvalidTls::NoCertificate));
    assert!(matches!(refused(cert, ""), InvalidTls::NoKey));
    assert!(matches!(refused(cert, cert), InvalidTls::NoKey));
    assert!(matches!(refused(cert, &other.key), InvalidTls::Mismatch));
    assert!(matches!(refused(&(other.cert.clone() + cert), key), InvalidTls::Mismatch));
    // As it comes out of many an environment variable.
    assert!(matches!(refused(cert, &key.replace('\n', " ")), InvalidTls::Key));
    assert!(matches!(refused(cert, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), InvalidTls::Key));
    assert!(matches!(refused(cert, &key[..key.len() / 2]), InvalidTls::Key));
    assert!(matches!(refused(cert, &cert.replace("CERTIFICATE", "PRIVATE KEY")), InvalidTls::Key));
    assert!(matches!(refused(&cert.replace('\n', " "), key), InvalidTls::Certificate));
    assert!(matches!(refused(&cert[..cert.len() / 2], key), InvalidTls::Certificate));
    assert!(matches!(refused(&key.replace("PRIVATE KEY", "CERTIFICATE"), key), InvalidTls::Certificate));

    let both = format!("{cert}{}{key}", other.cert);
    let tls = ServerTls::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
    assert!(!format!("{tls:?}").contains("77, 73"));
    assert!(matches!(tls.replace_pem(b"", b""), Err(InvalidTls::NoCertificate)));
}

#[tokio::test(start_paused = true)]
async fn whoever_speaks_no_tls_is_told_so_in_tls_and_closed() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let begin = Instant::now();
    for said in
        [get("/"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![0xff; 2_000], vec![22, 3, 1, 0, 0]]
    {
        let mut client = server.connect();
        client.write_all(&said).await.unwrap();
        let mut read = Vec::new();
        let _ = client.read_to_end(&mut read).await;
        // An alert that is fatal (RFC 8446, section 6).
        assert_eq!((read[0], read[5], read.len()), (21, 2, 7), "{read:?}");
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let mut next = connect(&server, &pair).await;
    ask(&mut next, &get("/"), "hello").await;
    assert_eq!(server.handle.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_arrive_whole_both_ways() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let large: String = ('a'..='z').cycle().take(1024 * 1024).collect();
    let mut one = connect(&server, &pair).await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", large.len());
    let answer = ask(&mut one, (head + &large).as_bytes(), &large).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..100]);

    let two = pair.secure(server.connect(), &["h2"]).await.unwrap();
    let (send, connection) = h2::client::handshake(two).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = Request::post("https://example.test/echo").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from(large.clone()), true).unwrap();
    let mut answer = response.await.unwrap().into_body();
    let mut read = Vec::new();
    while let Some(data) = answer.data().await {
        let data = data.unwrap();
        answer.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    assert!(read == large.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_closed_over_tls_too() {
    // A piece each quarter of a minute fills the 4 kB of its socket in the fifth; the encryption would take sixty more.
    for (path, limit) in [("/large", 30), ("/in-pieces", 30), ("/events", 5 * 15 + 30)] {
        let pair = Pair::new();
        let server = start(ServerSettings::streaming(), pair.tls());
        let mut client = connect(&server, &pair).await;
        client.write_all(&get(path)).await.unwrap();
        sleep((limit - 20) * SECOND).await;
        assert_eq!(server.handle.connections(), 1, "{path}");
        sleep(21 * SECOND).await;
        assert_eq!((server.handle.connections(), server.closed()), (0, vec![CloseReason::Stalled]), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it_over_tls_too() {
    let pair = Pair::new();
    let server = start(ServerSettings::new(), pair.tls());
    let mut client = connect(&server, &pair).await;
    client.write_all(&get("/large")).await.unwrap();
    let mut read = 0;
    while read < 1024 * 1024 {
        sleep(SECOND).await;
        let more = client.read(&mut [0; 16 * 1024]).await.unwrap();
        assert_ne!(more, 0, "closed after {read} bytes: {:?}", server.closed());
        read += more;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_was_begun_says_so_and_waits_for_no_handshake() {
    let pair = Pair::new();
    let server = start(ServerSettings::new().drain_timeout(2_000 * SECOND), pair.tls());
    let mut idle = connect(&server, &pair).await;
    ask(&mut idle, &get("/"), "hello").await;
    let mut resting = connect(&server, &pair).await;
    ask(&mut resting, &get("/"), "hello").await;
    sleep(5 * SECOND).await;
    ask(&mut idle, &get("/"), "hello").await;
    let mut busy = connect(&server, &pair).await;
    busy.write_all(&get("/slow")).await.unwrap();
    sleep(SECOND).await;
    let mut half = server.connect();
    half.write_all(&pair.hello()[..20]).await.unwrap();
    let begins = server.connect();
    sleep(Duration::from_millis(100)).await;

    let begin = Instant::now();
    let report = tokio::spawn(server.stop());
    assert_eq!(rest(&mut idle).await.unwrap(), "");
    assert_eq!(rest(&mut resting).await.unwrap(), "");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // One that has come as the server began to stop is served.
    let mut begins = pair.secure(begins, &[]).await.unwrap();
    let answer = ask(&mut begins, &get("/"), "hello").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(rest(&mut begins).await.unwrap(), "");
    half.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(begin.elapsed() <= SECOND, "{:?}", begin.elapsed());

    let answer = rest(&mut busy).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    let report = report.await.unwrap();
    assert_eq!((report.finished, report.aborted, report.connections_aborted), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_does_not_look_whole() {
    let pair = Pair::new();
    let server = start(ServerSettings::new().drain_timeout(SECOND), pair.tls());
    let mut busy = connect(&server, &pair).await;
    busy.write_all(&get("/slow")).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(server.stop().await.aborted, 1);
    assert_eq!(rest(&mut busy).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn every_listener_speaks_it() {
    let pair = Pair::new();
    let port = Server::builder().tls(pair.tls()).bind("127.0.0.1:0").await.unwrap();
    let addr = port.local_addr();
    tokio::spawn(port.serve(service_fn(handler)));
    let mut client = pair.secure(TcpStream::connect(addr).await.unwrap(), &[]).await.unwrap();
    assert!(ask(&mut client, &get("/"), "hello").await.starts_with("HTTP/1.1 200"));

    let path = std::env::temp_dir().join(format!("stonework-tls-{}.socket", std::process::id()));
    let unix = Server::builder().tls(pair.tls()).bind_unix(&path).unwrap();
    tokio::spawn(unix.serve(service_fn(handler)));
    let mut client = pair.secure(UnixStream::connect(&path).await.unwrap(), &[]).await.unwrap();
    assert!(ask(&mut client, &get("/"), "hello").await.starts_with("HTTP/1.1 200"));
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_is_encrypted_still_and_keeps_its_place() {
    let pair = Pair::new();
    let server = Server::builder().tls(pair.tls()).bind("127.0.0.1:0").await.unwrap();
    let (addr, handle) = (server.local_addr(), server.handle());
    let echo = service_fn(|mut request: Request<Body>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut socket = TokioIo::new(upgrade.await.unwrap());
            let mut said = [0; 4];
            while socket.read_exact(&mut said).await.is_ok() {
                socket.write_all(&said).await.unwrap();
                socket.flush().await.unwrap();
            }
        });
        let response =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
    });
    let serving = tokio::spawn(server.serve(echo));
    let mut client = pair.secure(TcpStream::connect(addr).await.unwrap(), &["http/1.1"]).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    ask(&mut client, request, "\r\n\r\n").await;
    assert_eq!(ask(&mut client, b"ping", "ping").await, "ping");
    assert_eq!(handle.connections(), 1);
    handle.shut_down();
    assert_eq!(ask(&mut client, b"pong", "pong").await, "pong");
    drop(client);
    assert_eq!(serving.await.unwrap().upgraded, 0);
}

#[test]
fn the_provider_of_the_program_is_neither_needed_nor_set() {
    // Here there are two, as where crates do not agree on one, and rustls does not choose between them.
    assert_ne!(ring::default_provider().cipher_suites, Vec::new());
    Pair::new().tls();
    assert!(CryptoProvider::get_default().is_none());
}
