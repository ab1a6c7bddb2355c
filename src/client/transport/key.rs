use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{Request, Uri};

use crate::base::HostPort;

/// What connections are kept by: requests with the same key can go over the same connection.
///
/// It is read from a URI without allocating; a clone has memory of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tls: bool,
    pub(super) at: HostPort,
    /// Where that is, if somebody knows who does not ask for its name.
    pub(super) place: Option<Arc<HostPort>>,
}

impl Key {
    pub(super) fn of<B>(request: &Request<B>, place: Option<&Arc<HostPort>>) -> Self {
        Self { tls: is_tls(request.uri()), at: HostPort::of(request), place: place.cloned() }
    }

    /// Whether this URI names it in the words that it was read from. In other words it may be the same nevertheless.
    pub(super) fn is_written_in(&self, uri: &Uri, place: Option<&Arc<HostPort>>) -> bool {
        let (own, other) = (self.at.authority(), uri.authority());
        // As text: to compare authorities is to compare them letter by letter, in any case.
        own.is_some()
            && own.map(Authority::as_str) == other.map(Authority::as_str)
            && self.tls == is_tls(uri)
            && self.place.as_ref() == place
    }
}

fn is_tls(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}
