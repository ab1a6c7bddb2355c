//! A limit of time that does not say whether it is in seconds.
//!
//! *Named:* `Duration`.

use stonework::client::ClientSettings;

fn main() {
    let _ = ClientSettings::new().deadline(30);
}
