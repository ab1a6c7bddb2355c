//! A module that the manifest does not ask for.
//!
//! *Named:* `feature = "sse"`.

use stonework::sse::EventSource;

fn main() {}
