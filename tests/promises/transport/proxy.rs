//! Requests through a proxy, as it reads them.

use std::io;
use std::sync::mpsc;

use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Proxy, Target, connect_fn};
use tokio::io::AsyncWriteExt;

use super::kit::{head, plain};

/// A client of a proxy that answers each request with its first line, and tells of each where it was asked for, and its head.
fn client(settings: ClientSettings) -> (Client, mpsc::Receiver<(String, String)>) {
    let (tell, told) = mpsc::channel();
    let transport = connect_fn(move |to: Target| {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let tell = tell.clone();
        tokio::spawn(async move {
            while let Some(head) = head(&mut theirs).await {
                let line = head.lines().next().unwrap_or_default().to_owned();
                tell.send((to.to_string(), head)).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                if theirs.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        async move { io::Result::Ok(ours) }
    });
    let proxy = Proxy::http("http://me:s3cret@proxy.test:3128").unwrap().no_proxy("direct.test");
    let connector = Connector::builder().transport(transport).proxy(proxy).build().unwrap();
    let client = Client::builder().settings(settings).connector(connector).build().unwrap();
    (client, told)
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_whole_target_and_told_who_is_asking_and_nobody_else_is() {
    let (client, told) = client(plain());
    for (uri, line) in [
        ("http://a.test/path?query", "GET http://a.test/path?query HTTP/1.1"),
        ("http://a.test", "GET http://a.test/ HTTP/1.1"),
        ("http://b.test:81/", "GET http://b.test:81/ HTTP/1.1"),
    ] {
        assert_eq!(client.get(uri).send().await.unwrap().text().await.unwrap(), line);
        let (to, head) = told.recv().unwrap();
        assert_eq!(to, "http://proxy.test:3128");
        let host = uri.trim_start_matches("http://").split('/').next().unwrap();
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nproxy-authorization: Basic bWU6czNjcmV0\r\n"), "{head}");
    }

    // Whoever says who is asking is not contradicted.
    let own = client.get("http://a.test/").header("proxy-authorization", "Basic b3duOm93bg==");
    own.send().await.unwrap().text().await.unwrap();
    let (_, head) = told.recv().unwrap();
    assert!(head.contains("\r\nproxy-authorization: Basic b3duOm93bg==\r\n"), "{head}");
    assert!(!head.contains("bWU6czNjcmV0"), "{head}");

    assert_eq!(
        client.get("http://direct.test/x").send().await.unwrap().text().await.unwrap(),
        "GET /x HTTP/1.1"
    );
    let (to, head) = told.recv().unwrap();
    assert_eq!(to, "http://direct.test:80");
    assert!(!head.contains("proxy-authorization"), "{head}");
}

#[tokio::test]
async fn who_speaks_nothing_but_http2_gets_a_tunnel_also_without_tls() {
    let (client, told) = client(plain().http2_only());
    // What this proxy says behind the tunnel's head is no HTTP/2.
    assert!(client.get("http://a.test/path").send().await.is_err());
    let (to, head) = told.recv().unwrap();
    assert_eq!(to, "http://proxy.test:3128");
    let head = head.replace("Proxy-Authorization", "proxy-authorization");
    assert!(head.starts_with("CONNECT a.test:80 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nproxy-authorization: Basic bWU6czNjcmV0\r\n"), "{head}");
}
