//! What every service here calls the others through. It is what a user of tonic writes once, and gives to each generated client.

use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::base::{
    Backoff, BoxError, BudgetSettings, ClassifyGrpc, EndpointId, Error, GrpcStatus, InvalidBackoff, Observer,
};
use stonework::client::{Client, ClientSettings, InvalidClient};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tonic::Status;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::proto::{COUNT, LOOK, QUOTE};

pub(crate) type Stack = BoxCloneSyncService<Request<tonic::body::Body>, Response<Body>, Status>;
pub(crate) type Endpoint = BoxCloneSyncService<Request<Body>, Response<Body>, Error>;

/// How long a call takes at most, with all that it needs behind.
pub(crate) const WHOLE: Duration = Duration::from_secs(5);

/// `whom` to call: an [`endpoint`], or a balancer over several. `attempt` is how long one of them may say nothing; a limit helps where the next
/// attempt goes to another, and only there: a hop before it that was as impatient would take the time away that this other one needs.
pub(crate) fn stack<S, B>(
    whom: S,
    attempt: Duration,
    observer: impl Observer + 'static,
) -> Result<Stack, InvalidBackoff>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Error, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let retry = RetrySettings::new()
        // Each call of gRPC is a POST; these are the ones that may be made twice.
        .repeatable_paths([QUOTE, LOOK, COUNT])
        .backoff(Backoff::exponential(Duration::from_millis(20), Duration::from_millis(200))?)
        // One of three may fall silent for a second before anybody knows: of a hundred calls thirty-three, and after an attempt that heard
        // nothing another one costs two tokens.
        .budget(BudgetSettings::default().reserve(100));
    Ok(BoxCloneSyncService::new(
        ServiceBuilder::new()
            .map_err(|error| status(&error))
            .map_request(|request: Request<tonic::body::Body>| request.map(Body::new))
            // Cut to the deadline of whoever is being answered, if that is earlier.
            .layer(TimeoutLayer::new(WHOLE))
            // It reads the status of gRPC, and what a server says of coming back.
            .layer(RetryLayer::from(retry).classify(ClassifyGrpc).observer(observer))
            .layer(AttemptTimeoutLayer::new(attempt))
            .map_response(|response: Response<B>| response.map(Body::new))
            .service(whom),
    ))
}

/// Connections over HTTP/2, which is all that gRPC speaks. Retries and circuits stand above, so there are none below.
pub(crate) fn client() -> Result<Client, InvalidClient> {
    let settings = ClientSettings::new().http2_only().without_retry().without_breaker();
    Client::builder().settings(settings).build()
}

/// This one, over the connections of `client`, which tells it how much time is left.
pub(crate) fn endpoint(client: &Client, id: &EndpointId) -> Endpoint {
    let id = id.clone();
    let there = move |mut request: Request<Body>| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // An endpoint that is no address makes a request that cannot be sent, of which its caller hears.
        *request.uri_mut() = format!("http://{id}{path}").parse().unwrap_or_default();
        request
    };
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_request(client.clone(), there))
}

/// What failed here, in the words of gRPC.
fn status(error: &Error) -> Status {
    Status::new(GrpcStatus::from(error.kind()).code().into(), format!("{error:#}"))
}
