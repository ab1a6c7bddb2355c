use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::{Judging, State, settle_error};
use super::waiting::Waiting;
use super::{Breaker, BreakerLayer, CircuitOpen, Permit, ResponseFuture};
use crate::base::{Classify, ClassifyHttp, Hold, Http, take};

/// Calls a service as long as its circuit is closed. See [`BreakerLayer`].
#[derive(Debug)]
pub struct BreakerService<S, C = ClassifyHttp, M = Http> {
    inner: S,
    layer: BreakerLayer<C, M>,
    /// The inner service was not asked whether it is ready, because the circuit is open.
    unasked: bool,
    waiting: Option<Waiting>,
}

impl<S> BreakerService<S> {
    /// Guards `inner` by this circuit.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use stonework::breaker::{Breaker, BreakerService};
    /// use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::base::Error> {
    /// let breaker = Breaker::default();
    /// let inner = service_fn(|request: Request<Full<Bytes>>| async { Ok::<_, std::io::Error>(Response::new(request.into_body())) });
    /// let service = BreakerService::new(inner, breaker.clone());
    /// assert!(service.oneshot(Request::new(Full::from("hello"))).await?.status().is_success());
    /// # Ok(()) }
    /// ```
    ///
    /// What is not HTTP needs [another mode](BreakerLayer::plain) and a judge.
    #[must_use]
    pub fn new(inner: S, breaker: Breaker) -> Self {
        Self::with(inner, BreakerLayer::from(breaker))
    }
}

impl<S, C, M> BreakerService<S, C, M> {
    pub(super) const fn with(inner: S, layer: BreakerLayer<C, M>) -> Self {
        Self { inner, layer, unasked: false, waiting: None }
    }

    /// The circuit, unless the layer is switched off.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.layer.breaker.as_ref()
    }
}

/// What was reserved and who waits stay with the original.
impl<S: Clone, C: Clone, M: Clone> Clone for BreakerService<S, C, M> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.layer.clone())
    }
}

impl<S, Req, C, M> Service<Req> for BreakerService<S, C, M>
where
    S: Service<Req> + Clone,
    Req: Send + 'static,
    C: Classify<S::Response> + Clone,
    M: Hold<Req, S::Response, S::Error, Option<Judging<C>>> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = ResponseFuture<S::Future, Req, C, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        let BreakerLayer { breaker, classify, mode, waits } = &self.layer;
        self.unasked = false;
        if let Some(breaker) = breaker {
            if !breaker.state().lets_all_through() {
                if *waits {
                    let waiting = self.waiting.get_or_insert_with(|| Waiting::new(breaker.core().clone()));
                    std::task::ready!(waiting.poll(cx));
                } else if breaker.core().refuses_now() {
                    // Whoever calls is told at once, and does not wait for a service that hangs to become ready.
                    self.unasked = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        self.waiting = None;
        self.inner.poll_ready(cx).map_err(|error| {
            let error = mode.err(error);
            // A service whose connection cannot be made says so here, and nowhere else.
            if let Some(mut permit) = breaker.as_ref().and_then(|breaker| breaker.try_acquire().ok()) {
                settle_error(&mut permit, classify, M::judged(&error));
            }
            error
        })
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let BreakerLayer { breaker, classify, mode, .. } = &self.layer;
        let asked = mode.note(&request);
        let permit = match breaker {
            None => Ok(Permit::uncounted()),
            Some(breaker) if self.unasked => Err(CircuitOpen::new(breaker.core().refuse())),
            Some(breaker) => breaker.try_acquire(),
        };
        match permit {
            Ok(permit) => {
                let (classify, mode) = (Some(classify.clone()), mode.clone());
                ResponseFuture {
                    call: State::Called { answer: self.inner.call(request), permit, classify },
                    asked,
                    mode,
                    request: PhantomData,
                }
            }
            Err(open) => {
                // What it reserved when it became ready is not kept while the circuit is open.
                drop(take(&mut self.inner));
                ResponseFuture::refused(open, request, asked, mode.clone())
            }
        }
    }
}
