use stonework::Error;
use stonework::client::Client;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let answer = Client::new().get("http://stock.internal/items").send().await?;
    println!("{}", answer.status());
    Ok(())
}
