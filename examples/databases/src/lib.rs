//! Two managers for a [`Pool`](stonework::pool::Pool): SQLite files, whose calls block, and PostgreSQL, whose sessions are tasks.
//!
//! A package of its own, which is not published: nobody who uses stonework builds a database for it. Copy what you need.

mod postgres;
mod sqlite;

pub use postgres::{Postgres, Session};
pub use sqlite::{OpenError, Sqlite, blocking};
