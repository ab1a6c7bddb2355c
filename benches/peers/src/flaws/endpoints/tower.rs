//! tower's `Balance`.

use std::time::Duration;

use http::Request;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma, PendingRequests};

use super::kit::{self, Endpoint};
use crate::flaws::{Found, block_on};
use crate::rows::Content;

pub(super) fn empty() -> Found {
    block_on(async {
        let by_load = |endpoint| PendingRequests::new(endpoint, CompleteOnResponse::default());
        let endpoints = (0..3).map(|_| by_load(Endpoint::fails_once()));
        let answered = kit::answered(Balance::new(ServiceList::new::<Request<Content>>(endpoints))).await;
        Found::new(answered == 0, format!("{answered}, and no error"))
    })
}

pub(super) fn black_hole() -> Found {
    block_on(async {
        let decay = Duration::from_secs(10).as_nanos() as f64;
        // What is not known yet is taken for fast, so that each is tried.
        let unknown = Duration::from_millis(1);
        let by_cost = |endpoint| PeakEwma::new(endpoint, unknown, decay, CompleteOnResponse::default());
        let endpoints = ServiceList::new::<Request<Content>>(kit::ten().map(by_cost));
        let failed = kit::failed(Balance::new(endpoints)).await;
        // Far more than its share.
        Found::new(failed > 140, failed.to_string())
    })
}
