//! A server that was overwhelmed, with `wrk` as its clients.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::limit::AdaptiveSettings;
use stonework::server::{Server, ServerSettings};
use tokio::time::{Instant, sleep_until};
use tower::service_fn;

use crate::kit::{need, run, script, text};
use crate::load::TURN;

const SECOND: Duration = Duration::from_secs(1);
const QUERY: Duration = Duration::from_nanos(1_000_000_000 / 300);
/// From the beginning.
const STALL: std::ops::Range<u32> = 3..13;

/// Does 300 queries a second, one after another, but for the stall; and does not notice when somebody has gone who asked.
struct Database {
    begin: Instant,
    free: Mutex<Instant>,
}

impl Database {
    async fn query(&self) {
        let done = {
            let (stall, back) = (self.begin + SECOND * STALL.start, self.begin + SECOND * STALL.end);
            let mut free = self.free.lock().unwrap();
            let start = Instant::now().max(*free);
            let start = if start >= stall && start < back { back } else { start };
            *free = start + QUERY;
            *free
        };
        sleep_until(done).await;
    }
}

/// What `wrk` counted: all answers, those that were not 2xx, and those that took longer than a second.
async fn wrk(url: &str, time: Duration) -> (u32, u32, u32) {
    let (time, script) = (format!("--duration={}s", time.as_secs()), script("overload.lua"));
    let args = ["--threads=1", "--connections=300", "--timeout=1s", &time, "--script", &script, url];
    let printed = text(run("wrk", &args, b"").await);
    let number = |after: &str, before: &str| {
        let rest = printed.split_once(after).map(|(_, rest)| rest);
        let number = rest.and_then(|rest| rest.split_once(before)).map(|(number, _)| number.trim());
        number.map(|number| number.parse::<u32>().unwrap_or_else(|_| panic!("{printed}")))
    };
    let all = printed.lines().find_map(|line| line.split_once(" requests in "));
    let all = all.and_then(|(all, _)| all.trim().parse().ok()).unwrap_or_else(|| panic!("{printed}"));
    (all, number("Non-2xx or 3xx responses:", "\n").unwrap_or(0), number("timeout ", "\n").unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_seconds_after_an_outage_it_answers_again_as_if_nothing_had_been() {
    if !need("wrk") {
        return;
    }
    let _turn = TURN.lock().await;
    let begin = Instant::now();
    let database = Arc::new(Database { begin, free: Mutex::new(begin) });
    let handler = service_fn(move |_: Request<Body>| {
        let database = Arc::clone(&database);
        async move {
            database.query().await;
            Ok::<_, Infallible>(Response::new(Body::from("here you are")))
        }
    });
    let settings = ServerSettings::new().concurrency(AdaptiveSettings::new().into()).overload_queue();
    let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap();
    let (url, handle) = (format!("http://{}/", server.local_addr()), server.handle());
    let served = tokio::spawn(server.serve(handler));

    // Before the outage, in it, and for two seconds after it: 280 of the 300 that can be.
    let (all, refused, late) = wrk(&url, SECOND * (STALL.end + 2)).await;
    eprintln!("wrk, with an outage: {all} answers, {refused} of them refusals, {late} late");
    assert!(refused * 2 > all, "there was an outage: {refused} of {all}");

    let (all, refused, late) = wrk(&url, SECOND * 8).await;
    eprintln!("wrk, after the outage: {all} answers, {refused} of them refusals, {late} late");
    assert!(all >= 1_500, "280 a second: {all}");
    // It is about one in 200, and this is no finer than a machine that has something else to do.
    assert!((refused + late) * 20 <= all, "{refused} refused and {late} late of {all}");
    handle.shut_down();
    assert_eq!(served.await.unwrap().aborted, 0);
}
