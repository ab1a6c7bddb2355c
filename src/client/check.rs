//! Decides whether a request can be sent as it is. Nothing here waits, locks or reads a clock.

use http::uri::Scheme;
use http::{Method, Request};

use super::InvalidRequest;

pub(super) fn sendable<B>(request: &Request<B>) -> Result<(), InvalidRequest> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err(InvalidRequest::Connect);
    }
    match uri.scheme() {
        None => return Err(InvalidRequest::Relative),
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => return Err(InvalidRequest::Tls),
        Some(_) => return Err(InvalidRequest::Scheme),
    }
    match uri.authority() {
        // RFC 9110, section 4.2.4: a sender must not generate user information.
        Some(authority) if authority.as_str().contains('@') => Err(InvalidRequest::UserInfo),
        Some(authority) if !authority.host().is_empty() => Ok(()),
        _ => Err(InvalidRequest::Relative),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, uri: &str) -> Result<(), String> {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        sendable(&request).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_the_part_that_is_wrong_and_without_its_value() {
        for (method, uri, named) in [
            (Method::GET, "/path?secret", "scheme and a host"),
            (Method::GET, "secret:80", "scheme and a host"),
            (Method::GET, "https://secret/", "TLS"),
            (Method::GET, "ftp://secret/", "`http`"),
            (Method::GET, "http://secret@host/", "user information"),
            (Method::GET, "http://secret:secret@host/", "user information"),
            (Method::CONNECT, "secret:443", "CONNECT"),
            (Method::OPTIONS, "*", "scheme and a host"),
        ] {
            let refused = checked(method, uri).unwrap_err();
            assert!(refused.contains(named) && !refused.contains("secret"), "{uri}: {refused}");
        }
        for uri in ["http://host", "http://host:80/a?b", "http://[::1]:80/", "HTTP://HOST/"] {
            assert_eq!(checked(Method::GET, uri), Ok(()), "{uri}");
        }
    }
}
