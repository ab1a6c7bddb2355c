//! What goes wrong when two layers of a stack are swapped. Each test builds both orders by hand; `docs/ordering.md` tells the story of each.

mod client;
mod hosts;
mod senders;
mod server;

use std::time::Duration;

use http::{Method, Request, Response};
use stonework::Error;
use stonework::base::{Backoff, BoxError, Jitter};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::Step;
use tower::{Service, ServiceExt};

use crate::support::{Backend, Content, SECOND, request};

const MS: Duration = Duration::from_millis(1);

/// Three attempts, with a pause of exactly a second before each but the first.
fn retry() -> RetryLayer {
    pausing(SECOND)
}

/// As many of them as come, so that a budget is not what makes a difference here.
fn pausing(pause: Duration) -> RetryLayer {
    let backoff = Backoff::constant(pause).expect("more than zero").jitter(Jitter::None);
    RetryLayer::from(RetrySettings::new().backoff(backoff).without_budget())
}

fn hangs() -> Backend {
    Backend::script(|_, _| Step::Hang)
}

/// The status that a GET is answered with.
async fn get<S, B>(service: S) -> Result<u16, Error>
where
    S: Service<Request<Content>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    sent(service, request(Method::GET)).await
}

async fn sent<S, R, B>(service: S, request: R) -> Result<u16, Error>
where
    S: Service<R, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    let answer = service.oneshot(request).await;
    answer.map(|answer| answer.status().as_u16()).map_err(Error::wrap)
}
