//! One table: what is read of it and written to it, in a transaction that somebody else begins and ends.

use rusqlite::{Connection, Error, OptionalExtension, params};

use crate::idempotency::columns::{Columns, Read, signed};
use crate::idempotency::{Change, Entry, InvalidEntry, Scope};

pub(super) const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS stonework_idempotency (
  scope BLOB NOT NULL PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  owner BLOB NOT NULL,
  fence INTEGER NOT NULL,
  state TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  forget_at INTEGER NOT NULL,
  record BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS stonework_idempotency_forget_at ON stonework_idempotency (forget_at);";

const READ: &str = "SELECT fingerprint, owner, fence, state, lease_until, forget_at, record \
    FROM stonework_idempotency WHERE scope = ?1";

const PUT: &str = "INSERT OR REPLACE INTO stonework_idempotency \
    (scope, fingerprint, owner, fence, state, lease_until, forget_at, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const REMOVE: &str = "DELETE FROM stonework_idempotency WHERE scope = ?1";

const FORGET: &str = "DELETE FROM stonework_idempotency WHERE rowid IN \
    (SELECT rowid FROM stonework_idempotency WHERE forget_at <= ?1 ORDER BY forget_at LIMIT ?2)";

/// What there is, if it can be read.
pub(super) fn read(
    connection: &Connection,
    scope: Scope,
) -> Result<Option<Result<Entry, InvalidEntry>>, Error> {
    let mut statement = connection.prepare(READ)?;
    let row = |row: &rusqlite::Row<'_>| {
        // What is no such thing is as wrong as any other that cannot be read; anything else is SQLite's.
        let read = Read {
            fingerprint: row.get_ref(0)?.as_blob().unwrap_or_default(),
            owner: row.get_ref(1)?.as_blob().unwrap_or_default(),
            fence: row.get_ref(2)?.as_i64().unwrap_or(-1),
            state: row.get_ref(3)?.as_str().unwrap_or_default(),
            lease_until: row.get_ref(4)?.as_i64().unwrap_or(-1),
            forget_at: row.get_ref(5)?.as_i64().unwrap_or(-1),
            record: row.get_ref(6)?.as_blob_or_null().unwrap_or_default(),
        };
        Ok(read.entry())
    };
    statement.query_row([scope.as_bytes()], row).optional()
}

pub(super) fn write(connection: &Connection, scope: Scope, change: &Change) -> Result<(), Error> {
    let entry = match change {
        Change::Keep => return Ok(()),
        Change::Remove => return connection.execute(REMOVE, [scope.as_bytes()]).map(drop),
        Change::Put(entry) => entry,
    };
    let Columns { fingerprint, owner, fence, state, lease_until, forget_at, record } = Columns::of(entry);
    let values = params![scope.as_bytes(), fingerprint, owner, fence, state, lease_until, forget_at, record];
    connection.execute(PUT, values).map(drop)
}

/// So many of those whose time is over are deleted, the oldest first.
pub(super) fn forget(connection: &Connection, now: u64, most: usize) -> Result<(), Error> {
    connection.execute(FORGET, params![signed(now), signed(most as u64)]).map(drop)
}
