//! Programs that ask as fast as they can, for two seconds each.

use tokio::sync::Mutex;

use crate::kit::{Judged, need, run, text};

/// One at a time, so that each has the machine.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

async fn drains_clean(server: Judged, who: &str) {
    assert_eq!(server.closed(), [""; 0], "{who}: the server closed none");
    let report = server.stop().await;
    assert_eq!((report.aborted, report.connections_aborted), (0, 0), "{who}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_at_full_speed_sees_no_error() {
    if !need("h2load") {
        return;
    }
    let _turn = TURN.lock().await;
    for (version, path) in
        [("--h1", "/"), ("--h1", "/pieces"), ("h2", "/"), ("h2", "/pieces"), ("h2", "/empty")]
    {
        let server = Judged::new().await;
        let url = server.url(path);
        let mut args = vec!["--clients=20", "--duration=2", "--threads=1"];
        args.push(if version == "h2" { "--max-concurrent-streams=10" } else { version });
        args.push(&url);
        let printed = text(run("h2load", &args, b"").await);
        let line =
            |start: &str| printed.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
        let (requests, codes) = (line("requests:"), line("status codes:"));
        eprintln!("h2load {version} {path}: {}", line("finished in"));
        assert!(requests.contains(" 0 failed, 0 errored, 0 timeout"), "{printed}");
        assert!(codes.contains(" 0 3xx, 0 4xx, 0 5xx") && !codes.contains(": 0 2xx"), "{printed}");
        drains_clean(server, version).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrk_at_full_speed_sees_no_error() {
    if !need("wrk") {
        return;
    }
    let _turn = TURN.lock().await;
    let server = Judged::new().await;
    let printed =
        text(run("wrk", &["--threads=1", "--connections=20", "--duration=2s", &server.url("/")], b"").await);
    let rate = printed.lines().find(|line| line.starts_with("Requests/sec:")).expect("a rate");
    eprintln!("wrk: {rate}");
    // These lines are only there if there is something to say.
    assert!(!printed.contains("Socket errors") && !printed.contains("Non-2xx"), "{printed}");
    let rate: f64 = rate.trim_start_matches("Requests/sec:").trim().parse().unwrap();
    assert!(rate > 0.0, "{printed}");
    drains_clean(server, "wrk").await;
}
