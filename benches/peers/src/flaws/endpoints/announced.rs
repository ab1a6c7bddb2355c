//! Endpoints that are announced while nobody calls.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use http::Request;
use stonework::balance::{Balancer, Member, watch};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::balance::p2c::Balance;
use tower::discover::Change;
use tower::load::{CompleteOnResponse, PendingRequests};

use super::kit::Endpoint;
use crate::flaws::{Found, block_on_paused};
use crate::rows::Content;

const ENDPOINTS: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

type Service = PendingRequests<Endpoint>;

/// What comes over a channel, as tower wants it.
struct Announced(mpsc::Receiver<(usize, Service)>);

impl Stream for Announced {
    type Item = Result<Change<usize, Service>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(|(key, service)| Ok(Change::Insert(key, service))))
    }
}

pub(super) fn theirs() -> Found {
    block_on_paused(async {
        let (announce, announced) = mpsc::channel(8);
        let balance: Balance<_, Request<Content>> = Balance::new(Announced(announced));
        let announcing = tokio::spawn(async move {
            for key in 0..ENDPOINTS {
                let service = PendingRequests::new(Endpoint::Works, CompleteOnResponse::default());
                if announce.send((key, service)).await.is_err() {
                    return;
                }
            }
        });
        sleep(MINUTE).await;
        let (known, is_through) = (balance.len(), announcing.is_finished());
        let waits = if is_through { "" } else { ", and who announces them waits" };
        Found::new(known == 0 && !is_through, format!("{known}{waits}"))
    })
}

pub(super) fn ours() -> Found {
    block_on_paused(async {
        let (sender, members) = watch();
        let balancer = Balancer::builder(|_: &_| Endpoint::Works).discover(members).build();
        let balancer = balancer.expect("valid settings");
        sender.send((0..ENDPOINTS).map(|at| Member::new(format!("10.0.0.{at}:80"))));
        sleep(MINUTE).await;
        let known = balancer.stats().endpoints().len();
        Found::new(known == ENDPOINTS, known.to_string())
    })
}
