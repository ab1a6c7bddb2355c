//! Names asked of a name server by hickory, on the loopback.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stonework::connect::{ConnectError, Connector, HickoryResolver, Offer, Resolve, Target};
use tokio::net::UdpSocket;

use super::kit::{dial, why};

const A: u16 = 1;
const AAAA: u16 = 28;

/// A name server that knows one name, and says of others that they do not exist (RFC 1035, section 4.1).
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            // The name, in labels that begin with their length; then type and class.
            let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let name = String::from_utf8_lossy(&query[12..name_end]).to_ascii_lowercase();
            let family = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
            let data: &[&[u8]] = match (name.as_str(), family) {
                ("\u{6}orders\u{4}test\0", A) => &[&[127, 0, 0, 1], &[127, 0, 0, 2]],
                ("\u{6}orders\u{4}test\0", AAAA) => &[&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
                ("\u{4}four\u{4}test\0", A) => &[&[127, 0, 0, 4]],
                _ => &[],
            };
            let exists = name.starts_with("\u{6}orders")
                || name.starts_with("\u{4}four")
                || name.starts_with("\u{5}empty");
            let mut answer = query[..2].to_vec();
            // An answer, recursive; it exists, or not.
            answer.extend([0x81, if exists { 0x80 } else { 0x83 }, 0, 1, 0, data.len() as u8, 0, 0, 0, 0]);
            answer.extend(&query[12..name_end + 4]);
            for data in data {
                let ttl = if family == A { 7 } else { 5 };
                answer.extend([0xc0, 12]);
                answer.extend(family.to_be_bytes());
                answer.extend([0, 1, 0, 0, 0, ttl, 0, data.len() as u8]);
                answer.extend(*data);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn addresses_of_both_families_come_with_the_shorter_of_their_times() {
    let resolver = HickoryResolver::with_name_servers([name_server().await]).unwrap();
    let found = resolver.resolve("orders.test").await.unwrap();
    let expected: Vec<IpAddr> = ["::1", "127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap()).to_vec();
    assert_eq!((found.addresses, found.ttl), (expected, Some(Duration::from_secs(5))));
    let found = resolver.resolve("four.test").await.unwrap();
    assert_eq!(
        (found.addresses, found.ttl),
        (vec![IpAddr::from([127, 0, 0, 4])], Some(Duration::from_secs(7)))
    );
}

#[tokio::test]
async fn a_name_without_addresses_is_told_from_one_that_does_not_exist() {
    let resolver = HickoryResolver::with_name_servers([name_server().await]).unwrap();
    let connector = Connector::builder().resolver(resolver).build().unwrap();
    let error = dial(&connector, &Target::new("empty.test", 80, false), Offer::Http1).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::NoAddress { .. }), "{error:?}");
    let error = dial(&connector, &Target::new("missing.test", 80, false), Offer::Http1).await.unwrap_err();
    assert!(matches!(why(&error), ConnectError::NotResolved { .. }), "{error:?}");
    assert!(!error.forbids_retry(), "it may exist the next time");
}

#[tokio::test]
async fn the_name_servers_of_the_system_are_taken_where_there_are_any() {
    match HickoryResolver::from_system() {
        Ok(resolver) => {
            let found = resolver.resolve("localhost").await.unwrap();
            assert!(
                !found.addresses.is_empty() && found.addresses.iter().all(IpAddr::is_loopback),
                "{found:?}"
            );
        }
        Err(error) => assert!(!std::path::Path::new("/etc/resolv.conf").exists(), "{error:#}"),
    }
}
