//! Over a file. SQLite's calls block, so each is made on a thread where that does no harm, see [`blocking`].

use bytes::Bytes;
use http::Response;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use stonework::idempotency::{Claim, Held, Record, SqliteStore};
use stonework::pool::{Pool, PoolSettings};
use stonework_databases::{Sqlite as Manager, blocking};

use super::statements::{BOOKS, IS_THERE, ORDER, ORDERS, PASSWORD, PLACE, PRODUCTS, SELL};
use super::{Books, DatabaseError, GOODS, NewOrder, Order, Placed, Product};
use crate::login::{PasswordHash, demo_users};

/// There is one writer at a time, whatever the number of connections; these are for those who read meanwhile. They are there from the
/// start, so that nobody waits for one to be opened.
const CONNECTIONS: usize = 4;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, salt BLOB NOT NULL, hash BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS products (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, cents BIGINT NOT NULL, stock BIGINT NOT NULL CHECK (stock >= 0)
    );
    CREATE TABLE IF NOT EXISTS orders (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, customer TEXT NOT NULL REFERENCES users,
        product TEXT NOT NULL REFERENCES products, quantity BIGINT NOT NULL, cents BIGINT NOT NULL, note TEXT NOT NULL,
        placed_at BIGINT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS orders_of ON orders (customer, number);";

/// A file of orders and keys.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pool: Pool<Manager>,
    pub(super) keys: SqliteStore,
}

impl Sqlite {
    pub(super) async fn open(path: &str) -> Result<Self, DatabaseError> {
        let keys = SqliteStore::open(path).await.map_err(|error| DatabaseError::Settings(error.into()))?;
        // An order that was answered for is on the disk, as its key is.
        let pool = Pool::builder(Manager::new(path).durable()).name("shop");
        let pool = pool.settings(PoolSettings::new().max(CONNECTIONS).min_idle(CONNECTIONS)).build();
        let this = Self { pool: pool.map_err(|error| DatabaseError::Settings(error.into()))?, keys };
        this.with(fill).await?;
        Ok(this)
    }

    /// With a connection, out of the way of other tasks.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (connection, done) = blocking(self.pool.get().await?, work).await;
        // What failed in a transaction has rolled it back, so the connection is as good as before.
        connection.put_back();
        done
    }

    pub(super) async fn password(&self, user: &str) -> Result<Option<PasswordHash>, DatabaseError> {
        let user = user.to_owned();
        self.with(move |connection| {
            let hash = |row: &Row<'_>| Ok(PasswordHash { salt: row.get(0)?, hash: row.get(1)? });
            Ok(connection.query_row(PASSWORD, [user], hash).optional()?)
        })
        .await
    }

    pub(super) async fn products(&self) -> Result<Vec<Product>, DatabaseError> {
        self.with(|connection| Ok(products(connection)?)).await
    }

    pub(super) async fn place(
        &self,
        order: NewOrder,
        claim: Option<Claim>,
        answer: fn(&Order) -> Response<Bytes>,
    ) -> Result<Placed, DatabaseError> {
        let keys = self.keys.clone();
        self.with(move |connection| {
            // Immediate, so that it waits for its turn to write here, and is not turned away later.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sell = (order.quantity, &order.product);
            let Some(cents) = transaction.query_row(SELL, sell, |row| row.get(0)).optional()? else {
                let is_there = transaction.query_row(IS_THERE, [&order.product], |_| Ok(())).optional()?;
                return Ok(if is_there.is_some() { Placed::SoldOut } else { Placed::NoSuchProduct });
            };
            let order = order.at(cents);
            let Order { id, customer, product, quantity, cents, note, placed_at } = &order;
            transaction.execute(PLACE, (id, customer, product, quantity, cents, note, placed_at))?;
            let answer = answer(&order);
            if let Some(claim) = &claim {
                let held = keys.complete_in(&transaction, claim, &Record::new(&answer));
                if held.map_err(|error| DatabaseError::Keys(error.into()))? == Held::Lost {
                    return Ok(Placed::Lost);
                }
            }
            transaction.commit()?;
            Ok(Placed::Done(answer))
        })
        .await
    }

    pub(super) async fn orders(&self, customer: &str, most: i64) -> Result<Vec<Order>, DatabaseError> {
        let customer = customer.to_owned();
        self.with(move |connection| {
            let mut statement = connection.prepare_cached(ORDERS)?;
            let orders = statement.query_map((customer, most), order)?;
            Ok(orders.collect::<Result<_, _>>()?)
        })
        .await
    }

    pub(super) async fn order(&self, customer: &str, id: &str) -> Result<Option<Order>, DatabaseError> {
        let wanted = (customer.to_owned(), id.to_owned());
        self.with(move |connection| Ok(connection.query_row(ORDER, wanted, order).optional()?)).await
    }

    pub(super) async fn books(&self) -> Result<Books, DatabaseError> {
        self.with(|connection| {
            // Both at one time.
            let transaction = connection.transaction()?;
            let products = products(&transaction)?;
            let orders = transaction.prepare(BOOKS)?.query_map((), order)?.collect::<Result<_, _>>()?;
            Ok(Books { orders, products })
        })
        .await
    }
}

/// Several processes may begin at once; one of them fills it, the others wait and find it full.
fn fill(connection: &mut Connection) -> Result<(), DatabaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    let is_empty: bool = transaction.query_row("SELECT count(*) = 0 FROM users", (), |row| row.get(0))?;
    if is_empty {
        for (name, PasswordHash { salt, hash }) in demo_users() {
            transaction.execute("INSERT INTO users VALUES (?, ?, ?)", (name, salt, hash))?;
        }
        for good in GOODS {
            transaction.execute("INSERT INTO products VALUES (?, ?, ?, ?)", good)?;
        }
    }
    Ok(transaction.commit()?)
}

fn products(connection: &Connection) -> rusqlite::Result<Vec<Product>> {
    let product = |row: &Row<'_>| {
        Ok(Product { id: row.get(0)?, name: row.get(1)?, cents: row.get(2)?, stock: row.get(3)? })
    };
    connection.prepare_cached(PRODUCTS)?.query_map((), product)?.collect()
}

fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        id: row.get(0)?,
        customer: row.get(1)?,
        product: row.get(2)?,
        quantity: row.get(3)?,
        cents: row.get(4)?,
        note: row.get(5)?,
        placed_at: row.get(6)?,
    })
}
