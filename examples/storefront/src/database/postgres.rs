//! Over a server. Its sessions are tasks, and a query that its caller has given up is ended there.

use bytes::Bytes;
use http::Response;
use stonework::idempotency::{Claim, Held, PostgresStore, Record};
use stonework::pool::{Pool, PoolSettings, Pooled};
use stonework_databases::Postgres as Manager;
use tokio_postgres::{NoTls, Row};

use super::statements::{BOOKS, IS_THERE, ORDER, ORDERS, PASSWORD, PLACE, PRODUCTS, SELL};
use super::{Books, DatabaseError, GOODS, NewOrder, Order, Placed, Product};
use crate::login::{PasswordHash, demo_users};

/// A server of PostgreSQL takes a hundred by default, of which each instance of the shop has these, from the start, and one more for its keys.
const CONNECTIONS: usize = 4;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, salt BYTEA NOT NULL, hash BYTEA NOT NULL);
    CREATE TABLE IF NOT EXISTS products (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, cents BIGINT NOT NULL, stock BIGINT NOT NULL CHECK (stock >= 0)
    );
    CREATE TABLE IF NOT EXISTS orders (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id TEXT NOT NULL, customer TEXT NOT NULL REFERENCES users,
        product TEXT NOT NULL REFERENCES products, quantity BIGINT NOT NULL, cents BIGINT NOT NULL, note TEXT NOT NULL,
        placed_at BIGINT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS orders_of ON orders (customer, number);";

/// Several processes may begin at once, and even `IF NOT EXISTS` fails then: one after the other, until the transaction ends. The number
/// says whose lock it is, and could be any.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(7310)";

/// A server with orders and keys.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: Pool<Manager>,
    pub(super) keys: PostgresStore,
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, DatabaseError> {
        let manager = Manager::new(url)?.named("storefront");
        let pool = Pool::builder(manager)
            .settings(PoolSettings::new().max(CONNECTIONS).min_idle(CONNECTIONS))
            .name("shop")
            .build();
        let pool = pool.map_err(|error| DatabaseError::Settings(error.into()))?;
        let keys = PostgresStore::new(url.parse()?, NoTls);
        keys.create_table().await.map_err(|error| DatabaseError::Keys(error.into()))?;
        let this = Self { pool, keys };
        this.fill().await?;
        Ok(this)
    }

    async fn fill(&self) -> Result<(), DatabaseError> {
        let mut session = self.pool.get().await?;
        let transaction = session.transaction().await?;
        transaction.batch_execute(ONE_AT_A_TIME).await?;
        transaction.batch_execute(TABLES).await?;
        let is_empty: bool = transaction.query_one("SELECT count(*) = 0 FROM users", &[]).await?.get(0);
        if is_empty {
            for (name, PasswordHash { salt, hash }) in demo_users() {
                transaction.execute("INSERT INTO users VALUES ($1, $2, $3)", &[&name, &salt, &hash]).await?;
            }
            for (id, name, cents, stock) in GOODS {
                let insert = "INSERT INTO products VALUES ($1, $2, $3, $4)";
                transaction.execute(insert, &[&id, &name, &cents, &stock]).await?;
            }
        }
        transaction.commit().await?;
        session.put_back();
        Ok(())
    }

    pub(super) async fn password(&self, user: &str) -> Result<Option<PasswordHash>, DatabaseError> {
        let session = self.pool.get().await?;
        let row = session.query_opt(PASSWORD, &[&user]).await?;
        session.put_back();
        Ok(row.map(|row| PasswordHash { salt: row.get(0), hash: row.get(1) }))
    }

    pub(super) async fn products(&self) -> Result<Vec<Product>, DatabaseError> {
        let session = self.pool.get().await?;
        let rows = session.query(PRODUCTS, &[]).await?;
        session.put_back();
        Ok(rows.iter().map(product).collect())
    }

    pub(super) async fn place(
        &self,
        order: NewOrder,
        claim: Option<&Claim>,
        answer: fn(&Order) -> Response<Bytes>,
    ) -> Result<Placed, DatabaseError> {
        // Where this ends early the session is dropped, and the server rolls back.
        let mut session = self.pool.get().await?;
        let transaction = session.transaction().await?;
        let Some(row) = transaction.query_opt(SELL, &[&order.quantity, &order.product]).await? else {
            let is_there = transaction.query_opt(IS_THERE, &[&order.product]).await?.is_some();
            transaction.rollback().await?;
            session.put_back();
            return Ok(if is_there { Placed::SoldOut } else { Placed::NoSuchProduct });
        };
        let order = order.at(row.get(0));
        let Order { id, customer, product, quantity, cents, note, placed_at } = &order;
        transaction.execute(PLACE, &[id, customer, product, quantity, cents, note, placed_at]).await?;
        let answer = answer(&order);
        if let Some(claim) = claim {
            let held = self.keys.complete_in(&transaction, claim, &Record::new(&answer)).await;
            if held.map_err(|error| DatabaseError::Keys(error.into()))? == Held::Lost {
                return Ok(Placed::Lost);
            }
        }
        transaction.commit().await?;
        session.put_back();
        Ok(Placed::Done(answer))
    }

    pub(super) async fn orders(&self, customer: &str, most: i64) -> Result<Vec<Order>, DatabaseError> {
        let session = self.pool.get().await?;
        let rows = session.query(ORDERS, &[&customer, &most]).await?;
        session.put_back();
        Ok(rows.iter().map(self::order).collect())
    }

    pub(super) async fn order(&self, customer: &str, id: &str) -> Result<Option<Order>, DatabaseError> {
        let session = self.pool.get().await?;
        let row = session.query_opt(ORDER, &[&customer, &id]).await?;
        session.put_back();
        Ok(row.as_ref().map(self::order))
    }

    pub(super) async fn books(&self) -> Result<Books, DatabaseError> {
        let mut session: Pooled<Manager> = self.pool.get().await?;
        // Both at one time.
        let transaction =
            session.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
        let transaction = transaction.start().await?;
        let products = transaction.query(PRODUCTS, &[]).await?.iter().map(product).collect();
        let orders = transaction.query(BOOKS, &[]).await?.iter().map(self::order).collect();
        transaction.commit().await?;
        session.put_back();
        Ok(Books { orders, products })
    }
}

fn product(row: &Row) -> Product {
    Product { id: row.get(0), name: row.get(1), cents: row.get(2), stock: row.get(3) }
}

fn order(row: &Row) -> Order {
    Order {
        id: row.get(0),
        customer: row.get(1),
        product: row.get(2),
        quantity: row.get(3),
        cents: row.get(4),
        note: row.get(5),
        placed_at: row.get(6),
    }
}
