//! Decides whether a request can be sent as it is. Nothing here waits, locks or reads a clock.

use http::header::CONTENT_LENGTH;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request};
use http_body::{Body, SizeHint};

use super::InvalidRequest;

/// `tls`: whether the transport may be able to speak it.
pub(crate) fn sendable<B: Body>(request: &Request<B>, tls: bool) -> Result<(), InvalidRequest> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err(InvalidRequest::Connect);
    }
    match uri.scheme() {
        None => return Err(InvalidRequest::Relative),
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS && tls => {}
        Some(scheme) if *scheme == Scheme::HTTPS => return Err(InvalidRequest::Tls),
        Some(_) => return Err(InvalidRequest::Scheme),
    }
    match uri.authority() {
        // RFC 9110, section 4.2.4: a sender must not generate user information.
        Some(authority) if authority.as_str().contains('@') => return Err(InvalidRequest::UserInfo),
        Some(authority) => match authority.host() {
            "" => return Err(InvalidRequest::Relative),
            host if is_port_wrong(authority, host) => return Err(InvalidRequest::Port),
            _ => {}
        },
        None => return Err(InvalidRequest::Relative),
    }
    if is_length_wrong(request.headers(), &request.body().size_hint()) {
        return Err(InvalidRequest::ContentLength);
    }
    Ok(())
}

/// `http` takes any text for a port, and says that there is none if it is no port: the request would go to port 80.
fn is_port_wrong(authority: &Authority, host: &str) -> bool {
    // An empty port is the default one (RFC 3986, section 3.2.3).
    let port = authority.as_str().get(host.len() + ":".len()..).unwrap_or_default();
    !port.is_empty() && port.parse::<u16>().is_err()
}

/// RFC 9110, section 8.6: a sender must not forward a length that it knows to be incorrect. The peer would wait for
/// bytes that never come, or take what is too much for the next request.
fn is_length_wrong(headers: &HeaderMap, size: &SizeHint) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return false };
    let length = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) => {
            values.next().is_some() || length < size.lower() || size.upper().is_some_and(|most| length > most)
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, uri: &str) -> Result<(), String> {
        let request = Request::builder().method(method).uri(uri).body(String::new()).unwrap();
        sendable(&request, false).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_the_part_that_is_wrong_and_without_its_value() {
        for (method, uri, named) in [
            (Method::GET, "/path?secret", "scheme and a host"),
            (Method::GET, "secret:80", "scheme and a host"),
            (Method::GET, "http://:80/secret", "scheme and a host"),
            (Method::GET, "https://secret/", "TLS"),
            (Method::GET, "ftp://secret/", "`http`"),
            (Method::GET, "http://secret@host/", "user information"),
            (Method::GET, "http://secret:secret@host/", "user information"),
            (Method::GET, "http://host:99999/secret", "port"),
            (Method::GET, "http://host:secret/", "port"),
            (Method::GET, "http://[::1]:70000/secret", "port"),
            (Method::CONNECT, "secret:443", "CONNECT"),
            (Method::OPTIONS, "*", "scheme and a host"),
        ] {
            let refused = checked(method, uri).unwrap_err();
            assert!(refused.contains(named) && !refused.contains("secret"), "{uri}: {refused}");
        }
        for uri in [
            "http://host",
            "http://host:80/a?b",
            "http://host:/",
            "http://[::1]:80/",
            "http://[::1]/",
            "HTTP://HOST/",
        ] {
            assert_eq!(checked(Method::GET, uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn a_transport_that_may_speak_tls_is_handed_https() {
        let request = Request::get("https://host/").body(String::new()).unwrap();
        assert!(sendable(&request, true).is_ok());
    }

    #[test]
    fn a_length_that_is_not_that_of_the_body_is_refused() {
        for (lengths, right) in [
            (&[][..], true),
            (&["5"], true),
            (&["4"], false),
            (&["6"], false),
            (&["5", "5"], false),
            (&["+5"], false),
            (&["five"], false),
            (&[""], false),
        ] {
            let mut request = Request::post("http://host/").body("five!".to_owned()).unwrap();
            for length in lengths {
                request.headers_mut().append(CONTENT_LENGTH, length.parse().unwrap());
            }
            assert_eq!(sendable(&request, false).is_ok(), right, "{lengths:?}");
        }
        let mut unknown = SizeHint::new();
        unknown.set_lower(3);
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, 4.into())]);
        assert!(!is_length_wrong(&headers, &unknown), "a stream may know its length");
        unknown.set_lower(5);
        assert!(is_length_wrong(&headers, &unknown));
    }
}
