//! What it costs to wait for a place: one place, and each call comes while the one before it has it.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use stonework::limit::{ConcurrencyLimitLayer, ConcurrencySettings};
use tower::limit::ConcurrencyLimitLayer as TowerLimitLayer;
use tower::{Layer, Service};
use tower_resilience_bulkhead::BulkheadLayer;

use crate::measure::Subject;
use crate::rows::{Broken, Content, Kind, LIMIT, Row, plain};

const ONE: &str = "one place";

/// The same whether the answer has to be waited for: whoever has the place always waits, or nobody would have to queue.
pub(super) fn rows() -> [Row; 5] {
    let told = Told::default();
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(1).build().expect("valid settings");
    let ours = || ConcurrencyLimitLayer::new(ConcurrencySettings::new(1).queue(10)).expect("valid settings");
    [
        row("bare", Kind::Bare, &told, told.clone()),
        row("tower ConcurrencyLimit", Kind::Peer, &told, TowerLimitLayer::new(1).layer(told.clone())),
        row("tower-resilience bulkhead", Kind::Peer, &told, bulkhead.layer(told.clone())),
        row(
            "stonework ConcurrencyLimitLayer, waits",
            Kind::Free,
            &told,
            ours().wait_up_to(LIMIT).layer(told.clone()),
        ),
        row(
            "stonework ConcurrencyLimitLayer, a queue",
            Kind::Free,
            &told,
            ours().queue().layer(told.clone()),
        ),
    ]
}

fn row<S>(name: &'static str, kind: Kind, told: &Told, service: S) -> Row
where
    S: Service<Request<Content>> + Clone + 'static,
{
    let subject = Box::new(Queue { service, request: plain(), told: told.clone() });
    Row { name, head: ONE, kind, peer: None, subject, shared: None }
}

/// Answers when it is told to.
#[derive(Clone, Default)]
struct Told(Arc<AtomicBool>);

impl Service<Request<Content>> for Told {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Self;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self {
        self.clone()
    }
}

impl Future for Told {
    type Output = Result<Response<Content>, Broken>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.load(Ordering::Relaxed) {
            Poll::Ready(Ok(Response::new(Content::default())))
        } else {
            Poll::Pending
        }
    }
}

struct Queue<S> {
    service: S,
    request: Request<Content>,
    told: Told,
}

impl<S: Service<Request<Content>> + Clone> Subject for Queue<S> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        let call = || {
            let (mut service, request) = (self.service.clone(), black_box(self.request.clone()));
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        };
        let (mut has_it, mut waits) = (pin!(Some(call())), pin!(None));
        assert!(!is_done(&mut has_it), "it has the place");
        for _ in 0..calls {
            waits.set(Some(call()));
            assert!(!is_done(&mut waits), "there is one place");
            self.told.0.store(true, Ordering::Relaxed);
            assert!(is_done(&mut has_it), "it is told");
            self.told.0.store(false, Ordering::Relaxed);
            has_it.set(None);
            // Here the place is its own, and it calls.
            assert!(!is_done(&mut waits), "nobody has told it");
            std::mem::swap(&mut has_it, &mut waits);
        }
    }

    fn timers(&mut self) -> usize {
        0
    }
}

/// After one more poll. The answer is let go of.
fn is_done(call: &mut Pin<&mut Option<impl Future>>) -> bool {
    let call = call.as_mut().as_pin_mut().expect("a call");
    call.poll(&mut Context::from_waker(Waker::noop())).map(drop).is_ready()
}
