//! A copy of a request.

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

use super::Replay;

/// A request in its parts: `http` has no way to copy a head but into one that is there already, and every call makes a
/// copy.
#[derive(Debug)]
pub(crate) struct Kept<B> {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    extensions: Extensions,
    body: B,
}

impl<B: Replay> Kept<B> {
    /// A copy of a request whose body is recorded, as long as that can be read a second time.
    #[inline]
    pub(crate) fn of(request: &Request<B>) -> Option<Self> {
        Some(Self {
            body: request.body().fork()?,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
        })
    }

    /// Whether a request can be had from it now.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.is_replayable()
    }

    /// Make sure of it: whatever still reads the body for the attempt that failed has to stop, since it would eat what
    /// the next one needs.
    pub(crate) fn take_over(&mut self) {
        self.body.take_over();
    }

    /// The last request that is had from it, if there is one. Whatever still reads the body has to stop then.
    pub(crate) fn into_request(mut self) -> Option<Request<B>> {
        if !self.is_replayable() {
            return None;
        }
        self.take_over();
        let Self { method, uri, version, headers, extensions, body } = self;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        Some(request)
    }

    /// A request, as long as the body allows one more.
    pub(crate) fn request(&self) -> Option<Request<B>> {
        let mut request = Request::new(self.body.fork()?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        Some(request)
    }
}

impl<B> Kept<B> {
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    #[cfg(feature = "retry")]
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}
