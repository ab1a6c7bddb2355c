//! The shop: over a file and over PostgreSQL, as a program, and as others see it. What others is missing is said, and is a failure with
//! `STONEWORK_JUDGES=1`.

mod described;
mod kit;
mod once;
mod page;
#[allow(dead_code, reason = "tests of the pool need more of it")]
#[path = "../../../databases/tests/postgres/kit.rs"]
mod postgres;
mod refusals;
mod show;
