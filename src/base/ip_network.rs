//! Which addresses belong together? Nothing here waits, locks or reads a clock.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct IpNetwork {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NetworkFlaw {
    #[error("it has an address that cannot be read")]
    Address,
    #[error("it has a length that is not a number of up to three digits")]
    Length,
    #[error("it is longer than the {bits} bits of an address")]
    TooLong { bits: u8 },
    #[error("it has bits beyond the first {prefix}; the network would be {first}/{prefix}")]
    Beyond { first: IpAddr, prefix: u8 },
}

impl IpNetwork {
    /// Whether an address, which is no IPv4 one written as an IPv6 one, is in it.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                first(ip, self.prefix) == self.first
            }
            _ => false,
        }
    }
}

/// An address alone is a network of one. A network of IPv4 addresses that are written as IPv6 ones is that network of IPv4.
impl FromStr for IpNetwork {
    type Err = NetworkFlaw;

    fn from_str(text: &str) -> Result<Self, NetworkFlaw> {
        let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
        let ip: IpAddr = ip.parse().map_err(|_| NetworkFlaw::Address)?;
        let bits = bits(ip);
        let prefix = length.map_or(Ok(bits), number)?;
        if prefix > bits {
            return Err(NetworkFlaw::TooLong { bits });
        }
        let start = first(ip, prefix);
        if start != ip {
            return Err(NetworkFlaw::Beyond { first: start, prefix });
        }
        Ok(match ip.to_canonical() {
            // An IPv4 address in those of IPv6: no other has so many bits.
            canonical @ IpAddr::V4(_) if prefix >= 96 => Self { first: canonical, prefix: prefix - 96 },
            _ => Self { first: ip, prefix },
        })
    }
}

/// As it is written in a file: an address alone without its length.
impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.first) {
            return self.first.fmt(f);
        }
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

const fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn number(text: &str) -> Result<u8, NetworkFlaw> {
    let digits = matches!(text.len(), 1..=3) && text.bytes().all(|byte| byte.is_ascii_digit());
    // Three digits can be more than a byte, which is too long in any case.
    if digits { Ok(text.parse().unwrap_or(u8::MAX)) } else { Err(NetworkFlaw::Length) }
}

/// The first address of the network of so many bits, at most all of them.
fn first(ip: IpAddr, prefix: u8) -> IpAddr {
    let beyond = u32::from(bits(ip)) - u32::from(prefix);
    match ip {
        IpAddr::V4(ip) => {
            Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(beyond).unwrap_or_default()).into()
        }
        IpAddr::V6(ip) => {
            Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(beyond).unwrap_or_default()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<IpNetwork, NetworkFlaw> {
        text.parse()
    }

    #[test]
    fn an_address_is_in_a_network_whose_first_bits_it_has() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "192.0.2.7"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.255.255.255", "11.0.0.0"),
            ("::ffff:0.0.0.0/96", "192.0.2.7", "::1"),
        ] {
            let network = network(text).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} not in {text}");
            assert_eq!(network.to_string().parse(), Ok(network), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "/8", "10.0.0/8", "ten/8", "10.0.0.0/8/8", " 10.0.0.0/8", "fe80::1%eth0", "[::1]"] {
            assert!(matches!(network(text), Err(NetworkFlaw::Address | NetworkFlaw::Length)), "{text}");
        }
        for text in
            ["10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "10.0.0.0/0008", "10.0.0.0/ 8"]
        {
            assert_eq!(network(text), Err(NetworkFlaw::Length), "{text}");
        }
        assert_eq!(network("10.0.0.0/33"), Err(NetworkFlaw::TooLong { bits: 32 }));
        assert_eq!(network("10.0.0.0/999"), Err(NetworkFlaw::TooLong { bits: 32 }));
        assert_eq!(network("::/129"), Err(NetworkFlaw::TooLong { bits: 128 }));
        let told = network("10.1.2.3/8").unwrap_err().to_string();
        assert!(told.contains("10.0.0.0/8"), "{told}");
        assert!(network("2001:db8::1/64").is_err() && network("1.0.0.0/0").is_err());
    }
}
