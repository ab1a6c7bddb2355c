//! Server layers on an axum router, with nothing in between.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::testing::{Scripted, Step};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::kit::{MS, assert_shareable, retry, virtually};

const SLOW: Duration = Duration::from_secs(60);

async fn slow() -> &'static str {
    sleep(SLOW).await;
    "at last"
}

async fn get_from(app: &Router, path: &str) -> (StatusCode, Bytes, Duration) {
    let start = Instant::now();
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.expect("a router never fails");
    let elapsed = start.elapsed();
    let status = response.status();
    (status, response.into_body().collect().await.expect("a body").to_bytes(), elapsed)
}

#[test]
fn a_router_under_a_limit_answers_504_in_time() {
    virtually(async {
        for app in [
            Router::new().route("/", get(slow)).layer(TimeoutLayer::new(100 * MS).answer()),
            Router::new().route("/", get(slow)).layer(AttemptTimeoutLayer::new(100 * MS).answer()),
            Router::new().route("/", get(slow)).route_layer(TimeoutLayer::new(100 * MS).answer()),
            Router::new().route("/", get(slow).layer(TimeoutLayer::new(100 * MS).answer())),
            Router::new().route("/", get(slow.layer(TimeoutLayer::new(100 * MS).answer()))),
            Router::new().route("/", get(slow.layer(AttemptTimeoutLayer::new(100 * MS).answer()))),
        ] {
            let app = assert_shareable::<_, Request<Body>>(app);
            let (status, body, elapsed) = get_from(&app, "/").await;
            assert_eq!((status, elapsed), (StatusCode::GATEWAY_TIMEOUT, 100 * MS));
            assert!(body.starts_with(b"{\"type\":\"about:blank\""), "{body:?}");
        }
    });
}

#[test]
fn a_router_whose_circuit_is_open_answers_503_and_says_when_to_come_back() {
    virtually(async {
        let fails = || async { StatusCode::INTERNAL_SERVER_ERROR };
        let breaker = || Breaker::new(BreakerSettings::new().min_calls(2)).unwrap();
        for app in [
            Router::new().route("/", get(fails)).layer(BreakerLayer::from(breaker()).answer()),
            Router::new().route("/", get(fails)).route_layer(BreakerLayer::from(breaker()).answer()),
            Router::new().route("/", get(fails).layer(BreakerLayer::from(breaker()).answer())),
            Router::new().route("/", get(fails.layer(BreakerLayer::from(breaker()).answer()))),
        ] {
            let app = assert_shareable::<_, Request<Body>>(app);
            for _ in 0..2 {
                assert_eq!(get_from(&app, "/").await.0, StatusCode::INTERNAL_SERVER_ERROR);
            }
            let refused = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((3..=5).contains(&seconds), "{seconds}");
        }
    });
}

#[test]
fn a_limit_is_switched_off_by_a_value_and_its_type_stays() {
    virtually(async {
        for on in [true, false] {
            let apps = [
                Router::new().route("/", get(slow)).layer(TimeoutLayer::new(100 * MS).answer().when(on)),
                Router::new()
                    .route("/", get(slow.layer(AttemptTimeoutLayer::new(100 * MS).answer().when(on)))),
            ];
            for app in apps {
                let (status, _, elapsed) = get_from(&app, "/").await;
                let expected =
                    if on { (StatusCode::GATEWAY_TIMEOUT, 100 * MS) } else { (StatusCode::OK, SLOW) };
                assert_eq!((status, elapsed), expected, "on: {on}");
            }
        }
    });
}

#[test]
fn limits_on_a_router_and_on_its_handlers_nest_and_the_earlier_one_answers() {
    virtually(async {
        let app = Router::new()
            .route("/short", get(slow.layer(TimeoutLayer::new(20 * MS).answer())))
            .route("/long", get(slow.layer(TimeoutLayer::new(200 * MS).answer())))
            .layer(TimeoutLayer::new(100 * MS).answer());
        assert_eq!(get_from(&app, "/short").await.2, 20 * MS);
        assert_eq!(get_from(&app, "/long").await.2, 100 * MS);
    });
}

#[test]
fn a_server_limit_reaches_the_client_in_the_handler_by_itself() {
    virtually(async {
        // The client has all the time in the world; what it calls fails, and then never answers.
        let broken_then_silent = {
            let mut calls = 0;
            Scripted::<Request<Full<Bytes>>, Response<Full<Bytes>>, std::io::Error>::script(move |_, _| {
                calls += 1;
                match calls {
                    1 => Step::Fail(std::io::Error::other("broken")),
                    _ => Step::Hang,
                }
            })
        };
        let client = retry(10 * MS).layer(AttemptTimeoutLayer::new(SLOW).layer(broken_then_silent));
        let handler = move || async move {
            let error = client.oneshot(Request::new(Full::default())).await.expect_err("out of time");
            format!("timeout: {}, attempts: {}", error.is_timeout(), error.attempts())
        };
        let app = Router::new().route("/", get(handler)).layer(TimeoutLayer::new(100 * MS).answer());
        let (status, body, elapsed) = get_from(&app, "/").await;
        // The client speaks before the server's limit does, in the same poll.
        assert_eq!((status, elapsed), (StatusCode::OK, 100 * MS));
        assert_eq!(body, "timeout: true, attempts: 2");
    });
}

#[test]
fn a_service_of_ones_own_takes_the_same_layer() {
    virtually(async {
        let service = service_fn(|_: Request<Body>| async {
            sleep(SLOW).await;
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = TimeoutLayer::new(100 * MS).answer().layer(service);
        let response = assert_shareable::<_, Request<Body>>(service).oneshot(Request::new(Body::empty()));
        assert_eq!(response.await.expect("answered").status(), StatusCode::GATEWAY_TIMEOUT);
    });
}
