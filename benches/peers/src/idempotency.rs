//! What a keyed request costs more than the same request to the same handler: absolute, since no peer has such a layer.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response};
use stonework::Body;
use stonework::idempotency::{IdempotencyLayer, KeyedBody, MemoryStore, SqliteStore, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::figure::{Figure, Unit};
use crate::groups::Effort;
use crate::measure::allocated;
use crate::statistics::median_over;

/// Of all rows in turn.
const ROUNDS: usize = 41;
const BODY: &[u8] = br#"{"account":"8e03978e","cents":1999,"currency":"EUR"}"#;
const ANSWER: &[u8] = br#"{"charge":"c-1","state":"done"}"#;

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Without a key.
    Plainly,
    /// Each time with another key.
    Anew,
    /// Always with the same one, which was done.
    Again,
}

struct Row {
    name: &'static str,
    asks: Asks,
    handler: Handler,
    /// How many requests a round.
    requests: usize,
    /// At once.
    tasks: usize,
}

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    let rounds = effort.rounds(ROUNDS);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let file = File::new();
    let sqlite = runtime.block_on(SqliteStore::open(&file.0)).expect("a file of our own");
    // As many as all rounds have, and nothing is ever refused.
    let memory = || MemoryStore::new().keys(10_000_000);
    let row = |name, asks, handler, requests, tasks| Row { name, asks, handler, requests, tasks };
    let rows = [
        row("bare", Asks::Plainly, handler(), 1_000, 1),
        row("no key", Asks::Plainly, layered(IdempotencyLayer::new(memory())), 1_000, 1),
        row("memory, a new key", Asks::Anew, layered(IdempotencyLayer::new(memory())), 1_000, 1),
        row(
            "memory, a new key, attached",
            Asks::Anew,
            layered(IdempotencyLayer::new(memory()).attached()),
            1_000,
            1,
        ),
        row("memory, replayed", Asks::Again, layered(IdempotencyLayer::new(memory())), 1_000, 1),
        row("SQLite, a new key", Asks::Anew, layered(IdempotencyLayer::new(sqlite.clone())), 20, 1),
        row(
            "SQLite, a new key, 64 at once",
            Asks::Anew,
            layered(IdempotencyLayer::new(sqlite.clone())),
            640,
            64,
        ),
        row("SQLite, replayed", Asks::Again, layered(IdempotencyLayer::new(sqlite)), 20, 1),
    ];
    let mut spent = vec![Vec::with_capacity(rounds); rows.len()];
    let mut allocations = vec![0.0; rows.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (at, row) in rows.iter().enumerate() {
            let (before, start) = (allocated(), Instant::now());
            row.round(&runtime, round);
            if round > 0 {
                let requests = row.requests as f64;
                spent[at].push(start.elapsed().as_secs_f64() * 1e6 / requests);
                allocations[at] = (allocated() - before) as f64 / requests;
            }
        }
    }
    let figure = |(at, row): (usize, &Row)| {
        let own = at == 0;
        let nothing = vec![0.0; rounds];
        let micros = median_over(&spent[at], if own { &nothing } else { &spent[0] });
        let counted = if own { allocations[0] } else { allocations[at] - allocations[0] };
        Figure {
            allocations: Some(counted),
            ..Figure::new(
                ["idempotency", "52 bytes, answered with 31", row.name, "a request"],
                Unit::Micros.of(micros),
            )
        }
    };
    rows.iter().enumerate().map(figure).collect()
}

impl Row {
    fn round(&self, runtime: &Runtime, round: usize) {
        runtime.block_on(async {
            if self.tasks == 1 {
                return self.requests(round, 0, self.requests).await;
            }
            let mut tasks = JoinSet::new();
            let each = self.requests / self.tasks;
            for task in 0..self.tasks {
                let row = Self { handler: self.handler.clone(), ..*self };
                tasks.spawn(async move { row.requests(round, task, each).await });
            }
            tasks.join_all().await;
        });
    }

    async fn requests(&self, round: usize, task: usize, requests: usize) {
        for number in 0..requests {
            let request = Request::post("/charges").header("content-type", "application/json");
            // Made in all rows, so that all requests cost the same.
            let (name, key) = match self.asks {
                Asks::Plainly => ("x-request-id", format!("{} {round} {task} {number}", self.name)),
                Asks::Anew => ("idempotency-key", format!("\"{} {round} {task} {number}\"", self.name)),
                Asks::Again => ("idempotency-key", format!("\"{}\"", self.name)),
            };
            let request = request.header(name, key);
            let request = request.body(Body::from(Bytes::from_static(BODY))).expect("a request");
            let response = self.handler.clone().oneshot(request).await.expect("an answer");
            let is_replayed = response.headers().contains_key("idempotency-replayed");
            let may_be = self.asks == Asks::Again;
            assert!(response.status() == 200 && (!is_replayed || may_be), "it is done once");
            let body = response.into_body().collect_up_to(100).await.expect("a body");
            assert_eq!(body, ANSWER);
        }
    }
}

fn handler() -> Handler {
    BoxCloneSyncService::new(service_fn(|request: Request<Body>| async move {
        let asked = request.into_body().collect_up_to(100).await?;
        assert_eq!(asked, BODY);
        Ok::<_, BoxError>(Response::new(Body::from(Bytes::from_static(ANSWER))))
    }))
}

fn layered<S: Store>(layer: IdempotencyLayer<S>) -> Handler {
    let whole = |response: Response<KeyedBody<Body>>| response.map(Body::new);
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_response(layer.layer(handler()), whole))
}

/// A file of its own, which is gone at the end.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("stonework-idempotency-{}.db", std::process::id())))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}
