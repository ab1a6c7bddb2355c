use std::mem;

use http::header::{EXPECT, Entry, HOST, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri, Version};
use http_body::Body as _;

use super::host::Host;
use super::upload::Upload;
use crate::connect::Forward;
use crate::exchange::frame;

/// What a connection has changed of what a caller wrote: the same request may go over a connection of another kind after it.
#[derive(Default)]
pub(super) struct Head {
    /// What stood where something else stands now.
    uri: Option<Uri>,
    host: Option<HeaderValue>,
    // What was not there, and may be now.
    adds_host: bool,
    adds_framing: bool,
    adds_expectation: bool,
    adds_proxy_authorization: bool,
}

impl Head {
    pub(super) fn over_http1(
        &mut self,
        request: &mut Request<Upload>,
        host: &Host,
        forwards: Option<&Forward>,
    ) {
        // What has no body is not framed, and expects nothing.
        if !request.body().is_end_stream() {
            self.adds_framing = !request.headers().contains_key(TRANSFER_ENCODING);
            self.adds_expectation = !request.headers().contains_key(EXPECT);
        }
        frame(request);
        if let Entry::Vacant(vacant) = request.headers_mut().entry(HOST) {
            vacant.insert(host.header.clone());
            self.adds_host = true;
        }
        match forwards {
            // RFC 9112, section 3.2.2: a proxy needs all of it, and `http` shows the empty path as one.
            Some(forward) => {
                if let Some(authorization) = &forward.authorization {
                    if let Entry::Vacant(vacant) = request.headers_mut().entry(PROXY_AUTHORIZATION) {
                        vacant.insert(authorization.clone());
                        self.adds_proxy_authorization = true;
                    }
                }
            }
            None => {
                let root = || PathAndQuery::from_static("/");
                let path = request.uri().path_and_query().cloned().unwrap_or_else(root);
                self.uri = Some(mem::replace(request.uri_mut(), path.into()));
            }
        }
    }

    pub(super) fn over_http2(&mut self, request: &mut Request<Upload>) {
        *request.version_mut() = Version::HTTP_2;
        // RFC 9113, section 8.3.1: `:authority` stands in the place of `host`, of which there is to be no other.
        self.host = request.headers_mut().remove(HOST);
        let named = self.host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
        if let Some(authority) = named {
            let mut parts = request.uri().clone().into_parts();
            parts.authority = Some(authority);
            if let Ok(uri) = Uri::from_parts(parts) {
                self.uri = Some(mem::replace(request.uri_mut(), uri));
            }
        }
    }

    /// The request came back.
    pub(super) fn undo(&mut self, request: &mut Request<Upload>) {
        let before = mem::take(self);
        request.body_mut().release();
        for (name, added) in [
            (HOST, before.adds_host),
            (TRANSFER_ENCODING, before.adds_framing),
            (EXPECT, before.adds_expectation),
            (PROXY_AUTHORIZATION, before.adds_proxy_authorization),
        ] {
            if added {
                request.headers_mut().remove(name);
            }
        }
        if let Some(uri) = before.uri {
            *request.uri_mut() = uri;
        }
        if let Some(host) = before.host {
            request.headers_mut().insert(HOST, host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::super::core::Core;
    use super::super::key::Key;
    use super::*;
    use crate::base::body::Body;
    use crate::base::{Observe, Rng};
    use crate::client::ClientSettings;
    use crate::connect::Connector;

    #[test]
    fn a_request_that_comes_back_from_http2_is_as_its_caller_wrote_it() {
        let request =
            Request::get("http://a.test/x?y").header(HOST, "b.test:99").body(Body::empty()).unwrap();
        let mut request = Upload::of(request);
        let mut head = Head::default();
        head.over_http2(&mut request);
        assert_eq!(
            (request.uri().to_string(), request.headers().len()),
            ("http://b.test:99/x?y".to_owned(), 0)
        );
        head.undo(&mut request);
        assert_eq!(request.uri(), "http://a.test/x?y");
        assert_eq!(request.headers()[HOST], "b.test:99");
    }

    #[test]
    fn a_request_that_comes_back_from_http1_is_as_its_caller_wrote_it() {
        let core = Core::new(ClientSettings::new(), Connector::new(), Observe::default(), Rng::seeded(1));
        let core = Arc::new(core);
        for header in [None, Some((TRANSFER_ENCODING, "chunked")), Some((EXPECT, "100-continue"))] {
            // Of a length that nobody knows.
            let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
            let mut request = Request::get("http://a.test/x?y").body(Body::new(body)).unwrap();
            request.headers_mut().extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
            let written = request.headers().clone();
            let mut request = Upload::of(request);
            let host = Host::new(&core, Key::of(&request, None));
            let mut head = Head::default();
            head.over_http1(&mut request, &host, None);
            assert_eq!(
                (request.uri().to_string(), &request.headers()[HOST]),
                ("/x?y".to_owned(), &host.header)
            );
            assert_eq!(request.headers()[TRANSFER_ENCODING], "chunked");
            // As is done where the body waits until it is wanted.
            request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
            head.undo(&mut request);
            assert_eq!(
                (request.uri().to_string(), request.headers()),
                ("http://a.test/x?y".to_owned(), &written)
            );
        }
    }
}
