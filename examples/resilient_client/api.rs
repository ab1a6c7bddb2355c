//! The API of a shop that has a bad day: by script, and with a record of what arrived.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stonework::base::IdempotencyKey;
use stonework::testing::{Reaction, ScriptedServer, SeenRequest, respond};
use tokio::time::Instant;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// It asks everybody to come back in a second.
    Busy,
    /// It asks everybody to come back in half a minute.
    Closed,
    /// It takes a request, does what it asks for, and resets the connection.
    Resets,
    /// The same, and says nothing.
    Silent,
    /// It is slow, and well.
    Slow,
}

impl Mood {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Resets => "resets",
            Self::Silent => "silent",
            Self::Slow => "slow",
        }
    }

    /// What it says in `Retry-After`.
    pub(crate) const fn comes_back_in(self) -> Option<Duration> {
        match self {
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Closed => Some(Duration::from_secs(30)),
            Self::Well | Self::Resets | Self::Silent | Self::Slow => None,
        }
    }
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// How the shop was when it came.
    pub(crate) mood: Mood,
    /// Of the call: the same for each attempt.
    pub(crate) id: String,
    /// Whose order it is, if it is one.
    pub(crate) customer: Option<String>,
    pub(crate) key: Option<String>,
}

impl Arrival {
    /// Whether the shop has done what it was asked for.
    pub(crate) const fn is_done(&self) -> bool {
        self.mood.comes_back_in().is_none()
    }
}

pub(crate) struct Api {
    server: ScriptedServer,
    books: Arc<Mutex<Books>>,
}

struct Books {
    mood: Mood,
    /// When each request came, and how the shop was then; by its number.
    came: HashMap<usize, (Instant, Mood)>,
    /// The orders that have a key.
    keyed: HashMap<String, u64>,
    /// The number of the last order.
    number: u64,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let books = Books { mood: Mood::Well, came: HashMap::new(), keyed: HashMap::new(), number: 0 };
        let books = Arc::new(Mutex::new(books));
        let kept = Arc::clone(&books);
        let server = ScriptedServer::start(move |request| locked(&kept).react(request)).await;
        Self { server, books }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    pub(crate) fn be(&self, mood: Mood) {
        locked(&self.books).mood = mood;
    }

    /// All that has arrived, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        let books = locked(&self.books);
        let seen = self.server.seen().into_iter();
        seen.filter_map(|request| {
            let (at, mood) = *books.came.get(&request.number)?;
            let id = request.header("x-request-id").unwrap_or_default().to_owned();
            let order: Option<serde_json::Value> = serde_json::from_slice(&request.body.kept).ok();
            let customer = order.and_then(|order| order["customer"].as_str().map(str::to_owned));
            Some(Arrival { at, mood, id, customer, key: key_of(&request) })
        })
        .collect()
    }
}

fn locked(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(request: &SeenRequest) -> Option<String> {
    let key = IdempotencyKey::of(&request.headers)?.ok()?;
    Some(key.as_str().to_owned())
}

impl Books {
    fn react(&mut self, request: &SeenRequest) -> Reaction {
        let mood = self.mood;
        self.came.insert(request.number, (Instant::now(), mood));
        if let Some(time) = mood.comes_back_in() {
            return respond(503).header("retry-after", &time.as_secs().to_string()).keep_alive();
        }
        // From here on it is done, whether or not anybody hears of it.
        let (status, answer) = self.answer(request);
        let reply = respond(status).header("content-type", "application/json").body(answer);
        match mood {
            Mood::Resets => Reaction::new().read_body().reset(),
            Mood::Silent => Reaction::read_body_then_stall(),
            // Longer than some can wait, and well within what an attempt may take.
            Mood::Slow => Reaction::new().read_body().stall(Duration::from_millis(350)).reply(reply),
            Mood::Well | Mood::Busy | Mood::Closed => reply.keep_alive(),
        }
    }

    fn answer(&mut self, request: &SeenRequest) -> (u16, String) {
        let target = request.target.as_str();
        let page = target.strip_prefix("/orders?page=").map(str::parse::<u32>);
        match (target, page) {
            ("/orders", _) => (201, format!(r#"{{ "number": {} }}"#, self.order(key_of(request)))),
            (_, Some(Ok(3))) => (200, r#"{ "orders": [1] }"#.to_owned()),
            (_, Some(Ok(page))) => (200, format!(r#"{{ "orders": [3, 2], "next": {} }}"#, page + 1)),
            ("/stock?item=bread", _) => (200, r#"{ "left": 7 }"#.to_owned()),
            _ => (404, r#"{ "code": "no_such_item" }"#.to_owned()),
        }
    }

    /// The number of the order of this key, or of another one.
    fn order(&mut self, key: Option<String>) -> u64 {
        let next = self.number + 1;
        let number = key.map_or(next, |key| *self.keyed.entry(key).or_insert(next));
        self.number = self.number.max(number);
        number
    }
}
