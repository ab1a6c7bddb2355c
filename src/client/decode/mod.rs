//! Decodes what a server has encoded on the way.

mod body;
mod codings;
mod decoder;
mod error;
mod service;
mod source;

pub use self::error::NotDecoded;
pub(super) use self::service::Decode;
