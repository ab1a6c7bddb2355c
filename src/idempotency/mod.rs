//! Have we done it already? A server that does a keyed request once, however often it is sent.

mod claim;
pub mod conformance;
mod digest;
mod entry;
mod memory;
mod record;
mod store;

pub use self::claim::{AfterCrash, Claim, NewClaim, Owner};
pub use self::digest::{Fingerprint, Scope};
pub use self::entry::{Change, Entry, State};
pub use self::memory::{MemoryStore, StoreFull};
pub use self::record::{InvalidRecord, Record};
pub use self::store::{Begun, Final, Held, Store};
