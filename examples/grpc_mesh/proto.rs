//! What tonic's generator would write from this:
//!
//! ```proto
//! package shop;
//! service Checkout { rpc Quote (Order) returns (Price); rpc Buy (Order) returns (Price); }
//! service Pricing { rpc Look (Order) returns (Price); rpc Reserve (Order) returns (Price); }
//! service Stock { rpc Count (Order) returns (Price); }
//! message Order { string item = 1; Wish wish = 2; }
//! message Price { uint32 cents = 1; string by = 2; }
//! ```

use std::convert::Infallible;
use std::future::Future;

use http::uri::PathAndQuery;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::stack::Stack;

/// A: reads.
pub(crate) const QUOTE: &str = "/shop.Checkout/Quote";
/// A: orders, so it must not be done twice.
pub(crate) const BUY: &str = "/shop.Checkout/Buy";
/// B: reads.
pub(crate) const LOOK: &str = "/shop.Pricing/Look";
/// B: must not be done twice.
pub(crate) const RESERVE: &str = "/shop.Pricing/Reserve";
/// C: reads.
pub(crate) const COUNT: &str = "/shop.Stock/Count";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Order {
    /// Of what; here it also names the call, for the books.
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(enumeration = "Wish", tag = "2")]
    pub(crate) wish: i32,
}

/// What the show wants of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Wish {
    Usual = 0,
    /// A and B take their time.
    Think = 1,
    /// C never answers.
    Hang = 2,
    /// B takes very long.
    Slow = 3,
    /// B answers `UNAVAILABLE` the first time.
    UnavailableOnce = 4,
    /// B answers `INVALID_ARGUMENT`.
    Invalid = 5,
    /// B answers `RESOURCE_EXHAUSTED` the first time, and says when to come back.
    ExhaustedOnce = 6,
    /// B answers `RESOURCE_EXHAUSTED`, and says not to come back.
    Exhausted = 7,
    /// C answers `UNAVAILABLE`.
    StockAway = 8,
    /// B never answers the first time.
    StuckOnce = 9,
}

impl Order {
    pub(crate) fn new(item: impl Into<String>, wish: Wish) -> Self {
        Self { item: item.into(), wish: wish.into() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Price {
    #[prost(uint32, tag = "1")]
    pub(crate) cents: u32,
    /// Which of the Bs says so.
    #[prost(string, tag = "2")]
    pub(crate) by: String,
}

/// A method of a server: takes the message out of the request, and puts the answer into the response.
pub(crate) fn method<H, F>(
    handler: H,
) -> impl Service<Request<axum::body::Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static
where
    H: Fn(Order) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Price, Status>> + Send + 'static,
{
    service_fn(move |request: Request<axum::body::Body>| {
        let handler = handler.clone();
        let unary = service_fn(move |request: tonic::Request<Order>| {
            let answer = handler(request.into_inner());
            async move { answer.await.map(tonic::Response::new) }
        });
        async move { Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(unary, request).await) }
    })
}

/// A method of a client.
pub(crate) async fn call(stack: &Stack, path: &'static str, order: Order) -> Result<Price, Status> {
    let mut client = tonic::client::Grpc::with_origin(stack.client.clone(), stack.origin.clone());
    client.ready().await.map_err(|status| Status::new(Code::Unknown, status.to_string()))?;
    let path = PathAndQuery::from_static(path);
    let answer = client.unary(tonic::Request::new(order), path, ProstCodec::default()).await?;
    Ok(answer.into_inner())
}
