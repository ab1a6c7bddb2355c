//! Where an issuer publishes what, and what is answered to whom.

use http::Method;

/// Below the address of an issuer (OpenID Connect Discovery 1.0, section 4).
const CONFIGURATION: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/.well-known/jwks.json";

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Configuration,
    Jwks,
    /// It is there, and cannot be had like this.
    NotLikeThis,
    Nothing,
}

/// Where an issuer's documents are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    configuration: Box<str>,
    jwks: Box<str>,
    pub(super) jwks_uri: Box<str>,
}

impl Paths {
    /// Of this issuer, whose own path this is.
    pub(super) fn of(issuer: &str, path: &str) -> Self {
        let (issuer, path) = (cut(issuer), cut(path));
        Self {
            configuration: format!("{path}{CONFIGURATION}").into(),
            jwks: format!("{path}{JWKS}").into(),
            jwks_uri: format!("{issuer}{JWKS}").into(),
        }
    }

    pub(super) fn asked(&self, method: &Method, path: &str) -> Asked {
        let asked = match path {
            path if path == &*self.configuration => Asked::Configuration,
            path if path == &*self.jwks => Asked::Jwks,
            _ => return Asked::Nothing,
        };
        if matches!(*method, Method::GET | Method::HEAD) { asked } else { Asked::NotLikeThis }
    }
}

fn cut(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_stand_below_their_issuer() {
        for (issuer, path, base) in [
            ("https://id.example", "/", ""),
            ("https://id.example/", "/", ""),
            ("https://id.example/a/b", "/a/b", "/a/b"),
            ("https://id.example/a/", "/a/", "/a"),
        ] {
            let paths = Paths::of(issuer, path);
            assert_eq!(&*paths.jwks_uri, format!("https://id.example{base}/.well-known/jwks.json"));
            let asked = |method: Method, end: &str| paths.asked(&method, &format!("{base}{end}"));
            assert_eq!(asked(Method::GET, "/.well-known/jwks.json"), Asked::Jwks);
            assert_eq!(asked(Method::HEAD, "/.well-known/openid-configuration"), Asked::Configuration);
            assert_eq!(asked(Method::POST, "/.well-known/jwks.json"), Asked::NotLikeThis);
            for end in ["", "/", "/.well-known", "/.well-known/jwks.json/", "/jwks.json"] {
                assert_eq!(asked(Method::GET, end), Asked::Nothing, "{end}");
            }
        }
    }
}
