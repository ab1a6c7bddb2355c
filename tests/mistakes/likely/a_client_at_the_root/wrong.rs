//! A type that is looked for at the root of the crate, and stands in the module of its name.
//!
//! *Named:* `stonework::client`.

use stonework::Client;

fn main() {
    let _ = Client::new();
}
