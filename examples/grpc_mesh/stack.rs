//! What every service here calls the others through. It is what a user of tonic writes once, and gives to each generated client.

use std::time::Duration;

use http::Uri;
use http::uri::InvalidUri;
use stonework::Error;
use stonework::base::{Backoff, BudgetSettings, ClassifyGrpc, GrpcStatus, InvalidBackoff};
use stonework::client::{Client, ClientBuilder, ClientSettings, InvalidClient};
use stonework::retry::RetrySettings;
use tonic::Status;
use tower::util::MapErr;

use crate::proto::{COUNT, LOOK, QUOTE};

/// How long a call takes at most, with all that it needs behind.
pub(crate) const WHOLE: Duration = Duration::from_secs(5);

/// `attempt` is how long one may say nothing; a limit helps where the next attempt goes to another, and only there: a hop before it that was as
/// impatient would take the time away that this other one needs.
pub(crate) fn builder(attempt: Duration) -> Result<ClientBuilder, InvalidBackoff> {
    let retry = RetrySettings::new()
        // Each call of gRPC is a POST; these are the ones that may be made twice.
        .repeatable_paths([QUOTE, LOOK, COUNT])
        .backoff(Backoff::exponential(Duration::from_millis(20), Duration::from_millis(200))?)
        // One of three may fall silent for a second before anybody knows: of a hundred calls thirty-three, and after an attempt that heard
        // nothing another one costs two tokens.
        .budget(BudgetSettings::default().reserve(100));
    let settings = ClientSettings::new()
        // All that gRPC speaks.
        .http2_only()
        // Cut to the deadline of whoever is being answered, if that is earlier; and told to whoever is called.
        .deadline(WHOLE)
        .attempt_timeout(attempt)
        .retry(retry)
        // Whom to leave alone is the balancer's affair here, and its prober's.
        .without_breaker();
    // So that it reads the status of gRPC, and not only that of HTTP, which is always 200.
    Ok(Client::builder().settings(settings).classify(ClassifyGrpc))
}

/// For what is asked once, and of one: probes.
pub(crate) fn bare() -> Result<Client, InvalidClient> {
    let settings = ClientSettings::new().http2_only().without_retry().without_breaker();
    Client::builder().settings(settings).build()
}

/// A client, and whom to call with it: what a generated client is made from.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) client: MapErr<Client, fn(Error) -> Status>,
    pub(crate) origin: Uri,
}

impl Stack {
    pub(crate) fn new(client: Client, origin: &str) -> Result<Self, InvalidUri> {
        Ok(Self { client: MapErr::new(client, status), origin: origin.parse()? })
    }
}

/// What failed here, in the words of gRPC.
fn status(error: Error) -> Status {
    Status::new(GrpcStatus::from(error.kind()).code().into(), format!("{error:#}"))
}
