//! What a server answers who is asked for a token (RFC 6749, sections 5.1 and 5.2). Nothing here waits, locks or reads a clock.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::AccessToken;
use super::error::{NoToken, Refusal};

/// A token, and for how long it is good, if the server said so.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: AccessToken,
    pub(super) lifetime: Option<Duration>,
}

/// The words of RFC 6749, section 5.2, and of section 4.1.2.1 those that servers write here as well; of RFC 8707, section 2, what they say
/// of a `resource` that they do not know.
const WORDS: [&str; 10] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Granted, NoToken> {
    // The last two say that this request came too slowly, or too early, and nothing of who asks.
    let may_pass = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY];
    if may_pass.contains(&status) || status.is_server_error() {
        return Err(NoToken::Unavailable { status });
    }
    let members = serde_json::from_slice::<Members>(body);
    if status != StatusCode::OK {
        let said = members.ok().and_then(|members| members.error);
        let error = said.and_then(|said| WORDS.into_iter().find(|word| *word == said));
        return Err(NoToken::Refused { why: Refusal { status, error } });
    }
    let unreadable = |what| NoToken::Unreadable { what };
    let members = members.map_err(|_| unreadable("it is no JSON object, or a member has a wrong type"))?;
    // A token of another type is not to be used like one of this (RFC 6749, section 7.1).
    match members.token_type {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err(unreadable("its type is not `Bearer`")),
        None => return Err(unreadable("it does not say of which type the token is")),
    }
    let token = members.access_token.ok_or(unreadable("there is none"))?;
    let token = AccessToken::new(&token, members.scope.as_deref());
    let token = token.ok_or(unreadable("it has characters that a token cannot have"))?;
    Ok(Granted { token, lifetime: members.expires_in })
}

/// What is looked at.
#[derive(Default)]
struct Members {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Duration>,
    scope: Option<String>,
    error: Option<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    match &*name {
                        "access_token" => once(&mut members.access_token, &mut map)?,
                        "token_type" => once(&mut members.token_type, &mut map)?,
                        "scope" => once(&mut members.scope, &mut map)?,
                        "error" => once(&mut members.error, &mut map)?,
                        "expires_in" => {
                            let mut seconds: Option<Seconds> = None;
                            once(&mut seconds, &mut map)?;
                            twice(members.expires_in.is_some())?;
                            members.expires_in = seconds.map(|Seconds(length)| length);
                        }
                        _ => {
                            // Read, so that it is JSON; of what is skipped nobody knows that.
                            map.next_value::<serde_json::Value>()?;
                        }
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// A member, which is not there if it is null. Of two, which is meant?
fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    place: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    twice(place.is_some())?;
    *place = map.next_value()?;
    Ok(())
}

fn twice<E: Error>(is_there: bool) -> Result<(), E> {
    if is_there { Err(E::custom("a member stands there twice")) } else { Ok(()) }
}

/// A number of seconds, which some servers write as a text. What is below zero is zero.
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A number is not always handed on as one: see `arbitrary_precision` of serde_json, which another crate may switch on.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(seconds) => Ok(Self::of(&seconds)),
            serde_json::Value::String(text)
                if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                // What cannot be read is more than there are.
                Ok(Self(text.parse().map_or(Duration::MAX, Duration::from_secs)))
            }
            _ => Err(D::Error::custom("it is no number of seconds")),
        }
    }
}

impl Seconds {
    fn of(number: &serde_json::Number) -> Self {
        if let Some(seconds) = number.as_u64() {
            return Self(Duration::from_secs(seconds));
        }
        let seconds = number.as_f64().unwrap_or(f64::INFINITY);
        let beyond = if seconds < 0.0 { Duration::ZERO } else { Duration::MAX };
        Self(Duration::try_from_secs_f64(seconds).unwrap_or(beyond))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(json: &str) -> Result<Granted, NoToken> {
        read(StatusCode::OK, json.as_bytes())
    }

    fn lifetime(expires_in: &str) -> Option<Option<Duration>> {
        let json = format!(
            r#"{{"access_token":"t","token_type":"Bearer"{}{expires_in}}}"#,
            if expires_in.is_empty() { "" } else { r#","expires_in":"# }
        );
        granted(&json).ok().map(|granted| granted.lifetime)
    }

    #[test]
    fn the_example_of_the_standard() {
        let json = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600}"#;
        assert!(matches!(granted(json), Err(NoToken::Unreadable { .. })), "a type that nobody knows");
        let found = granted(&json.replace("example", "bEARER")).unwrap();
        assert_eq!(found.token.secret(), "2YotnFZFEjr1zCsicMWpAA");
        assert_eq!(found.token.header(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
        assert!(found.token.header().is_sensitive());
        assert_eq!((found.lifetime, found.token.scope()), (Some(Duration::from_secs(3600)), None));
    }

    #[test]
    fn how_long_it_is_good_is_read_in_all_the_ways_that_it_is_written() {
        for (expires_in, expected) in [
            ("", None),
            ("null", None),
            ("0", Some(Duration::ZERO)),
            ("-5", Some(Duration::ZERO)),
            ("-1e300", Some(Duration::ZERO)),
            (r#""3600""#, Some(Duration::from_secs(3600))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("1e300", Some(Duration::MAX)),
            ("18446744073709551615", Some(Duration::from_secs(u64::MAX))),
            (r#""99999999999999999999999""#, Some(Duration::MAX)),
        ] {
            assert_eq!(lifetime(expires_in), Some(expected), "{expires_in}");
        }
        for expires_in in ["true", "[]", "{}", r#""""#, r#""soon""#, r#""-1""#, r#"1,"expires_in":2"#] {
            assert_eq!(lifetime(expires_in), None, "{expires_in}");
        }
    }

    #[test]
    fn an_answer_without_a_token_that_can_be_sent_is_none() {
        for json in [
            "",
            "[]",
            "{}",
            "{} {}",
            r#"{"access_token":"t"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":null,"token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":"ä","token_type":"Bearer"}"#,
            r#"{"access_token":1,"token_type":"Bearer"}"#,
            r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
        ] {
            assert!(matches!(granted(json), Err(NoToken::Unreadable { .. })), "{json}");
        }
    }

    #[test]
    fn a_refusal_says_its_status_and_a_word_of_the_standard_and_nothing_else() {
        let refused = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read(status, body.as_bytes()).unwrap_err().to_string()
        };
        for (status, body, expected) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"the secret hush"}"#,
                "the server gives no token: status 401, `invalid_client`",
            ),
            (400, r#"{"error":"invalid_target"}"#, "the server gives no token: status 400, `invalid_target`"),
            (400, r#"{"error":"hush"}"#, "the server gives no token: status 400"),
            (400, "<html>hush", "the server gives no token: status 400"),
            (302, "", "the server gives no token: status 302"),
            (204, "", "the server gives no token: status 204"),
            (503, r#"{"error":"invalid_client"}"#, "the server gives no token now: status 503"),
            (429, "", "the server gives no token now: status 429"),
            (408, "", "the server gives no token now: status 408"),
            (425, "", "the server gives no token now: status 425"),
        ] {
            assert_eq!(refused(status, body), expected);
        }
    }
}
