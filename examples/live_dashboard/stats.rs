//! What the server does, twice a second, as a stream of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use http::HeaderMap;
use stonework::limit::ConcurrencyLimiter;
use stonework::observe::Prometheus;
use stonework::server::{ServerHandle, Shutdown};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::chat::Chat;

const EVERY: Duration = Duration::from_millis(500);
/// A minute, for those who come, and those who come back.
const KEPT: usize = 120;

#[derive(Clone)]
pub(crate) struct Stats(Arc<Shared>);

struct Shared {
    limiter: ConcurrencyLimiter,
    metrics: Prometheus,
    chat: Chat,
    /// What was said last, with its numbers.
    ticks: Mutex<VecDeque<(u64, String)>>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
}

impl Stats {
    pub(crate) fn new(limiter: ConcurrencyLimiter, metrics: Prometheus, chat: Chat) -> Self {
        let newest = watch::Sender::new(0);
        Self(Arc::new(Shared { limiter, metrics, chat, ticks: Mutex::default(), newest }))
    }

    /// Looks at this server for as long as the program runs.
    pub(crate) fn watch(&self, server: ServerHandle) {
        let stats = Arc::clone(&self.0);
        tokio::spawn(async move {
            let (start, mut every, mut before) = (Instant::now(), interval(EVERY), (Instant::now(), 0));
            for id in 1.. {
                let now = every.tick().await;
                let answered = answered(&stats.metrics.render());
                let seconds = now.saturating_duration_since(before.0).as_secs_f64().max(0.001);
                let rate = if id == 1 { 0.0 } else { answered.saturating_sub(before.1) as f64 / seconds };
                before = (now, answered);
                let tick = serde_json::json!({
                    "answered": answered,
                    "chatting": stats.chat.people(),
                    "connections": server.connections(),
                    "in_flight": stats.limiter.in_flight(),
                    "limit": stats.limiter.limit(),
                    "phase": format!("{:?}", server.phase()).to_lowercase(),
                    "rate": (rate * 10.0).round() / 10.0,
                    "refused": stats.limiter.refused(),
                    "uptime": start.elapsed().as_secs(),
                });
                let mut ticks = stats.ticks.lock().unwrap();
                if ticks.len() == KEPT {
                    ticks.pop_front();
                }
                ticks.push_back((id, tick.to_string()));
                drop(ticks);
                stats.newest.send_replace(id);
            }
        });
    }

    /// The first that is newer than this one.
    fn after(&self, last: u64) -> Option<(u64, String)> {
        self.0.ticks.lock().unwrap().iter().find(|(id, _)| *id > last).cloned()
    }
}

/// How many requests there were, by the server's own account: it counts one when its answer has come to its end.
fn answered(metrics: &str) -> u64 {
    let counts =
        metrics.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// All that is known, or what came behind `Last-Event-ID`; and then what comes, until the server stops.
pub(crate) async fn events(
    State(stats): State<Stats>,
    Extension(shutdown): Extension<Shutdown>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    // One from the future is that of a server before this one.
    let last = last.filter(|last| *last <= *stats.0.newest.borrow()).unwrap_or(0);
    let newest = stats.0.newest.subscribe();
    let events =
        stream::unfold((stats, shutdown, newest, last), |(stats, shutdown, mut newest, last)| async move {
            let (id, tick) = loop {
                newest.mark_unchanged();
                if let Some(tick) = stats.after(last) {
                    break tick;
                }
                tokio::select! {
                    changed = newest.changed() => changed.ok()?,
                    () = shutdown.requested() => return None,
                }
            };
            if shutdown.is_requested() {
                return None;
            }
            let event =
                Event::default().event("stats").id(id.to_string()).retry(Duration::from_secs(1)).data(tick);
            Some((Ok(event), (stats, shutdown, newest, id)))
        });
    Sse::new(events).keep_alive(KeepAlive::default())
}
