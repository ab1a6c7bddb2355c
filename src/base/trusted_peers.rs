//! Who is believed?

use std::fmt;
use std::sync::Arc;

use super::client_address::ClientAddress;
use super::ip_network::{IpNetwork, NetworkFlaw};
use super::peer::Peer;

/// Whose word is taken for what a server cannot know by itself: those who are at the other end of the connection.
///
/// ```
/// use stonework::base::{Peer, TrustedPeers};
///
/// let peer = |text: &str| Peer::from(text.parse::<std::net::SocketAddr>().unwrap());
/// let inside = TrustedPeers::networks(["10.0.0.0/8", "fd00::/8"])?;
/// assert!(inside.trusts(peer("10.1.2.3:4711")) && !inside.trusts(peer("192.0.2.7:4711")));
/// assert!(!TrustedPeers::nobody().trusts(peer("10.1.2.3:4711")));
/// # Ok::<(), stonework::base::InvalidPeers>(())
/// ```
///
/// With the feature `serde` it is read from a file and written to one: `"nobody"`, `"everybody"`, or a list of networks.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use stonework::base::TrustedPeers;
///
/// let read: TrustedPeers = serde_json::from_str(r#"["10.0.0.0/8"]"#).unwrap();
/// assert_eq!(read, TrustedPeers::networks(["10.0.0.0/8"]).unwrap());
/// assert_eq!(serde_json::from_str::<TrustedPeers>(r#""nobody""#).unwrap(), TrustedPeers::nobody());
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Words", into = "Words"))]
pub struct TrustedPeers(Trust);

#[derive(Clone, Debug, PartialEq)]
enum Trust {
    Nobody,
    Everybody,
    /// Those from here, at least one network.
    Networks(Arc<[IpNetwork]>),
}

impl TrustedPeers {
    /// Nobody.
    #[must_use]
    pub const fn nobody() -> Self {
        Self(Trust::Nobody)
    }

    /// Everybody who can reach the server, also those of whom nothing is known.
    ///
    /// ```
    /// use stonework::base::{Peer, TrustedPeers};
    ///
    /// assert!(TrustedPeers::everybody().trusts(Peer::default()), "even over a Unix socket");
    /// ```
    #[must_use]
    pub const fn everybody() -> Self {
        Self(Trust::Everybody)
    }

    /// Those whose addresses are in one of these networks, written as `10.0.0.0/8`, `fd00::/8`, or as an address alone. A peer without an
    /// address, as over a Unix socket, is in none.
    ///
    /// # Errors
    ///
    /// Refuses no networks at all, and a text that is no network.
    pub fn networks<I>(networks: I) -> Result<Self, InvalidPeers>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let read = |text: I::Item| {
            let text = text.as_ref();
            text.parse().map_err(|flaw| InvalidPeers(Reason::Network { text: text.to_owned(), flaw }))
        };
        let networks: Arc<[IpNetwork]> = networks.into_iter().map(read).collect::<Result<_, _>>()?;
        if networks.is_empty() {
            return Err(InvalidPeers(Reason::Empty));
        }
        Ok(Self(Trust::Networks(networks)))
    }

    /// Whether nobody was chosen.
    pub(crate) const fn is_everybody(&self) -> bool {
        matches!(self.0, Trust::Everybody)
    }

    /// Whether this peer is one of them.
    #[must_use]
    pub fn trusts(&self, peer: Peer) -> bool {
        match &self.0 {
            Trust::Nobody => false,
            Trust::Everybody => true,
            Trust::Networks(networks) => {
                // An IPv4 address may be written as an IPv6 one.
                let ip = ClientAddress::from(peer).ip();
                ip.is_some_and(|ip| networks.iter().any(|network| network.contains(ip)))
            }
        }
    }
}

/// `nobody`, `everybody`, or the networks.
impl fmt::Display for TrustedPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Trust::Nobody => f.write_str("nobody"),
            Trust::Everybody => f.write_str("everybody"),
            Trust::Networks(networks) => {
                for (nth, network) in networks.iter().enumerate() {
                    write!(f, "{}{network}", if nth == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// Peers that there cannot be; see [`TrustedPeers::networks`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPeers(Reason);

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Reason {
    #[error("there must be at least one network; to trust nobody, say \"nobody\"")]
    Empty,
    #[error("\"{text}\" is no network: {flaw}", text = text.escape_debug())]
    Network { text: String, flaw: NetworkFlaw },
    #[cfg(feature = "serde")]
    #[error("\"{word}\" is neither \"nobody\" nor \"everybody\", nor a list of networks", word = .0.escape_debug())]
    Word(String),
}

/// As they stand in a file.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(untagged)]
enum Words {
    Word(String),
    Networks(Vec<String>),
}

#[cfg(feature = "serde")]
impl TryFrom<Words> for TrustedPeers {
    type Error = InvalidPeers;

    fn try_from(words: Words) -> Result<Self, InvalidPeers> {
        match words {
            Words::Word(word) if word == "nobody" => Ok(Self::nobody()),
            Words::Word(word) if word == "everybody" => Ok(Self::everybody()),
            Words::Word(word) => Err(InvalidPeers(Reason::Word(word))),
            Words::Networks(networks) => Self::networks(networks),
        }
    }
}

#[cfg(feature = "serde")]
impl From<TrustedPeers> for Words {
    fn from(peers: TrustedPeers) -> Self {
        match &peers.0 {
            Trust::Networks(networks) => Self::Networks(networks.iter().map(ToString::to_string).collect()),
            _ => Self::Word(peers.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_trusted_if_it_is_in_a_network_and_one_without_an_address_is_in_none() {
        let peer = |text: &str| Peer::from(text.parse::<std::net::SocketAddr>().unwrap());
        let all = TrustedPeers::networks(["0.0.0.0/0", "::/0"]).unwrap();
        assert!(all.trusts(peer("[::ffff:192.0.2.7]:1")) && all.trusts(peer("[2001:db8::1]:1")));
        assert!(!all.trusts(Peer::default()) && TrustedPeers::everybody().trusts(Peer::default()));
        assert!(!TrustedPeers::nobody().trusts(Peer::default()));
    }

    #[test]
    fn what_is_no_network_is_refused_by_its_text() {
        let refused = TrustedPeers::networks(["10.1.2.3/8"]).unwrap_err().to_string();
        assert!(refused.contains("10.1.2.3/8") && refused.contains("10.0.0.0/8"), "{refused}");
        assert!(TrustedPeers::networks([""; 0]).unwrap_err().to_string().contains("nobody"));
        #[cfg(feature = "serde")]
        assert!(serde_json::from_str::<TrustedPeers>("\"all\"").unwrap_err().to_string().contains("all"));
    }
}
