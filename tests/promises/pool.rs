//! The pool: how many there are, who is next, what is closed, and what each caller is told.

mod dials;
mod ends;
mod fresh;
pub(crate) mod kit;
mod limits;
mod many;
mod order;
mod panics;
mod service;
mod waits;
