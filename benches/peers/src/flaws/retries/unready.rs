//! A service that is gone before the second attempt, and a budget that nobody has used for days.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::time::{Instant, advance, pause, resume};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

/// Answers 503, then fails once to become ready, and is well from then on. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct GoneOnce {
    has_answered: Arc<AtomicBool>,
    was_gone: Arc<AtomicBool>,
}

impl Service<Request<Content>> for GoneOnce {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Ready<Result<Response<Content>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let is_gone =
            self.has_answered.load(Ordering::Relaxed) && !self.was_gone.swap(true, Ordering::Relaxed);
        Poll::Ready(if is_gone { Err(Broken) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let mut answer = Response::default();
        if !self.has_answered.swap(true, Ordering::Relaxed) {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        ready(Ok(answer))
    }
}

/// The status that the caller sees, if it is an answer.
pub(super) async fn got<S>(service: S) -> Option<StatusCode>
where
    S: Service<Request<Content>, Response = Response<Content>>,
{
    service.oneshot(plain()).await.ok().map(|answer| answer.status())
}

pub(super) fn told(got: Option<StatusCode>) -> String {
    got.map_or("the error of readiness".to_owned(), |status| status.to_string())
}

const DAYS: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// How long it takes to use a budget that has lain idle for ten days: the least of five.
pub(super) async fn after_idle_days<B>(budget: impl Fn() -> B, uses: impl Fn(&B)) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let budget = budget();
        pause();
        advance(DAYS).await;
        resume();
        let start = Instant::now();
        uses(&budget);
        least = least.min(start.elapsed());
    }
    least
}
