//! The rows of the comparison `hedge`: over a service that is never slow, so that no second attempt is made.

use std::time::Duration;

use http::Request;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::timeout::TimeoutLayer;
use tower::hedge::{Hedge, Policy};
use tower::{Layer, Service};

use crate::measure::{Calls, Subject};
use crate::rows::{Content, Copying, Kind, LIMIT, NO_HEADERS, NoOp, Row, plain};

const TOWER: &str = "tower Hedge";
/// As many as ours wants to know.
const CALLS: u64 = 100;
const PERIOD: Duration = Duration::from_secs(10);

/// Every request may be sent twice.
#[derive(Clone)]
struct Always;

impl Policy<Request<Content>> for Always {
    fn clone_request(&self, request: &Request<Content>) -> Option<Request<Content>> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Request<Content>) -> bool {
        true
    }
}

pub(crate) fn rows(waits: bool) -> Vec<Row> {
    let no_op = NoOp { waits };
    // So long that it is never over, whatever was learned.
    let ours = || HedgeLayer::from(HedgeSettings::new().fixed_delay(LIMIT));
    let slow = [LIMIT.as_millis() as u64; CALLS as usize];
    let towers = Hedge::new_with_mock_latencies(no_op, Always, CALLS, 0.98, PERIOD, &slow);
    let post = || {
        let mut request = plain();
        *request.method_mut() = http::Method::POST;
        request
    };
    vec![
        row("bare", Kind::Bare, no_op, plain()),
        row("a copy of the request", Kind::Copy, Copying(no_op), plain()),
        row(TOWER, Kind::Peer, towers, plain()),
        row(
            "tower-resilience HedgeLayer",
            Kind::Peer,
            tower_resilience_hedge::HedgeLayer::new(LIMIT).layer(no_op),
            plain(),
        ),
        row("stonework HedgeLayer", Kind::Keeper, ours().layer(no_op), plain()),
        row("stonework HedgeLayer, of a POST", Kind::Guard, ours().layer(no_op), post()),
        row(
            "stonework TimeoutLayer and HedgeLayer",
            Kind::Keeper,
            TimeoutLayer::new(2 * LIMIT).layer(ours().layer(no_op)),
            plain(),
        ),
    ]
}

fn row<S>(name: &'static str, kind: Kind, service: S, request: Request<Content>) -> Row
where
    S: Service<Request<Content>> + 'static,
{
    let subject: Box<dyn Subject> = Box::new(Calls::new(service, request, Request::clone));
    let peer = if kind == Kind::Bare || kind == Kind::Copy { None } else { Some(TOWER) };
    Row { name, head: NO_HEADERS, kind, peer, subject, shared: None }
}
