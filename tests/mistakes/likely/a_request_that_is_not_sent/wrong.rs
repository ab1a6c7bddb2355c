//! A request that nobody sends.
//!
//! *Named:* `RequestBuilder`, `until it is sent`.

use stonework::client::Client;

fn main() {
    Client::new().post("http://stock.internal/items").body("one piano");
}
