use http::Request;
use http::uri::Scheme;

use crate::base::HostPort;

/// What connections are kept by: requests with the same key can go over the same connection.
///
/// It is read from a URI without allocating; a clone has memory of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tls: bool,
    pub(super) at: HostPort,
}

impl Key {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        Self { tls, at: HostPort::of(request) }
    }
}
