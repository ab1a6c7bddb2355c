//! Keys in a PostgreSQL database.

mod connection;
mod store;
mod table;

pub use self::store::{PostgresError, PostgresStore};
