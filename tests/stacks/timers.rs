//! How many timers a call holds, counted by the clones of its waker: a timer that is armed keeps one, and here nothing
//! else does.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use stonework::base::{BoxError, TimeoutHeader};
use stonework::timeout::{AttemptTimeoutLayer, ReceiveDeadlineLayer, SendDeadlineLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::{MS, Never, retry, virtually};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Drives a future by hand, and knows how many of its wakers are kept.
struct Driver {
    woken: Arc<Woken>,
    waker: Waker,
}

impl Driver {
    fn new() -> Self {
        let woken = Arc::new(Woken::default());
        Self { waker: Waker::from(Arc::clone(&woken)), woken }
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    fn timers(&self) -> usize {
        // One is the driver's own, one the waker's.
        Arc::strong_count(&self.woken) - 2
    }

    /// Polls whenever it is woken, and looks at the timers after each poll; returns the most there ever were.
    async fn run<F: Future>(&self, mut future: Pin<&mut F>) -> (F::Output, usize) {
        let mut most = 0;
        self.woken.0.store(true, Ordering::Relaxed);
        loop {
            if self.woken.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(output) = self.poll(future.as_mut()) {
                    return (output, most);
                }
                most = most.max(self.timers());
            }
            tokio::time::sleep(MS).await;
        }
    }
}

#[test]
fn limits_in_separate_layers_share_one_timer() {
    for bottom in [Never::Ready, Never::Answers] {
        virtually(async {
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(100 * MS))
                .layer(AttemptTimeoutLayer::new(30 * MS))
                .layer(TimeoutLayer::new(40 * MS))
                .layer(AttemptTimeoutLayer::new(50 * MS))
                .service(bottom);
            let start = Instant::now();
            let driver = Driver::new();
            let (result, most) = driver.run(pin!(stack.oneshot(()))).await;
            assert!(result.unwrap_err().is_timeout());
            assert_eq!((start.elapsed(), most), (30 * MS, 1), "time, timers; never {bottom:?}");
        });
    }
}

#[test]
fn a_call_with_attempts_and_pauses_holds_one_timer_at_a_time() {
    virtually(async {
        let broken = service_fn(|_: Request<Full<Bytes>>| {
            std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
        });
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(1_000 * MS))
            .layer(retry(10 * MS))
            .layer(AttemptTimeoutLayer::new(30 * MS))
            .service(broken);
        let start = Instant::now();
        let driver = Driver::new();
        let call = stack.oneshot(Request::new(Full::default()));
        let (result, most) = driver.run(pin!(call)).await;
        assert_eq!(result.unwrap_err().attempts(), 3);
        assert_eq!((start.elapsed(), most), (3 * 30 * MS + 2 * 10 * MS, 1), "time, timers");
        assert_eq!(driver.timers(), 0, "kept after the end");
    });
}

#[test]
fn a_deadline_that_came_with_the_request_shares_the_timer_of_the_limits_around_it() {
    virtually(async {
        for bottom in [Never::Ready, Never::Answers] {
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(100 * MS))
                .layer(ReceiveDeadlineLayer::new(TimeoutHeader::Grpc))
                .layer(TimeoutLayer::new(90 * MS))
                .layer(SendDeadlineLayer::new(TimeoutHeader::Grpc))
                .service(bottom);
            let start = Instant::now();
            let driver = Driver::new();
            let request = Request::get("/").header("grpc-timeout", "40m").body(()).unwrap();
            let (result, most) = driver.run(pin!(stack.oneshot(request))).await;
            assert!(result.unwrap_err().is_timeout());
            assert_eq!((start.elapsed(), most), (40 * MS, 1), "time, timers; never {bottom:?}");
        }
    });
}

#[test]
fn several_limits_joined_in_one_task_share_the_timer_of_the_limit_above() {
    virtually(async {
        let joined = service_fn(|()| async {
            let one = |ms: u32| AttemptTimeoutLayer::new(ms * MS).layer(Never::Answers).oneshot(());
            let _ = tokio::join!(one(10), one(30), one(20));
            Ok::<_, BoxError>(())
        });
        let start = Instant::now();
        let driver = Driver::new();
        let (result, most) = driver.run(pin!(TimeoutLayer::new(100 * MS).layer(joined).oneshot(()))).await;
        result.expect("the join ended");
        assert_eq!((start.elapsed(), most), (30 * MS, 1), "time, timers");
    });
}

#[test]
fn a_limit_that_select_dropped_leaves_no_timer_behind() {
    virtually(async {
        let odd = service_fn(|()| async {
            let inner = AttemptTimeoutLayer::new(10 * MS).layer(Never::Answers).oneshot(());
            tokio::select! {
                biased;
                answer = inner => return answer,
                () = std::future::ready(()) => {}
            }
            std::future::pending().await
        });
        let start = Instant::now();
        let driver = Driver::new();
        let (result, most) = driver.run(pin!(TimeoutLayer::new(50 * MS).layer(odd).oneshot(()))).await;
        assert!(result.unwrap_err().is_timeout());
        assert_eq!((start.elapsed(), most), (50 * MS, 1), "time, timers");
    });
}

#[test]
fn a_call_that_is_ready_at_once_arms_no_timer_at_all() {
    // Without a runtime a timer cannot even be made: it would panic.
    let prompt = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(100 * MS))
        .layer(retry(10 * MS))
        .layer(AttemptTimeoutLayer::new(30 * MS))
        .layer(SendDeadlineLayer::new(TimeoutHeader::Grpc))
        .layer(ReceiveDeadlineLayer::new(TimeoutHeader::Grpc))
        .service(prompt);
    let driver = Driver::new();
    match driver.poll(pin!(stack.oneshot(Request::new(Full::default())))) {
        Poll::Ready(answer) => assert_eq!(answer.expect("answered").status(), StatusCode::OK),
        Poll::Pending => panic!("it waits"),
    }
}
