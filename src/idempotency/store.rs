use std::sync::Arc;

use bytes::Bytes;

use super::{Claim, NewClaim, Scope};
use crate::base::BoxError;

/// Remembers which requests are being done, and what became of those that were.
///
/// For the author of a store: [`Entry`](super::Entry) decides all of it, so that a store has to do no more than read an entry, let it
/// decide, and write what it says, in one step. [`conformance`](super::conformance) checks all that is promised here.
///
/// * **Each call is one step.** However many there are at once, from however many machines, only one of those who
///   [`begin`](Self::begin) is told to run.
/// * **A claim belongs to its [owner](super::Owner).** Once somebody else has taken it over, or was told that nobody knows what became of it, its owner
///   changes nothing any more, and is told [`Held::Lost`]. As long as nobody has, it is still theirs, also when its lease is over.
/// * **What has ended has ended:** the first of [`complete`](Self::complete) and [`release`](Self::release) counts. Whatever the same owner asks
///   after that changes nothing: it is told [`Held::Ended`], or [`Held::Lost`] if what it released is forgotten.
/// * **Each call may be repeated**, if its answer was lost: who begins once more what is already theirs is told to run, with the same fence.
/// * **It forgets** an entry when it has been kept for as long as its claim says, by the store's own clock, and never earlier. The
///   machines that ask need no common clock. It may wait with what it forgets, but then it does as if it had.
/// * **A record is bytes**: any of them, up to some megabytes, and they come back as they were.
/// * **What cannot be answered is an error.** It says that the store is away, and nothing of the request. What was asked may have been
///   done then.
/// * **Cancellation:** whoever drops the future does not learn whether it was done.
///
/// ```
/// use bytes::Bytes;
/// use stonework::base::BoxError;
/// use stonework::idempotency::{Begun, Claim, Final, Held, MemoryStore, NewClaim, Scope, Store};
///
/// /// One that says what it is asked.
/// struct Loud(MemoryStore);
///
/// impl Store for Loud {
///     async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
///         println!("may I do {scope:?}?");
///         self.0.begin(scope, claim).await
///     }
///
///     async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
///         self.0.renew(claim).await
///     }
///
///     async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
///         println!("{:?} is done", claim.scope());
///         self.0.complete(claim, end).await
///     }
///
///     async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
///         self.0.release(claim).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store of idempotency keys",
    note = "`stonework::idempotency::MemoryStore` is one; so is a type with `impl stonework::idempotency::Store`"
)]
pub trait Store: Send + Sync + 'static {
    /// May this be done? If nobody does it and nobody has, it is claimed with that.
    fn begin(&self, scope: Scope, claim: &NewClaim) -> impl Future<Output = Result<Begun, BoxError>> + Send;

    /// It is still being done: the lease begins anew.
    fn renew(&self, claim: &Claim) -> impl Future<Output = Result<Held, BoxError>> + Send;

    /// This is what became of it.
    fn complete(&self, claim: &Claim, end: &Final) -> impl Future<Output = Result<Held, BoxError>> + Send;

    /// Nothing was done: whoever asks next may do it. It goes by the owner, and not by the fence, which one who was not answered does not know.
    fn release(&self, claim: &Claim) -> impl Future<Output = Result<Held, BoxError>> + Send;

    /// When it may be worth to [`begin`](Self::begin) again what was [in flight](Begun::InFlight): at once, if it is not.
    ///
    /// It is a hint, which those who wait take instead of looking again and again. A store that does not hear of it leaves it as it is: never.
    fn ended(&self, scope: Scope) -> impl Future<Output = ()> + Send {
        let _ = scope;
        std::future::pending()
    }
}

impl<S: Store> Store for Arc<S> {
    fn begin(&self, scope: Scope, claim: &NewClaim) -> impl Future<Output = Result<Begun, BoxError>> + Send {
        S::begin(self, scope, claim)
    }

    fn renew(&self, claim: &Claim) -> impl Future<Output = Result<Held, BoxError>> + Send {
        S::renew(self, claim)
    }

    fn complete(&self, claim: &Claim, end: &Final) -> impl Future<Output = Result<Held, BoxError>> + Send {
        S::complete(self, claim, end)
    }

    fn release(&self, claim: &Claim) -> impl Future<Output = Result<Held, BoxError>> + Send {
        S::release(self, claim)
    }

    fn ended(&self, scope: Scope) -> impl Future<Output = ()> + Send {
        S::ended(self, scope)
    }
}

/// What a [`Store`] answers to one who wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a layer has to do something about each")]
pub enum Begun {
    /// It is theirs.
    Run {
        /// See [`Claim::fence`].
        fence: u64,
    },
    /// Somebody else does it.
    InFlight,
    /// It was done.
    Ended(Final),
    /// The scope is that of a request with another fingerprint.
    Mismatch,
}

/// What became of a request: what a [`Store`] is told to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a store keeps all of it")]
pub enum Final {
    /// It was answered: a [record](super::Record) of the answer, as it was [encoded](super::Record::encode).
    Record(Bytes),
    /// It was done, and its answer is too large to be kept.
    TooLarge,
    /// It was begun, and nobody knows how much of it was done.
    Indeterminate,
}

/// Whether a claim is still that of its owner: what a [`Store`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: it is theirs, it was, or it has ended")]
pub enum Held {
    /// It was, and what was asked was done.
    Yes,
    /// Its owner has ended it before, and nothing was changed.
    Ended,
    /// It is not, and nothing was changed.
    Lost,
}
