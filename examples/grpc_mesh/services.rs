//! What A, B and C do. No deadline, retry or drain is mentioned here; the errors on order are what this show is about.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::log::Log;
use crate::proto::{BUY, COUNT, LOOK, Order, Price, QUOTE, RESERVE, Wish, call, method};
use crate::stack::Stack;

/// How long A and B think where they are asked to.
pub(crate) const THINKS: Duration = Duration::from_millis(40);
/// How long B takes where it is asked to be slow: longer than it takes until a server that stops closes its port.
pub(crate) const SLOW: Duration = Duration::from_millis(1_600);
/// When a B that is exhausted wants to be asked again.
pub(crate) const PUSHBACK: Duration = Duration::from_millis(250);

/// A: the front, which asks whichever B.
#[derive(Clone)]
pub(crate) struct Checkout {
    pub(crate) log: Log,
    pub(crate) pricing: Stack,
}

impl Checkout {
    pub(crate) fn methods(self) -> Router {
        let (quote, buy) = (self.clone(), self);
        Router::new()
            .route_service(QUOTE, method(move |order| quote.clone().ask(LOOK, order)))
            .route_service(BUY, method(move |order| buy.clone().ask(RESERVE, order)))
    }

    async fn ask(self, path: &'static str, order: Order) -> Result<Price, Status> {
        let entry = self.log.begin("A", &order.item);
        if order.wish() == Wish::Think {
            sleep(THINKS).await;
        }
        let answer = call(&self.pricing, path, order).await.map_err(|status| passed_on(&status));
        entry.answered();
        answer
    }
}

/// B: knows prices, and asks C how much there is.
#[derive(Clone)]
pub(crate) struct Pricing {
    pub(crate) name: &'static str,
    pub(crate) log: Log,
    pub(crate) stock: Stack,
}

impl Pricing {
    pub(crate) fn methods(self) -> Router {
        let price = method(move |order| self.clone().price(order));
        Router::new().route_service(LOOK, price.clone()).route_service(RESERVE, price)
    }

    async fn price(self, order: Order) -> Result<Price, Status> {
        let entry = self.log.begin(self.name, &order.item);
        let answer = self.answer(order).await;
        entry.answered();
        answer
    }

    async fn answer(&self, order: Order) -> Result<Price, Status> {
        let is_first = self.log.at_b(&order.item).len() == 1;
        match order.wish() {
            Wish::Think => sleep(THINKS).await,
            Wish::Slow => sleep(SLOW).await,
            Wish::StuckOnce if is_first => pending().await,
            Wish::UnavailableOnce if is_first => return Err(Status::unavailable("not at this moment")),
            Wish::Invalid => return Err(Status::invalid_argument("there is no such thing")),
            Wish::ExhaustedOnce if is_first => return Err(exhausted(&PUSHBACK.as_millis().to_string())),
            Wish::Exhausted => return Err(exhausted("-1")),
            _ => {}
        }
        let counted = call(&self.stock, COUNT, order).await.map_err(|status| passed_on(&status))?;
        Ok(Price { by: self.name.to_owned(), ..counted })
    }
}

/// C: knows how much there is.
#[derive(Clone)]
pub(crate) struct Stock {
    pub(crate) log: Log,
}

impl Stock {
    pub(crate) fn methods(self) -> Router {
        Router::new().route_service(COUNT, method(move |order| self.clone().count(order)))
    }

    async fn count(self, order: Order) -> Result<Price, Status> {
        let entry = self.log.begin("C", &order.item);
        match order.wish() {
            Wish::Hang => pending().await,
            // It thinks a little, as everybody does.
            _ => sleep(Duration::from_millis(2)).await,
        }
        entry.answered();
        match order.wish() {
            Wish::StockAway => Err(Status::unavailable("the shelves are being moved")),
            _ => Ok(Price { cents: 250, by: "C".to_owned() }),
        }
    }
}

/// Too much to do, and when to come back.
fn exhausted(pushback_ms: &str) -> Status {
    let mut status = Status::new(Code::ResourceExhausted, "too many orders");
    if let Ok(pushback) = pushback_ms.parse() {
        status.metadata_mut().insert("grpc-retry-pushback-ms", pushback);
    }
    status
}

/// The status of somebody behind, as one's own: what it said of coming back was for us.
fn passed_on(status: &Status) -> Status {
    Status::new(status.code(), status.message())
}
