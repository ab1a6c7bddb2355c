//! Who is asking, whatever bytes stand before what trusted proxies add.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use stonework::base::Peer;
use stonework::limit::{ForwardingHeader, TrustedProxies};

use crate::parsers;

const HEADERS: [ForwardingHeader; 2] = [ForwardingHeader::Forwarded, ForwardingHeader::XForwardedFor];

/// Of a client, and so in no network that is trusted.
fn client() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| Ipv4Addr::new(192, a, b, c).into()),
        any::<u64>().prop_map(|host| Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(host)).into()),
    ]
}

/// Of a proxy: in 10.0.0.0/8 or fd00::/8.
fn proxy() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| Ipv4Addr::new(10, a, b, c).into()),
        any::<u64>().prop_map(|host| Ipv6Addr::from_bits((0xfd << 120) | u128::from(host)).into()),
    ]
}

/// As the header allows it to be written: bare, mapped, in brackets, with a port; as a parameter among others.
fn written(header: ForwardingHeader, ip: IpAddr, how: u8) -> String {
    let mapped = match ip {
        IpAddr::V4(ip) if how & 1 != 0 => ip.to_ipv6_mapped().into(),
        ip => ip,
    };
    let (port, brackets) = (how & 2 != 0, how & 4 != 0);
    let plain = header == ForwardingHeader::XForwardedFor;
    let text = match mapped {
        IpAddr::V6(ip) if port || brackets || !plain => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let text = if port { format!("{text}:4711") } else { text };
    if plain {
        return text;
    }
    let quoted = how & 8 != 0 || text.contains([':', '[']);
    let pair = if quoted { format!("for=\"{text}\"") } else { format!("FOR={text}") };
    match how >> 4 & 3 {
        0 => pair,
        1 => format!("{pair};proto=https"),
        2 => format!("by=_b;{pair}; host=\"a.test:80\""),
        _ => format!("x=\",;\\\"\\\\\" ;{pair};"),
    }
}

/// Bytes that a header field can hold, those that mean something more often than others.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b"\",;=\\ :[]_".to_vec()),
        any::<u8>().prop_filter("a field value", |byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f),
    ];
    let entry = "(, )?(for=)?\"?(10\\.0\\.0\\.9|203\\.0\\.113\\.9|\\[2001:db8::9\\])(;x=\")?";
    prop_oneof![
        prop::collection::vec(byte, 0..40),
        prop::collection::vec(entry, 0..60).prop_map(|all| all.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_before_what_proxies_add_change_who_is_asking(
        forged in bytes(),
        client in client(),
        near in prop::collection::vec(proxy(), 0..4),
        how in any::<[u8; 4]>(),
        own_lines in any::<[bool; 4]>(),
    ) {
        let peer = Peer::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        for header in HEADERS {
            let entries: Vec<String> =
                [client].iter().chain(&near).zip(how).map(|(ip, how)| written(header, *ip, how)).collect();
            let mut lines = vec![forged.clone()];
            for (entry, own_line) in entries.iter().zip(own_lines) {
                match lines.last_mut() {
                    Some(line) if !own_line => line.extend([b", ", entry.as_bytes()].concat()),
                    _ => lines.push(entry.clone().into()),
                }
            }
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header.name(), HeaderValue::from_bytes(line).expect("no control characters"));
            }
            let count = u32::try_from(entries.len()).expect("few");
            for proxies in [TrustedProxies::hops(count), TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"])] {
                let proxies = proxies.expect("possible").header(header);
                prop_assert_eq!(proxies.client(peer, &headers).ip(), Some(client), "{}: {:?}", proxies, headers);
            }
        }
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_is_what_the_grammar_says(bytes: Vec<u8>, likely in bytes()) {
        parsers::forwarded(&bytes);
        parsers::forwarded(&likely);
    }

    #[test]
    fn a_text_is_a_network_or_refused_with_itself(text in "[0-9a-f:./]{0,20}|\\PC{0,10}") {
        match TrustedProxies::networks([&text]) {
            // Written again it is the same one.
            Ok(proxies) => {
                let told = proxies.to_string();
                let again = told.rsplit(' ').next().unwrap_or_default();
                prop_assert_eq!(TrustedProxies::networks([again]), Ok(proxies));
            }
            Err(refused) => prop_assert!(refused.to_string().contains("`networks`")),
        }
    }
}
