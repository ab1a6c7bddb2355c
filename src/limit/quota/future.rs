use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;

use super::ServerQuotas;
use super::handle::Server;

/// A call whose answer may say something of limits. See [`ServerQuotaLayer`](super::ServerQuotaLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HeardFuture<F, K> {
    #[pin]
    pub(super) answer: F,
    pub(super) quotas: ServerQuotas<K>,
    pub(super) server: Arc<Server<K>>,
    /// The number of the request.
    pub(super) number: u64,
}

impl<F, B, E, K> Future for HeardFuture<F, K>
where
    F: Future<Output = Result<Response<B>, E>>,
    K: Hash + Eq + Clone,
{
    type Output = Result<Response<B>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        if let Ok(response) = &answer {
            this.quotas.hear(this.server, *this.number, response);
        }
        Poll::Ready(answer)
    }
}

impl<F, K> fmt::Debug for HeardFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeardFuture").field("number", &self.number).finish_non_exhaustive()
    }
}
