//! From `reqwest-retry`: its middleware becomes layers, and the client of reqwest stays.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use reqwest_middleware::ClientWithMiddleware;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use stonework::Body;
use stonework::base::{Backoff, BoxError, Error};
use stonework::reqwest::Transport;
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::respond;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::kit::Verdict;
use crate::stage::{Told, chapter, scene, watch};

/// Pauses, short enough for an example.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(100);

fn before() -> Result<ClientWithMiddleware, BoxError> {
    let policy = ExponentialBackoff::builder().retry_bounds(SHORTEST, LONGEST).build_with_max_retries(3);
    Ok(reqwest_middleware::ClientBuilder::new(reqwest::Client::builder().no_proxy().build()?)
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .build())
}

fn after() -> Result<impl Client, BoxError> {
    // Retries and the first attempt.
    let retry = RetrySettings::new().attempts(4).backoff(Backoff::exponential(SHORTEST, LONGEST)?);
    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .layer(RetryLayer::from(retry))
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
        .service(Transport::build(reqwest::Client::builder().no_proxy())?))
}

/// What such a stack is: a service of requests.
trait Client: Service<Request<Body>, Response = Response<Self::Body>, Error = Error> + Clone {
    type Body;
}

impl<S: Service<Request<Body>, Response = Response<B>, Error = Error> + Clone, B> Client for S {
    type Body = B;
}

// ──────────────────────────────────────────────────────────────────────────────────────── the same jobs

const ORDER: &str = "one piano";

async fn send_before(method: Method, uri: Uri, key: Option<&str>) -> Told {
    let mut request = before()?.request(method, uri.to_string()).body(ORDER);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Ok(request.send().await?.status())
}

async fn send_after(method: Method, uri: Uri, key: Option<&str>) -> Told {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::new(Full::<Bytes>::from(ORDER)))?;
    Ok(after()?.oneshot(request).await?.status())
}

/// A body that is read from somewhere, piece by piece, and cannot be read twice.
fn in_pieces() -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static {
    let pieces = ["one", " ", "piano"].map(|piece| Ok(Frame::data(Bytes::from(piece))));
    StreamBody::new(stream::iter(pieces))
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("reqwest-retry → retry::RetryLayer over reqwest::Transport");
    let [busy, well] = [respond(503).keep_alive(), respond(200).keep_alive()];

    scene("PUT; 503 twice, then 200");
    let script = [busy.clone(), busy.clone(), well.clone()];
    let one = watch("before", &script, async |uri| send_before(Method::PUT, uri, None).await).await;
    let two = watch("after", &script, async |uri| send_after(Method::PUT, uri, None).await).await;
    let same = [&one, &two].iter().all(|seen| seen.requests.len() == 3 && seen.is_told(StatusCode::OK));
    verdict.claim(same, "both ask three times, and are answered");

    scene("PUT; 503 that asks to come back in a second, then 200");
    let script = [respond(503).header("retry-after", "1").keep_alive(), well.clone()];
    let one = watch("before", &script, async |uri| send_before(Method::PUT, uri, None).await).await;
    let two = watch("after", &script, async |uri| send_after(Method::PUT, uri, None).await).await;
    let second = Duration::from_secs(1);
    verdict.claim(one.pauses.iter().all(|pause| *pause < second), "before, it comes back sooner");
    verdict.claim(two.pauses.iter().all(|pause| *pause >= second), "after, it waits for the second");

    scene("POST without a key; 503 each time");
    let script = [busy];
    let one = watch("before", &script, async |uri| send_before(Method::POST, uri, None).await).await;
    let two = watch("after", &script, async |uri| send_after(Method::POST, uri, None).await).await;
    verdict.claim(one.requests.len() == 4, "before, the order is sent four times");
    verdict.claim(two.requests.len() == 1, "after, once: nobody knows whether it was placed");

    scene("POST with a key; 503 once, then 200");
    let (script, key) = ([script[0].clone(), well.clone()], "\"order-4711\"");
    let one = watch("before", &script, async |uri| send_before(Method::POST, uri, Some(key)).await).await;
    let two = watch("after", &script, async |uri| send_after(Method::POST, uri, Some(key)).await).await;
    let same = [&one, &two].iter().all(|seen| seen.fields("idempotency-key") == [Some(key); 2]);
    verdict.claim(same, "both send it twice, with the same key");

    scene("PUT of a body that cannot be read twice; 200");
    let script = [well];
    let one = watch("before", &script, async |uri| {
        let body = reqwest::Body::wrap(in_pieces());
        Ok(before()?.put(uri.to_string()).body(body).send().await?.status())
    })
    .await;
    let two = watch("after", &script, async |uri| {
        let request = Request::put(uri).body(Body::new(in_pieces()))?;
        Ok(after()?.oneshot(request).await?.status())
    })
    .await;
    verdict.claim(one.requests.is_empty() && one.told.is_err(), "before, it is an error and not sent");
    let bodies: Vec<_> = two.requests.iter().map(|request| request.body.kept.as_slice()).collect();
    verdict.claim(bodies == [ORDER.as_bytes()] && two.is_told(StatusCode::OK), "after, it is sent, once");
    Ok(())
}
