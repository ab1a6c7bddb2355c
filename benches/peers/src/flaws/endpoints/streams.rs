//! Endpoints that have answered, and whose answers have not ended.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame};
use stonework::balance::{Balancer, BalancerSettings, Pick};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceExt};

use crate::flaws::{Found, block_on};
use crate::rows::{Broken, Content, plain};

pub(super) fn theirs() -> Found {
    block_on(async {
        let by_load = |endpoint| PendingRequests::new(endpoint, CompleteOnResponse::default());
        let balance = Balance::new(ServiceList::new::<Request<Content>>(both().map(by_load)));
        let got = streaming(balance).await;
        Found::new(got > 50, got.to_string())
    })
}

pub(super) fn ours() -> Found {
    block_on(async {
        let rest = Mutex::new(Vec::from(both()));
        let next =
            move |_: &_| rest.lock().expect("nobody panics with it").pop().expect("one for each member");
        let settings = BalancerSettings::new().pick(Pick::LeastLoaded).without_slow_start();
        let balancer = Balancer::builder(next).members(["10.0.0.1:80", "10.0.0.2:80"]).settings(settings);
        let got = streaming(balancer.build().expect("valid settings").service()).await;
        Found::new(got < 10, got.to_string())
    })
}

/// Answers at once, with a body that never ends, or has ended.
#[derive(Clone, Copy)]
struct Endpoint {
    streams: bool,
}

fn both() -> [Endpoint; 2] {
    [true, false].map(|streams| Endpoint { streams })
}

struct Stream {
    is_open: bool,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_open { Poll::Pending } else { Poll::Ready(None) }
    }

    fn is_end_stream(&self) -> bool {
        !self.is_open
    }
}

impl Service<Request<Content>> for Endpoint {
    type Response = Response<Stream>;
    type Error = Broken;
    type Future = Ready<Result<Response<Stream>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        ready(Ok(Response::new(Stream { is_open: self.streams })))
    }
}

/// 200 calls, whose answers are kept: how many of them are still open.
async fn streaming<S, B: Body>(mut balancer: S) -> usize
where
    S: Service<Request<Content>, Response = Response<B>>,
{
    let mut answers = Vec::new();
    for _ in 0..200 {
        let call = async { balancer.ready().await.ok()?.call(plain()).await.ok() };
        answers.push(call.await.expect("both are well"));
    }
    answers.iter().filter(|answer| !answer.body().is_end_stream()).count()
}
