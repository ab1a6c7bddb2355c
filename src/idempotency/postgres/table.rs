//! One table: what is read of it and written to it. Each statement is complete in itself, so that one connection serves everybody, and
//! none waits for a lock, so that nobody who holds one holds up everybody.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, GenericClient, Row};

use crate::idempotency::columns::{Columns, Read, signed};
use crate::idempotency::{Change, Entry, InvalidEntry, Scope};

pub(super) const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS stonework_idempotency (
  scope bytea NOT NULL PRIMARY KEY,
  fingerprint bytea NOT NULL,
  owner bytea NOT NULL,
  fence bigint NOT NULL,
  state text NOT NULL,
  lease_until bigint NOT NULL,
  forget_at bigint NOT NULL,
  record bytea
);
CREATE INDEX IF NOT EXISTS stonework_idempotency_forget_at ON stonework_idempotency (forget_at);";

/// What makes it, for many that do so at once: `IF NOT EXISTS` alone fails for some of them. It is one transaction, since it is one query.
pub(super) fn create() -> String {
    // Any number, as long as nobody else has it.
    format!("SELECT pg_advisory_xact_lock(8389765487613273971);\n{SCHEMA}")
}

const NOW: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const COLUMNS: &str = "fingerprint, owner, fence, state, lease_until, forget_at, record";

/// So many that are over are deleted with each new one, so that there are not more and more of them.
const FORGOTTEN_EACH: i64 = 4;

/// The milliseconds of the server's clock, and what there is, if there is something.
pub(super) async fn read(
    client: &impl GenericClient,
    scope: Scope,
) -> Result<(u64, Option<Result<Entry, InvalidEntry>>), Error> {
    let query = format!(
        "SELECT {NOW}, {COLUMNS} FROM (SELECT) AS always LEFT JOIN stonework_idempotency ON scope = $1"
    );
    let row = client.query_typed_one(&query, &[(&&scope.as_bytes()[..], Type::BYTEA)]).await?;
    let now: i64 = row.try_get(0)?;
    let is_there = row.try_get::<_, Option<&[u8]>>(1)?.is_some();
    Ok((now.unsigned_abs(), if is_there { Some(entry(&row)?) } else { None }))
}

/// The same for a transaction, until whose end nobody else changes what is there.
pub(super) async fn read_locked(
    client: &impl GenericClient,
    scope: Scope,
) -> Result<Option<(u64, Result<Entry, InvalidEntry>)>, Error> {
    let query = format!("SELECT {NOW}, {COLUMNS} FROM stonework_idempotency WHERE scope = $1 FOR UPDATE");
    let row = client.query_typed_opt(&query, &[(&&scope.as_bytes()[..], Type::BYTEA)]).await?;
    let Some(row) = row else { return Ok(None) };
    let now: i64 = row.try_get(0)?;
    Ok(Some((now.unsigned_abs(), entry(&row)?)))
}

fn entry(row: &Row) -> Result<Result<Entry, InvalidEntry>, Error> {
    let read = Read {
        fingerprint: row.try_get(1)?,
        owner: row.try_get(2)?,
        fence: row.try_get(3)?,
        state: row.try_get(4)?,
        lease_until: row.try_get(5)?,
        forget_at: row.try_get(6)?,
        record: row.try_get(7)?,
    };
    Ok(read.entry())
}

/// Writes, if what is there is still what was `read` at the instant `now`, and nobody is about to change it. Whether it was.
pub(super) async fn write(
    client: &impl GenericClient,
    scope: Scope,
    read: Option<&Entry>,
    now: u64,
    change: &Change,
) -> Result<bool, Error> {
    let scope = &scope.as_bytes()[..];
    let now = signed(now);
    let before = read.map(Columns::of);
    let after = match change {
        Change::Keep => return Ok(true),
        Change::Remove => None,
        Change::Put(entry) => Some(Columns::of(entry)),
    };
    let (statement, values) = match (&before, &after) {
        (None, None) => return Ok(true),
        (None, Some(after)) => {
            let first: [Value<'_>; 2] = [(&scope, Type::BYTEA), (&now, Type::INT8)];
            (insert(), [&first[..], &all(after)].concat())
        }
        (Some(before), Some(after)) => (update(), [&as_read(&scope, before)[..], &all(after)].concat()),
        (Some(before), None) => (delete(), as_read(&scope, before).to_vec()),
    };
    // With the types of its values said it needs not be prepared: it goes there and back once.
    Ok(client.execute_typed(&statement, &values).await? == 1)
}

/// If somebody else has inserted it, nothing is done.
fn insert() -> String {
    format!(
        "WITH forgotten AS (DELETE FROM stonework_idempotency WHERE scope IN (SELECT scope \
         FROM stonework_idempotency WHERE forget_at <= $2 AND scope <> $1 ORDER BY forget_at \
         LIMIT {FORGOTTEN_EACH} FOR UPDATE SKIP LOCKED)) \
         INSERT INTO stonework_idempotency (scope, {COLUMNS}) VALUES ($1, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (scope) DO NOTHING"
    )
}

fn update() -> String {
    format!(
        "UPDATE stonework_idempotency SET ({COLUMNS}) = ($5, $6, $7, $8, $9, $10, $11) WHERE scope = {AS_READ}"
    )
}

fn delete() -> String {
    format!("DELETE FROM stonework_idempotency WHERE scope = {AS_READ}")
}

/// An owner, its state and until when that is kept are never the same again with something else in between. What somebody is about to
/// change is not.
const AS_READ: &str = "(SELECT scope FROM stonework_idempotency \
    WHERE scope = $1 AND owner = $2 AND state = $3 AND forget_at = $4 FOR UPDATE SKIP LOCKED)";

type Value<'a> = (&'a (dyn ToSql + Sync), Type);

fn as_read<'a>(scope: &'a &[u8], before: &'a Columns<'_>) -> [Value<'a>; 4] {
    [
        (scope, Type::BYTEA),
        (&before.owner, Type::BYTEA),
        (&before.state, Type::TEXT),
        (&before.forget_at, Type::INT8),
    ]
}

/// In the order of [`COLUMNS`].
fn all<'a>(columns: &'a Columns<'_>) -> [Value<'a>; 7] {
    [
        (&columns.fingerprint, Type::BYTEA),
        (&columns.owner, Type::BYTEA),
        (&columns.fence, Type::INT8),
        (&columns.state, Type::TEXT),
        (&columns.lease_until, Type::INT8),
        (&columns.forget_at, Type::INT8),
        (&columns.record, Type::BYTEA),
    ]
}
