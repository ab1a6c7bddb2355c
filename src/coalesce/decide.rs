//! Which requests are one and the same, and whose answer may be shared. Nothing here waits, locks or reads a clock.

use std::hash::{Hash, Hasher};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri, response};

/// What makes two requests the same: all that they say, but for the fields that were named as saying nothing about the answer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    method: Method,
    uri: Uri,
    /// In the order of their names; those of one name in the order in which they stand there.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.method, &self.uri).hash(state);
        for (name, value) in &self.fields {
            (name, value).hash(state);
        }
    }
}

impl Key {
    /// The key of a request, and the fields that are not in it. Nothing, if it is sent whatever others ask for.
    pub(super) fn of<B: http_body::Body>(
        request: &Request<B>,
        ignored: &[HeaderName],
    ) -> Option<(Self, HeaderMap)> {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let headers = request.headers();
        let wants_its_own = headers.contains_key(header::UPGRADE)
            || says(headers, &header::CACHE_CONTROL, &["no-store", "no-cache"])
            || says(headers, &header::PRAGMA, &["no-cache"]);
        if !safe || wants_its_own || !request.body().is_end_stream() {
            return None;
        }
        let (mut fields, mut left_out) = (Vec::with_capacity(headers.len()), HeaderMap::new());
        for (name, value) in headers {
            if ignored.contains(name) {
                left_out.append(name.clone(), value.clone());
            } else {
                fields.push((name.clone(), value.clone()));
            }
        }
        // It keeps the order of those of one name.
        fields.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        Some((Self { method: request.method().clone(), uri: request.uri().clone(), fields }, left_out))
    }
}

/// Whether an answer may be given to others who have asked for the same: not if it says that it is for one only, or makes somebody
/// who was nobody in particular somebody (RFC 9111, sections 4 and 5.2.2; RFC 9110, section 12.5.5).
pub(super) fn may_share(head: &response::Parts) -> bool {
    let headers = &head.headers;
    head.status != StatusCode::SWITCHING_PROTOCOLS
        && !headers.contains_key(header::SET_COOKIE)
        && !says(headers, &header::CACHE_CONTROL, &["no-store", "private"])
        && !says(headers, &header::VARY, &["*"])
}

/// Whether two requests agree in those fields that the answer depends on. In all others than these they do.
pub(super) fn agree(answer: &HeaderMap, one: &HeaderMap, other: &HeaderMap) -> bool {
    words(answer, &header::VARY).all(|name| {
        let values = |of: &HeaderMap| of.get_all(name).iter().cloned().collect::<Vec<_>>();
        values(one) == values(other)
    })
}

/// Whether one of these words stands in a list, with or without an argument.
fn says(headers: &HeaderMap, name: &HeaderName, wanted: &[&str]) -> bool {
    headers.get_all(name).iter().any(|value| value.to_str().is_err())
        || words(headers, name).any(|word| wanted.iter().any(|wanted| word.eq_ignore_ascii_case(wanted)))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|word| word.split('=').next().unwrap_or(word).trim())
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use http_body_util::{Empty, Full};

    use super::*;

    fn get(fields: &[(&str, &str)]) -> Request<Empty<bytes::Bytes>> {
        let mut request = Request::get("http://a.test/x?y=1").body(Empty::new()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        request
    }

    fn key(fields: &[(&str, &str)]) -> Option<Key> {
        Key::of(&get(fields), &[HeaderName::from_static("traceparent")]).map(|(key, _)| key)
    }

    #[test]
    fn requests_are_the_same_if_they_say_the_same_in_whatever_order() {
        let both = [("accept", "a"), ("cookie", "c")];
        let hash = |key: Option<Key>| BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        assert!(key(&both) == key(&[both[1], both[0]]));
        assert_eq!(hash(key(&both)), hash(key(&[both[1], both[0]])));
        assert!(key(&both) == key(&[both[0], both[1], ("traceparent", "1")]));
        for other in [
            &[("accept", "a"), ("cookie", "d")][..],
            &[("accept", "a")],
            &[("accept", "a"), ("cookie", "c"), ("x-api-key", "k")],
            &[("accept", "a"), ("cookie", "c"), ("cookie", "c")],
        ] {
            assert!(key(&both) != key(other), "{other:?}");
            assert_ne!(hash(key(&both)), hash(key(other)), "they are found apart: {other:?}");
        }
        let values = [("accept", "a"), ("accept", "b")];
        assert!(key(&values) != key(&[values[1], values[0]]), "the order of one field's values counts");
        let of = |request: Request<Empty<bytes::Bytes>>| Key::of(&request, &[]).map(|(key, _)| key);
        let mut elsewhere = get(&[]);
        *elsewhere.uri_mut() = "http://b.test/x?y=1".parse().unwrap();
        let mut head = get(&[]);
        *head.method_mut() = Method::HEAD;
        assert!(of(get(&[])) != of(elsewhere) && of(get(&[])) != of(head));
    }

    #[test]
    fn who_changes_something_or_wants_it_new_is_not_joined() {
        for field in [
            ("cache-control", "max-age=0, No-Store"),
            ("cache-control", "no-cache"),
            ("upgrade", "websocket"),
        ] {
            assert!(key(&[field]).is_none(), "{field:?}");
        }
        let mut post = get(&[]);
        *post.method_mut() = Method::POST;
        assert!(Key::of(&post, &[]).is_none());
        let with_a_body = Request::get("/").body(Full::<bytes::Bytes>::from("x")).unwrap();
        assert!(Key::of(&with_a_body, &[]).is_none());
    }

    #[test]
    fn an_answer_for_one_is_for_one() {
        let answer = |name: &str, value: &str| {
            http::Response::builder().header(name, value).body(()).unwrap().into_parts().0
        };
        for (name, value, shared) in [
            ("cache-control", "max-age=60", true),
            ("cache-control", "public", true),
            ("cache-control", "max-age=0, private=\"x\"", false),
            ("cache-control", "no-store", false),
            ("set-cookie", "id=1", false),
            ("vary", "accept, *", false),
            ("vary", "accept", true),
        ] {
            assert_eq!(may_share(&answer(name, value)), shared, "{name}: {value}");
        }
    }

    #[test]
    fn who_differs_in_what_the_answer_varies_by_has_another_answer() {
        let fields = |value: &str| get(&[("x-trace", value)]).headers().clone();
        let vary = |value: &str| get(&[("vary", value)]).headers().clone();
        assert!(agree(&vary("accept"), &fields("1"), &fields("2")));
        assert!(!agree(&vary("accept, X-Trace"), &fields("1"), &fields("2")));
        assert!(agree(&vary("X-Trace"), &fields("1"), &fields("1")));
        assert!(!agree(&vary("X-Trace"), &fields("1"), &HeaderMap::new()));
    }
}
