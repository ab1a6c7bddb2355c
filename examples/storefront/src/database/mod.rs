//! The third tier: what is kept, and where. A file of SQLite's, or, where the address begins with `postgres`, a server of PostgreSQL; the
//! rest of the shop does not know which.
//!
//! Every statement goes over a [`Pool`](stonework::pool::Pool), whose managers are those of the package `stonework-databases`.

mod keys;
mod postgres;
mod sqlite;
mod statements;

use std::fmt;

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use stonework::Error;
use stonework::idempotency::Claim;

pub use self::keys::Keys;
use self::postgres::Postgres;
use self::sqlite::Sqlite;
use crate::login::PasswordHash;

/// What there is to buy, with a price in cents. There is so much of everything that nothing is sold out by a test that was not meant to:
/// hours of the soak at hundreds of orders a second.
const GOODS: [(&str, &str, i64, i64); 4] = [
    ("bread", "A loaf of bread", 420, 10_000_000),
    ("butter", "Butter, half a pound", 290, 10_000_000),
    ("honey", "Honey from next door", 750, 10_000_000),
    ("salt", "The last grain of salt", 1, 1),
];

/// Of all orders, how many are sent to one who asks.
pub(crate) const MOST_LISTED: i64 = 100;

/// A handle: its clones share its pool.
#[derive(Clone)]
pub enum Database {
    /// A file on this machine.
    Sqlite(Sqlite),
    /// A server, for several machines.
    Postgres(Postgres),
}

/// Something to buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// What orders call it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What one costs.
    pub cents: i64,
    /// How many there are left.
    pub stock: i64,
}

/// What somebody wants to buy.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    /// Made by the handler, another one whenever it runs: nothing in the database keeps the same purchase from being there twice.
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) product: String,
    pub(crate) quantity: i64,
    pub(crate) note: String,
    /// In seconds since 1970 began.
    pub(crate) placed_at: i64,
}

/// What somebody has bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// Who has it.
    #[serde(skip)]
    pub customer: String,
    /// Of what.
    pub product: String,
    /// How many.
    pub quantity: i64,
    /// What it costs.
    pub cents: i64,
    /// What the customer wants to remember it by.
    pub note: String,
    /// In seconds since 1970 began.
    pub placed_at: i64,
}

impl NewOrder {
    /// At this price for one.
    fn at(self, cents: i64) -> Order {
        let Self { id, customer, product, quantity, note, placed_at } = self;
        Order { id, customer, product, quantity, cents: cents * quantity, note, placed_at }
    }
}

/// What became of an order.
pub(crate) enum Placed {
    /// It is there, and this is what its customer is answered, now and whenever they ask again.
    Done(Response<Bytes>),
    NoSuchProduct,
    SoldOut,
    /// Somebody else does this request by now. Nothing was done.
    Lost,
}

/// All there is, for an audit.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// In the order in which they were placed.
    pub orders: Vec<Order>,
    /// Each product with what is left of it.
    pub products: Vec<Product>,
}

impl Books {
    /// Of each product, what was sold and what is left is what there was.
    #[must_use]
    pub fn add_up(&self) -> bool {
        let sold = |id: &str| -> i64 {
            self.orders.iter().filter(|order| order.product == id).map(|order| order.quantity).sum()
        };
        let there_was = |id: &str| GOODS.iter().find(|good| good.0 == id).map(|good| good.3);
        self.products.len() == GOODS.len()
            && self
                .products
                .iter()
                .all(|product| there_was(&product.id) == Some(product.stock + sold(&product.id)))
    }
}

/// The database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There was no connection.
    #[error(transparent)]
    Pool(#[from] Error),
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says so.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The store of keys says so.
    #[error("the record of a key could not be written")]
    Keys(#[source] stonework::base::BoxError),
    /// It was given an address that it cannot read, or settings that cannot be.
    #[error("the database cannot be used like this")]
    Settings(#[source] stonework::base::BoxError),
}

impl Database {
    /// At this address: `postgres://…`, or the path of a file, which may have `sqlite:` before it. Tables are made, and filled, if there are none.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn open(address: &str) -> Result<Self, DatabaseError> {
        if address.starts_with("postgres") {
            return Ok(Self::Postgres(Postgres::open(address).await?));
        }
        let path = address.strip_prefix("sqlite:").unwrap_or(address);
        Ok(Self::Sqlite(Sqlite::open(path).await?))
    }

    /// Where keys are remembered: in the same database, so that a record can be committed with what was done.
    #[must_use]
    pub fn keys(&self) -> Keys {
        match self {
            Self::Sqlite(database) => Keys::Sqlite(database.keys.clone()),
            Self::Postgres(database) => Keys::Postgres(database.keys.clone()),
        }
    }

    /// What proves a password of this user; none, if there is no such user.
    pub(crate) async fn password(&self, user: &str) -> Result<Option<PasswordHash>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.password(user).await,
            Self::Postgres(database) => database.password(user).await,
        }
    }

    /// All of them.
    pub(crate) async fn products(&self) -> Result<Vec<Product>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.products().await,
            Self::Postgres(database) => database.products().await,
        }
    }

    /// In one transaction: the stock, the order, and the record of its key, if it has one.
    pub(crate) async fn place(
        &self,
        order: NewOrder,
        claim: Option<Claim>,
        answer: fn(&Order) -> Response<Bytes>,
    ) -> Result<Placed, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.place(order, claim, answer).await,
            Self::Postgres(database) => database.place(order, claim.as_ref(), answer).await,
        }
    }

    /// The last ones of this customer, newest first.
    pub(crate) async fn orders(&self, customer: &str, most: i64) -> Result<Vec<Order>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.orders(customer, most).await,
            Self::Postgres(database) => database.orders(customer, most).await,
        }
    }

    /// That of this name, if it is this customer's.
    pub(crate) async fn order(&self, customer: &str, id: &str) -> Result<Option<Order>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.order(customer, id).await,
            Self::Postgres(database) => database.order(customer, id).await,
        }
    }

    /// Everything, for an audit.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn books(&self) -> Result<Books, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.books().await,
            Self::Postgres(database) => database.books().await,
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn check(&self) -> Result<(), DatabaseError> {
        self.order("", "").await.map(drop)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        })
    }
}
