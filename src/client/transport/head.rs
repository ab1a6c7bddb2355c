use http::header::{EXPECT, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri, Version};

use super::host::Host;
use super::upload::Upload;
use crate::connect::Forward;
use crate::exchange::frame;

/// What a caller wrote, of that which a connection changes: the same request may go over a connection of another kind after it.
pub(super) struct Head {
    uri: Uri,
    has_host: bool,
    has_framing: bool,
    has_expectation: bool,
    has_proxy_authorization: bool,
}

impl Head {
    pub(super) fn of(request: &Request<Upload>) -> Self {
        let headers = request.headers();
        Self {
            uri: request.uri().clone(),
            has_host: headers.contains_key(HOST),
            has_framing: headers.contains_key(TRANSFER_ENCODING),
            has_expectation: headers.contains_key(EXPECT),
            has_proxy_authorization: headers.contains_key(PROXY_AUTHORIZATION),
        }
    }

    pub(super) fn over_http1(&self, request: &mut Request<Upload>, host: &Host, forwards: Option<&Forward>) {
        frame(request);
        if !self.has_host {
            request.headers_mut().insert(HOST, host.header.clone());
        }
        match forwards {
            // RFC 9112, section 3.2.2: a proxy needs all of it, and `http` shows the empty path as one.
            Some(forward) => {
                if let (Some(authorization), false) = (&forward.authorization, self.has_proxy_authorization) {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
                }
            }
            None => {
                let root = || PathAndQuery::from_static("/");
                *request.uri_mut() = self.uri.path_and_query().cloned().unwrap_or_else(root).into();
            }
        }
    }

    pub(super) fn over_http2(&self, request: &mut Request<Upload>) {
        *request.version_mut() = Version::HTTP_2;
        // RFC 9113, section 8.3.1: `:authority` stands in the place of `host`, of which there is to be no other.
        if self.has_host {
            let host = request.headers_mut().remove(HOST);
            let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            if let Some(authority) = authority {
                let mut parts = self.uri.clone().into_parts();
                parts.authority = Some(authority);
                if let Ok(uri) = Uri::from_parts(parts) {
                    *request.uri_mut() = uri;
                }
            }
        }
    }

    /// The request came back.
    pub(super) fn undo(&self, request: &mut Request<Upload>) {
        *request.uri_mut() = self.uri.clone();
        request.body_mut().release();
        for (name, is_its_own) in [
            (HOST, self.has_host),
            (TRANSFER_ENCODING, self.has_framing),
            (EXPECT, self.has_expectation),
            (PROXY_AUTHORIZATION, self.has_proxy_authorization),
        ] {
            if !is_its_own {
                request.headers_mut().remove(name);
            }
        }
    }
}
