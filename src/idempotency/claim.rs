use std::fmt;
use std::time::Duration;

use super::{Fingerprint, Scope};
use crate::base::Rng;

/// Who does a request: another one for each attempt to begin it, so that nobody can end what somebody else has begun.
///
/// ```
/// use stonework::base::Rng;
/// use stonework::idempotency::Owner;
///
/// let owner = Owner::new(&Rng::from_entropy());
/// assert_eq!(Owner::from_bytes(owner.to_bytes()), owner);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u128);

impl Owner {
    /// One that nobody else is.
    #[must_use]
    pub fn new(rng: &Rng) -> Self {
        Self(rng.unique_id())
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// What a store keeps it as.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:08x}…)", self.0 >> 96)
    }
}

/// What becomes of a request whose handler was not heard of to its end: it crashed, its machine did, or it cannot reach the store. See
/// [`IdempotencySettings`](super::IdempotencySettings).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AfterCrash {
    /// Nobody knows how much of it was done, so it is not done again: whoever asks is told so, with 409, as long as records are kept. The
    /// default.
    #[default]
    FailClosed,
    /// It is done again by the next one that asks. **Only for handlers that can be run twice**: because all that they do is one transaction,
    /// or because what they call takes the [fence](Claim::fence) or a key of its own.
    Rerun,
}

/// What somebody who wants to do a request says to a [store](super::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a store is handed it, and tests of stores make it")]
pub struct NewClaim {
    /// What is asked for.
    pub fingerprint: Fingerprint,
    /// Who wants to do it.
    pub owner: Owner,
    /// How long it is theirs, unless they [renew](super::Store::renew) it.
    pub lease: Duration,
    /// How long it is remembered what became of it.
    pub keep: Duration,
    /// What is done if somebody else had begun, and was not heard of for the length of a lease.
    pub after_crash: AfterCrash,
}

impl NewClaim {
    /// The claim that it has become.
    #[must_use]
    pub const fn won(&self, scope: Scope, fence: u64) -> Claim {
        let Self { owner, lease, keep, after_crash, .. } = *self;
        Claim { scope, owner, fence, lease, keep, after_crash }
    }
}

/// A request that is being done: for as long as it is, nobody else does it. An extension of each keyed request, for its handler.
///
/// A handler that keeps what it does in the same database as the store commits the record with it: see the stores' `complete_in`. One that
/// asks somebody else passes on the [fence](Self::fence).
///
/// ```
/// use http::Request;
/// use stonework::idempotency::Claim;
///
/// fn fence<B>(request: &Request<B>) -> Option<u64> {
///     Claim::of(request.extensions()).map(Claim::fence)
/// }
/// assert_eq!(fence(&Request::new(())), None, "it has no key");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    scope: Scope,
    owner: Owner,
    fence: u64,
    lease: Duration,
    keep: Duration,
    after_crash: AfterCrash,
}

impl Claim {
    /// That of a request, if it has a key.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// What is being done.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Who does it.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// It grows whenever somebody does again what somebody else had begun: whoever keeps the highest that it has seen can refuse those who
    /// come late.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// What is done if this one is not heard of. Where it is [done again](AfterCrash::Rerun), a store that releases it keeps its
    /// [fence](Self::fence): what was begun may still be on its way to somebody, however it ended here.
    #[must_use]
    pub const fn after_crash(&self) -> AfterCrash {
        self.after_crash
    }

    /// How long it lasts from when it was made or renewed.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// How long it is remembered what became of it.
    #[must_use]
    pub const fn keep(&self) -> Duration {
        self.keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_kept_as_the_bytes_that_it_was_made_of() {
        let bytes = *b"0123456789abcdef";
        assert_eq!(Owner::from_bytes(bytes).to_bytes(), bytes);
        assert_eq!(format!("{:?}", Owner::from_bytes(bytes)), "Owner(30313233…)");
    }
}
