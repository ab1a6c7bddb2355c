use stonework::health::Health;

fn main() {
    let _ = Health::builder();
}
