//! Which hosts are not asked for through a proxy? Nothing here waits, locks or reads a clock.

use std::net::IpAddr;

use super::Target;

/// What stands in `NO_PROXY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// Only at this port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// This name and all below it.
    Below(Box<str>),
    /// The addresses that have these first bits.
    Network(IpAddr, u8),
}

impl NoProxy {
    /// These, too. What cannot be read is passed over, since others read the same variable in ways of their own.
    pub(super) fn add(&mut self, list: &str) {
        let entries = list.split(|letter: char| letter == ',' || letter.is_ascii_whitespace());
        self.entries.extend(entries.filter_map(entry));
    }

    pub(super) fn contains(&self, to: &Target) -> bool {
        let host = to.host().strip_suffix('.').unwrap_or(to.host());
        let ip = host.parse::<IpAddr>().ok();
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|port| port == to.port())
                && match (&entry.hosts, ip) {
                    (Hosts::All, _) => true,
                    (Hosts::Below(name), None) => is_below(host, name),
                    (Hosts::Network(first, bits), Some(ip)) => is_within(ip.to_canonical(), *first, *bits),
                    _ => false,
                }
        })
    }
}

fn entry(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry { hosts: Hosts::All, port: None });
    }
    if let Some(network) = network(text) {
        return Some(Entry { hosts: network, port: None });
    }
    // An IPv6 address has colons of its own, and so is in brackets where there is a port.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Some(network) = network(host) {
        return Some(Entry { hosts: network, port });
    }
    let name = host.strip_prefix('*').unwrap_or(host).trim_matches('.').to_ascii_lowercase();
    let is_name = !name.is_empty() && !name.contains(['*', ':', '/', '[', ']']);
    is_name.then(|| Entry { hosts: Hosts::Below(name.into()), port })
}

/// An address, or a network of them. One whose later bits are set is that network all the same.
fn network(text: &str) -> Option<Hosts> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let all = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(all);
    if bits > all {
        return None;
    }
    // An IPv4 address that is written as an IPv6 one is that IPv4 address.
    match ip.to_canonical() {
        canonical if canonical.is_ipv4() && ip.is_ipv6() && bits >= 96 => {
            Some(Hosts::Network(canonical, bits - 96))
        }
        _ => Some(Hosts::Network(ip, bits)),
    }
}

fn is_below(host: &str, name: &str) -> bool {
    // Both are in small letters.
    host.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

fn is_within(ip: IpAddr, first: IpAddr, bits: u8) -> bool {
    let differ = match (ip, first) {
        (IpAddr::V4(ip), IpAddr::V4(first)) => u128::from(ip.to_bits() ^ first.to_bits()) << 96,
        (IpAddr::V6(ip), IpAddr::V6(first)) => ip.to_bits() ^ first.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(list: &str, host: &str, port: u16) -> bool {
        let mut none = NoProxy::default();
        none.add(list);
        none.contains(&Target::new(host, port, true))
    }

    #[test]
    fn a_name_stands_for_itself_and_all_below_it() {
        for name in [
            "example.com",
            ".example.com",
            "*.example.com",
            "EXAMPLE.com.",
            "a, example.com",
            "a  example.com\tb",
        ] {
            for inside in ["example.com", "www.example.com", "a.b.Example.com", "example.com."] {
                assert!(passes(name, inside, 443), "{inside} in {name}");
            }
            for outside in ["notexample.com", "example.com.org", "com", "example", "192.0.2.7", "::1"] {
                assert!(!passes(name, outside, 443), "{outside} not in {name}");
            }
        }
    }

    #[test]
    fn addresses_networks_ports_and_all() {
        for (list, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.70"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "192.0.2.7", "::1"),
            ("::/0", "::1", "192.0.2.7"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::1", "[::1]", "::2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.9.9.9", "::10.9.9.9"),
            ("*", "anything.test", ""),
        ] {
            assert!(passes(list, inside, 443), "{inside} in {list}");
            assert!(outside.is_empty() || !passes(list, outside, 443), "{outside} not in {list}");
        }
        assert!(passes("example.com:8080", "www.example.com", 8080));
        assert!(!passes("example.com:8080", "www.example.com", 443));
        assert!(passes("[::1]:80", "::1", 80) && !passes("[::1]:80", "::1", 81));
        assert!(passes("127.0.0.1:80", "127.0.0.1", 80) && !passes("127.0.0.1:80", "127.0.0.1", 81));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for list in [
            "",
            ",",
            " , ",
            ".",
            "*.",
            "**",
            "a*b",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/x",
            "a:b",
            "a:65536",
            "/8",
            "[",
            "[]",
            ":",
        ] {
            for host in ["a", "b", "10.0.0.1", "::1", ""] {
                assert!(!passes(list, host, 443), "{host} in {list}");
            }
        }
    }
}
