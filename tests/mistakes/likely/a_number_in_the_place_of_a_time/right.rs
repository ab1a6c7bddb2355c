use std::time::Duration;

use stonework::client::ClientSettings;

fn main() {
    let _ = ClientSettings::new().deadline(Duration::from_secs(30));
}
