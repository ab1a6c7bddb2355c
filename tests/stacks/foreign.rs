//! Tower's own layers between ours: what our error knows arrives at the top.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use stonework::Error;
use stonework::base::{BoxError, Delivery, Kind};
use stonework::retry::Retry;
use stonework::testing::{Scripted, Step, Strict};
use stonework::timeout::{AttemptTimeout, AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer as TowerTimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::kit::{MS, retry, virtually};

const ATTEMPT: Duration = Duration::from_millis(30);
const PAUSE: Duration = Duration::from_millis(10);
const CALL: Duration = Duration::from_secs(10);
const FOREIGN: Duration = Duration::from_secs(60);

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;
type Bottom = Scripted<HttpRequest, HttpResponse>;
type Client = Retry<AttemptTimeout<Bottom>>;

fn client(bottom: Bottom) -> Client {
    retry(PAUSE).layer(AttemptTimeoutLayer::new(ATTEMPT).layer(bottom))
}

async fn fails<S>(between: S) -> (Error, Duration)
where
    S: Service<HttpRequest, Response = HttpResponse, Error: Into<BoxError>> + Clone,
{
    let start = Instant::now();
    let stack = TimeoutLayer::new(CALL).layer(between);
    let error = stack.oneshot(Request::new(Full::from("content"))).await.expect_err("it fails");
    (error, start.elapsed())
}

/// Each foreign layer alone, and all at once: their names, and the error that came through.
fn through_each(bottom: impl Fn() -> Bottom) -> Vec<(&'static str, Error, Duration)> {
    let (shed, limit) = (LoadShedLayer::new, || ConcurrencyLimitLayer::new(1));
    let (buffer, timeout) = (|| BufferLayer::new(4), || TowerTimeoutLayer::new(FOREIGN));
    macro_rules! through {
        ($($name:literal: $($layer:expr),*;)*) => {
            vec![$({
                let (error, elapsed) = virtually(async {
                    fails(ServiceBuilder::new()$(.layer($layer))*.service(client(bottom()))).await
                });
                ($name, error, elapsed)
            }),*]
        };
    }
    through! {
        "nothing": ;
        "timeout": timeout();
        "concurrency limit": limit();
        "buffer": buffer();
        "load shed": shed();
        "buffer, load shed": buffer(), shed();
        "load shed, buffer, concurrency limit, timeout": shed(), buffer(), limit(), timeout();
        "timeout, concurrency limit, load shed, buffer": timeout(), limit(), shed(), buffer();
        "buffer, buffer": buffer(), buffer();
    }
}

fn always(step: impl Fn() -> Step<HttpResponse> + Send + 'static) -> Bottom {
    Scripted::script(move |_, _| step())
}

#[test]
fn a_failure_after_three_attempts_keeps_kind_delivery_and_attempts_through_towers_layers() {
    let broken = |kind| move || always(move || Step::Fail(Error::new(kind, "broken").into()));
    for (kind, delivery) in [(Kind::Transport, Delivery::Unknown), (Kind::Connect, Delivery::NotSent)] {
        for (between, error, elapsed) in through_each(broken(kind)) {
            let known = (error.kind(), error.delivery(), error.attempts());
            assert_eq!(known, (kind, delivery, 3), "through {between}");
            assert_eq!(elapsed, 2 * PAUSE, "through {between}");
            assert!(format!("{error:#}").contains("broken"), "through {between}: {error:#}");
        }
    }
}

#[test]
fn attempts_that_ran_out_of_time_are_told_apart_through_towers_layers() {
    for (between, error, elapsed) in through_each(|| always(|| Step::Hang)) {
        let known = (error.kind(), error.delivery(), error.attempts());
        assert_eq!(known, (Kind::Timeout, Delivery::Unknown, 3), "through {between}");
        assert_eq!(elapsed, 3 * ATTEMPT + 2 * PAUSE, "through {between}");
    }
}

#[test]
fn the_advice_of_an_overloaded_peer_arrives_through_towers_layers() {
    let advice = Duration::from_secs(3600);
    let full = move || {
        let error = Error::new(Kind::Overload, "full").with_retry_after(advice);
        Step::Fail(error.with_delivery(Delivery::Refused).into())
    };
    for (between, error, _) in through_each(move || always(full)) {
        assert!(error.is_overload(), "through {between}: {error:#}");
        assert_eq!((error.retry_after(), error.delivery()), (Some(advice), Delivery::Refused), "{between}");
    }
}

#[test]
fn readiness_that_failed_keeps_its_kind_although_buffer_wraps_it() {
    let unready = || always(|| Step::Hang).fail_ready(1, Error::new(Kind::Connect, "broken").into());
    for (between, error, _) in through_each(unready) {
        assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent), "through {between}");
        if between.contains("buffer") {
            let wrapper = error.cause::<tower::buffer::error::ServiceError>();
            assert!(wrapper.is_some(), "buffer's own error stays in the chain: {error:#}");
        }
    }
}

#[test]
fn the_limit_on_the_whole_call_learns_through_towers_layers_how_many_attempts_were_made() {
    virtually(async {
        // Nothing ends an attempt but the limit on the whole.
        let bottom = always(|| Step::Hang);
        let between = ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(BufferLayer::new(4))
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(TowerTimeoutLayer::new(FOREIGN))
            .service(client(bottom));
        let start = Instant::now();
        // Within the second attempt, and at a time that is nobody else's.
        let stack = TimeoutLayer::new(55 * MS).layer(between);
        let error = stack.oneshot(Request::new(Full::default())).await.expect_err("out of time");
        let known = (error.kind(), error.delivery(), error.attempts());
        assert_eq!((known, start.elapsed()), ((Kind::Timeout, Delivery::Unknown, 2), 55 * MS));
    });
}

#[test]
fn what_a_foreign_layer_says_itself_counts_as_possibly_delivered() {
    virtually(async {
        let never =
            ServiceBuilder::new().layer(TowerTimeoutLayer::new(5 * MS)).service(always(|| Step::Hang));
        let (error, elapsed) = fails(never).await;
        assert_eq!((error.kind(), error.delivery(), elapsed), (Kind::Other, Delivery::Unknown, 5 * MS));
        assert!(error.cause::<tower::timeout::error::Elapsed>().is_some());
    });
}

#[test]
fn a_wait_for_readiness_that_its_caller_gave_up_does_not_count_against_the_next_call() {
    virtually(async {
        // Buffer stops asking for readiness when the only caller has gone, and asks again for the next.
        let strict = Strict::new(Scripted::<(), ()>::script(|_, ()| Step::Answer(()))).held();
        let ledger = strict.ledger();
        let limit = Duration::from_secs(20);
        let stack = BufferLayer::new(4).layer(AttemptTimeoutLayer::new(limit).layer(strict));
        let gave_up = tokio::time::timeout(MS, stack.clone().oneshot(())).await;
        assert!(gave_up.is_err());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        // Still not ready: the next call has all of its time.
        let start = Instant::now();
        let error = Error::wrap(stack.clone().oneshot(()).await.expect_err("not ready"));
        assert_eq!((error.is_timeout(), start.elapsed()), (true, limit));

        let gave_up = tokio::time::timeout(MS, stack.clone().oneshot(())).await;
        assert!(gave_up.is_err());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        ledger.release();
        stack.oneshot(()).await.expect("ready, and answered");
    });
}
