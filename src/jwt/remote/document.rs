//! Where keys are: addresses, and the document in which an issuer says its own (OpenID Connect Discovery 1.0).

use http::Uri;
use serde::Deserialize;

use super::NotKeys;
use crate::jwt::json::Checked;
use crate::jwt::jwk;

/// Below the address of an issuer (section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Members of no interest are left out.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where the keys are, if this is the document of that issuer: it must say so itself, to the letter (section 4.3), or keys of one could
/// be passed off as those of another.
pub(super) fn jwks_uri(json: &[u8], issuer: &str, plain: bool) -> Result<Uri, NotKeys> {
    let json = std::str::from_utf8(json).map_err(|_| NotKeys::Document)?;
    let is_strict = jwk::is_object(json) && serde_json::from_str::<Checked>(json).is_ok();
    let document: Document =
        serde_json::from_str(json).ok().filter(|_| is_strict).ok_or(NotKeys::Document)?;
    if document.issuer != issuer {
        return Err(NotKeys::OtherIssuer);
    }
    address(&document.jwks_uri, plain).ok_or(NotKeys::Address)
}

/// Where the document of an issuer is. Nothing, if it is no issuer: one has no query and no fragment (section 2).
pub(super) fn configuration(issuer: &str, plain: bool) -> Option<Uri> {
    issuer_address(issuer, plain)?;
    address(&format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)), plain)
}

/// The name of an issuer, as an address.
pub(in crate::jwt) fn issuer_address(issuer: &str, plain: bool) -> Option<Uri> {
    address(issuer, plain).filter(|uri| uri.query().is_none())
}

/// `https`, or `http` if that was allowed, with a host and nobody's name or password.
pub(in crate::jwt) fn address(text: &str, plain: bool) -> Option<Uri> {
    // The parser would leave a fragment out.
    let uri: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    let scheme = uri.scheme_str()?;
    let is_allowed = scheme == "https" || (plain && scheme == "http");
    let authority = uri.authority()?;
    (is_allowed && !authority.as_str().contains('@') && !authority.host().is_empty()).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://id.example/realm";

    fn read(json: &str) -> Result<Uri, NotKeys> {
        jwks_uri(json.as_bytes(), ISSUER, false)
    }

    #[test]
    fn the_document_of_an_issuer_stands_below_it() {
        for (issuer, document) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            (ISSUER, "https://id.example/realm/.well-known/openid-configuration"),
            ("https://id.example:8443/a/", "https://id.example:8443/a/.well-known/openid-configuration"),
        ] {
            assert_eq!(configuration(issuer, false).unwrap(), document);
        }
        for issuer in [
            "",
            "id.example",
            "/realm",
            "http://id.example",
            "ftp://id.example",
            "https://",
            "https://id.example?a=b",
            "https://id.example#a",
            "https://me:secret@id.example",
        ] {
            assert!(configuration(issuer, false).is_none(), "{issuer}");
        }
        assert!(configuration("http://127.0.0.1:8080", true).is_some());
    }

    #[test]
    fn a_document_must_be_that_of_the_issuer_to_the_letter() {
        let good = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"https://keys.example/a?b","more":[1]}}"#);
        assert_eq!(read(&good).unwrap(), "https://keys.example/a?b");
        for issuer in ["https://id.example", "https://id.example/realm/", "https://ID.example/realm", ""] {
            let other = good.replace(ISSUER, issuer);
            assert_eq!(read(&other).unwrap_err(), NotKeys::OtherIssuer, "{issuer}");
        }
    }

    #[test]
    fn keys_are_fetched_over_tls_unless_it_is_said_otherwise() {
        let of = |uri: &str| format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}"}}"#);
        for uri in [
            "http://id.example/keys",
            "file:///etc/passwd",
            "/keys",
            "",
            "https://a:b@id.example/keys",
            "https://id.example/keys#a",
        ] {
            assert_eq!(read(&of(uri)).unwrap_err(), NotKeys::Address, "{uri}");
        }
        let plain = jwks_uri(of("http://id.example/keys").as_bytes(), ISSUER, true);
        assert_eq!(plain.unwrap(), "http://id.example/keys");
    }

    #[test]
    fn what_is_no_document_is_none() {
        for json in [
            "",
            "[]",
            r#"["https://id.example/realm","https://id.example/keys"]"#,
            "{}",
            r#"{"issuer":"https://id.example/realm"}"#,
            r#"{"issuer":1,"jwks_uri":"https://id.example/keys"}"#,
            r#"{"issuer":"https://id.example/realm","jwks_uri":"https://id.example/keys","a":{"b":1,"b":2}}"#,
            r#"{"issuer":"https://id.example/realm","jwks_uri":"https://id.example/keys"} x"#,
        ] {
            assert_eq!(read(json).unwrap_err(), NotKeys::Document, "{json}");
        }
        assert_eq!(jwks_uri(b"\xff", ISSUER, false).unwrap_err(), NotKeys::Document);
    }
}
