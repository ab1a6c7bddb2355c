//! Resolves a reference against the URI that it was found under (RFC 3986, section 5). Nothing here waits, locks or
//! reads a clock.

use http::Uri;

/// A URI or a relative reference in its parts, without its fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub(super) scheme: Option<&'a str>,
    pub(super) authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Any text is a reference; what it says may be of no use.
    pub(super) fn of(text: &'a str) -> Self {
        // A fragment is for whoever reads the document (RFC 9110, section 4.2.5).
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (text, query) =
            text.split_once('?').map_or((text, None), |(before, query)| (before, Some(query)));
        let (scheme, text) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (authority, path) = match text.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, text),
        };
        Self { scheme, authority, path, query }
    }

    fn of_uri(uri: &'a Uri) -> Self {
        Self {
            scheme: uri.scheme_str(),
            authority: uri.authority().map(http::uri::Authority::as_str),
            path: uri.path(),
            query: uri.query(),
        }
    }

    /// The URI that this means where `base` is the one of the document.
    pub(super) fn resolve(self, base: &Uri) -> Target {
        let base = Reference::of_uri(base);
        let (authority, path, query) = if self.scheme.is_some() || self.authority.is_some() {
            (self.authority, remove_dots(self.path), self.query)
        } else if self.path.is_empty() {
            (base.authority, base.path.to_owned(), self.query.or(base.query))
        } else if self.path.starts_with('/') {
            (base.authority, remove_dots(self.path), self.query)
        } else {
            // In the place of what follows the last slash.
            let folder = base.path.rfind('/').map_or("/", |last| &base.path[..=last]);
            (base.authority, remove_dots(&format!("{folder}{}", self.path)), self.query)
        };
        Target {
            scheme: self.scheme.or(base.scheme).unwrap_or_default().to_ascii_lowercase(),
            authority: authority.map(str::to_owned),
            path_and_query: match query {
                Some(query) => format!("{path}?{query}"),
                None => path,
            },
        }
    }
}

/// A URI in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: String,
    pub(super) authority: Option<String>,
    pub(super) path_and_query: String,
}

impl Target {
    /// As the transport takes it, if it is one that `http` can hold.
    pub(super) fn into_uri(self) -> Option<Uri> {
        let path = match self.path_and_query.as_bytes().first() {
            Some(b'/') => self.path_and_query,
            _ => format!("/{}", self.path_and_query),
        };
        let uri = Uri::builder().scheme(self.scheme.as_str()).authority(self.authority?);
        uri.path_and_query(path).build().ok()
    }
}

/// What a header says, as the text of a URI: bytes that stand in no URI are written as `%XX`. Servers send spaces and
/// letters of all languages, and mean those.
pub(super) fn written(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.trim_ascii() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=b' ' | 0x7f.. => {
                text.push('%');
                for half in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
                }
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// RFC 3986, section 5.2.4. What goes up from the top stays at the top.
fn remove_dots(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("../").or_else(|| rest.strip_prefix("./")) {
            rest = after;
        } else if rest.starts_with("/./") {
            rest = &rest[2..];
        } else if rest.starts_with("/../") {
            kept.truncate(kept.rfind('/').unwrap_or(0));
            rest = &rest[3..];
        } else {
            match rest {
                "." | ".." => break,
                "/." => rest = "/",
                "/.." => {
                    kept.truncate(kept.rfind('/').unwrap_or(0));
                    rest = "/";
                }
                _ => {
                    let slash = usize::from(rest.starts_with('/'));
                    let end = rest[slash..].find('/').map_or(rest.len(), |end| slash + end);
                    kept.push_str(&rest[..end]);
                    rest = &rest[end..];
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> String {
        let base = "http://a/b/c/d;p?q".parse().unwrap();
        let Target { scheme, authority, path_and_query } = Reference::of(reference).resolve(&base);
        let authority = authority.map(|authority| format!("//{authority}")).unwrap_or_default();
        format!("{scheme}:{authority}{path_and_query}")
    }

    /// RFC 3986, sections 5.4.1 and 5.4.2, without the fragments, which are dropped; and strict, as it says there.
    #[test]
    fn every_example_of_the_standard_resolves_as_it_says() {
        for (reference, target) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g"),
            ("g#s/../x", "http://a/b/c/g"),
            ("http:g", "http:g"),
            // Section 5.2.4, step 2D.
            ("http:.", "http:"),
            ("http:..", "http:"),
        ] {
            assert_eq!(resolved(reference), target, "{reference:?}");
        }
    }

    #[test]
    fn what_looks_like_a_scheme_and_is_none_is_a_path() {
        assert_eq!(resolved("1:2"), "http://a/b/c/1:2");
        assert_eq!(resolved("a/b:c"), "http://a/b/c/a/b:c");
        assert_eq!(resolved("HTTPS://G/"), "https://G/");
        assert_eq!(resolved("//g?y"), "http://g?y");
    }

    #[test]
    fn bytes_that_stand_in_no_uri_are_written_as_such() {
        assert_eq!(written(b" /a b\"c%20\xc3\xa4\\ "), "/a%20b%22c%20%C3%A4%5C");
        assert_eq!(written(b"http://[::1]:80/a?b=c&d#e"), "http://[::1]:80/a?b=c&d#e");
    }

    #[test]
    fn a_uri_comes_of_a_host_and_of_nothing_else() {
        let uri = |text: &str| {
            let base = "http://a/b".parse().unwrap();
            Reference::of(&written(text.as_bytes())).resolve(&base).into_uri().map(|uri| uri.to_string())
        };
        assert_eq!(uri("//g").as_deref(), Some("http://g/"));
        assert_eq!(uri("//g?y").as_deref(), Some("http://g/?y"));
        assert_eq!(uri("/ä").as_deref(), Some("http://a/%C3%A4"));
        for none in ["http:g", "http://", "http:///path", "http://a b/", "http://[::1/"] {
            assert_eq!(uri(none), None, "{none}");
        }
    }
}
