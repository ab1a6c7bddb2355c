//! Endpoints with a fault, and calls to several of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

/// How long a call takes that is done: much longer than a busy machine keeps a task waiting, or a failure is no faster.
const WORKS: Duration = Duration::from_millis(60);

/// What is wrong with it.
#[derive(Clone)]
pub(super) enum Endpoint {
    /// Its first look at whether it is ready fails. Clones are the same endpoint.
    FailsOnce(Arc<AtomicBool>),
    /// Nothing; it takes a while.
    Works,
    /// It fails at once.
    Broken,
    /// It never becomes ready.
    Hangs,
}

impl Endpoint {
    pub(super) fn fails_once() -> Self {
        Self::FailsOnce(Arc::new(AtomicBool::new(true)))
    }
}

impl Service<Request<Content>> for Endpoint {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Self::FailsOnce(fails) if fails.swap(false, Ordering::Relaxed) => Poll::Ready(Err(Broken)),
            Self::Hangs => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let does = self.clone();
        Box::pin(async move {
            match does {
                Self::FailsOnce(_) => Ok(Response::default()),
                Self::Works => {
                    sleep(WORKS).await;
                    Ok(Response::default())
                }
                Self::Broken => Err(Broken),
                Self::Hangs => unreachable!("it was not ready"),
            }
        })
    }
}

const EACH: Duration = Duration::from_millis(100);

/// A call each 100 ms, which is given up when it is time for the next: how many of 20 are answered.
pub(super) async fn answered(mut balancer: impl Service<Request<Content>>) -> usize {
    let mut answered = 0;
    for _ in 0..20 {
        let call = async { balancer.ready().await.ok()?.call(plain()).await.ok() };
        let (given, ()) = tokio::join!(timeout(EACH, call), sleep(EACH));
        answered += usize::from(matches!(given, Ok(Some(_))));
    }
    answered
}

const CALLS: usize = 1_000;
const AT_ONCE: usize = 32;

/// So many calls, of which so many are under way at once: how many fail.
pub(super) async fn failed<S>(mut balancer: S) -> usize
where
    S: Service<Request<Content>, Response: Send + 'static, Error: Send + 'static, Future: Send + 'static>,
{
    let (mut calls, mut failed) = (JoinSet::<bool>::new(), 0);
    for _ in 0..CALLS {
        if calls.len() == AT_ONCE {
            let ended = calls.join_next().await.expect("there are some").expect("no panic");
            failed += usize::from(!ended);
        }
        let call = match balancer.ready().await {
            Ok(balancer) => balancer.call(plain()),
            Err(_) => panic!("it can always be called"),
        };
        calls.spawn(async { call.await.is_ok() });
    }
    failed + calls.join_all().await.into_iter().filter(|ended| !ended).count()
}

/// Three, of which one hangs.
pub(super) fn three() -> impl Iterator<Item = Endpoint> {
    (0..3).map(|at| if at == 1 { Endpoint::Hangs } else { Endpoint::Works })
}

/// Ten, of which one is broken.
pub(super) fn ten() -> impl Iterator<Item = Endpoint> {
    (0..10).map(|at| if at == 7 { Endpoint::Broken } else { Endpoint::Works })
}
