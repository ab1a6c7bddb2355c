//! Asking a second one.

mod answers;
mod beside;
mod bodies;
mod endpoints;
mod failures;
mod in_a_stack;
mod learning;
mod tail;

use std::time::Duration;

use http::{Method, Request, Response};
use stonework::Error;
use stonework::base::BoxError;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::testing::Step;
use tower::{Service, ServiceExt};

use crate::support::{Backend, Content, answer, request};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// The second attempt after 100 ms.
pub(crate) fn fixed() -> HedgeSettings {
    HedgeSettings::new().fixed_delay(100 * MS)
}

pub(crate) fn over(backend: &Backend, settings: HedgeSettings) -> impl Asked {
    tower::Layer::layer(&HedgeLayer::from(settings), backend.clone())
}

pub(crate) fn after(millis: u32, status: u16) -> Step<Response<Content>, BoxError> {
    Step::AnswerAfter(millis * MS, answer(status))
}

/// What a service is that is asked here.
pub(crate) trait Asked:
    Service<Request<Content>, Response = Response<Content>, Error = Error, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Asked for S where
    S: Service<Request<Content>, Response = Response<Content>, Error = Error, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

pub(crate) async fn get(service: &impl Asked) -> Result<Response<Content>, Error> {
    service.clone().oneshot(request(Method::GET)).await
}

pub(crate) async fn status(service: &impl Asked) -> u16 {
    get(service).await.expect("an answer").status().as_u16()
}
