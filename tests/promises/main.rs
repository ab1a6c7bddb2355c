//! What a user could rely on, one file per module.

mod server;
