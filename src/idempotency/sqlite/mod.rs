//! Keys in a file of SQLite.

mod store;
mod table;
mod writer;

pub use self::store::{SqliteError, SqliteStore};
