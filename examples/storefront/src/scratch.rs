//! A database for the length of a show or a test: a file in a folder of its own, or a schema of its own on a server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use stonework::base::BoxError;
use stonework::pool::Manage;
use stonework_databases::Postgres;

/// Where it is. A file is removed when this is dropped; a schema, by [`remove`](Self::remove).
#[derive(Debug)]
pub struct Scratch {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Schema { server: String, name: String },
}

impl Scratch {
    /// On this server of PostgreSQL, `postgres://…`; else in a file of SQLite's.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or the folder not be made.
    pub async fn new(server: Option<&str>) -> Result<Self, BoxError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("storefront_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let Some(server) = server else {
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir(&folder)?;
            let url = folder.join("shop.db").display().to_string();
            return Ok(Self { url, kind: Kind::Folder(folder) });
        };
        let session = Postgres::new(server)?.connect().await?;
        session.batch_execute(&format!("CREATE SCHEMA {name}")).await?;
        // Part of the address, so that whoever is given it is there and nowhere else.
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options=-c%20search_path%3D{name}");
        Ok(Self { url, kind: Kind::Schema { server: server.to_owned(), name } })
    }

    /// For [`Database::open`](crate::Database::open).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What keeps it.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match self.kind {
            Kind::Folder(_) => "SQLite",
            Kind::Schema { .. } => "PostgreSQL",
        }
    }

    /// With all that is in it.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached.
    pub async fn remove(self) -> Result<(), BoxError> {
        if let Kind::Schema { server, name } = &self.kind {
            let session = Postgres::new(server)?.connect().await?;
            session.batch_execute(&format!("DROP SCHEMA {name} CASCADE")).await?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Kind::Folder(folder) = &self.kind {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
