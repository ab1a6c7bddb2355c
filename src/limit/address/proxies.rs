//! Decides who the client is. Nothing here waits, locks or reads a clock.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

use super::entry;
use super::from_right::FromRight;
use crate::base::{ClientAddress, IpNetwork, NetworkFlaw, Peer};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which proxies are believed when they say who the client is, and in which header.
///
/// A proxy that forwards a request adds the address that it was asked from to a list, at the end. What stands before that it
/// has received, and a client can write there whatever it likes. So the list is read from its end, and only as far as there
/// are proxies that are known: by their number ([`hops`](Self::hops)) or by their addresses ([`networks`](Self::networks)).
/// All lines of the header are one list (RFC 9110, section 5.3), and an empty element of it counts.
///
/// If what is needed is missing, unreadable, `unknown` or hidden (`_a`, RFC 7239, section 6.3), the peer is the client: many
/// clients then count as one, which is better than one that counts as whom it likes.
///
/// One header is believed, never two: a proxy that adds to the one passes the other on as its client wrote it. It is
/// `X-Forwarded-For`, unless [`header`](Self::header) says otherwise.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use stonework::base::Peer;
/// use stonework::limit::TrustedProxies;
///
/// let mut headers = HeaderMap::new();
/// // The client has written the first one, and the two proxies one each.
/// headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9, 192.0.2.7, 10.0.0.2"));
/// let peer = Peer::from("10.0.0.1:4711".parse::<std::net::SocketAddr>().unwrap());
///
/// let client = |proxies: TrustedProxies| proxies.client(peer, &headers).to_string();
/// assert_eq!(client(TrustedProxies::hops(2)?), "192.0.2.7");
/// assert_eq!(client(TrustedProxies::networks(["10.0.0.0/8"])?), "192.0.2.7");
/// assert_eq!(client(TrustedProxies::none()), "10.0.0.1");
/// # Ok::<(), stonework::limit::InvalidProxies>(())
/// ```
///
/// With the feature `serde` it is read from a file and written to one: `"none"`, or a table with `hops` or `networks`, and
/// `header` (`"x-forwarded-for"` or `"forwarded"`). An unknown field or an impossible value is an error that names the field.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use stonework::limit::{ForwardingHeader, TrustedProxies};
///
/// let text = r#"{ "networks": ["10.0.0.0/8", "fd00::/8"], "header": "forwarded" }"#;
/// let read: TrustedProxies = serde_json::from_str(text).unwrap();
/// let written = TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"]).unwrap().header(ForwardingHeader::Forwarded);
/// assert_eq!(read, written);
/// assert_eq!(read.to_string(), "Forwarded, from 10.0.0.0/8, fd00::/8");
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustedProxies {
    pub(super) trust: Trust,
    // The default, if nobody is believed.
    pub(super) header: ForwardingHeader,
}

/// Whose entries in the list are believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Trust {
    #[default]
    Nobody,
    /// So many, at least one.
    Hops(u32),
    /// Those from here, at least one network.
    Networks(Vec<IpNetwork>),
}

impl TrustedProxies {
    /// None: the peer is the client, and no header is read. This is also the default.
    #[must_use]
    pub const fn none() -> Self {
        Self { trust: Trust::Nobody, header: ForwardingHeader::XForwardedFor }
    }

    /// So many stand in front, and each adds the address that it was asked from: the client is the last entry but `count`
    /// less one, the last of all for one proxy.
    ///
    /// The peer is not asked who it is, so that this works over a Unix socket, too. Therefore nobody may reach the server but
    /// through all of them: whoever comes past one can be whom it likes, and so can everybody if `count` is too large. One
    /// that is too small takes a proxy for the client.
    ///
    /// # Errors
    ///
    /// Refuses zero: that is [`none`](Self::none).
    pub const fn hops(count: u32) -> Result<Self, InvalidProxies> {
        if count == 0 {
            return Err(InvalidProxies(Reason::ZeroHops));
        }
        Ok(Self { trust: Trust::Hops(count), header: ForwardingHeader::XForwardedFor })
    }

    /// Those whose addresses are in one of these networks, written as `10.0.0.0/8`, `fd00::/8`, or as an address alone.
    ///
    /// If the peer is in one, the client is the last entry that is in none of them; the first of all, if each is in one.
    /// Everybody in these networks is believed, so no client may be in them. A peer without an address is in none: over a
    /// Unix socket take [`hops`](Self::hops).
    ///
    /// # Errors
    ///
    /// Refuses no networks at all, and a text that is no network: one that cannot be read, that is longer than its address,
    /// or that has bits beyond its length (`10.1.2.3/8`), of which nobody can tell which of the two is meant.
    pub fn networks<I>(networks: I) -> Result<Self, InvalidProxies>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let read = |text: I::Item| {
            let text = text.as_ref();
            text.parse().map_err(|flaw| InvalidProxies(Reason::Network { text: text.to_owned(), flaw }))
        };
        let networks: Vec<IpNetwork> = networks.into_iter().map(read).collect::<Result<_, _>>()?;
        if networks.is_empty() {
            return Err(InvalidProxies(Reason::NoNetworks));
        }
        Ok(Self { trust: Trust::Networks(networks), header: ForwardingHeader::XForwardedFor })
    }

    /// Read the list in this header. Default: `X-Forwarded-For`.
    ///
    /// It has to be the one that all these proxies add to. Where nobody is believed this changes nothing.
    #[must_use]
    pub fn header(mut self, header: ForwardingHeader) -> Self {
        if self.trust != Trust::Nobody {
            self.header = header;
        }
        self
    }

    /// The client of a request with these headers that this peer has sent. The
    /// [layer](super::ClientAddressLayer) asks this.
    #[must_use]
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientAddress {
        let peer = ClientAddress::from(peer);
        self.forwarded(peer.ip(), headers).map_or(peer, ClientAddress::from)
    }

    /// What the proxies say, if they are to be believed and can be understood.
    fn forwarded(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        match &self.trust {
            Trust::Nobody => None,
            Trust::Hops(count) => {
                let before = usize::try_from(count.saturating_sub(1)).ok()?;
                self.header.address(self.header.elements(headers).nth(before)?.ok()?)
            }
            Trust::Networks(networks) => {
                let trusted = |ip| networks.iter().any(|network| network.contains(ip));
                if !trusted(peer?) {
                    return None;
                }
                let mut first = None;
                for element in self.header.elements(headers) {
                    // What a trusted proxy wrote and nobody can read may have been the client.
                    let ip = self.header.address(element.ok()?)?;
                    first = Some(ip);
                    if !trusted(ip) {
                        break;
                    }
                }
                first
            }
        }
    }
}

/// In a few words: `the peer`, `2 hops of X-Forwarded-For`, `Forwarded, from 10.0.0.0/8`.
impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header;
        match &self.trust {
            Trust::Nobody => f.write_str("the peer"),
            Trust::Hops(1) => write!(f, "1 hop of {header}"),
            Trust::Hops(count) => write!(f, "{count} hops of {header}"),
            Trust::Networks(networks) => {
                write!(f, "{header}, from ")?;
                for (nth, network) in networks.iter().enumerate() {
                    write!(f, "{}{network}", if nth == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// The header in which proxies list whom they were asked by. See [`TrustedProxies::header`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `Forwarded`, by RFC 7239: `for=192.0.2.7, for="[2001:db8::7]:4711";proto=https`. An element without an address to
    /// read, with two, or with quotes that do not belong together is as good as none.
    ///
    /// A proxy that also tells what the client asked for (`host=`) has to put that in quotes, or the client can write elements
    /// of its own.
    Forwarded,
    /// `X-Forwarded-For`: `192.0.2.7, 2001:db8::7`, with a port or without; an IPv6 address with a port stands in brackets.
    #[default]
    XForwardedFor,
}

impl ForwardingHeader {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> HeaderName {
        match self {
            Self::Forwarded => header::FORWARDED,
            Self::XForwardedFor => X_FORWARDED_FOR,
        }
    }

    fn elements(self, headers: &HeaderMap) -> FromRight<'_> {
        FromRight::new(&headers.get_all(self.name()), self == Self::Forwarded)
    }

    fn address(self, element: &[u8]) -> Option<IpAddr> {
        match self {
            Self::Forwarded => entry::parameter(element),
            Self::XForwardedFor => entry::plain(element),
        }
    }
}

/// As it is written in capitals and small letters.
impl fmt::Display for ForwardingHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forwarded => "Forwarded",
            Self::XForwardedFor => "X-Forwarded-For",
        })
    }
}

/// Proxies that there cannot be; see [`TrustedProxies`]. Its text names the field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProxies(Reason);

#[cfg(feature = "serde")]
impl InvalidProxies {
    pub(super) const fn neither() -> Self {
        Self(Reason::Neither)
    }

    pub(super) const fn both() -> Self {
        Self(Reason::Both)
    }
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Reason {
    #[error("`hops` must be at least 1; if no proxy stands in front, say \"none\"")]
    ZeroHops,
    #[error("`networks` must be at least one; if no proxy stands in front, say \"none\"")]
    NoNetworks,
    #[error("`networks` has \"{text}\", which is no network: {flaw}", text = text.escape_debug())]
    Network { text: String, flaw: NetworkFlaw },
    #[cfg(feature = "serde")]
    #[error("one of `hops` and `networks` must say which proxies are trusted")]
    Neither,
    #[cfg(feature = "serde")]
    #[error("only one of `hops` and `networks` can say which proxies are trusted")]
    Both,
}
