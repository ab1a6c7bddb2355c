//! Bodies: one that can be sent again, one that any body fits in, and one that holds something until it is used up.
//!
//! | type | what it is for |
//! |---|---|
//! | [`Body`] | the body of the assembled client and server: bytes in memory, or any stream in a box |
//! | [`Replay`] | what a layer that repeats requests asks of a body: keep what is read, give a second copy |
//! | [`ReplayBody`] | makes any body a `Replay`, without waiting for it and without holding more than a limit |
//! | [`Reopen`] | a `Replay` of any size, from a closure that opens its source again |
//! | [`Held`] | a response body that keeps a [`Guard`] (a permit, a timer, a measurement) until it is used up |
//!
//! # Replay without giving up on streaming
//!
//! A body that is recorded is still sent frame by frame, as it comes. Up to a limit the frames are also kept, which
//! for [`Bytes`](bytes::Bytes) is counting a reference, not copying. A body that grows over its limit is let go: what
//! was kept is released and the reader in front goes on with the live stream, so that a large upload costs one
//! attempt and never an error. What comes from a source that can be opened again needs no keeping, and has no limit:
//! see [`Reopen`].
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use stonework::base::body::{Replay, ReplayBody};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::base::BoxError> {
//! let mut first = ReplayBody::new(Full::<Bytes>::from("once more, please"));
//! assert!(first.record(64 * 1024));
//! let again = first.fork().expect("small enough to be kept");
//!
//! drop(first); // the first attempt failed, after reading any part of it
//! assert_eq!(again.collect().await?.to_bytes(), "once more, please");
//! # Ok(()) }
//! ```
//!
//! # Work lasts until the answer is used up
//!
//! A permit that goes home with the head of a response limits nothing while the body is still being sent. [`Held`]
//! keeps it, and says how the body ended: [`Complete`](BodyEnd::Complete), [`Failed`](BodyEnd::Failed) or
//! [`Abandoned`](BodyEnd::Abandoned). See [`HoldUntil`] for the moment that counts as the end.
//!
//! # `Send`, and no more
//!
//! The bodies put in need to be `Send` and need not be `Sync`. [`ReplayBody`] and [`Body`] are both.

mod any;
mod collect;
mod held;
mod hold_until;
mod kept;
mod memory;
mod reader;
mod reopen;
mod replay;
mod replay_body;
mod shared;
mod tape;
#[cfg(test)]
mod tests;
mod waiting;

pub use any::Body;
pub use collect::{BodyTooLarge, collect_up_to};
pub use held::{BodyEnd, Guard, Held};
pub use hold_until::HoldUntil;
pub(crate) use kept::Kept;
pub use reopen::{Reopen, WrongLength};
pub use replay::{Replay, ReplayLimit, SourceFailed, Superseded};
pub use replay_body::ReplayBody;
