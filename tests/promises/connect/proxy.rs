//! Through a proxy that answers what a test says, in memory.

use std::io::ErrorKind;
use std::time::Duration;

use http::StatusCode;
use stonework::Error;
use stonework::base::Phase;
use stonework::connect::{ConnectError, Connector, Dialed, Offer, Progress, Proxy, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

use super::kit::{Pipes, dial, why};

const SECRET: &str = "http://user:se%63ret@proxy.test:3128";
/// `user:secret`
const AUTHORIZATION: &str = "Basic dXNlcjpzZWNyZXQ=";

fn through(pipes: &Pipes, proxy: Proxy) -> Connector {
    Connector::builder().transport(pipes.transport()).proxy(proxy).build().unwrap()
}

fn https() -> Target {
    Target::new("orders.test", 8443, true)
}

/// What is asked of a proxy.
async fn asked(end: &mut DuplexStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(end.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// Ask for a tunnel through a proxy that gives this answer, in pieces of so many bytes, and then closes unless it is told to stay.
async fn answered(answer: &[u8], piece: usize, stays: bool) -> (Result<Dialed, Error>, Vec<u8>) {
    let pipes = Pipes::default();
    let connector = through(&pipes, Proxy::http(SECRET).unwrap());
    let proxy = async {
        tokio::task::yield_now().await;
        let mut end = pipes.take();
        asked(&mut end).await;
        for piece in answer.chunks(piece) {
            if end.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut rest = Vec::new();
        if stays {
            end.read_to_end(&mut rest).await.unwrap();
        }
        rest
    };
    let dialed = async {
        let dialed = connector.dial(&https(), Offer::Either, &Progress::default()).await;
        if let Err(error) = &dialed {
            let shown = format!("{error} {error:#} {error:?}");
            assert!(
                !shown.contains("secret") && !shown.contains(AUTHORIZATION) && !shown.contains("user"),
                "{shown}"
            );
            assert!(shown.contains("proxy.test:3128") || shown.contains("orders.test"), "{shown}");
        }
        dialed
    };
    tokio::join!(dialed, proxy)
}

#[tokio::test(start_paused = true)]
async fn a_target_over_tls_is_reached_by_a_tunnel_and_the_proxy_is_told_who_is_asking() {
    let pipes = Pipes::default();
    let connector = through(&pipes, Proxy::http(SECRET).unwrap());
    let progress = Progress::default();
    let asking = {
        let (connector, progress) = (connector.clone(), progress.clone());
        tokio::spawn(async move { connector.dial(&https(), Offer::Http1, &progress).await })
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pipes.asked(), ["http://proxy.test:3128"]);
    assert_eq!(progress.step(), Phase::Proxy);
    let mut end = pipes.take();
    let expected = format!(
        "CONNECT orders.test:8443 HTTP/1.1\r\nHost: orders.test:8443\r\nProxy-Authorization: {AUTHORIZATION}\r\n\r\n"
    );
    assert_eq!(asked(&mut end).await, expected);
    end.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    if cfg!(feature = "tls") {
        assert_eq!(progress.step(), Phase::Tls);
        assert_eq!(progress.timings().proxy, Some(Duration::from_secs(1)));
        // The first bytes in the tunnel are a handshake.
        assert_eq!(end.read_u8().await.unwrap(), 22);
    }
    // Given up, it leaves nothing open.
    asking.abort();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(1), end.read_to_end(&mut rest)).await.unwrap().unwrap();

    let six = Target::new("::1", 443, true);
    let asking = tokio::spawn(async move { connector.dial(&six, Offer::Http1, &Progress::default()).await });
    tokio::task::yield_now().await;
    let mut end = pipes.take();
    assert!(asked(&mut end).await.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"));
    asking.abort();
}

#[tokio::test(start_paused = true)]
async fn a_target_without_tls_is_the_proxys_to_pass_on_and_some_have_none() {
    let pipes = Pipes::default();
    let connector = through(&pipes, Proxy::http(SECRET).unwrap().no_proxy("internal.test, 10.0.0.0/8"));
    let dialed = dial(&connector, &Target::new("orders.test", 80, false), Offer::Http1).await.unwrap();
    let authorization = dialed.forwards.expect("it is to be passed on").authorization.unwrap();
    assert_eq!(authorization, AUTHORIZATION);
    assert!(authorization.is_sensitive());
    drop(dialed.io);
    let mut said = String::new();
    pipes.take().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "", "the request is for others to make");

    for direct in ["internal.test", "a.internal.test", "10.1.2.3"] {
        let dialed = dial(&connector, &Target::new(direct, 80, false), Offer::Http1).await.unwrap();
        assert!(dialed.forwards.is_none(), "{direct}");
    }
    assert_eq!(
        pipes.asked(),
        [
            "http://proxy.test:3128",
            "http://internal.test:80",
            "http://a.internal.test:80",
            "http://10.1.2.3:80"
        ]
    );

    let unnamed = through(&pipes, Proxy::http("proxy.test").unwrap());
    let dialed = dial(&unnamed, &Target::new("orders.test", 80, false), Offer::Http1).await.unwrap();
    assert!(dialed.forwards.unwrap().authorization.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_is_told_with_its_status_and_only_some_are_worth_another_try() {
    for (status, is_final) in [
        (407, true),
        (403, true),
        (405, true),
        (408, false),
        (429, false),
        (301, false),
        (500, false),
        (502, false),
        (503, false),
        (101, false),
    ] {
        let answer =
            format!("HTTP/1.1 {status} Sorry\r\nProxy-Authenticate: Basic\r\n\r\nwhat it says of it");
        for piece in [1, 4096] {
            let error = answered(answer.as_bytes(), piece, true).await.0.unwrap_err();
            let ConnectError::ProxyRefused { proxy, status: said, .. } = why(&error) else {
                panic!("{error:?}")
            };
            assert_eq!(*said, StatusCode::from_u16(status).unwrap());
            assert_eq!(proxy.to_string(), "http://proxy.test:3128");
            assert_eq!((error.forbids_retry(), why(&error).step()), (is_final, Phase::Proxy), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_of_a_proxy_is_a_failure_within_16_kib() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let heads = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 16);
    for (answer, kind) in [
        (&b""[..], ErrorKind::UnexpectedEof),
        (b"HTTP/1.1 200 OK\r\nVia: x\r\n", ErrorKind::UnexpectedEof),
        (b"\x16\x03\x01\x02\x00", ErrorKind::InvalidData),
        (b"HTTP/2 200\r\n\r\n", ErrorKind::InvalidData),
        (b"HTTP/1.1 999999 OK\r\n\r\n", ErrorKind::InvalidData),
        (endless.as_bytes(), ErrorKind::InvalidData),
        (heads.as_bytes(), ErrorKind::InvalidData),
    ] {
        let error = answered(answer, 1000, false).await.0.unwrap_err();
        let ConnectError::ProxyFailed { source, .. } = why(&error) else { panic!("{error:?}") };
        assert_eq!(source.kind(), kind, "{error:#}");
        assert!(!error.forbids_retry());
    }
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn nothing_that_follows_the_head_is_lost_however_it_comes() {
    use tokio_rustls::rustls;

    // The other end of the tunnel refuses at once, in TLS: an alert, `handshake_failure` (RFC 8446, section 6.2).
    let alert = [21, 3, 3, 0, 2, 2, 40];
    for head in
        ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 299 Fine\r\nA: b\r\n\r\n"]
    {
        let answer = [head.as_bytes(), &alert].concat();
        for piece in [1, 7, head.len(), head.len() + 3, answer.len()] {
            let error = answered(&answer, piece, true).await.0.unwrap_err();
            assert!(matches!(why(&error), ConnectError::Tls { .. }), "{error:?}");
            let said = error.cause::<std::io::Error>().and_then(|error| error.get_ref()?.downcast_ref());
            let expected = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
            assert_eq!(said, Some(&expected), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_none_is_not_written_into_a_request() {
    let pipes = Pipes::default();
    let connector = through(&pipes, Proxy::http(SECRET).unwrap());
    for host in ["", "a b", "a\r\nX: y", "a/b", "user@a", "a\0", "ä.test", "a?", "a#"] {
        let error = dial(&connector, &Target::new(host, 443, true), Offer::Http1).await.unwrap_err();
        assert!(matches!(why(&error), ConnectError::ProxyFailed { .. }), "{error:?}");
        let mut said = String::new();
        pipes.take().read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "", "{host:?}");
    }
}
