use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::{AdaptiveThrottleLayer, Sent, ThrottledFuture, Throttles};
use crate::base::{BoxError, Classify, Error, take};

/// Calls a service as often as it can be expected to take calls. See [`AdaptiveThrottleLayer`].
pub struct AdaptiveThrottleService<S, T, C> {
    inner: S,
    layer: AdaptiveThrottleLayer<T, C>,
}

impl<S, T, C> AdaptiveThrottleService<S, T, C> {
    pub(super) const fn with(inner: S, layer: AdaptiveThrottleLayer<T, C>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, T: Clone, C: Clone> Clone for AdaptiveThrottleService<S, T, C> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.layer.clone())
    }
}

impl<S, Req, T, C> Service<Req> for AdaptiveThrottleService<S, T, C>
where
    S: Service<Req, Error: Into<BoxError>> + Clone,
    Req: Send + 'static,
    T: Throttles<Req>,
    C: Classify<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ThrottledFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let AdaptiveThrottleLayer { throttle, classify } = &mut self.layer;
        match throttle.as_mut().map_or_else(|| Ok(Sent::uncounted()), |throttle| throttle.try_send(&request))
        {
            Ok(sent) => ThrottledFuture::called(self.inner.call(request), sent, classify.clone()),
            Err(throttled) => {
                // What it reserved when it became ready is not kept for a call that may never come.
                drop(take(&mut self.inner));
                ThrottledFuture::throttled(throttled, request)
            }
        }
    }
}

impl<S: fmt::Debug, T: fmt::Debug, C> fmt::Debug for AdaptiveThrottleService<S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveThrottleService")
            .field("inner", &self.inner)
            .field("throttle", &self.layer.throttle)
            .finish_non_exhaustive()
    }
}
