//! What a server answers who is asked about a token (RFC 7662, section 2.2). Nothing here waits, locks or reads a clock.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Deserialize;

use super::check::in_time;
use super::read::{self, Times, Wanted};
use crate::base::{Grants, Principal, PrincipalId, TokenFault};

/// What a server says of a token that is active: an extension of each request that passes an
/// [`IntrospectLayer`](super::IntrospectLayer), beside its [`Principal`]. Copying it copies no text. `Debug` shows nothing of what it says.
#[derive(Clone)]
pub struct Introspected(Arc<Active>);

struct Active {
    who: Option<PrincipalId>,
    issuer: Option<Box<str>>,
    id: Option<Box<str>>,
    client: Option<Box<str>>,
    scope: Box<str>,
    roles: Box<[Box<str>]>,
    times: Times,
}

/// Whom a token has to be from, and for whom it has to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Nothing: anybody may have issued it.
    pub(super) issuer: Option<Box<str>>,
    /// Nothing: it may be for anybody.
    pub(super) audiences: Option<Box<[Box<str>]>>,
    /// Whether it may be bound to a key: somebody else has seen that its sender has that one.
    pub(super) bound: bool,
    pub(super) leeway: Duration,
}

/// Why there is nothing to be said for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is not good.
    Fault(TokenFault),
    /// The answer says nothing of it.
    Unreadable,
}

#[derive(Deserialize)]
struct Answer<'a> {
    active: bool,
    #[serde(borrow, default)]
    client_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    token_type: Option<Cow<'a, str>>,
}

/// `now`: since 1970 began.
pub(super) fn read(
    status: StatusCode,
    body: &[u8],
    terms: &Terms,
    now: Duration,
) -> Result<Introspected, Doubt> {
    if status != StatusCode::OK {
        return Err(Doubt::Unreadable);
    }
    let json = std::str::from_utf8(body).map_err(|_| Doubt::Unreadable)?;
    let answer: Answer<'_> = serde_json::from_str(json).map_err(|_| Doubt::Unreadable)?;
    if !answer.active {
        return Err(Doubt::Fault(TokenFault::Inactive));
    }
    let wanted = Wanted { audiences: terms.audiences.as_deref().unwrap_or_default(), required: &[] };
    let claims = read::read(json, wanted).ok_or(Doubt::Unreadable)?;
    let fault = |fault| Err(Doubt::Fault(fault));
    if let Some(expected) = &terms.issuer {
        match claims.issuer.as_deref() {
            None => return fault(TokenFault::MissingIssuer),
            Some(issuer) if *issuer != **expected => return fault(TokenFault::Issuer),
            Some(_) => {}
        }
    }
    match (&terms.audiences, claims.audience) {
        (Some(_), None) => return fault(TokenFault::MissingAudience),
        (Some(_), Some(false)) => return fault(TokenFault::Audience),
        _ => {}
    }
    // Some say `access_token` there.
    let is_dpop = match answer.token_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("bearer" | "access_token") => false,
        Some("dpop") => true,
        Some(_) => return fault(TokenFault::Type),
    };
    if (claims.bound || is_dpop) && !terms.bound {
        return fault(TokenFault::Bound);
    }
    let owned = |text: Option<Cow<'_, str>>| text.map(|text| text.into_owned().into_boxed_str());
    let who = claims.subject.as_deref().map(|subject| PrincipalId::new(subject, claims.issuer.as_deref()));
    let found = Introspected(Arc::new(Active {
        who,
        issuer: owned(claims.issuer),
        id: owned(claims.id),
        client: owned(answer.client_id),
        scope: owned(claims.scope).unwrap_or_default(),
        roles: claims.roles,
        times: claims.times,
    }));
    found.in_time(now, terms.leeway).map_err(Doubt::Fault)?;
    Ok(found)
}

impl Introspected {
    /// Whether now is its time. Of one that has no end, the server says each time whether it is good.
    pub(super) fn in_time(&self, now: Duration, leeway: Duration) -> Result<(), TokenFault> {
        let times = self.0.times;
        in_time(&Times { expires: Some(times.expires.unwrap_or(Duration::MAX)), ..times }, now, leeway)
    }

    /// Whom it is about: `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.who.as_ref().map(PrincipalId::subject)
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The client that it was given to: `client_id`.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.0.client.as_deref()
    }

    /// When it ends: `exp`. Nothing, if the server does not say it, or it is later than any date that the platform can show.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(self.0.times.expires?)
    }

    /// Who sends it, and what they may do.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::with(self.0.who.clone(), Arc::clone(&self.0) as Arc<dyn Grants>)
    }
}

impl Grants for Active {
    fn scopes(&self) -> &str {
        &self.scope
    }

    fn roles(&self) -> &[Box<str>] {
        &self.roles
    }
}

impl fmt::Debug for Introspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspected").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Result<Introspected, Doubt> {
        let terms = Terms {
            issuer: Some("i".into()),
            audiences: Some(["me".into()].into()),
            bound: false,
            leeway: Duration::from_secs(10),
        };
        read(StatusCode::OK, json.as_bytes(), &terms, Duration::from_secs(100))
    }

    #[test]
    fn what_is_bound_to_a_key_is_taken_only_where_somebody_else_compares_it() {
        for bound in [
            r#"{"active":true,"token_type":"DPoP"}"#,
            r#"{"active":true,"token_type":"Bearer","cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}"#,
        ] {
            let said = |bound_tokens| {
                let terms = Terms { bound: bound_tokens, ..Terms::default() };
                read(StatusCode::OK, bound.as_bytes(), &terms, Duration::ZERO)
            };
            assert_eq!(said(false).unwrap_err(), Doubt::Fault(TokenFault::Bound), "{bound}");
            assert!(said(true).is_ok(), "{bound}");
        }
    }

    #[test]
    fn only_what_is_said_to_be_active_in_so_many_words_is_active() {
        let good = r#"{"active":true,"iss":"i","aud":["you","me"],"sub":"alice","client_id":"orders","scope":"a b","roles":["clerk"],"jti":"1","exp":200}"#;
        let found = said(good).unwrap();
        assert_eq!((found.subject(), found.issuer(), found.id()), (Some("alice"), Some("i"), Some("1")));
        assert_eq!(found.client(), Some("orders"));
        assert!(found.principal().has_scope("b") && !found.principal().has_scope("c"));
        assert!(found.principal().has_role("clerk") && !found.principal().has_role("a"));
        assert_eq!(found.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(200)));
        for (from, to, doubt) in [
            ("true", "false", Doubt::Fault(TokenFault::Inactive)),
            ("true", "\"true\"", Doubt::Unreadable),
            ("true", "1", Doubt::Unreadable),
            ("true", "null", Doubt::Unreadable),
            ("\"active\":true,", "", Doubt::Unreadable),
            ("true", "true,\"active\":true", Doubt::Unreadable),
            ("\"sub\":\"alice\"", "\"sub\":\"alice\",\"sub\":\"bob\"", Doubt::Unreadable),
            ("200", "\"200\"", Doubt::Unreadable),
            ("200", "90", Doubt::Fault(TokenFault::Expired)),
            ("\"exp\":200", "\"nbf\":111", Doubt::Fault(TokenFault::NotYetValid)),
            ("\"iss\":\"i\"", "\"iss\":\"j\"", Doubt::Fault(TokenFault::Issuer)),
            ("\"iss\":\"i\",", "", Doubt::Fault(TokenFault::MissingIssuer)),
            ("\"me\"", "\"them\"", Doubt::Fault(TokenFault::Audience)),
            ("\"aud\":[\"you\",\"me\"],", "", Doubt::Fault(TokenFault::MissingAudience)),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(said(&good.replacen(from, to, 1)).unwrap_err(), doubt, "{to}");
        }
        let of_type = |kind: &str| said(&good.replace("true,", &format!(r#"true,"token_type":{kind},"#)));
        for kind in ["null", r#""Bearer""#, r#""bEARER""#, r#""access_token""#] {
            assert!(of_type(kind).is_ok(), "{kind}");
        }
        for kind in [r#""refresh_token""#, r#""""#, r#""N_A""#] {
            assert_eq!(of_type(kind).unwrap_err(), Doubt::Fault(TokenFault::Type), "{kind}");
        }
        assert_eq!(of_type("1").unwrap_err(), Doubt::Unreadable);
        let endless = said(&good.replace(",\"exp\":200", "")).expect("it need not say when it ends");
        assert_eq!(endless.expires_at(), None);
        for json in ["", "[]", "{}", "true", r#"{"active":false} {}"#] {
            assert_eq!(said(json).unwrap_err(), Doubt::Unreadable, "{json}");
        }
    }
}
