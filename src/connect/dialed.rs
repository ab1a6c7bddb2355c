use http::HeaderValue;

use super::Stream;

/// Which HTTP to offer a host by ALPN (RFC 7301). Without TLS nothing is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2 and, if the host has none, HTTP/1.1.
    Either,
}

/// What a host chose of an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alpn {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where a dial has led. See the [module](super).
#[derive(Debug)]
#[non_exhaustive]
pub struct Dialed {
    /// The bytes.
    pub io: Stream,
    /// What the host chose; nothing without TLS, and of a host that does not choose, which then speaks HTTP/1.1.
    pub protocol: Option<Alpn>,
    /// Set where there is a proxy at the other end, which passes requests on: see [`Forward`].
    pub forwards: Option<Forward>,
}

/// How to ask a proxy to pass requests on: with a target in absolute form (RFC 9112, section 3.2.2).
///
/// ```
/// use stonework::connect::{Dialed, Target};
///
/// fn first_line(dialed: &Dialed, to: &Target, path: &str) -> String {
///     match &dialed.forwards {
///         Some(_) => format!("GET http://{to}{path} HTTP/1.1"),
///         None => format!("GET {path} HTTP/1.1"),
///     }
/// }
/// # let _ = first_line;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forward {
    /// What to send as `Proxy-Authorization`. It is marked as sensitive.
    pub authorization: Option<HeaderValue>,
}
