//! Over TCP and Unix sockets, on the loopback.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stonework::base::{Delivery, Error, Kind, Phase, Rng};
use stonework::connect::{
    Connect, ConnectError, Connector, InvalidConnector, Offer, Progress, Resolve, Resolved, SystemResolver,
    Target, Tcp, TcpSettings, connect_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{advance, timeout};

use super::kit::{Fixed, dial, why};
use crate::support::PATIENCE;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn to(port: u16) -> Target {
    Target::new("orders.test", port, false)
}

fn over(addresses: &[IpAddr]) -> Connector {
    Connector::builder().resolver(Fixed(addresses.to_vec())).rng(Rng::seeded(0)).build().unwrap()
}

#[tokio::test]
async fn a_host_of_both_families_is_reached_over_the_one_that_answers() {
    for listens in [V4, V6] {
        let listener = TcpListener::bind((listens, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for addresses in [[V4, V6], [V6, V4]] {
            let progress = Progress::default();
            let connector = over(&addresses);
            let mut dialed = connector.dial(&to(port), Offer::Http1, &progress).await.unwrap();
            let (mut accepted, _) = listener.accept().await.unwrap();
            assert_eq!(progress.peer(), Some((listens, port).into()));
            assert!(dialed.protocol.is_none() && dialed.forwards.is_none());
            dialed.io.write_all(b"ping").await.unwrap();
            let mut read = [0; 4];
            accepted.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"ping");
            // Dropped, it is closed: nothing else holds it.
            drop(dialed);
            assert_eq!(timeout(PATIENCE, accepted.read(&mut read)).await.unwrap().unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn the_name_localhost_is_found_by_the_system_and_addresses_need_no_resolver() {
    struct Never;
    impl Resolve for Never {
        async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
            panic!("{host} is no name")
        }
    }
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let system = Connector::new();
    let progress = Progress::default();
    system.dial(&Target::new("LocalHost", port, false), Offer::Http1, &progress).await.unwrap();
    let timings = progress.timings();
    assert!(timings.resolve.is_some() && timings.connect.is_some(), "{timings:?}");
    assert!(timings.proxy.is_none() && timings.tls.is_none() && timings.preface.is_none(), "{timings:?}");

    let never = Connector::builder().resolver(Never).build().unwrap();
    let progress = Progress::default();
    never.dial(&Target::new("127.0.0.1", port, false), Offer::Http1, &progress).await.unwrap();
    assert_eq!(progress.timings().resolve, None);
    let six = TcpListener::bind((V6, 0)).await.unwrap();
    let port = six.local_addr().unwrap().port();
    dial(&never, &Target::new("[::1]", port, false), Offer::Http1).await.unwrap();
}

#[tokio::test]
async fn successive_dials_spread_over_all_addresses() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses: Vec<IpAddr> = (1..=3).map(|last| IpAddr::from([127, 0, 0, last])).collect();
    let connector = over(&addresses);
    let mut reached = HashMap::new();
    for _ in 0..30 {
        let _dialed = dial(&connector.clone(), &to(port), Offer::Http1).await.unwrap();
        let accepted = listener.accept().await.unwrap().0;
        *reached.entry(accepted.local_addr().unwrap().ip()).or_insert(0) += 1;
    }
    assert_eq!(reached, addresses.into_iter().map(|ip| (ip, 10)).collect());
}

#[tokio::test]
async fn when_no_address_can_be_reached_the_error_says_how_many_were_tried_and_tells_of_one() {
    // A port that was free a moment ago.
    let port = TcpListener::bind((V4, 0)).await.unwrap().local_addr().unwrap().port();
    let error = dial(&over(&[V6, V4]), &to(port), Offer::Http1).await.unwrap_err();
    let ConnectError::Unreachable { target, tried, source, .. } = why(&error) else { panic!("{error:?}") };
    assert_eq!((target, *tried, source.kind()), (&to(port), 2, std::io::ErrorKind::ConnectionRefused));
    assert_eq!(why(&error).step(), Phase::Connect);
    assert!(!error.forbids_retry());
    let shown = format!("{error:#}");
    assert!(
        shown.contains("http://orders.test") && shown.ends_with("Connection refused (os error 111)"),
        "{shown}"
    );

    // Of a failure that is this machine's own nothing is to be learned about the host.
    let nowhere = TcpSettings::new().local_v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    for addresses in [[V6, V4], [V4, V6]] {
        let builder = Connector::builder().resolver(Fixed(addresses.to_vec())).tcp(nowhere.clone());
        let error = dial(&builder.build().unwrap(), &to(port), Offer::Http1).await.unwrap_err();
        let ConnectError::Unreachable { tried: 2, address, .. } = why(&error) else { panic!("{error:?}") };
        assert_eq!(address.ip(), V4, "{error:#}");
    }

    let progress = Progress::default();
    let error = over(&[]).dial(&to(port), Offer::Http1, &progress).await.unwrap_err();
    let timings = progress.timings();
    assert!(timings.resolve.is_some() && timings.connect.is_none(), "it came no further: {timings:?}");
    assert!(
        matches!(why(&error), ConnectError::NoAddress { host, .. } if &**host == "orders.test"),
        "{error:?}"
    );
}

/// How often it was asked for the addresses of a name.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicUsize>);

impl Resolve for Counts {
    async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Resolved::new([V4]).with_ttl(Duration::from_secs(60)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_none_of_whose_addresses_could_be_reached_is_looked_up_again() {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let resolver = Counts::default();
    let connector = Connector::builder().resolver(resolver.clone()).build().unwrap();
    for (reaches, asked) in [(true, 1), (true, 1), (false, 1), (false, 2), (false, 3)] {
        // A second is the least for which an answer is good.
        advance(Duration::from_secs(2)).await;
        let port = if reaches { port } else { 1 };
        assert_eq!(dial(&connector, &to(port), Offer::Http1).await.is_ok(), reaches);
        assert_eq!(resolver.0.load(Ordering::SeqCst), asked);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn addresses_that_say_nothing_are_doubted_by_whoever_had_no_more_time_for_them() {
    // Whoever comes when nobody is accepted and the queue is full is not even refused.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind((V4, 0).into()).unwrap();
    let silent = silent.listen(1).unwrap();
    let address = silent.local_addr().unwrap();
    let next = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let queue: Vec<_> = std::iter::from_fn(next).take(64).collect();
    assert!(queue.len() < 64, "there is no end of the queue");

    let resolver = Counts::default();
    let connector = Connector::builder().resolver(resolver.clone()).build().unwrap();
    // The first two leave before a second attempt would have begun: of the addresses they know nothing.
    for (patience, asked) in [(100, 1), (100, 1), (300, 1), (300, 2), (300, 3)] {
        advance(Duration::from_secs(2)).await;
        let patience = Duration::from_millis(patience);
        let (to, progress) = (to(address.port()), Progress::default());
        assert!(timeout(patience, connector.dial(&to, Offer::Http1, &progress)).await.is_err());
        assert_eq!(resolver.0.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_a_failure_of_the_resolver_with_its_cause() {
    struct Unknown;
    impl Resolve for Unknown {
        async fn resolve(&self, _: &str) -> Result<Resolved, Error> {
            Err(Error::new(Kind::Connect, std::io::Error::other("no such name")))
        }
    }
    let connector = Connector::builder().resolver(Unknown).build().unwrap();
    let error = dial(&connector, &to(80), Offer::Http1).await.unwrap_err();
    assert_eq!(why(&error).step(), Phase::Resolve);
    assert!(error.cause::<std::io::Error>().is_some() && !error.forbids_retry());
    // And that of the system itself: a name that no server may know (RFC 6761, section 6.4).
    let error =
        dial(&Connector::new(), &Target::new("orders.invalid", 80, false), Offer::Http1).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::NotResolved { .. }), "{error:?}");
}

#[tokio::test]
async fn what_tcp_is_told_is_done_and_what_cannot_be_is_refused_by_name() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target::new("127.0.0.1", port, false);
    for nodelay in [true, false] {
        let settings = TcpSettings::new().nodelay(nodelay).local_v4(Ipv4Addr::new(127, 0, 0, 9));
        let tcp = Tcp::new(SystemResolver::new(), settings).unwrap();
        let stream = tcp.connect(&target, &Progress::default()).await.unwrap();
        assert_eq!(stream.nodelay().unwrap(), nodelay);
        let from = listener.accept().await.unwrap().1;
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 9]));
    }

    let ms = Duration::from_millis;
    for (settings, named) in [
        (TcpSettings::new().attempt_delay(ms(9)), "attempt_delay"),
        (TcpSettings::new().attempt_delay(ms(2_001)), "attempt_delay"),
        (TcpSettings::new().keepalive(ms(999)), "keepalive"),
        (TcpSettings::new().keepalive_interval(Duration::ZERO), "keepalive_interval"),
        (TcpSettings::new().user_timeout(Duration::ZERO), "user_timeout"),
        (TcpSettings::new().user_timeout(Duration::MAX), "user_timeout"),
    ] {
        let error = Connector::builder().tcp(settings.clone()).build().unwrap_err();
        assert!(matches!(error, InvalidConnector::OutOfRange { setting, .. } if setting == named), "{error}");
        let written = serde_json::to_string(&settings).unwrap();
        let read = serde_json::from_str::<TcpSettings>(&written).unwrap_err().to_string();
        assert!(read.contains(named), "{read}");
    }
    let pipe = || connect_fn(|_: Target| async { Ok(tokio::io::duplex(1).0) });
    for (builder, named) in [
        (Connector::builder().tcp(TcpSettings::new()), "tcp"),
        (Connector::builder().resolver(SystemResolver::new()), "resolver"),
        (Connector::builder().rng(Rng::seeded(1)), "rng"),
    ] {
        let error = builder.transport(pipe()).build().unwrap_err();
        assert!(matches!(error, InvalidConnector::NoUse { setting, .. } if setting == named), "{error}");
    }
}

#[tokio::test]
async fn whatever_a_transport_of_ones_own_fails_with_nothing_was_sent() {
    struct Broken;
    impl Connect for Broken {
        type Io = tokio::io::DuplexStream;
        async fn connect(&self, _: &Target, progress: &Progress) -> Result<Self::Io, Error> {
            assert_eq!(progress.step(), Phase::Connect);
            Err(Error::new(Kind::Transport, "the cable is out"))
        }
    }
    let connector = Connector::builder().transport(Broken).build().unwrap();
    let error = dial(&connector, &to(80), Offer::Http1).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Transport, Delivery::NotSent));

    let refused =
        connect_fn(|_: Target| async { Err::<tokio::io::DuplexStream, _>(std::io::Error::other("no")) });
    let connector = Connector::builder().transport(refused).build().unwrap();
    let error = dial(&connector, &to(80), Offer::Http1).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::Failed { .. }));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_reached_whatever_the_host_is() {
    use stonework::connect::Unix;

    let path = std::env::temp_dir().join(format!("stonework-connect-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let connector = Connector::builder().transport(Unix::new(&path)).build().unwrap();
    let mut dialed = dial(&connector, &to(1), Offer::Http1).await.unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    accepted.write_all(b"hello").await.unwrap();
    drop(accepted);
    let mut read = String::new();
    dialed.io.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "hello");
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let error = dial(&connector, &to(1), Offer::Http1).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::Failed { .. }));
}
