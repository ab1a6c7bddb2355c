//! What both sides of a move meet: a server with a script, and what it saw of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{StatusCode, Uri};
use stonework::base::BoxError;
use stonework::testing::{Reaction, ScriptedServer, SeenRequest};
use tokio::time::Instant;

/// What a caller was told in the end.
pub(crate) type Told = Result<StatusCode, BoxError>;

/// What a server saw of one caller, and what the caller was told.
pub(crate) struct Seen {
    pub(crate) requests: Vec<SeenRequest>,
    /// From one request to the next.
    pub(crate) pauses: Vec<Duration>,
    pub(crate) told: Told,
}

impl Seen {
    pub(crate) fn is_told(&self, status: StatusCode) -> bool {
        self.told.as_ref().is_ok_and(|told| *told == status)
    }

    /// The values of this field, one for each request.
    pub(crate) fn fields(&self, name: &str) -> Vec<Option<&str>> {
        self.requests.iter().map(|request| request.header(name)).collect()
    }
}

/// Let `who` do a job with a server of its own, which goes through the script and then stays at its last reaction; and print what came of it.
pub(crate) async fn watch(who: &str, script: &[Reaction], job: impl AsyncFnOnce(Uri) -> Told) -> Seen {
    let (script, came) = (script.to_vec(), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&came);
    let server = ScriptedServer::start(move |request: &SeenRequest| {
        notes.lock().expect("nobody panics with it").push(Instant::now());
        script[(request.number - 1).min(script.len() - 1)].clone()
    })
    .await;
    let told = job(server.uri("/orders")).await;
    let requests = server.seen();
    let came = came.lock().expect("nobody panics with it");
    let pauses: Vec<_> = came.windows(2).map(|two| two[1] - two[0]).collect();
    let said = match &told {
        Ok(status) => status.to_string(),
        Err(error) => format!("error: {error}"),
    };
    // A few can be read one by one.
    let shown = match pauses.len() {
        0 => String::new(),
        1..=5 => format!(", pauses {pauses:.0?}"),
        _ => format!(" in {:.0?}", pauses.iter().sum::<Duration>()),
    };
    let bodies: Vec<_> = requests.iter().map(|request| request.body.received).collect();
    let bodies =
        if (1..=5).contains(&bodies.len()) { format!(" of {bodies:?} bytes") } else { String::new() };
    println!("    {who:<8}{:>4} request(s){bodies}{shown}; {said}", requests.len());
    Seen { requests, pauses, told }
}

pub(crate) fn chapter(title: &str) {
    println!("\n{title}");
}

pub(crate) fn scene(title: &str) {
    println!("\n  {title}\n");
}
