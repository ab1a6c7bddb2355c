//! Why a token was refused, and what the answer says of it.

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::error::Error;
use super::kind::{Delivery, Kind};

macro_rules! faults {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* #[error($text)] $variant,)*
        }
    };
}

faults! {
    /// Why a token was refused. It is for logs and events: the answer says less. See [`TokenRefused`].
    TokenFault {
        /// The algorithm in its header is unknown, not allowed, or not that of the key.
        Algorithm = "its algorithm is not allowed",
        /// It is for somebody else.
        Audience = "it is for another audience",
        /// It is bound to a key of its sender's, who has not shown that it has that one.
        Bound = "it is bound to a key of its sender's",
        /// What it says cannot be read: no JSON object, a member twice, or one of a wrong type.
        Claims = "its claims cannot be read",
        /// It wants something to be understood that is not: `crit`, `b64` or `zip`.
        Critical = "its header asks for an extension",
        /// It is not three parts of canonical base64url between dots.
        Encoding = "it is not three parts of base64url",
        /// Its time is over.
        Expired = "it has expired",
        /// It was issued in the future.
        FromTheFuture = "it was issued in the future",
        /// Its header cannot be read: no JSON object, a member twice, or one of a wrong type.
        Header = "its header cannot be read",
        /// The server that issued it says that it is not active: over, called back, or unknown to it.
        Inactive = "its server says that it is not active",
        /// Somebody else issued it.
        Issuer = "it is from another issuer",
        /// The credentials cannot be read.
        Malformed = "the credentials cannot be read",
        /// There is none.
        Missing = "there is no token",
        /// It does not say for whom it is.
        MissingAudience = "it does not say for whom it is",
        /// A claim is missing that the settings ask for. [`TokenRefused::field`] says which.
        MissingClaim = "a claim is missing",
        /// It does not say when it ends.
        MissingExpiry = "it does not say when it ends",
        /// It does not say who issued it.
        MissingIssuer = "it does not say who issued it",
        /// There is another token in it.
        Nested = "it holds another token",
        /// Its time has not come.
        NotYetValid = "it is not valid yet",
        /// The request has more than one token, or it has one in more than one place.
        Repeated = "there is more than one token",
        /// It was called back.
        Revoked = "it was revoked",
        /// Its bearer lacks a role.
        Role = "it lacks a role",
        /// Its bearer lacks a scope.
        Scope = "it lacks a scope",
        /// Nobody who may has signed it.
        Signature = "its signature is wrong",
        /// It is longer than allowed.
        TooLong = "it is too long",
        /// It is a token of another type.
        Type = "it is of another type",
        /// No key has the name that it says, or none fits its algorithm.
        UnknownKey = "its key is unknown",
    }
}

faults! {
    /// Why a key cannot be used: told where one is read, or counted where a set of them is.
    KeyFault {
        /// It is for an algorithm that is unknown, or that such a key cannot do.
        Algorithm = "its algorithm is unknown, or is none of a key of its kind",
        /// It is on a curve that is unknown.
        Curve = "its curve is unknown",
        /// Another one of its kind has its name, and was there first.
        DuplicateId = "another key has its name",
        /// It is for encryption.
        Encryption = "it is for encryption",
        /// A part of it is missing, or cannot be read.
        Malformed = "it cannot be read",
        /// It must not be used to verify.
        NotForVerifying = "it is not for verifying signatures",
        /// It is a private key, which no verifier should have.
        Private = "it is a private key, which no verifier needs",
        /// What is given as a secret is a public key, which everybody has.
        PublicAsSecret = "a public key is no secret",
        /// Its public exponent is even, or too small or too large.
        RsaExponent = "its exponent is out of range",
        /// Its modulus has more than 4096 bits.
        RsaTooLong = "its modulus has more than 4096 bits",
        /// Its modulus has less than 2048 bits (RFC 7518, section 3.3).
        RsaTooShort = "its modulus has less than 2048 bits",
        /// The secret is shorter than the hash of its algorithm (RFC 7518, section 3.2).
        SecretTooShort = "the secret is shorter than the hash of its algorithm (HS256: 32 bytes, HS384: 48, HS512: 64)",
        /// It is a secret in a set of keys that others may read.
        SecretInSet = "a set of public keys holds no secrets",
        /// There are more keys than a set may have.
        TooMany = "there are too many keys",
        /// It is of a kind that is unknown.
        Type = "its type is unknown",
    }
}

impl TokenFault {
    /// The member of the header or the claim that is to blame, where that is always the same one.
    ///
    /// ```
    /// use stonework::base::TokenFault;
    ///
    /// assert_eq!(TokenFault::Expired.field(), Some("exp"));
    /// assert_eq!(TokenFault::Signature.field(), None);
    /// ```
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        Some(match self {
            Self::Algorithm => "alg",
            Self::Audience | Self::MissingAudience => "aud",
            Self::Bound => "cnf",
            Self::Critical => "crit",
            Self::Expired | Self::MissingExpiry => "exp",
            Self::FromTheFuture => "iat",
            Self::Issuer | Self::MissingIssuer => "iss",
            Self::Nested => "cty",
            Self::NotYetValid => "nbf",
            Self::Role => "roles",
            Self::Scope => "scope",
            Self::Type => "typ",
            Self::UnknownKey => "kid",
            Self::Claims
            | Self::Encoding
            | Self::Header
            | Self::Inactive
            | Self::Malformed
            | Self::Missing
            | Self::MissingClaim
            | Self::Repeated
            | Self::Revoked
            | Self::Signature
            | Self::TooLong => return None,
        })
    }
}

/// A request was refused because of its token, or because it has none. It stands at the end of the chain of an [`Error`] of kind
/// [`Invalid`](Kind::Invalid), and [`Problem`](super::Problem) answers as RFC 6750 says.
///
/// | [fault](TokenFault) | status | `error` in `WWW-Authenticate` | gRPC status |
/// |---|---|---|---|
/// | `Missing` | 401 | none | 16, `UNAUTHENTICATED` |
/// | `Malformed`, `Repeated` | 400 | `invalid_request` | 16, `UNAUTHENTICATED` |
/// | `Role`, `Scope` | 403 | `insufficient_scope`, with `scope` if that is known | 7, `PERMISSION_DENIED` |
/// | any other | 401 | `invalid_token` | 16, `UNAUTHENTICATED` |
///
/// ```
/// use stonework::Error;
/// use stonework::base::{Asked, Problem, Refuse, TokenFault, TokenRefused};
///
/// let error = Error::from(TokenRefused::new(TokenFault::Expired));
/// assert_eq!(error.cause::<TokenRefused>().unwrap().fault(), TokenFault::Expired);
///
/// let answer = Problem.refuse(Asked::default(), &error);
/// assert_eq!(answer.status(), 401);
/// assert_eq!(answer.headers()["www-authenticate"], r#"Bearer error="invalid_token""#);
/// assert!(!String::from_utf8_lossy(answer.body()).contains("expired"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRefused {
    fault: TokenFault,
    /// The one that is missing, where the fault does not say it.
    claim: Option<Arc<str>>,
    realm: Option<Arc<str>>,
    scope: Option<Arc<str>>,
}

impl TokenRefused {
    /// For this reason.
    #[must_use]
    pub const fn new(fault: TokenFault) -> Self {
        Self { fault, claim: None, realm: None, scope: None }
    }

    /// It is this claim that is to blame.
    #[must_use]
    pub fn for_claim(mut self, claim: Option<Arc<str>>) -> Self {
        self.claim = claim;
        self
    }

    /// In this realm; visible ASCII and spaces without quotes and backslashes, or it is left out of the answer.
    #[must_use]
    pub fn in_realm(mut self, realm: Option<Arc<str>>) -> Self {
        self.realm = realm.filter(|realm| is_plain(realm));
        self
    }

    /// These scopes would do, between spaces; the same characters.
    #[must_use]
    pub fn needing(mut self, scope: Option<Arc<str>>) -> Self {
        self.scope = scope.filter(|scope| is_plain(scope));
        self
    }

    /// Why.
    #[must_use]
    pub const fn fault(&self) -> TokenFault {
        self.fault
    }

    /// The member of the header or the claim that is to blame, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.claim.as_deref().or(self.fault.field())
    }

    /// The status of the answer: 400, 401 or 403.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.fault {
            TokenFault::Malformed | TokenFault::Repeated => StatusCode::BAD_REQUEST,
            TokenFault::Role | TokenFault::Scope => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3).
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        let error = match (self.fault, self.status()) {
            (TokenFault::Missing, _) => None,
            (_, StatusCode::BAD_REQUEST) => Some("invalid_request"),
            (_, StatusCode::FORBIDDEN) => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        };
        let members = [("realm", self.realm.as_deref()), ("error", error), ("scope", self.scope.as_deref())];
        let mut text = String::from("Bearer");
        for (at, (name, value)) in members.iter().filter_map(|(n, v)| v.map(|v| (n, v))).enumerate() {
            text.push_str(if at == 0 { " " } else { ", " });
            text.extend([name, "=\"", value, "\""]);
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }

    /// What the body says: no more than the status does.
    pub(crate) const fn detail(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "the credentials cannot be read",
            StatusCode::FORBIDDEN => "the token does not allow this",
            _ if matches!(self.fault, TokenFault::Missing) => "a token is needed",
            _ => "the token is not valid",
        }
    }
}

/// What can stand between quotes in a header as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// Why, for logs.
impl fmt::Display for TokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token was refused: {}", self.fault)?;
        match self.field() {
            Some(field) => write!(f, " (`{field}`)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TokenRefused {}

/// Not sent, and not to be tried again as it is.
impl From<TokenRefused> for Error {
    fn from(refused: TokenRefused) -> Self {
        Self::new(Kind::Invalid, refused).with_delivery(Delivery::NotSent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_what_rfc_6750_wants_and_no_more() {
        let refused = |fault| TokenRefused::new(fault).in_realm(Some("api".into()));
        for (fault, status, challenge) in [
            (TokenFault::Missing, 401, r#"Bearer realm="api""#),
            (TokenFault::Malformed, 400, r#"Bearer realm="api", error="invalid_request""#),
            (TokenFault::Repeated, 400, r#"Bearer realm="api", error="invalid_request""#),
            (TokenFault::Expired, 401, r#"Bearer realm="api", error="invalid_token""#),
            (TokenFault::Signature, 401, r#"Bearer realm="api", error="invalid_token""#),
            (TokenFault::Role, 403, r#"Bearer realm="api", error="insufficient_scope""#),
            (TokenFault::Scope, 403, r#"Bearer realm="api", error="insufficient_scope", scope="a b""#),
        ] {
            let scope = (fault == TokenFault::Scope).then(|| "a b".into());
            let refused = refused(fault).needing(scope);
            assert_eq!(
                (refused.status().as_u16(), refused.challenge()),
                (status, challenge.parse().unwrap())
            );
        }
        assert_eq!(TokenRefused::new(TokenFault::Missing).challenge(), "Bearer");
    }

    #[test]
    fn the_body_says_no_more_than_the_status() {
        for (fault, detail) in [
            (TokenFault::Missing, "a token is needed"),
            (TokenFault::Malformed, "the credentials cannot be read"),
            (TokenFault::Expired, "the token is not valid"),
            (TokenFault::Signature, "the token is not valid"),
            (TokenFault::Role, "the token does not allow this"),
        ] {
            assert_eq!(TokenRefused::new(fault).detail(), detail, "{fault:?}");
        }
    }

    #[test]
    fn what_would_break_out_of_its_quotes_is_left_out() {
        for text in ["a\"b", "a\\b", "a\nb", "ä", "a\u{7f}"] {
            let refused = TokenRefused::new(TokenFault::Scope);
            let refused = refused.in_realm(Some(text.into())).needing(Some(text.into()));
            assert_eq!(refused.challenge(), r#"Bearer error="insufficient_scope""#, "{text:?}");
        }
    }
}
