//! Who is asking, whatever the client writes.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stonework::base::{ClientAddress, Peer};
use stonework::limit::{ClientAddressLayer, ForwardingHeader, TrustedProxies};
use stonework::server::Server;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{read_to_end, soon};

const FORWARDED: ForwardingHeader = ForwardingHeader::Forwarded;
const PLAIN: ForwardingHeader = ForwardingHeader::XForwardedFor;

/// The peer of all tables: a proxy.
const PEER: &str = "10.0.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn peer(text: &str) -> Peer {
    Peer::from(SocketAddr::new(ip(text), 4711))
}

fn headers(header: ForwardingHeader, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header.name(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

fn hops(count: u32, header: ForwardingHeader) -> TrustedProxies {
    TrustedProxies::hops(count).unwrap().header(header)
}

fn networks(header: ForwardingHeader) -> TrustedProxies {
    TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"]).unwrap().header(header)
}

/// As whom a request counts that a trusted proxy hands on with these lines.
fn client(proxies: &TrustedProxies, header: ForwardingHeader, lines: &[&str]) -> String {
    proxies.client(peer(PEER), &headers(header, lines)).to_string()
}

/// What the client may have written before two proxies added an entry each.
fn forgeries() -> Vec<String> {
    let fifty = |one: &str| vec![one; 50].join(", ");
    let mut all =
        vec![fifty("203.0.113.9"), fifty("for=203.0.113.9"), fifty("10.0.0.9"), fifty("for=10.0.0.9")];
    let more = [
        "",
        " ",
        ",",
        ",,,,",
        "unknown",
        "_hidden",
        "203.0.113.9",
        "for=203.0.113.9",
        "for=\"203.0.113.9",
        "for=203.0.113.9;x=\"",
        "\"",
        "\"\"\"",
        "\\",
        "\\\"",
        "for=\"\\",
        "x=\"a, for=203.0.113.9, \\\"",
        "[2001:db8::9",
        "\u{e9}\t(comment)",
        ";;;==",
    ];
    all.extend(more.map(str::to_owned));
    all
}

#[test]
fn whatever_the_client_writes_before_what_proxies_add_changes_nothing() {
    for (header, added) in [
        (PLAIN, ["192.0.2.7", "10.0.0.2"]),
        (PLAIN, ["192.0.2.7:4711", "[fd00::2]:80"]),
        (PLAIN, ["2001:db8::7", "10.0.0.2"]),
        (FORWARDED, ["for=192.0.2.7", "for=10.0.0.2"]),
        (FORWARDED, ["for=\"[2001:db8::7]:4711\";proto=https", "by=_b;For=\"10.0.0.2:_p\""]),
        (FORWARDED, ["host=\"a\\\",b\";for=192.0.2.7", "for=\"[fd00::2]\""]),
    ] {
        let [first, second] = added;
        for proxies in [hops(2, header), networks(header)] {
            let expected = client(&proxies, header, &[first, second]);
            assert_ne!(expected, PEER, "{proxies}, {added:?}");
            for forged in forgeries() {
                // As one line, as one that a proxy begins, and as one for each.
                for lines in [
                    vec![format!("{forged}, {first}, {second}")],
                    vec![format!("{forged},{first},{second}")],
                    vec![forged.clone(), format!("{first}, {second}")],
                    vec![format!("{forged}, {first}"), second.to_owned()],
                    vec![forged.clone(), forged.clone(), first.to_owned(), second.to_owned()],
                ] {
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    assert_eq!(client(&proxies, header, &lines), expected, "{proxies}, {lines:?}");
                }
            }
        }
    }
}

#[test]
fn the_other_header_is_not_read() {
    for (header, other) in [(PLAIN, FORWARDED), (FORWARDED, PLAIN)] {
        for proxies in [hops(1, header), networks(header)] {
            for forged in ["203.0.113.9", "for=203.0.113.9"] {
                assert_eq!(client(&proxies, other, &[forged]), PEER);
            }
        }
    }
}

#[test]
fn so_many_hops_are_counted_from_the_end() {
    let lines = ["a, b", "192.0.2.3, 192.0.2.2 ,\t192.0.2.1"];
    for (count, expected) in
        [(1, "192.0.2.1"), (2, "192.0.2.2"), (3, "192.0.2.3"), (4, PEER), (6, PEER), (u32::MAX, PEER)]
    {
        assert_eq!(client(&hops(count, PLAIN), PLAIN, &lines), expected, "{count}");
    }
    // A proxy that hides is one that counts.
    assert_eq!(client(&hops(2, PLAIN), PLAIN, &["192.0.2.2, unknown"]), "192.0.2.2");
    // No quotes belong into this list, and so they hold nothing together.
    assert_eq!(client(&hops(2, PLAIN), PLAIN, &["192.0.2.2, a\""]), "192.0.2.2");
    let elements = ["for=192.0.2.3, for=\"192.0.2.2\"", "by=\",\";for=_hidden"];
    for (count, expected) in [(1, PEER), (2, "192.0.2.2"), (3, "192.0.2.3"), (4, PEER)] {
        assert_eq!(client(&hops(count, FORWARDED), FORWARDED, &elements), expected, "{count}");
    }
}

#[test]
fn behind_networks_the_client_is_the_last_who_is_in_none_of_them() {
    for (line, expected) in [
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7, 10.9.9.9, fd00::1, ::ffff:10.0.0.2", "192.0.2.7"),
        // Each is a proxy's: the first one asked of itself.
        ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
        ("10.0.0.3", "10.0.0.3"),
        // What nobody can read may have been the client.
        ("192.0.2.7, unknown, 10.0.0.3", PEER),
        ("192.0.2.7, , 10.0.0.3", PEER),
        ("192.0.2.7,", PEER),
        ("unknown, 192.0.2.7", "192.0.2.7"),
    ] {
        assert_eq!(client(&networks(PLAIN), PLAIN, &[line]), expected, "{line}");
    }
    for (line, expected) in [
        ("for=192.0.2.7, for=10.0.0.3", "192.0.2.7"),
        ("for=10.0.0.4, for=10.0.0.3", "10.0.0.4"),
        // Nobody can tell where the one begins that was asked by a proxy.
        ("for=192.0.2.7, x\", for=10.0.0.3", PEER),
        ("for=10.0.0.4, by=_b, for=10.0.0.3", PEER),
    ] {
        assert_eq!(client(&networks(FORWARDED), FORWARDED, &[line]), expected, "{line}");
    }
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says() {
    let written = headers(PLAIN, &["203.0.113.9"]);
    for stranger in ["192.0.2.7", "11.0.0.1", "fe00::1"] {
        assert_eq!(networks(PLAIN).client(peer(stranger), &written).ip(), Some(ip(stranger)));
    }
    // A socket that takes both kinds of addresses shows IPv4 ones so.
    assert_eq!(networks(PLAIN).client(peer("::ffff:10.0.0.1"), &written).to_string(), "203.0.113.9");
    for anybody in ["192.0.2.7", PEER] {
        assert_eq!(TrustedProxies::none().client(peer(anybody), &written).ip(), Some(ip(anybody)));
    }
}

#[test]
fn over_a_unix_socket_hops_are_counted_and_networks_are_not_asked() {
    let (nobody, written) = (Peer::default(), headers(PLAIN, &["203.0.113.9, 192.0.2.7"]));
    assert_eq!(hops(1, PLAIN).client(nobody, &written).ip(), Some(ip("192.0.2.7")));
    for proxies in [networks(PLAIN), TrustedProxies::none(), hops(3, PLAIN)] {
        assert_eq!(proxies.client(nobody, &written), ClientAddress::default(), "{proxies}");
    }
}

#[test]
fn what_is_missing_or_unreadable_makes_the_peer_the_client() {
    for header in [PLAIN, FORWARDED] {
        for proxies in [hops(1, header), networks(header)] {
            assert_eq!(client(&proxies, header, &[]), PEER);
            for last in [
                "",
                ",",
                "unknown",
                "for=unknown",
                "_hidden",
                "for=_hidden",
                "for=",
                "for=192.0.2.7;for=192.0.2.7",
                "for=\"192.0.2.7",
                "192.0.2.7 192.0.2.8",
                "fe80::1%eth0",
                "for=\"[fe80::1%eth0]\"",
                "unix:",
                "192.0.2.7:port",
                "\u{e9}",
            ] {
                for before in ["", "203.0.113.9, ", "for=203.0.113.9, ", "for=203.0.113.9;x=\", "] {
                    let line = format!("{before}{last}");
                    assert_eq!(client(&proxies, header, &[&line]), PEER, "{proxies}: {line}");
                    assert_eq!(
                        client(&proxies, header, &[before, last]),
                        PEER,
                        "{proxies}: {before} / {last}"
                    );
                }
            }
        }
    }
}

/// The quote that it forgot to close must not find its counterpart in what the client wrote.
#[test]
fn a_proxy_that_forgets_a_quote_gives_the_client_no_say() {
    for line in ["for=203.0.113.9;x=\", for=\"192.0.2.7", "for=203.0.113.9, for=192.0.2.7\""] {
        for proxies in [hops(1, FORWARDED), networks(FORWARDED)] {
            assert_eq!(client(&proxies, FORWARDED, &[line]), PEER, "{line}");
        }
    }
}

#[test]
fn a_thousand_addresses_of_one_ipv6_network_are_one_client() {
    let mut seen = HashSet::new();
    for host in 0..1000_u128 {
        let address = Ipv6Addr::from_bits(ip6("2001:db8:1:2::") | (host << 40) | host);
        let client = hops(1, PLAIN).client(peer(PEER), &headers(PLAIN, &[&address.to_string()]));
        assert_eq!(client.ip(), Some(address.into()));
        seen.insert(client.network());
    }
    assert_eq!(seen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2001:db8:1:2::/64"]);
    let mut neighbours = HashSet::new();
    for last in 0..=255 {
        neighbours.insert(ClientAddress::from(ip(&format!("192.0.2.{last}"))).network());
    }
    assert_eq!(neighbours.len(), 256);
}

fn ip6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().to_bits()
}

#[test]
fn an_ipv4_address_that_is_written_as_an_ipv6_one_is_the_same_client() {
    let as_seen = |header, line| {
        let client = hops(1, header).client(peer(PEER), &headers(header, &[line]));
        (client.to_string(), client.network().to_string())
    };
    let whole = || ("192.0.2.7".to_owned(), "192.0.2.7".to_owned());
    for line in ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:C000:207", "[::ffff:192.0.2.7]:80"] {
        assert_eq!(as_seen(PLAIN, line), whole(), "{line}");
    }
    for line in ["for=192.0.2.7", "for=\"[::ffff:192.0.2.7]\""] {
        assert_eq!(as_seen(FORWARDED, line), whole(), "{line}");
    }
    let direct = TrustedProxies::none().client(peer("::ffff:192.0.2.7"), &HeaderMap::new());
    assert_eq!(direct.network().to_string(), "192.0.2.7");
}

#[test]
fn proxies_that_there_cannot_be_are_refused_by_name() {
    let refused = TrustedProxies::hops(0).unwrap_err().to_string();
    assert!(refused.contains("`hops`"), "{refused}");
    let none: [&str; 0] = [];
    for (texts, named) in [
        (&none[..], "`networks`"),
        (&["10.0.0.0/8", "10.0.0.0/x"], "\"10.0.0.0/x\""),
        (&["ten/8"], "\"ten/8\""),
        (&["10.0.0.0/33"], "32 bits"),
        (&["fd00::/129"], "128 bits"),
        (&["10.1.2.3/8"], "10.0.0.0/8"),
    ] {
        let refused = TrustedProxies::networks(texts).unwrap_err().to_string();
        assert!(refused.contains("`networks`") && refused.contains(named), "{refused}");
    }
}

#[test]
fn proxies_are_told_in_a_few_words() {
    for (proxies, told) in [
        (TrustedProxies::default(), "the peer"),
        (TrustedProxies::none().header(FORWARDED), "the peer"),
        (hops(1, FORWARDED), "1 hop of Forwarded"),
        (hops(2, PLAIN), "2 hops of X-Forwarded-For"),
        (networks(FORWARDED), "Forwarded, from 10.0.0.0/8, fd00::/8"),
        (TrustedProxies::networks(["192.0.2.1"]).unwrap(), "X-Forwarded-For, from 192.0.2.1"),
    ] {
        assert_eq!(proxies.to_string(), told);
    }
}

// ───────────────────────────────────────────────────────────────────────────── the layer

fn told(proxies: TrustedProxies) -> Router {
    let tell = |Extension(client): Extension<ClientAddress>| async move { client.to_string() };
    Router::new().route("/", get(tell)).layer(ClientAddressLayer::new(proxies))
}

#[tokio::test]
async fn a_handler_of_axum_takes_the_address_as_an_extension() {
    for (proxies, expected) in [
        (hops(1, PLAIN), "192.0.2.7"),
        (networks(PLAIN), "192.0.2.7"),
        (TrustedProxies::none(), PEER),
        (hops(1, FORWARDED), PEER),
    ] {
        let request = Request::get("/").header("x-forwarded-for", "203.0.113.9, 192.0.2.7");
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(peer(PEER));
        // Said by nobody that has to be believed.
        request.extensions_mut().insert(ClientAddress::from(ip("203.0.113.1")));
        let answer = told(proxies).oneshot(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), expected);
    }
}

#[derive(Debug, PartialEq)]
struct Refused;

#[tokio::test]
async fn any_request_and_any_error_pass_and_a_layer_that_is_switched_off_gives_no_address() {
    for (on, inserted, client) in [(true, Some("192.0.2.7"), "192.0.2.7"), (false, None, PEER)] {
        let layer = ClientAddressLayer::new(hops(1, PLAIN)).when(on);
        let service = layer.layer(service_fn(move |request: Request<&'static str>| async move {
            let given = request.extensions().get::<ClientAddress>().map(ToString::to_string);
            assert_eq!(given.as_deref(), inserted);
            assert_eq!(ClientAddress::of(request.extensions()).to_string(), client);
            if *request.body() == "good" { Ok("fine") } else { Err(Refused) }
        }));
        for (body, expected) in [("good", Ok("fine")), ("bad", Err(Refused))] {
            let mut request = Request::get("/").header("x-forwarded-for", "192.0.2.7").body(body).unwrap();
            request.extensions_mut().insert(peer(PEER));
            assert_eq!(service.clone().oneshot(request).await, expected);
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── on sockets

type Forwarder = Client<HttpConnector, Empty<Bytes>>;

/// A proxy that asks `next` from this address, and adds the one that it was asked from.
async fn proxy(from: &str, next: SocketAddr, header: ForwardingHeader) -> SocketAddr {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(ip(from)));
    let client: Forwarder = Client::builder(TokioExecutor::new()).build(connector);
    let hand_on = move |ConnectInfo(asker): ConnectInfo<SocketAddr>, request: Request<Body>| async move {
        let mut onward = Request::get(format!("http://{next}/")).body(Empty::new()).unwrap();
        *onward.headers_mut() = add(request.into_parts().0.headers, header, asker.ip());
        client.request(onward).await.unwrap().map(Body::new)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = Router::new().fallback(hand_on).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    addr
}

/// Behind what the last line says, as most proxies do.
fn add(mut headers: HeaderMap, header: ForwardingHeader, asker: IpAddr) -> HeaderMap {
    let entry = if header == FORWARDED { format!("for={asker};proto=http") } else { asker.to_string() };
    let mut lines: Vec<Vec<u8>> =
        headers.get_all(header.name()).iter().map(|line| line.as_bytes().to_vec()).collect();
    match lines.last_mut() {
        Some(last) => last.extend(format!(", {entry}").bytes()),
        None => lines.push(entry.into()),
    }
    headers.remove(header.name());
    for line in lines {
        headers.append(header.name(), HeaderValue::from_bytes(&line).unwrap());
    }
    headers
}

/// What the server hears that `asked` leads to, from a client at 127.0.0.2 that writes these lines.
async fn ask(asked: SocketAddr, header: ForwardingHeader, lines: &[String]) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut client = soon(socket.connect(asked)).await.unwrap();
    let mut head = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".to_owned();
    for line in lines {
        head.push_str(&format!("{}: {line}\r\n", header.name()));
    }
    client.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "the loopback interface has one address only")]
async fn behind_two_real_proxies_nobody_is_somebody_else() {
    let fifty = vec!["203.0.113.9"; 50].join(", ");
    for header in [PLAIN, FORWARDED] {
        let near = ["127.0.0.3", "127.0.0.4"];
        for (proxies, expected) in [
            (hops(2, header), "127.0.0.2"),
            (TrustedProxies::networks(near).unwrap().header(header), "127.0.0.2"),
            // What the tests would see if an entry too few or none were read.
            (hops(1, header), "127.0.0.3"),
            (TrustedProxies::none(), "127.0.0.4"),
        ] {
            let server = Server::bind("127.0.0.1:0").await.unwrap();
            let second = proxy(near[1], server.local_addr(), header).await;
            let serving = tokio::spawn(server.serve(told(proxies)));
            let first = proxy(near[0], second, header).await;
            for lines in [
                vec![],
                vec![fifty.clone()],
                vec!["203.0.113.9".to_owned(); 50],
                vec!["for=203.0.113.9".to_owned(), "for=\"203.0.113.9".to_owned()],
                vec!["for=203.0.113.9;x=\"".to_owned()],
                vec!["\\\"".to_owned(), String::new()],
            ] {
                assert_eq!(ask(first, header, &lines).await, expected, "{header}: {lines:?}");
            }
            serving.abort();
        }
    }
}
