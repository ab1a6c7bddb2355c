//! The page, as a browser shows it to somebody who buys.

use std::process::Stdio;
use std::time::Duration;

use storefront::scratch::Scratch;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kit::{Shop, file, need};

/// Chromium takes a while to begin on a small machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_logs_in_and_buys_and_what_was_bought_is_listed() {
    if !need("chromium", &["--version"]) || !need("node", &["--version"]) {
        return;
    }
    let scratch = Scratch::new(None).await.unwrap();
    let shop = Shop::open(&scratch).await;
    let mut command = Command::new("node");
    command.arg(file("tests/shop/page_peer.mjs")).arg("chromium").arg(format!("http://{}/", shop.address));
    command.args(std::env::var("STONEWORK_PICTURES").ok());
    let buying = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output();
    let bought = timeout(PATIENCE, buying).await.expect("it ends").unwrap();
    let told = String::from_utf8(bought.stdout).unwrap();
    let expected = [
        "in: []",
        r#"bought: ["3 × honey"]"#,
        r#"pressed twice: ["1 × bread","3 × honey"]"#,
        "wider than the screen: 0",
        "faults: []",
        "a wrong password is told so",
        "somebody else: []",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected, "{}", bought.status);
    assert!(bought.status.success());
    let books = shop.books().await;
    let sold: Vec<_> =
        books.orders.iter().map(|order| (&*order.customer, &*order.product, order.quantity)).collect();
    assert_eq!(sold, [("ann", "honey", 3), ("ann", "bread", 1), ("ann", "salt", 1)]);
}
