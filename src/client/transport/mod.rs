//! The innermost service: one request over one connection.
//!
//! [`places`], [`keep_alive`] and [`key`] decide; a [`host`](host::Host) holds, in its [`state`](state::State), the connections to it and the queue of those who
//! wait for one, [`dial`] makes them, a [`lease`] is one of them in the hands of a request, and [`exchange`] takes a request from its caller to its
//! answer.

mod connection;
mod core;
mod dial;
mod exchange;
mod expect;
mod head;
mod host;
mod keep_alive;
mod keeper;
mod key;
mod lease;
mod place;
mod places;
mod pulse;
mod sender;
mod service;
mod state;
mod upload;
mod waiting;
mod wire;
mod wired;
mod wish;

pub(super) use self::service::Transport;
pub(super) use self::wired::Wired;
