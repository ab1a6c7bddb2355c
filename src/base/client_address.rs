use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::{Extensions, Request};

use super::{KeyOf, Peer};

/// The address of the client that asks, also behind proxies: an extension of each request that passes a
/// [`ClientAddressLayer`](crate::limit::ClientAddressLayer).
///
/// Nothing is known of a client over a Unix socket. An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.7`,
/// RFC 4291, section 2.5.5.2) is that IPv4 address: a socket that takes both kinds does not make two clients of one.
/// Handlers of axum take it as `Extension<ClientAddress>`.
///
/// ```
/// use std::net::IpAddr;
/// use stonework::base::ClientAddress;
///
/// let client = |text: &str| ClientAddress::from(text.parse::<IpAddr>().unwrap());
/// assert_eq!(client("::ffff:192.0.2.7"), client("192.0.2.7"));
/// assert_eq!(client("192.0.2.7").network().to_string(), "192.0.2.7");
/// assert_eq!(client("2001:db8:1:2::7").network().to_string(), "2001:db8:1:2::/64");
/// assert_eq!(client("2001:db8:1:2::7").network_within(48).to_string(), "2001:db8:1::/48");
/// assert_eq!(ClientAddress::default().network().to_string(), "unknown");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    ip: Option<IpAddr>,
}

impl ClientAddress {
    /// That of a request. Where no layer has found it out it is the [`Peer`]'s, and unknown if there is none.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_else(|| Peer::of(extensions).into())
    }

    /// The address. Nothing, if it is not known.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// What tells this client from others: its IPv4 address, or its IPv6 network of 64 bits, since one client has all
    /// addresses of that (RFC 4291, section 2.5.4). All of whom nothing is known are one.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network_within(64)
    }

    /// The same with so many bits of an IPv6 address: at least 1, at most 128; what is outside of that is the nearer of
    /// the two. Providers also give 56 or 48 bits to one customer (RFC 6177).
    #[must_use]
    pub const fn network_within(&self, prefix: u8) -> Network {
        let prefix = match prefix {
            0 => 1,
            1..=128 => prefix,
            _ => 128,
        };
        Network(match self.ip {
            Some(IpAddr::V6(ip)) => {
                let bits = ip.to_bits() & (u128::MAX << (128 - prefix));
                Some((IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix))
            }
            Some(whole) => Some((whole, 32)),
            None => None,
        })
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip: Some(ip.to_canonical()) }
    }
}

impl From<Peer> for ClientAddress {
    fn from(peer: Peer) -> Self {
        Self { ip: peer.addr().map(|addr| addr.ip().to_canonical()) }
    }
}

/// The address, or `unknown`.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => ip.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// What tells one client from another: an IPv4 address, an IPv6 network, or nothing that is known. The key of a limit.
///
/// It is made by [`ClientAddress::network`], where its example is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(Option<(IpAddr, u8)>);

/// `192.0.2.7`, `2001:db8:1:2::/64`, or `unknown`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((ip @ IpAddr::V4(_), _)) => ip.fmt(f),
            Some((ip, prefix)) => write!(f, "{ip}/{prefix}"),
            None => f.write_str("unknown"),
        }
    }
}

/// By the [network](ClientAddress::network) of the client: a limit for each. Clients of whom nothing is known share one.
///
/// ```
/// use stonework::base::{ByClient, Network};
/// use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// let limiter = KeyedRateLimiter::<Network>::new(Quota::per_second(50))?;
/// let layer = RateLimitLayer::keyed(limiter, ByClient).answer();
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ByClient;

impl<B> KeyOf<Request<B>> for ByClient {
    type Key = Network;

    fn key_of(&self, request: &Request<B>) -> Network {
        ClientAddress::of(request.extensions()).network()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_client_is_as_much_of_its_address_as_is_asked_for() {
        let whole = client("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        for (prefix, expected) in [
            (0, "8000::/1"),
            (1, "8000::/1"),
            (48, "ffff:ffff:ffff::/48"),
            (56, "ffff:ffff:ffff:ff00::/56"),
            (64, "ffff:ffff:ffff:ffff::/64"),
            (128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
            (255, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
        ] {
            assert_eq!(whole.network_within(prefix).to_string(), expected, "{prefix}");
        }
        assert_eq!(whole.network(), whole.network_within(64));
    }

    #[test]
    fn an_ipv4_client_is_its_whole_address_however_it_is_written() {
        for prefix in [0, 8, 64, 128] {
            assert_eq!(client("192.0.2.7").network_within(prefix).to_string(), "192.0.2.7");
            assert_eq!(client("::ffff:192.0.2.7").network_within(prefix), client("192.0.2.7").network());
        }
        assert_ne!(client("192.0.2.7").network(), client("192.0.2.8").network());
        // Its lowest bits alone make it no IPv4 address.
        assert_eq!(client("::192.0.2.7").network().to_string(), "::/64");
    }

    #[test]
    fn without_the_extension_the_client_is_the_peer() {
        let mut extensions = Extensions::new();
        assert_eq!(ClientAddress::of(&extensions), ClientAddress::default());
        assert_eq!(
            (ClientAddress::default().ip(), ClientAddress::default().to_string()),
            (None, "unknown".into())
        );
        extensions.insert(Peer::from("[::ffff:192.0.2.7]:80".parse::<std::net::SocketAddr>().unwrap()));
        assert_eq!(ClientAddress::of(&extensions), client("192.0.2.7"));
        extensions.insert(client("192.0.2.8"));
        assert_eq!(ClientAddress::of(&extensions).to_string(), "192.0.2.8");
        // That nothing is known is an answer, too.
        extensions.insert(ClientAddress::default());
        assert_eq!(ClientAddress::of(&extensions).ip(), None);
    }
}
