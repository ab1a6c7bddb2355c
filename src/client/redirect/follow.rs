//! Decides where a redirect leads, and what of the request goes there. Nothing here waits, locks or reads a clock.

use http::header::{AUTHORIZATION, COOKIE, EXPECT, HOST, LOCATION, PROXY_AUTHORIZATION, REFERER};
use http::header::{TRAILER, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri};

use super::reference::{Reference, written};
use super::{InvalidRedirect, TooManyRedirects};
use crate::base::{Call, HostPort, IDEMPOTENCY_KEY};

/// What the caller gets in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Invalid(InvalidRedirect),
    TooMany(TooManyRedirects),
}

/// The next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    uri: Uri,
    /// It is a GET, or HEAD, with no body, whatever the last one was.
    pub(super) without_body: bool,
}

/// How a request may be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How many redirects have been followed.
    pub(super) followed: u32,
    /// How many may be.
    pub(super) limit: u32,
    /// There is a copy of the body.
    pub(super) has_body: bool,
}

/// What comes after this answer to this request: nothing, if the answer is for the caller.
pub(super) fn next(
    asked: &Request<()>,
    terms: Terms,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Step>, Stop> {
    let without_body = match status {
        StatusCode::SEE_OTHER => true,
        // As all clients have done ever since, and as RFC 9110, section 15.4, allows.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *asked.method() == Method::POST,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let mut locations = headers.get_all(LOCATION).iter();
    let Some(location) = locations.next() else { return Ok(None) };
    if !without_body && !terms.has_body {
        return Ok(None);
    }
    if locations.next().is_some() {
        return Err(Stop::Invalid(InvalidRedirect::Location));
    }
    let uri = target(asked.uri(), location.as_bytes()).map_err(Stop::Invalid)?;
    if terms.followed >= terms.limit {
        return Err(Stop::TooMany(TooManyRedirects::after(terms.followed)));
    }
    Ok(Some(Step { uri, without_body }))
}

fn target(base: &Uri, location: &[u8]) -> Result<Uri, InvalidRedirect> {
    let text = written(location);
    let target = Reference::of(&text).resolve(base);
    let is_secure = match target.scheme.as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(InvalidRedirect::Scheme),
    };
    if target.authority.as_ref().is_some_and(|authority| authority.contains('@')) {
        return Err(InvalidRedirect::UserInfo);
    }
    let uri = target.into_uri().ok_or(InvalidRedirect::Location)?;
    if !is_secure && base.scheme() == Some(&Scheme::HTTPS) {
        return Err(InvalidRedirect::Insecure);
    }
    Ok(uri)
}

impl Step {
    /// Make this head that of the next request.
    pub(super) fn take(self, head: &mut Request<()>) {
        let before = origin(head);
        *head.uri_mut() = self.uri;
        if self.without_body {
            if *head.method() != Method::HEAD {
                *head.method_mut() = Method::GET;
            }
            // It was that of the request with the body, and there is nothing about this one that could be done twice.
            head.headers_mut().remove(IDEMPOTENCY_KEY);
            if Call::of(head.extensions()).wants_key() {
                Call::edit(head.extensions_mut(), Call::unkeyed);
            }
            drop_fields(head.headers_mut(), |name, _| is_of_content(name));
        }
        if before != origin(head) {
            drop_fields(head.headers_mut(), is_for_one_origin);
        }
    }
}

/// RFC 6454, section 4, without a copy of anything but the handle of the host.
fn origin(head: &Request<()>) -> (Option<Scheme>, HostPort) {
    (head.uri().scheme().cloned(), HostPort::of(head))
}

/// What is told to one server is not told to another: not who is asking, and not what the request was marked with there.
fn is_for_one_origin(name: &HeaderName, headers: &HeaderMap) -> bool {
    [AUTHORIZATION, COOKIE, HOST, IDEMPOTENCY_KEY, PROXY_AUTHORIZATION, REFERER, WWW_AUTHENTICATE]
        .contains(name)
        || headers.get_all(name).iter().any(http::HeaderValue::is_sensitive)
}

fn is_of_content(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-")
        || [EXPECT, TRAILER, TRANSFER_ENCODING].contains(name)
        || matches!(name.as_str(), "digest" | "repr-digest")
}

fn drop_fields(headers: &mut HeaderMap, is_dropped: impl Fn(&HeaderName, &HeaderMap) -> bool) {
    let dropped: Vec<_> = headers.keys().filter(|name| is_dropped(name, headers)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { followed: 0, limit: 10, has_body: true };

    fn asked(method: Method, uri: &str, fields: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    fn location(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(LOCATION, value.parse().unwrap())])
    }

    /// Where it goes from `http://a/x`, and with which method.
    fn followed(method: Method, status: u16, terms: Terms) -> Option<Method> {
        let mut head = asked(method, "http://a/x", &[]);
        let status = StatusCode::from_u16(status).unwrap();
        next(&head, terms, status, &location("/y")).unwrap().map(|step| {
            step.take(&mut head);
            assert_eq!(head.uri(), "http://a/y");
            head.method().clone()
        })
    }

    #[test]
    fn the_status_decides_the_method_of_the_next_request() {
        let (get, head, post, put) = (Method::GET, Method::HEAD, Method::POST, Method::PUT);
        let cells = [
            (301, [&get, &head, &get, &put]),
            (302, [&get, &head, &get, &put]),
            (303, [&get, &head, &get, &get]),
            (307, [&get, &head, &post, &put]),
            (308, [&get, &head, &post, &put]),
        ];
        for (status, expected) in cells {
            for (method, expected) in [&get, &head, &post, &put].into_iter().zip(expected) {
                let kept = followed(method.clone(), status, TERMS);
                assert_eq!(kept.as_ref(), Some(expected), "{method} {status}");
                let unkept = followed(method.clone(), status, Terms { has_body: false, ..TERMS });
                let changes = status == 303 || (*method == post && status < 303);
                assert_eq!(unkept.is_some(), changes, "{method} {status}: only without the body");
            }
        }
        for status in [200, 201, 300, 304, 305, 306, 399, 401, 503] {
            assert_eq!(followed(get.clone(), status, TERMS), None, "{status}");
        }
    }

    #[test]
    fn an_answer_that_does_not_say_where_to_is_an_answer() {
        let next = next(&asked(Method::GET, "http://a/", &[]), TERMS, StatusCode::FOUND, &HeaderMap::new());
        assert_eq!(next, Ok(None));
    }

    #[test]
    fn what_is_never_followed_is_told_by_its_reason() {
        use InvalidRedirect::{Insecure, Location, Scheme, UserInfo};
        for (from, to, why) in [
            ("https://a/", "http://a/", Insecure),
            ("https://a/", "http://b:443/", Insecure),
            ("http://a/", "ftp://a/", Scheme),
            ("http://a/", "file:///etc/passwd", Scheme),
            ("http://a/", "javascript:alert(1)", Scheme),
            ("http://a/", "http://me:secret@a/", UserInfo),
            ("http://a/", "//me@b/", UserInfo),
            ("http://a/", "http://b\\@a/", UserInfo),
            ("http://a/", "http://", Location),
            ("http://a/", "http:b", Location),
            ("http://a/", "http://b c/", Location),
        ] {
            let stop = next(&asked(Method::GET, from, &[]), TERMS, StatusCode::FOUND, &location(to));
            assert_eq!(stop, Err(Stop::Invalid(why)), "{from} to {to}");
        }
        let mut twice = location("/a");
        twice.append(LOCATION, "/b".parse().unwrap());
        let stop = next(&asked(Method::GET, "http://a/", &[]), TERMS, StatusCode::FOUND, &twice);
        assert_eq!(stop, Err(Stop::Invalid(Location)));
        assert!(
            next(&asked(Method::GET, "https://a/", &[]), TERMS, StatusCode::FOUND, &location("/b")).is_ok()
        );
        assert!(
            next(&asked(Method::GET, "http://a/", &[]), TERMS, StatusCode::FOUND, &location("https://a/"))
                .is_ok()
        );
    }

    #[test]
    fn the_last_redirect_that_may_be_followed_is_followed_and_the_next_is_an_error() {
        let at = |followed| {
            let terms = Terms { followed, limit: 2, ..TERMS };
            next(&asked(Method::GET, "http://a/", &[]), terms, StatusCode::FOUND, &location("/"))
        };
        assert!(matches!(at(1), Ok(Some(_))));
        assert_eq!(at(2), Err(Stop::TooMany(TooManyRedirects::after(2))));
    }

    /// The names of the fields that go on, sorted.
    fn kept(from: &str, to: &str, status: StatusCode) -> Vec<String> {
        let fields = [
            ("accept", "*/*"),
            ("authorization", "secret"),
            ("content-digest", "secret"),
            ("content-length", "3"),
            ("content-type", "a/b"),
            ("cookie", "secret"),
            ("expect", "100-continue"),
            ("host", "a"),
            ("idempotency-key", "\"k\""),
            ("proxy-authorization", "secret"),
            ("referer", "http://a/"),
            ("www-authenticate", "secret"),
            ("x-plain", "public"),
        ];
        let mut head = asked(Method::POST, from, &fields);
        let mut marked = http::HeaderValue::from_static("secret");
        marked.set_sensitive(true);
        head.headers_mut().append("x-key", "public".parse().unwrap());
        head.headers_mut().append("x-key", marked);
        next(&head, TERMS, status, &location(to)).unwrap().unwrap().take(&mut head);
        let mut names: Vec<_> = head.headers().keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_meant_for_one_origin_stays_there() {
        let (see_other, temporary) = (StatusCode::SEE_OTHER, StatusCode::TEMPORARY_REDIRECT);
        for to in ["/b", "http://a:80/b", "HTTP://A/b", "//a:/b"] {
            assert_eq!(kept("http://a/", to, temporary).len(), 14, "{to}");
            let without_body = kept("http://a/", to, see_other);
            assert!(without_body.contains(&"authorization".to_owned()), "{to}: {without_body:?}");
            assert!(!without_body.iter().any(|name| name.starts_with("content-")), "{to}: {without_body:?}");
            assert!(!without_body.contains(&"idempotency-key".to_owned()), "{to}: {without_body:?}");
        }
        for to in ["http://b/", "http://a:81/", "https://a/", "https://a:80/", "//a.b/"] {
            let content = ["accept", "content-digest", "content-length", "content-type", "expect", "x-plain"];
            assert_eq!(kept("http://a/", to, temporary), content, "{to}");
            assert_eq!(kept("http://a/", to, see_other), ["accept", "x-plain"], "{to}");
        }
    }

    #[test]
    fn a_key_that_was_to_be_made_is_not_made_for_the_request_that_replaces_the_one_with_the_body() {
        for (status, wants) in [(StatusCode::SEE_OTHER, false), (StatusCode::TEMPORARY_REDIRECT, true)] {
            let mut head = asked(Method::POST, "http://a/", &[]);
            Call::edit(head.extensions_mut(), |call| call.keyed().attempts(2));
            next(&head, TERMS, status, &location("/")).unwrap().unwrap().take(&mut head);
            let call = Call::of(head.extensions());
            assert_eq!((call.wants_key(), call.max_attempts()), (wants, Some(2)));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_leads_to_a_host_or_nowhere(
            location in prop::collection::vec(prop_oneof![
                any::<u8>().boxed(),
                prop::sample::select(&b"/.:?#@\\%[]"[..]).boxed(),
            ], 0..40),
            is_secure: bool,
        ) {
            let base = if is_secure { "https://a/b/c?d" } else { "http://a/b/c?d" };
            if let Ok(uri) = target(&base.parse().unwrap(), &location) {
                let scheme = uri.scheme_str().unwrap();
                prop_assert!(scheme == "https" || (scheme == "http" && !is_secure), "{uri}");
                prop_assert!(uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
                prop_assert!(uri.path().starts_with('/'), "{uri}");
                prop_assert!(!uri.path().split('/').any(|part| part == "." || part == ".."), "{uri}");
            }
        }
    }
}
