use std::env;
use std::fmt;

use http::{HeaderValue, Uri};

use super::Target;
use super::basic::authorization;
use super::no_proxy::NoProxy;

/// Where to ask for hosts that are reached through a proxy: for a tunnel (`CONNECT`) to hosts that speak TLS, and to pass requests on to those
/// that do not. It is given to [`ConnectorBuilder::proxy`](super::ConnectorBuilder::proxy); without one, no proxy is asked, whatever the
/// environment says.
///
/// A user and a password in the address of a proxy are sent to it (Basic, RFC 7617), and shown nowhere.
///
/// ```
/// use stonework::connect::{Connector, Proxy, Target};
///
/// let proxy = Proxy::http("http://user:secret@proxy.test:3128")?.no_proxy("internal.test, 10.0.0.0/8");
/// assert!(proxy.is_used_for(&Target::new("example.com", 443, true)));
/// assert!(!proxy.is_used_for(&Target::new("orders.internal.test", 443, true)));
/// assert!(!format!("{proxy:?}").contains("secret"));
/// let connector = Connector::builder().proxy(proxy).build()?;
/// # let _ = connector;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a connector is built with it"]
pub struct Proxy {
    /// For targets without TLS.
    http: Option<Server>,
    /// For those with TLS.
    https: Option<Server>,
    none: NoProxy,
}

/// One proxy.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) target: Target,
    /// `Proxy-Authorization`, marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

/// An address of a proxy that cannot be used. It does not show it, since there may be a password in it.
///
/// ```
/// use stonework::connect::{InvalidProxy, Proxy};
///
/// let error = Proxy::http("socks5://user:secret@proxy.test").unwrap_err();
/// assert!(matches!(error, InvalidProxy::Scheme { .. }));
/// assert_eq!(error.to_string(), "the proxy is none of `http` and `https`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// It is no address.
    #[error("{where_from} cannot be read as `http://host:port`")]
    #[non_exhaustive]
    Address {
        /// The variable that it stands in, or `the proxy`.
        where_from: String,
    },
    /// It is of a kind that is not known, as SOCKS is.
    #[error("{where_from} is none of `http` and `https`")]
    #[non_exhaustive]
    Scheme {
        /// The variable that it stands in, or `the proxy`.
        where_from: String,
    },
}

impl Proxy {
    /// What the environment of the process says now: see [`from_vars`](Self::from_vars). A variable that is no Unicode is not there.
    ///
    /// # Errors
    ///
    /// As `from_vars`.
    pub fn from_env() -> Result<Self, InvalidProxy> {
        let unicode = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_vars(unicode)
    }

    /// What these variables say, as curl reads them:
    ///
    /// | variable | says |
    /// |---|---|
    /// | `https_proxy`, else `HTTPS_PROXY` | the proxy for hosts over TLS |
    /// | `http_proxy` | the proxy for the others; `HTTP_PROXY` is not read, since a server that runs CGI has it from a client's header `Proxy` |
    /// | `all_proxy`, else `ALL_PROXY` | the proxy for those of both that have none of their own |
    /// | `no_proxy`, else `NO_PROXY` | the hosts without one: see [`no_proxy`](Self::no_proxy) |
    ///
    /// An empty one is as one that is not there. What is on this machine (`localhost`, `127.0.0.0/8`, `::1`) has no proxy.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`], which names the variable.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidProxy> {
        let mut found: [Option<(String, String)>; 4] = Default::default();
        for (name, value) in vars {
            let at = match name.to_ascii_lowercase().as_str() {
                "http_proxy" if name == "http_proxy" => 0,
                "https_proxy" => 1,
                "all_proxy" => 2,
                "no_proxy" => 3,
                _ => continue,
            };
            // In small letters it goes before the one in capitals, whichever comes first.
            let is_small = name.bytes().all(|byte| !byte.is_ascii_uppercase());
            if !value.is_empty() && (is_small || found[at].is_none()) {
                found[at] = Some((name, value));
            }
        }
        let [http, https, all, none] = found;
        let server = |found: Option<&(String, String)>| {
            found.map(|(name, value)| Server::parse(value, &format!("`{name}`"))).transpose()
        };
        let proxy = Self {
            http: server(http.as_ref().or(all.as_ref()))?,
            https: server(https.as_ref().or(all.as_ref()))?,
            none: NoProxy::default(),
        };
        let none = none.map(|(_, value)| value).unwrap_or_default();
        Ok(proxy.no_proxy("localhost, 127.0.0.0/8, ::1").no_proxy(&none))
    }

    /// This one for all hosts: `http://host:port`, or `https://host:port` for a proxy that is itself spoken to over TLS, which needs the
    /// feature `tls`. Without a scheme it is the former; without a port it is that of the scheme, 80 or 443.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`], if it is nothing of that.
    pub fn http(uri: &str) -> Result<Self, InvalidProxy> {
        let server = Server::parse(uri, "the proxy")?;
        Ok(Self { http: Some(server.clone()), https: Some(server), none: NoProxy::default() })
    }

    /// Go to these without a proxy, too, as they stand in `NO_PROXY`, with commas or blanks between them:
    ///
    /// * `example.com`: that host and all below it; `.example.com` and `*.example.com` say the same;
    /// * `192.0.2.7`, `::1`: an address; `10.0.0.0/8`: a network of them. A name is not looked up to find out whether it has one of these;
    /// * `example.com:8080`, `[::1]:80`: only at this port;
    /// * `*`: all.
    ///
    /// What cannot be read says nothing.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.none.add(list);
        self
    }

    /// Whether this target is reached through a proxy.
    #[must_use]
    pub fn is_used_for(&self, to: &Target) -> bool {
        self.for_target(to).is_some()
    }

    pub(super) fn for_target(&self, to: &Target) -> Option<&Server> {
        let server = if to.is_tls() { &self.https } else { &self.http };
        server.as_ref().filter(|_| !self.none.contains(to))
    }
}

impl Server {
    fn parse(uri: &str, where_from: &str) -> Result<Self, InvalidProxy> {
        let where_from = || where_from.to_owned();
        let unreadable = || InvalidProxy::Address { where_from: where_from() };
        let uri = uri.trim();
        let whole = if uri.contains("://") { uri.to_owned() } else { format!("http://{uri}") };
        let uri: Uri = whole.parse().map_err(|_| unreadable())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidProxy::Scheme { where_from: where_from() }),
        };
        let authority = uri.authority().ok_or_else(unreadable)?;
        let (user, rest) = match authority.as_str().rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority.as_str()),
        };
        let host = authority.host();
        // What is behind the host is a port, and read as none if it is no number.
        let has_port = !matches!(rest.strip_prefix(host), Some("" | ":"));
        if host.is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err(unreadable());
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let authorization = user.map(|user| authorization(user).ok_or_else(unreadable)).transpose()?;
        Ok(Self { target: Target::new(host, port, is_tls), authorization })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_vars(vars: &[(&str, &str)]) -> Result<Proxy, InvalidProxy> {
        Proxy::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    /// Where the two kinds of targets are asked for.
    fn shown(vars: &[(&str, &str)]) -> [String; 2] {
        let proxy = from_vars(vars).unwrap();
        [false, true].map(|tls| {
            let server = proxy.for_target(&Target::new("example.com", 1, tls));
            server.map(|server| server.target.to_string()).unwrap_or_default()
        })
    }

    #[test]
    fn each_variable_says_what_the_table_says() {
        let (a, b) = ("http://a.test:1", "https://b.test:443");
        for (vars, http, https) in [
            (&[][..], "", ""),
            (&[("http_proxy", a)][..], a, ""),
            (&[("HTTP_PROXY", a)][..], "", ""),
            (&[("https_proxy", b)][..], "", b),
            (&[("HTTPS_PROXY", b)][..], "", b),
            (&[("HTTPS_PROXY", a), ("https_proxy", b)][..], "", b),
            (&[("https_proxy", b), ("HTTPS_PROXY", a)][..], "", b),
            (&[("https_proxy", ""), ("HTTPS_PROXY", b)][..], "", b),
            (&[("ALL_PROXY", a)][..], a, a),
            (&[("all_proxy", a), ("https_proxy", b)][..], a, b),
            (&[("all_proxy", a), ("no_proxy", "other.test")][..], a, a),
            (&[("all_proxy", a), ("NO_PROXY", "com")][..], "", ""),
            (&[("all_proxy", a), ("no_proxy", "com"), ("NO_PROXY", "other.test")][..], "", ""),
        ] {
            assert_eq!(shown(vars), [http, https], "{vars:?}");
        }
        let proxy = from_vars(&[("all_proxy", a)]).unwrap();
        for host in ["localhost", "127.9.9.9", "::1", "api.localhost"] {
            assert!(!proxy.is_used_for(&Target::new(host, 80, false)), "{host}");
        }
    }

    #[test]
    fn an_address_has_a_scheme_a_port_and_nothing_that_cannot_be_read() {
        for (text, expected) in [
            ("http://p.test:3128", "http://p.test:3128"),
            ("p.test:3128", "http://p.test:3128"),
            (" p.test ", "http://p.test:80"),
            ("http://p.test:/", "http://p.test:80"),
            ("https://p.test", "https://p.test:443"),
            ("http://user:pass@[::1]:3128/path", "http://[::1]:3128"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(Server::parse(text, "the proxy").unwrap().target.to_string(), expected, "{text}");
        }
        for text in [
            "",
            "http://",
            "http://:80",
            "http://p.test:x",
            "http://p.test:65536",
            "http://a:%zz@p.test",
            "a b",
        ] {
            let error = Server::parse(text, "`all_proxy`").unwrap_err();
            assert_eq!(error.to_string(), "`all_proxy` cannot be read as `http://host:port`", "{text}");
        }
        for text in ["socks5://p.test", "socks5h://p.test:1080", "ftp://p.test"] {
            assert!(matches!(Proxy::http(text), Err(InvalidProxy::Scheme { .. })), "{text}");
        }
    }
}
