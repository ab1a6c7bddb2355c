//! Whose keys a token is verified with: those of anybody who may issue one, or of each issuer its own.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Keys, base64url, token};
use crate::base::TokenFault;

#[derive(Clone, Debug)]
pub(super) enum Trusted {
    /// These, whoever has issued it.
    All(Keys),
    /// Those of the issuer that it names. Nobody else's would do: whoever may issue tokens may not do so in the name of another.
    Each(Box<[(Box<str>, Keys)]>),
}

/// Whose keys, as far as the token says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked<'t> {
    pub(super) keys: &'t Keys,
    issuer: Option<&'t str>,
}

impl Picked<'_> {
    /// Whether it is what the token says, now that it is known to be genuine. It was read twice, and must have said the same.
    pub(super) fn is_of(&self, issuer: Option<&str>) -> bool {
        self.issuer.is_none_or(|picked| issuer == Some(picked))
    }
}

impl Trusted {
    /// By what the token says, which nobody has verified yet: it only decides whose keys have to.
    pub(super) fn pick(&self, token: &[u8], longest: usize) -> Result<Picked<'_>, TokenFault> {
        let all = match self {
            Self::All(keys) => return Ok(Picked { keys, issuer: None }),
            Self::Each(all) => all,
        };
        let payload = token::split(token, longest)?.payload;
        let payload = base64url::decode(payload).ok_or(TokenFault::Encoding)?;
        let Named { iss } = serde_json::from_slice(&payload).map_err(|_| TokenFault::Claims)?;
        let issuer = iss.ok_or(TokenFault::MissingIssuer)?;
        let found = all.iter().find(|(name, _)| **name == *issuer).ok_or(TokenFault::Issuer)?;
        Ok(Picked { keys: &found.1, issuer: Some(&found.0) })
    }

    /// Those of an issuer whose token was good.
    pub(super) fn of(&self, issuer: Option<&str>) -> Option<&Keys> {
        match self {
            Self::All(keys) => Some(keys),
            Self::Each(all) => all.iter().find(|(name, _)| Some(&**name) == issuer).map(|(_, keys)| keys),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Keys> {
        let (one, each) = match self {
            Self::All(keys) => (Some(keys), &[][..]),
            Self::Each(all) => (None, &all[..]),
        };
        one.into_iter().chain(each.iter().map(|(_, keys)| keys))
    }
}

/// A member that stands there twice is an error here, too.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
}
