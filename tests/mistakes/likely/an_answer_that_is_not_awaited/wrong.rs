//! An answer that is used before it has come.
//!
//! *Named:* `.await`.

use stonework::Error;
use stonework::client::Client;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let answer = Client::new().get("http://stock.internal/items").send()?;
    println!("{}", answer.status());
    Ok(())
}
