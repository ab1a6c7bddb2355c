//! An algorithm by the name that it has in tokens.
//!
//! *Named:* `Algorithm`.

use stonework::jwt::{Keys, Verifier};

fn main() {
    let _ = Verifier::builder().keys(Keys::pending()).algorithms(["ES256"]);
}
