//! The assembled client over TLS, against the assembled server and against hosts that cannot be reached.

use std::time::Duration;

use http::Version;
use rcgen::{CertificateParams, KeyPair};
use stonework::Error;
use stonework::base::{Backoff, Delivery, Elapsed, Kind, Phase};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{ClientTls, ConnectError, Connector, Target, connect_fn};
use stonework::retry::RetrySettings;
use stonework::server::{Server, ServerTls};
use tokio::net::TcpListener;

use super::kit::{plain, told};
use crate::connections::Running;

/// A certificate for `example.test`, whom nobody but itself vouches for, and its key.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["example.test".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn trusting(cert: &str) -> ClientTls {
    ClientTls::new().roots_pem(cert.as_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn over_tls_client_and_server_agree_on_http_2_unless_one_of_them_does_not_want_it() {
    let (cert, key) = pair();
    let tls = ServerTls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let server = std::sync::Arc::new(Running::run(Server::builder().tls(tls)));
    let pipes = std::sync::Arc::clone(&server);
    let transport = connect_fn(move |_: Target| {
        let pipe = pipes.connect();
        async move { std::io::Result::Ok(pipe) }
    });
    let connector = Connector::builder().transport(transport).tls(trusting(&cert)).build().unwrap();
    for (settings, version) in [
        (plain(), Version::HTTP_2),
        (plain().http1_only(), Version::HTTP_11),
        (plain().http2_only(), Version::HTTP_2),
    ] {
        let client = Client::builder().settings(settings).connector(connector.clone()).build().unwrap();
        let answer = client.get("https://example.test/").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
}

/// What a call ends with that is tried twice, has two seconds in all, and half a second to connect.
async fn fails(connector: Connector, uri: &str) -> Error {
    let backoff = Backoff::constant(Duration::from_millis(1)).unwrap();
    let settings = ClientSettings::new()
        .connect_timeout(Duration::from_millis(500))
        .retry(RetrySettings::new().attempts(2).backoff(backoff));
    let client = Client::builder().settings(settings).connector(connector).build().unwrap();
    client.post(uri).body("work").send().await.unwrap_err()
}

fn step(error: &Error) -> Option<Phase> {
    let elapsed = error.cause::<Elapsed>().map(Elapsed::phase);
    elapsed.or_else(|| error.cause::<ConnectError>().map(ConnectError::step))
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_says_at_which_step_and_is_tried_again_whatever_the_method() {
    let (cert, key) = pair();
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Accepts, by the system, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never = Connector::builder().transport(connect_fn(|_: Target| {
        std::future::pending::<std::io::Result<tokio::io::DuplexStream>>()
    }));
    for (what, connector, uri, phase) in [
        ("no such name", Connector::new(), "http://nobody.invalid/".to_owned(), Phase::Resolve),
        ("refused", Connector::new(), format!("http://{gone}/"), Phase::Connect),
        ("never connected", never.build().unwrap(), "http://a.test/".to_owned(), Phase::Connect),
        ("a mute host", Connector::new(), format!("https://{}/", mute.local_addr().unwrap()), Phase::Tls),
    ] {
        let error = fails(connector, &uri).await;
        assert_eq!(
            (told(&error), error.attempts()),
            ((Kind::Connect, Delivery::NotSent), 2),
            "{what}: {error:#}"
        );
        assert_eq!(step(&error), Some(phase), "{what}: {error:#}");
    }

    // Whom one does not trust, one will not trust the next time either.
    let tls = ServerTls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let server = std::sync::Arc::new(Running::run(Server::builder().tls(tls)));
    let (other, _) = pair();
    let pipes = std::sync::Arc::clone(&server);
    let transport = connect_fn(move |_: Target| {
        let pipe = pipes.connect();
        async move { std::io::Result::Ok(pipe) }
    });
    let connector = Connector::builder().transport(transport).tls(trusting(&other)).build().unwrap();
    let error = fails(connector, "https://example.test/").await;
    assert_eq!((told(&error), error.attempts()), ((Kind::Connect, Delivery::NotSent), 1), "{error:#}");
    assert_eq!(step(&error), Some(Phase::Tls));
}
