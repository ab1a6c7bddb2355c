//! A shop in three tiers, whose orders exist exactly once. See `main.rs` for what it shows, and [`app`](application) for what stands where.
//!
//! *The map:* `app.rs` is the application server: which routes there are, and what a request meets before its handler; `login.rs`,
//! `products.rs` and `orders.rs` are its handlers, `answers.rs` what it says when it cannot do something; `database/` is the tier below;
//! `page.html`, the one above. What drives it stands beside: `customer.rs` is a client, `instance.rs` a process that can be killed, `scratch.rs` a
//! database that is gone afterwards.

mod answers;
mod app;
pub mod customer;
mod database;
pub mod instance;
mod login;
mod orders;
mod products;
pub mod scratch;

pub use app::{Options, application};
pub use database::{Books, Database, DatabaseError, Keys, Order, Product};
pub use login::{DEMO_USERS, new_key};
