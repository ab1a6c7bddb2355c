//! The program, as it ends.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// It takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Over a file; its own output, and whether it ended well.
async fn storefront(arguments: &[&str], database: Option<&str>) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
    command.args(arguments).env_remove("DATABASE_URL").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(database.map(|url| ("DATABASE_URL", url)));
    let run = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    (String::from_utf8_lossy(&run.stdout).into_owned(), run.status.success())
}

#[tokio::test]
async fn without_the_idempotency_layer_the_audit_fails_and_nothing_else_does() {
    let (said, well) = storefront(&["--without-idempotency"], None).await;
    assert!(!well, "{said}");
    // A claim stands two spaces from the edge, behind a word that says whether it held.
    let claims =
        said.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let broken = claims.filter(|claim| !claim.starts_with("held:"));
    let broken: Vec<_> = broken.filter_map(|claim| claim.split_once(": ")).map(|(_, what)| what).collect();
    let expected = [
        "each order exists exactly once",
        "whoever bought was told the name of that order, however often they asked",
    ];
    assert_eq!(broken, expected, "{said}");
}

#[tokio::test]
async fn over_postgres_every_promise_is_kept_as_well() {
    let Some(server) = crate::postgres::Server::shared() else { return };
    let _turn = crate::kit::POSTGRES.acquire().await.unwrap();
    let (said, well) = storefront(&[], Some(&server.url())).await;
    assert!(well && said.contains("two instances over PostgreSQL"), "{said}");
}

#[tokio::test]
async fn what_it_does_not_know_is_told_with_what_it_does() {
    for wrong in [&["--serv"][..], &["--soak", "long"], &["--serve", "a", "b"]] {
        assert_eq!(storefront(wrong, None).await, (String::new(), false));
    }
}
