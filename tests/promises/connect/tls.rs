//! Over TLS, in memory: whom one trusts, as whom one appears, which HTTP it becomes.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use stonework::base::{Phase, Rng};
use stonework::connect::{
    Alpn, ClientTls, ConnectError, Connector, InvalidTls, Offer, Progress, Proxy, Target, connect_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::kit::{Pipes, dial, why};

/// Whoever vouches for others.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Called this: whoever has the same name as another is told from it by a signature that does not fit.
    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate for these names, and its key.
    fn signs(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self) -> ClientTls {
        ClientTls::new().roots_pem(self.pem().as_bytes()).unwrap()
    }
}

/// A host that speaks TLS, as many times as it is asked for.
struct Host {
    config: Arc<ServerConfig>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What a host saw of a handshake.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    name: Option<String>,
    has_certificate: bool,
    is_resumed: bool,
}

impl Host {
    fn new((cert, key): &(String, String), protocols: &[&str]) -> Self {
        Self::with(cert, key, protocols, &[&TLS13, &TLS12], None)
    }

    fn with(
        cert: &str,
        key: &str,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Self {
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), seen: Arc::default() }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Speak TLS over this, say hello, and wait for the end.
    async fn serve(
        config: Arc<ServerConfig>,
        seen: Arc<Mutex<Vec<Seen>>>,
        end: DuplexStream,
    ) -> io::Result<()> {
        let mut stream = TlsAcceptor::from(config).accept(end).await?;
        let connection = stream.get_ref().1;
        seen.lock().unwrap().push(Seen {
            name: connection.server_name().map(str::to_owned),
            has_certificate: connection.peer_certificates().is_some(),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        });
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        stream.read_to_end(&mut Vec::new()).await.map(|_| ())
    }

    fn connector(&self, tls: ClientTls) -> Connector {
        let (config, seen) = (Arc::clone(&self.config), Arc::clone(&self.seen));
        let transport = connect_fn(move |_: Target| {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(Self::serve(Arc::clone(&config), Arc::clone(&seen), theirs));
            async move { io::Result::Ok(ours) }
        });
        Connector::builder().transport(transport).tls(tls).build().unwrap()
    }
}

fn target(host: &str) -> Target {
    Target::new(host, 443, true)
}

/// Dial, and hear the host say hello.
async fn hello(connector: &Connector, host: &str, offer: Offer) -> Option<Alpn> {
    let mut dialed = dial(connector, &target(host), offer).await.unwrap();
    let mut read = [0; 5];
    dialed.io.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    dialed.protocol
}

#[tokio::test]
async fn the_host_chooses_of_what_it_is_offered() {
    let authority = Authority::called("ours");
    let pair = authority.signs(&["orders.test"], |_| ());
    for (speaks, offer, expected) in [
        (&["h2", "http/1.1"][..], Offer::Either, Some(Alpn::Http2)),
        (&["h2", "http/1.1"], Offer::Http1, Some(Alpn::Http1)),
        (&["h2", "http/1.1"], Offer::Http2, Some(Alpn::Http2)),
        (&["http/1.1"], Offer::Either, Some(Alpn::Http1)),
        (&[], Offer::Either, None),
        (&[], Offer::Http2, None),
    ] {
        let host = Host::new(&pair, speaks);
        let connector = host.connector(authority.client());
        assert_eq!(hello(&connector, "orders.test", offer).await, expected, "{speaks:?} {offer:?}");
        assert_eq!(host.seen()[0].name.as_deref(), Some("orders.test"));
    }
    let host = Host::new(&pair, &["http/1.1"]);
    let error =
        dial(&host.connector(authority.client()), &target("orders.test"), Offer::Http2).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::Tls { .. }) && !error.forbids_retry(), "{error:?}");
}

#[tokio::test]
async fn a_certificate_is_for_the_host_that_was_asked_for_a_name_or_an_address() {
    let authority = Authority::called("ours");
    let host = Host::new(&authority.signs(&["orders.test", "*.items.test", "127.0.0.1", "::1"], |_| ()), &[]);
    let connector = host.connector(authority.client());
    for name in ["orders.test", "Orders.Test", "orders.test.", "a.items.test", "127.0.0.1", "[::1]"] {
        hello(&connector, name, Offer::Http1).await;
    }
    for other in ["other.test", "items.test", "a.b.items.test", "127.0.0.2", "::2"] {
        let error = dial(&connector, &target(other), Offer::Http1).await.unwrap_err();
        let ConnectError::Tls { target: named, .. } = why(&error) else { panic!("{error:?}") };
        assert_eq!((named, why(&error).step()), (&target(other), Phase::Tls));
        assert!(error.forbids_retry(), "{error:#}");
        assert!(format!("{error:#}").contains("not valid for name"), "{error:#}");
    }
    for no_name in ["", "a b", "ä.test"] {
        let error = dial(&connector, &target(no_name), Offer::Http1).await.unwrap_err();
        assert!(matches!(why(&error), ConnectError::Tls { .. }) && error.forbids_retry(), "{error:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_trusted_is_refused_and_not_asked_again() {
    let (authority, stranger) = (Authority::called("ours"), Authority::called("other"));
    let expired = authority.signs(&["orders.test"], |params| params.not_after = date_time_ymd(2001, 1, 1));
    let early = authority.signs(&["orders.test"], |params| params.not_before = date_time_ymd(4000, 1, 1));
    let unknown = stranger.signs(&["orders.test"], |_| ());
    let good = authority.signs(&["orders.test"], |_| ());
    for (pair, tls, says) in [
        (&expired, authority.client(), "expired"),
        (&early, authority.client(), "not valid yet"),
        (&unknown, authority.client(), "UnknownIssuer"),
        // What Mozilla trusts is not whoever made this one.
        (&good, ClientTls::new(), "UnknownIssuer"),
    ] {
        let host = Host::new(pair, &[]);
        let error = dial(&host.connector(tls), &target("orders.test"), Offer::Http1).await.unwrap_err();
        assert!(matches!(why(&error), ConnectError::Tls { .. }) && error.forbids_retry(), "{error:?}");
        let shown = format!("{error:#}");
        assert!(shown.contains("https://orders.test:443") && shown.contains(says), "{shown}");
        assert!(host.seen().is_empty());
    }
    // Roots can be added, and replaced.
    let both = authority.client().add_roots_pem(stranger.pem().as_bytes()).unwrap();
    for pair in [&good, &unknown] {
        hello(&Host::new(pair, &[]).connector(both.clone()), "orders.test", Offer::Http1).await;
    }
    let one = both.roots_pem(authority.pem().as_bytes()).unwrap();
    let error = dial(&Host::new(&unknown, &[]).connector(one), &target("orders.test"), Offer::Http1).await;
    assert!(error.is_err());
}

#[tokio::test]
async fn a_host_that_wants_a_certificate_gets_the_one_that_was_given_and_without_one_refuses() {
    let (authority, clients) = (Authority::called("ours"), Authority::called("other"));
    let (cert, key) = authority.signs(&["orders.test"], |_| ());
    let (ours, our_key) = clients.signs(&["client.test"], |_| ());
    for version in [&TLS12, &TLS13] {
        let host = Host::with(&cert, &key, &[], &[version], Some(&clients));
        let known = authority.client().client_certificate_pem(ours.as_bytes(), our_key.as_bytes()).unwrap();
        hello(&host.connector(known), "orders.test", Offer::Http1).await;
        assert!(host.seen()[0].has_certificate);

        // With TLS 1.3 the refusal comes after what is the end of the handshake for the client (RFC 8446, section 4.4.2.4).
        let refused = dial(&host.connector(authority.client()), &target("orders.test"), Offer::Http1).await;
        match refused {
            Err(error) => {
                assert_eq!(*version, TLS12);
                assert!(error.forbids_retry(), "{error:?}");
            }
            Ok(mut dialed) => {
                assert_eq!(*version, TLS13);
                let error = dialed.io.read_u8().await.unwrap_err();
                assert!(error.to_string().contains("CertificateRequired"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed() {
    let authority = Authority::called("ours");
    for version in [&TLS12, &TLS13] {
        let (cert, key) = authority.signs(&["orders.test"], |_| ());
        let host = Host::with(&cert, &key, &["h2", "http/1.1"], &[version], None);
        let connector = host.connector(authority.client());
        for offer in [Offer::Either, Offer::Either, Offer::Http1] {
            hello(&connector.clone(), "orders.test", offer).await;
        }
        let resumed: Vec<bool> = host.seen().iter().map(|seen| seen.is_resumed).collect();
        assert_eq!(resumed, [false, true, true], "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_can_be_given_up_and_one_that_breaks_off_may_be_tried_again() {
    let pipes = Pipes::default();
    let connector = Connector::builder().transport(pipes.transport()).build().unwrap();
    let progress = Progress::default();
    let to = target("orders.test");
    let stalled = connector.dial(&to, Offer::Either, &progress);
    assert!(timeout(Duration::from_secs(3), stalled).await.is_err());
    assert_eq!((progress.step(), progress.timings().tls), (Phase::Tls, Some(Duration::from_secs(3))));
    pipes.take().read_to_end(&mut Vec::new()).await.expect("it was closed");

    for said in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[22, 3, 3, 0, 4]] {
        let (broken, ()) = tokio::join!(dial(&connector, &to, Offer::Either), async {
            sleep(Duration::from_millis(1)).await;
            let mut end = pipes.take();
            end.write_all(said).await.unwrap();
            end.shutdown().await.unwrap();
            let _ = end.read_to_end(&mut Vec::new()).await;
        });
        let error = broken.unwrap_err();
        assert!(matches!(why(&error), ConnectError::Tls { .. }) && !error.forbids_retry(), "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_can_itself_be_spoken_to_over_tls_and_the_host_through_it() {
    let authority = Authority::called("ours");
    let proxy = Host::new(&authority.signs(&["proxy.test"], |_| ()), &["h2", "http/1.1"]);
    let host = Host::new(&authority.signs(&["orders.test"], |_| ()), &["h2"]);
    let (outer, inner, seen) = (Arc::clone(&proxy.config), Arc::clone(&host.config), Arc::clone(&host.seen));
    let transport = connect_fn(move |to: Target| {
        assert_eq!(to.to_string(), "https://proxy.test:443");
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (outer, inner, seen) = (Arc::clone(&outer), Arc::clone(&inner), Arc::clone(&seen));
        tokio::spawn(async move {
            let mut stream = TlsAcceptor::from(outer).accept(theirs).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let (mut to_host, from_proxy) = tokio::io::duplex(64 << 10);
            tokio::spawn(Host::serve(inner, seen, from_proxy));
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut to_host).await;
        });
        async move { io::Result::Ok(ours) }
    });
    let builder = Connector::builder().transport(transport).tls(authority.client());
    let connector = builder.proxy(Proxy::http("https://proxy.test").unwrap()).build().unwrap();
    assert_eq!(hello(&connector, "orders.test", Offer::Either).await, Some(Alpn::Http2));
    assert_eq!(host.seen()[0].name.as_deref(), Some("orders.test"));
}

#[test]
fn what_is_wrong_with_certificates_is_named_and_nothing_of_it_shown() {
    let authority = Authority::called("ours");
    let (cert, key) = authority.signs(&["client.test"], |_| ());
    let (_, other) = authority.signs(&["client.test"], |_| ());
    let refused = |cert: &str, key: &str| {
        let error = ClientTls::new().client_certificate_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(std::error::Error::source(&error).is_none());
        error
    };
    assert_eq!(refused("", &key), InvalidTls::NoCertificate);
    assert_eq!(refused(&cert[..cert.len() / 2], &key), InvalidTls::Certificate);
    assert_eq!(refused(&key.replace("PRIVATE KEY", "CERTIFICATE"), &key), InvalidTls::Certificate);
    assert_eq!(refused(&cert, ""), InvalidTls::NoKey);
    assert_eq!(refused(&cert, &cert), InvalidTls::NoKey);
    assert_eq!(refused(&cert, &other), InvalidTls::Mismatch);
    assert_eq!(refused(&cert, &key.replace('\n', " ")), InvalidTls::Key);
    assert_eq!(refused(&cert, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), InvalidTls::Key);
    assert_eq!(ClientTls::new().add_roots_pem(b"").unwrap_err(), InvalidTls::NoCertificate);
    assert_eq!(ClientTls::new().roots_pem(&cert.as_bytes()[..200]).unwrap_err(), InvalidTls::Certificate);
    let both = format!("{cert}{key}");
    let tls = ClientTls::new().client_certificate_pem(both.as_bytes(), both.as_bytes()).unwrap();
    assert!(!format!("{tls:?}").contains("77, 73"));
    let connector = Connector::builder().tls(tls).rng(Rng::seeded(1)).build();
    assert!(connector.is_ok());
}
