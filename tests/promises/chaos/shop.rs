//! What the server is a server of: it does things, and writes down what it did.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::base::RequestId;
use tokio::time::{Instant, sleep};

use super::asks::{Ask, Kind, Mood};

/// What is late by no more than this, is in time: the promise.
pub(super) const LATE: Duration = Duration::from_millis(50);

/// Everything that has happened, in order, and what should not have.
#[derive(Clone)]
pub(super) struct Books {
    seed: u64,
    start: Instant,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    broken: Vec<String>,
    visits: BTreeMap<u64, usize>,
    effects: BTreeMap<u64, usize>,
    at_work: Vec<u64>,
    /// How often calls ended in which way.
    endings: BTreeMap<String, usize>,
}

impl Books {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, start: Instant::now(), kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics in here")
    }

    pub(super) fn ask(&self, id: u64) -> Ask {
        Ask::of(self.seed, id)
    }

    /// A line of the trace.
    pub(super) fn note(&self, what: impl fmt::Display) {
        let line = format!("{:?}: {what}", self.start.elapsed());
        self.kept().lines.push(line);
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: impl fmt::Display) {
        let line = format!("{:?}: {what}", self.start.elapsed());
        self.kept().broken.push(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.kept().lines.clone()
    }

    pub(super) fn all_broken(&self) -> Vec<String> {
        self.kept().broken.clone()
    }

    /// How often this was done.
    pub(super) fn effects(&self, id: u64) -> usize {
        self.kept().effects.get(&id).copied().unwrap_or(0)
    }

    /// How many handlers there are.
    pub(super) fn at_work(&self) -> usize {
        self.kept().at_work.len()
    }

    /// A call ended so.
    pub(super) fn ended(&self, how: String) {
        *self.kept().endings.entry(how).or_default() += 1;
    }

    pub(super) fn endings(&self) -> BTreeMap<String, usize> {
        self.kept().endings.clone()
    }

    fn visit(&self, id: u64) -> usize {
        let mut kept = self.kept();
        let visits = kept.visits.entry(id).or_default();
        *visits += 1;
        *visits
    }
}

/// A handler that is at work until this is dropped.
struct AtWork<'a> {
    books: &'a Books,
    id: u64,
    deadline: Option<Instant>,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut kept = self.books.kept();
        let place = kept.at_work.iter().position(|id| *id == self.id).expect("it was at work");
        kept.at_work.swap_remove(place);
        drop(kept);
        let late = self.deadline.map_or(Duration::ZERO, |at| Instant::now().saturating_duration_since(at));
        if late > LATE {
            self.books.broken(format_args!("handler {} worked on for {late:?}", self.id));
        }
    }
}

/// Does what it is asked.
pub(super) async fn serve(books: Books, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let id = request.uri().path().trim_start_matches('/').parse().expect("the path is a number");
    let ask = books.ask(id);
    let visit = books.visit(id);
    let name = request.extensions().get::<RequestId>().map(|name| name.as_str().to_owned());
    books.note(format_args!("handler {id} visit {visit} as {name:?}"));
    let told = request.headers().get("stonework-timeout-ms").expect("a client says how long it waits");
    let left =
        Duration::from_millis(told.to_str().ok().and_then(|left| left.parse().ok()).expect("a number"));
    // What has a key comes to its end, whoever has gone.
    let deadline = (ask.kind != Kind::Keyed).then(|| Instant::now() + left);
    if ask.kind == Kind::Keyed && books.kept().at_work.contains(&id) {
        books.broken(format_args!("handler {id} was begun while it ran, and it has a key"));
    }
    books.kept().at_work.push(id);
    let _at_work = AtWork { books: &books, id, deadline };

    let Ok(upload) = request.into_body().collect().await.map(|body| body.to_bytes()) else {
        books.note(format_args!("handler {id} visit {visit} got half of it"));
        return Ok(answer(400, &ask, Body::empty()));
    };
    if upload != ask.upload() {
        books.broken(format_args!(
            "handler {id} was given {} bytes, and not its own {}",
            upload.len(),
            ask.up
        ));
    }
    sleep(ask.before).await;
    match ask.mood {
        Mood::BusyOnce if visit == 1 => return Ok(answer(503, &ask, Body::empty())),
        Mood::BrokenOnce if visit == 1 => return Ok(answer(500, &ask, Body::empty())),
        // For ever, as far as anybody who waits can tell; what has a key is waited for.
        Mood::Stuck => sleep(Duration::from_secs(70)).await,
        _ => {}
    }
    *books.kept().effects.entry(id).or_default() += 1;
    books.note(format_args!("handler {id} visit {visit} has done it"));
    sleep(ask.after).await;
    let download = ask.download();
    let body = if ask.streams_down { in_pieces(download) } else { Body::from(download) };
    Ok(answer(201, &ask, body))
}

fn answer(status: u16, ask: &Ask, body: Body) -> Response<Body> {
    let response = Response::builder().status(status).header("x-answer-to", ask.id);
    response.body(body).expect("a valid response")
}

/// With a moment before each.
pub(super) fn in_pieces(bytes: Bytes) -> Body {
    let piece = async |mut rest: Bytes| {
        if rest.is_empty() {
            return None;
        }
        sleep(Duration::from_millis(5)).await;
        let piece = rest.split_to(rest.len().min(7_000));
        Some((Ok::<_, Infallible>(Frame::data(piece)), rest))
    };
    Body::new(StreamBody::new(Box::pin(stream::unfold(bytes, piece))))
}
