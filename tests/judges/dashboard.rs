//! The page of the example, as a browser shows it.

use std::time::Duration;

use serde_json::Value;
use stonework::observe::Prometheus;
use tokio::time::{Instant, sleep};

use crate::kit::{Talking, need, script};
use crate::live_dashboard::dashboard;

/// For what is shown twice a second.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_shows_the_servers_own_numbers_and_what_is_typed_in_one_page_appears_in_another() {
    if !need("chromium") || !need("node") {
        return;
    }
    let metrics = Prometheus::install().unwrap();
    let (builder, stats, router) = dashboard(metrics.clone());
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (format!("http://{}/", server.local_addr()), server.handle());
    stats.watch(handle.clone());
    let report = tokio::spawn(server.serve(router));

    let mut arguments = vec![script("dashboard_peer.mjs"), "chromium".to_owned(), address];
    arguments.extend(std::env::var("STONEWORK_PICTURES"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut browser = Talking::obeying("node", &arguments);
    browser.says("ready").await;
    browser.tell("say does <b>anybody</b> hear me?").await;
    browser.says("heard").await;
    browser.tell("work").await;
    browser.says("done").await;

    // What is counted here is what both pages show, as soon as they have heard of it.
    let begun = Instant::now();
    loop {
        browser.tell("numbers").await;
        let shown = browser.line().await.expect("numbers");
        let shown: Vec<Value> = serde_json::from_str(&shown).unwrap();
        let counted = answered(&metrics.render());
        let wanted = serde_json::json!({
            "answered": counted,
            // The two streams.
            "in_flight": 2,
            "limit": 500,
            "connections": handle.connections(),
            "refused": 0,
            "chatting": 2,
        });
        if shown == [wanted.clone(), wanted.clone()] {
            // The two pages, and a hundred requests.
            assert!((102..=106).contains(&counted), "{counted}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the pages show {shown:?}, and there are {wanted}");
        sleep(Duration::from_millis(100)).await;
    }
    browser.tell("fits").await;
    browser.says("0").await;
    browser.tell("faults").await;
    browser.says("[]").await;

    handle.shut_down();
    let report = report.await.unwrap();
    assert_eq!((report.aborted, report.connections_aborted), (0, 0), "{report:?}");
    browser.tell("state reconnecting…").await;
    browser.says("reconnecting…").await;
    browser.tell("end").await;
    assert_eq!(browser.line().await, None);
}

fn answered(metrics: &str) -> u64 {
    let counts =
        metrics.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
