//! From `tower::retry`: the policy that one writes becomes settings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use stonework::base::{Backoff as Pauses, BoxError};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::respond;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer as TowersRetryLayer};
use tower::util::rng::HasherRng;
use tower::{ServiceBuilder, ServiceExt};

use crate::kit::Verdict;
use crate::stage::{Told, chapter, scene, watch};

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(100);

type Body = Full<Bytes>;

/// Three retries of whatever failed, with pauses that grow, on a budget.
#[derive(Clone)]
struct Three {
    left: usize,
    pauses: ExponentialBackoff,
    budget: Arc<TpsBudget>,
}

impl Policy<Request<Body>, Response<Incoming>, Error> for Three {
    type Future = <ExponentialBackoff as Backoff>::Future;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<Incoming>, Error>,
    ) -> Option<Self::Future> {
        if result.as_ref().is_ok_and(|response| !response.status().is_server_error()) {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(self.pauses.next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

async fn before(request: Request<Body>) -> Told {
    let pauses = ExponentialBackoffMaker::new(SHORTEST, LONGEST, 0.5, HasherRng::default())?.make_backoff();
    // For every ten calls one, and one a second.
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 1, 0.1));
    let client = ServiceBuilder::new()
        .layer(TowersRetryLayer::new(Three { left: 3, pauses, budget }))
        .service(client());
    Ok(client.oneshot(request).await?.status())
}

async fn after(request: Request<Body>) -> Told {
    let settings = RetrySettings::new().attempts(4).backoff(Pauses::exponential(SHORTEST, LONGEST)?);
    let client = ServiceBuilder::new().layer(RetryLayer::from(settings)).service(client());
    Ok(client.oneshot(request).await?.status())
}

/// The client stays as it is.
fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn order(method: Method, uri: Uri) -> Result<Request<Body>, http::Error> {
    Request::builder().method(method).uri(uri).body(Body::from("one piano"))
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("tower::retry → retry::RetryLayer over the same client of hyper-util");
    let [busy, well] = [respond(503).keep_alive(), respond(200).keep_alive()];

    scene("PUT; 503 twice, then 200");
    let script = [busy.clone(), busy.clone(), well.clone()];
    let one = watch("before", &script, async |uri| before(order(Method::PUT, uri)?).await).await;
    let two = watch("after", &script, async |uri| after(order(Method::PUT, uri)?).await).await;
    let same = [&one, &two].iter().all(|seen| seen.requests.len() == 3 && seen.is_told(StatusCode::OK));
    verdict.claim(same, "both ask three times, and are answered");

    scene("PUT; 503 that asks to come back in a second, then 200");
    let script = [respond(503).header("retry-after", "1").keep_alive(), well];
    let one = watch("before", &script, async |uri| before(order(Method::PUT, uri)?).await).await;
    let two = watch("after", &script, async |uri| after(order(Method::PUT, uri)?).await).await;
    let second = Duration::from_secs(1);
    verdict.claim(
        one.pauses.iter().all(|pause| *pause < second),
        "before, it comes back sooner: this policy does not look",
    );
    verdict.claim(two.pauses.iter().all(|pause| *pause >= second), "after, it waits for the second");

    scene("POST without a key; 503 each time");
    let script = [busy];
    let one = watch("before", &script, async |uri| before(order(Method::POST, uri)?).await).await;
    let two = watch("after", &script, async |uri| after(order(Method::POST, uri)?).await).await;
    verdict.claim(
        one.requests.len() > 1,
        "before, the order is sent again: this policy does not ask what it was",
    );
    verdict.claim(two.requests.len() == 1, "after, it is sent once, with no line about it");
    Ok(())
}
