//! Whether a token is good, from its bytes to its claims. Keys and clock are handed in.

use std::sync::Arc;
use std::time::Duration;

use super::algorithm::Algorithms;
use super::backend::Backend;
use super::check::{Expected, in_time};
use super::claims::{Known, Verified};
use super::read::{self, Wanted};
use super::{Algorithm, KeySet, base64url, header, token};
use crate::base::TokenFault;

/// What a token has to be.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) algorithms: Algorithms,
    pub(super) backend: Backend,
    pub(super) expected: Expected,
    pub(super) leeway: Duration,
    pub(super) longest: usize,
}

/// Why one is not good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Fault(TokenFault),
    /// A claim is missing that it must have.
    NoClaim(Arc<str>),
    /// No key is there of this name, and none without a name has signed it; and what is wrong with it, if nobody finds one.
    NoKey(Box<str>, TokenFault),
    /// There are no keys at all, and will not be before this is over.
    NoKeys(Duration),
}

impl From<TokenFault> for Wrong {
    fn from(fault: TokenFault) -> Self {
        Self::Fault(fault)
    }
}

impl Rules {
    /// `own` reads what the service wants to know beyond what is known of each token.
    pub(super) fn check<T>(
        &self,
        token: &[u8],
        keys: Result<&KeySet, Duration>,
        now: Duration,
        own: fn(&str) -> Option<T>,
    ) -> Result<Verified<T>, Wrong> {
        let parts = token::split(token, self.longest)?;
        let known = keys.ok().and_then(|keys| keys.headers().get(parts.header));
        let (mut room, mut more, read);
        let header = match known {
            Some(known) => known,
            None => {
                (room, more) = ([0; 128], Vec::new());
                let header = decode(parts.header, &mut room, &mut more).ok_or(TokenFault::Encoding)?;
                read = header::read(text(header).ok_or(TokenFault::Header)?)?;
                &read
            }
        };
        let algorithm =
            Algorithm::from_name(&header.algorithm).filter(|algorithm| self.algorithms.has(*algorithm));
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        self.expected.kind(header.kind.as_deref())?;
        let id = header.key.as_deref();

        // Nothing of what it says is looked at before it is known who says so.
        let keys = keys.map_err(Wrong::NoKeys)?;
        let (mut room, mut more) = ([0; 512], Vec::new());
        let signature = decode(parts.signature, &mut room, &mut more).ok_or(TokenFault::Encoding)?;
        let unsigned = |fault| match id {
            Some(id) if !keys.has(id) => Wrong::NoKey(id.into(), fault),
            _ => Wrong::Fault(fault),
        };
        let mut candidates = keys.candidates(id, algorithm).map_err(unsigned)?;
        let signed = candidates.find(|key| {
            key.material.could_have_made(algorithm, signature)
                && self.backend.verifies(&key.prepared, algorithm, parts.signed, signature)
        });
        let key = Arc::clone(signed.ok_or_else(|| unsigned(TokenFault::Signature))?);
        if known.is_none() {
            keys.headers().add(parts.header, header);
        }

        let payload = decode(parts.payload, &mut room, &mut more).ok_or(TokenFault::Encoding)?;
        let payload = text(payload).ok_or(TokenFault::Claims)?;
        let Expected { audiences, required, .. } = &self.expected;
        let wanted = Wanted { audiences: audiences.as_deref().unwrap_or_default(), required };
        let claims = read::read(payload, wanted).ok_or(TokenFault::Claims)?;
        in_time(&claims.times, now, self.leeway)?;
        if let Err(fault) = self.expected.claims(&claims) {
            return Err(self
                .expected
                .missing(&claims)
                .filter(|_| fault == TokenFault::MissingClaim)
                .map_or(fault.into(), |claim| Wrong::NoClaim(claim.into())));
        }
        let own = own(payload).ok_or(TokenFault::Claims)?;
        Ok(Verified { known: Known::new(claims, key), own })
    }
}

/// In `room`, where it has as much, and in `more` otherwise: most tokens are small, and need no memory of their own.
fn decode<'r>(part: &[u8], room: &'r mut [u8], more: &'r mut Vec<u8>) -> Option<&'r [u8]> {
    let length = base64url::bytes_of(part.len())?;
    let out = match room.get_mut(..length) {
        Some(room) => room,
        None => {
            more.resize(length, 0);
            more
        }
    };
    base64url::decode_into(part, out).then_some(out)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
