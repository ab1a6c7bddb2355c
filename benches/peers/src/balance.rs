//! The rows of the comparison `balance`: a call to one of so many endpoints, none of which does anything.

use std::time::Duration;

use http::Request;
use stonework::balance::{Balancer, BalancerSettings, Member, Pick};
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma, PendingRequests};

use crate::measure::{Calls, Subject};
use crate::rows::{Content, Kind, NoOp, Row, plain};

const SIZES: [(&str, usize); 5] = [
    ("2 endpoints", 2),
    ("10 endpoints", 10),
    ("100 endpoints", 100),
    ("1 000 endpoints", 1_000),
    ("10 000 endpoints", 10_000),
];
/// The sizes between which ours may cost at most twice as much.
pub(crate) const FEW: &str = SIZES[1].0;
pub(crate) const MANY: &str = SIZES[4].0;
const DECAY: Duration = Duration::from_secs(10);

pub(crate) fn rows(waits: bool) -> Vec<Row> {
    SIZES.into_iter().flat_map(|(head, size)| group(head, size, NoOp { waits })).collect()
}

fn group(head: &'static str, size: usize, no_op: NoOp) -> Vec<Row> {
    let ours = |pick| {
        let members = (0..size).map(|at| Member::new(format!("10.0.{}.{}:80", at / 256, at % 256)));
        let settings = BalancerSettings::new().pick(pick).without_slow_start();
        let balancer = Balancer::builder(move |_| no_op).members(members).settings(settings);
        balancer.build().expect("valid settings").service()
    };
    let pending = (0..size).map(move |_| PendingRequests::new(no_op, CompleteOnResponse::default()));
    let ewma = (0..size).map(move |_| {
        PeakEwma::new(
            no_op,
            Duration::from_millis(30),
            DECAY.as_nanos() as f64,
            CompleteOnResponse::default(),
        )
    });
    vec![
        shared(head, "bare", Kind::Bare, no_op),
        // They cannot be cloned, and so not be shared.
        alone(
            head,
            "tower p2c, pending requests",
            Balance::new(ServiceList::new::<Request<Content>>(pending)),
        ),
        alone(head, "tower p2c, peak EWMA", Balance::new(ServiceList::new::<Request<Content>>(ewma))),
        shared(head, "stonework, least loaded", Kind::Balance, ours(Pick::LeastLoaded)),
        shared(head, "stonework, peak EWMA", Kind::Balance, ours(Pick::PeakEwma)),
        shared(head, "stonework, by turns", Kind::Balance, ours(Pick::WeightedRoundRobin)),
    ]
}

/// Clones of the service share one set of endpoints.
fn shared<S>(head: &'static str, name: &'static str, kind: Kind, service: S) -> Row
where
    S: Service<Request<Content>> + Clone + Send + Sync + 'static,
{
    let subject =
        move || -> Box<dyn Subject> { Box::new(Calls::new(service.clone(), plain(), Request::clone)) };
    Row { name, head, kind, peer: None, subject: subject(), shared: Some(Box::new(subject)) }
}

fn alone<S: Service<Request<Content>> + 'static>(head: &'static str, name: &'static str, service: S) -> Row {
    let subject = Box::new(Calls::new(service, plain(), Request::clone));
    Row { name, head, kind: Kind::Peer, peer: None, subject, shared: None }
}
