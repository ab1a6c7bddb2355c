//! What the description says, and what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use stonework::observe::Prometheus;
use storefront::scratch::Scratch;
use storefront::{Database, Options, application, new_key};
use tokio::process::Command;
use tokio::time::timeout;

use crate::kit::{Shop, file, need};

/// Answered by the server itself, before the router.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];
/// A run takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(120);

type Methods = BTreeMap<String, BTreeSet<String>>;

fn documented() -> Methods {
    let description: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let methods =
        |path: &Value| path.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

/// What the router itself says, when it is printed: of each route the path, in quotes.
async fn routed(scratch: &Scratch) -> BTreeSet<String> {
    let database = Database::open(scratch.url()).await.unwrap();
    let options = Options { name: "test".to_owned(), key: new_key().unwrap(), idempotency: true, log: false };
    let (_, router) = application(&options, database, Prometheus::with_recorder().0).unwrap();
    let printed = format!("{router:?}");
    let paths = printed.split('"').filter(|text| text.starts_with('/') && !text.contains("__private"));
    paths.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described_and_what_is_described_is_there() {
    let scratch = Scratch::new(None).await.unwrap();
    let shop = Shop::open(&scratch).await;
    let mut paths = routed(&scratch).await;
    assert!(paths.contains("/orders/{id}"), "the router tells its paths: {paths:?}");
    paths.extend(PROBES.map(str::to_owned));
    let mut there = Methods::new();
    for path in paths {
        // Whoever wants what cannot be is told what can.
        let refused = shop.ask("PURGE", &path.replace("{id}", "1"), &[], "").await;
        assert_eq!(refused.status, 405, "{path}");
        let allowed = refused.field("allow").split(',').map(|method| method.trim().to_owned());
        // Where there is a GET there is a HEAD, and nobody describes that.
        there.insert(path, allowed.filter(|method| method != "HEAD").collect());
    }
    assert_eq!(there, documented());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_failure_and_nothing_that_is_not_described() {
    let python = std::env::var("STONEWORK_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    // It stands beside the Python that it was installed with.
    let schemathesis = Path::new(&python).with_file_name("schemathesis");
    let schemathesis = schemathesis.to_str().unwrap();
    if !need(schemathesis, &["--version"]) {
        return;
    }
    let scratch = Scratch::new(None).await.unwrap();
    let shop = Shop::open(&scratch).await;
    let token = shop.log_in(0).await;
    let mut command = Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(file("tests/shop/schemathesis.toml"))
        .args(["run", &format!("http://{}/openapi.json", shop.address)])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // All that it can check, in the same order each time; so many cases for each route and way to make them.
        .args(["--checks", "all", "--seed", "2026", "--max-examples", "50", "--workers", "1", "--no-color"])
        // It would keep what it has found, for the next time, where it is run.
        .current_dir(Path::new(scratch.url()).parent().unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let run = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("Tested: 10"), "{said}");
    // It has bought something, and has not only been refused.
    assert!(!shop.books().await.orders.is_empty());
}
