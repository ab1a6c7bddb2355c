//! Keys, in whichever database it is.

use stonework::base::BoxError;
use stonework::idempotency::{Begun, Claim, Final, Held, NewClaim, PostgresStore, Scope, SqliteStore, Store};

/// What the idempotency layer remembers, beside what the shop does.
#[derive(Clone, Debug)]
pub enum Keys {
    /// In the file of the orders.
    Sqlite(SqliteStore),
    /// In the database of the orders.
    Postgres(PostgresStore),
}

impl Store for Keys {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        match self {
            Self::Sqlite(store) => store.begin(scope, claim).await,
            Self::Postgres(store) => store.begin(scope, claim).await,
        }
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        match self {
            Self::Sqlite(store) => store.renew(claim).await,
            Self::Postgres(store) => store.renew(claim).await,
        }
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        match self {
            Self::Sqlite(store) => store.complete(claim, end).await,
            Self::Postgres(store) => store.complete(claim, end).await,
        }
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        match self {
            Self::Sqlite(store) => store.release(claim).await,
            Self::Postgres(store) => store.release(claim).await,
        }
    }

    async fn ended(&self, scope: Scope) {
        match self {
            Self::Sqlite(store) => store.ended(scope).await,
            Self::Postgres(store) => store.ended(scope).await,
        }
    }
}
