use stonework::client::Client;

fn main() {
    let _ = Client::new();
}
