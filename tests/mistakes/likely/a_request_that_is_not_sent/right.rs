use stonework::Error;
use stonework::client::Client;

#[tokio::main]
async fn main() -> Result<(), Error> {
    Client::new().post("http://stock.internal/items").body("one piano").send().await?;
    Ok(())
}
