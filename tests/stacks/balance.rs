//! A balancer between retries and what belongs to one endpoint, in the order that is recommended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use stonework::Error;
use stonework::balance::{Balancer, BalancerSettings};
use stonework::base::{CircuitState, EndpointId, EndpointState, Kind, Rng};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::ConcurrencyLimitLayer;
use stonework::retry::RetryLayer;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::{MS, assert_shareable, retry, virtually};

type Content = Full<Bytes>;

/// What each endpoint answers, by its name: a status, or that nobody listens.
type Answers = Arc<Mutex<BTreeMap<String, Option<u16>>>>;

fn get() -> Request<Content> {
    Request::get("/").body(Content::from("content")).expect("a request")
}

fn transport(
    name: String,
    answers: Answers,
) -> impl Service<Request<Content>, Response = Response<Content>, Error = Error, Future: Send> + Clone + Send + Sync
{
    service_fn(move |request: Request<Content>| {
        let answer = answers.lock().unwrap()[&name];
        let name = name.clone();
        async move {
            sleep(5 * MS).await;
            match answer {
                Some(status) => Ok(Response::builder()
                    .status(status)
                    .header("from", name)
                    .body(Content::default())
                    .unwrap()),
                None => Err(Error::new(Kind::Connect, "refused").with_request(request)),
            }
        }
    })
}

#[test]
fn in_the_whole_stack_sick_endpoints_cost_their_callers_nothing_and_open_their_own_circuits_only() {
    virtually(async {
        let answers = Answers::default();
        for name in ["a", "b", "c", "d"] {
            answers.lock().unwrap().insert(name.to_owned(), Some(200));
        }
        let breakers: Arc<Mutex<BTreeMap<String, Breaker>>> = Arc::default();
        let (at, kept) = (Arc::clone(&answers), Arc::clone(&breakers));
        let make = move |id: &EndpointId| {
            // As few as a balancer that avoids it still sends there.
            let breaker = Breaker::new(BreakerSettings::new().min_calls(3)).expect("possible");
            kept.lock().unwrap().insert(id.to_string(), breaker.clone());
            ServiceBuilder::new()
                .layer(BreakerLayer::from(breaker))
                .layer(ConcurrencyLimitLayer::new(100).expect("more than none"))
                .service(transport(id.to_string(), Arc::clone(&at)))
        };
        // Whom the circuits find out about, nobody else is to.
        let settings = BalancerSettings::new().without_outliers();
        let balancer = Balancer::builder(make).members(["a", "b", "c", "d"]).settings(settings);
        let balancer = balancer.rng(Rng::seeded(1)).build().unwrap();
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(1_000 * MS))
            .layer(retry(10 * MS).without_budget())
            .layer(AttemptTimeoutLayer::new(100 * MS))
            .service(balancer.service());
        let service = assert_shareable::<_, Request<Content>>(service);

        answers.lock().unwrap().insert("a".to_owned(), Some(500));
        answers.lock().unwrap().insert("b".to_owned(), None);
        let mut posts = 0;
        for call in 0..400 {
            let mut request = get();
            if call % 4 == 0 {
                *request.method_mut() = Method::POST;
            }
            let is_post = request.method() == Method::POST;
            let answer = service.clone().oneshot(request).await.expect("answered");
            // A POST that was answered is not sent again.
            assert!(answer.status() == 200 || is_post);
            posts += u32::from(answer.status() != 200);
            sleep(10 * MS).await;
        }
        assert!(posts <= 5, "{posts}");
        let circuit = |name: &str| breakers.lock().unwrap()[name].state();
        assert_eq!(circuit("a"), CircuitState::Open);
        assert_eq!([circuit("c"), circuit("d")], [CircuitState::Closed; 2]);
        let state = |name: &str| {
            balancer.stats().endpoints().iter().find(|one| one.id().as_str() == name).unwrap().state()
        };
        assert_eq!([state("a"), state("c"), state("d")], [EndpointState::Ready; 3]);

        // And they come back by themselves.
        answers.lock().unwrap().insert("a".to_owned(), Some(200));
        answers.lock().unwrap().insert("b".to_owned(), Some(200));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let answer = service.clone().oneshot(get()).await.expect("answered");
            seen.insert(answer.headers()["from"].to_str().unwrap().to_owned());
            sleep(30 * MS).await;
        }
        assert_eq!(seen.len(), 4);
    });
}

#[test]
fn a_balancer_of_balancers_fails_over_within_and_then_without() {
    virtually(async {
        let answers = Answers::default();
        for name in ["a/1", "a/2", "b/1"] {
            answers.lock().unwrap().insert(name.to_owned(), None);
        }
        answers.lock().unwrap().insert("b/1".to_owned(), Some(200));
        let outer = move |zone: &EndpointId| {
            let (answers, zone) = (Arc::clone(&answers), zone.to_string());
            let names: Vec<String> =
                if zone == "a" { vec!["a/1".into(), "a/2".into()] } else { vec!["b/1".into()] };
            let make = move |id: &EndpointId| transport(id.to_string(), Arc::clone(&answers));
            Balancer::builder(make).members(names).build().unwrap().service()
        };
        let balancer = Balancer::builder(outer).members(["a", "b"]).build().unwrap();
        let service = RetryLayer::new().layer(balancer.service());
        for _ in 0..20 {
            let mut request = get();
            *request.method_mut() = Method::POST;
            let answer = service.clone().oneshot(request).await.expect("answered");
            assert_eq!(answer.headers()["from"], "b/1");
        }
    });
}
