use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;

use super::Exchange;
use super::service::Told;
use crate::base::body::{Held, HoldUntil};

/// A request that is being answered. See the [module](crate::observe).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReceivedFuture<F> {
    #[pin]
    answer: F,
    // After the answer, so that what is dropped in there is gone when the end is told. Nothing, if the layer is off.
    exchange: Option<Exchange>,
    told: Told,
    without_body: bool,
}

impl<F> ReceivedFuture<F> {
    pub(super) const fn new(answer: F, exchange: Option<Exchange>, told: Told, without_body: bool) -> Self {
        Self { answer, exchange, told, without_body }
    }
}

impl<F, B, E> Future for ReceivedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
    E: 'static,
{
    type Output = Result<Response<Held<B, Option<Exchange>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer;
        let polled = match this.exchange {
            Some(exchange) => exchange.inside(|| answer.poll(cx)),
            None => answer.poll(cx),
        };
        let mut exchange = this.exchange.take_if(|_| polled.is_ready());
        Poll::Ready(match ready!(polled) {
            Ok(mut response) => {
                if let Some((name, value)) = this.told.take() {
                    response.headers_mut().insert(name, value);
                }
                let until = match &mut exchange {
                    Some(exchange) if exchange.is_watched() => {
                        exchange.answered(&response);
                        HoldUntil::of_response(*this.without_body, &response)
                    }
                    // Its body has the names in scope, and nobody asks when it was over.
                    Some(_) => HoldUntil::End,
                    None => HoldUntil::Head,
                };
                Ok(response.map(|body| Held::new(body, exchange, until)))
            }
            Err(error) => {
                if let Some(exchange) = exchange {
                    exchange.failed(&error);
                }
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for ReceivedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedFuture").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
