//! A server that takes payments: a charge is a row in a file, in which the idempotency keys are as well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use rusqlite::{Connection, TransactionBehavior};
use stonework::base::BoxError;
use stonework::idempotency::{
    AfterCrash, Claim, Held, IdempotencyLayer, IdempotencySettings, Record, SqliteStore,
};
use stonework::server::Server;
use tokio::time::sleep;

/// How long the bank takes, and the printer of receipts.
const THINKS: Duration = Duration::from_millis(15);
/// How long a handler that is not heard of is believed to be running.
pub(crate) const LEASE: Duration = Duration::from_millis(400);

/// How charges and keys go together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bookkeeping {
    /// A charge is committed with the record of its key. So what was not recorded was not done, and can be done again.
    Together,
    /// The layer writes the record when the handler has answered. What a handler that was killed has done, nobody knows.
    Apart,
    /// Nobody looks at keys.
    Forgetful,
}

impl Bookkeeping {
    const ALL: [Self; 3] = [Self::Together, Self::Apart, Self::Forgetful];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Apart => "apart",
            Self::Forgetful => "forgetful",
        }
    }
}

/// With these words of the command line: how, the port, the file. It says its port when it is ready.
pub(crate) async fn serve(words: Vec<String>) -> Result<(), BoxError> {
    let [how, port, file] = &words[..] else { return Err("serve HOW PORT FILE".into()) };
    let how = Bookkeeping::ALL.into_iter().find(|one| one.name() == how).ok_or("no such bookkeeping")?;
    let till = Till { file: file.into(), store: SqliteStore::open(file).await?, how };
    open(&till.file)?.execute_batch(
        "CREATE TABLE IF NOT EXISTS charges (number INTEGER PRIMARY KEY AUTOINCREMENT, payment TEXT NOT NULL)",
    )?;

    let after_crash = if how == Bookkeeping::Together { AfterCrash::Rerun } else { AfterCrash::FailClosed };
    let settings =
        IdempotencySettings::new().required(true).after_crash(after_crash).lease(LEASE).wait_up_to(2 * LEASE);
    let keys =
        IdempotencyLayer::new(till.store.clone()).settings(settings)?.when(how != Bookkeeping::Forgetful);
    let app = Router::new().route("/charges", post(charge)).with_state(till).layer(keys);

    let server = Server::builder().bind(format!("127.0.0.1:{port}")).await?;
    println!("{}", server.local_addr().port());
    server.serve(app).await;
    Ok(())
}

/// Takes the money, and answers with the number of the charge. It may be killed anywhere.
async fn charge(State(till): State<Till>, request: Request) -> Response {
    let claim = Claim::of(request.extensions()).copied();
    let Ok(payment) = axum::body::to_bytes(request.into_body(), 1_000).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    sleep(THINKS).await;
    let payment = String::from_utf8_lossy(&payment).into_owned();
    let booked = tokio::task::spawn_blocking(move || till.book(&payment, claim.as_ref())).await;
    sleep(THINKS).await;
    match booked {
        Ok(Ok(response)) => response.map(Body::from),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Clone)]
struct Till {
    file: PathBuf,
    store: SqliteStore,
    how: Bookkeeping,
}

impl Till {
    fn book(&self, payment: &str, claim: Option<&Claim>) -> Result<Response<Bytes>, BoxError> {
        let mut charges = open(&self.file)?;
        let transaction = charges.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("INSERT INTO charges (payment) VALUES (?1)", [payment])?;
        let number = transaction.last_insert_rowid().to_string();
        let response = Response::builder().status(StatusCode::CREATED).body(Bytes::from(number))?;
        if let (Bookkeeping::Together, Some(claim)) = (self.how, claim) {
            match self.store.complete_in(&transaction, claim, &Record::new(&response))? {
                // Rolled back: somebody else does it.
                Held::Lost => return Err("the lease was lost".into()),
                Held::Yes | Held::Ended => {}
            }
        }
        transaction.commit()?;
        Ok(response)
    }
}

fn open(file: &Path) -> Result<Connection, rusqlite::Error> {
    let charges = Connection::open(file)?;
    charges.busy_timeout(Duration::from_secs(5))?;
    Ok(charges)
}
