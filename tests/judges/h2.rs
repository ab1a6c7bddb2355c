//! Python's `h2`, which does what the protocol allows and nobody should do.

use std::time::Duration;

use stonework::base::ServerPhase;
use stonework::server::{Server, ServerSettings};

use crate::kit::{Judged, Talking, python, run, script, text};

/// What the peer saw: the first word of each line, and the rest.
async fn peer(server: &Judged, python: &str, what: &str) -> Vec<(String, String)> {
    let printed = text(run(python, &[&script("h2_peer.py"), what, &server.port.to_string()], b"").await);
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    eprintln!("{what}: {}", printed.replace('\n', "; "));
    printed.lines().filter_map(pair).collect()
}

fn value<'a>(seen: &'a [(String, String)], key: &str) -> &'a str {
    &seen.iter().find(|(found, _)| found == key).unwrap_or_else(|| panic!("no {key} in {seen:?}")).1
}

fn number(seen: &[(String, String)], key: &str) -> usize {
    value(seen, key).parse().unwrap()
}

/// How many bytes of memory this process has, where the system says so.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

/// More than a flood may take, tests beside it included.
const MEMORY: usize = 128 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_back_each_request_is_closed_soon_and_others_are_served() {
    let Some(python) = python("h2.connection") else { return };
    // At once, before anybody has looked at it; and when the handler has just begun.
    for what in ["rapid-reset", "slow-reset"] {
        let server = Judged::new().await;
        let seen = peer(&server, &python, what).await;
        assert_eq!((value(&seen, "ended"), value(&seen, "served")), ("True", "True"), "{what}");
        assert!(number(&seen, "requests") <= 2_000, "{what}: {seen:?}");
        assert_eq!(server.stop().await.aborted, 0, "no handler is left over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_frames_that_ask_for_an_answer_fills_no_memory_and_is_closed() {
    let Some(python) = python("h2.connection") else { return };
    for what in ["settings", "ping"] {
        let settings = ServerSettings::new().stall_timeout(Duration::from_secs(1));
        let server = Judged::start(Server::builder().settings(settings)).await;
        let before = resident();
        let seen = peer(&server, &python, what).await;
        assert_eq!(value(&seen, "ended"), "closed", "{what}");
        if let (Some(before), Some(after)) = (before, resident()) {
            assert!(after < before + MEMORY, "{what}: from {before} to {after} bytes");
        }
        assert_eq!(server.stop().await.aborted, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_an_end_is_closed_when_it_is_too_large() {
    let Some(python) = python("h2.connection") else { return };
    for what in ["continuation", "empty-continuation"] {
        let server = Judged::new().await;
        let before = resident();
        let seen = peer(&server, &python, what).await;
        assert_eq!(value(&seen, "ended"), "closed", "{what}");
        if let (Some(before), Some(after)) = (before, resident()) {
            assert!(after < before + MEMORY, "{what}: from {before} to {after} bytes");
        }
        assert_eq!(server.stop().await.aborted, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_no_window_loses_the_request_and_not_the_connection() {
    let Some(python) = python("h2.connection") else { return };
    for (what, taken) in [("no-window", "0"), ("small-window", "1000")] {
        let settings = ServerSettings::new().stall_timeout(Duration::from_millis(300));
        let server = Judged::start(Server::builder().settings(settings)).await;
        let seen = peer(&server, &python, what).await;
        assert_eq!(value(&seen, "large"), format!("reset {taken}"), "{what}");
        assert_eq!(value(&seen, "next"), "hello", "{what}");
        assert_eq!(server.stop().await.aborted, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_of_the_end_and_gets_what_it_has_asked_for() {
    let Some(python) = python("h2.connection") else { return };
    let server = Judged::new().await;
    let mut peer = Talking::start(&python, &[&script("h2_peer.py"), "goaway", &server.port.to_string()]);
    server.gate.reached.notified().await;
    server.handle.shut_down();
    peer.says("goaway NO_ERROR").await;
    assert_eq!(server.handle.phase(), ServerPhase::Draining);
    server.gate.open.notify_one();
    let mut rest = Vec::new();
    while let Some(line) = peer.line().await {
        rest.push(line);
    }
    rest.retain(|line| line != "goaway NO_ERROR");
    assert_eq!(rest, ["answer 200 finished", "closed"]);
    let report = server.report().await;
    assert_eq!((report.finished, report.aborted), (1, 0));
}
