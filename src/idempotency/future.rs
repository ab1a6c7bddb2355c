use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project::pin_project;

use super::body::KeyedBody;

/// A call that may be a keyed one. See [`IdempotencyLayer`](super::IdempotencyLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct IdempotencyFuture<F, B: Body, E> {
    #[pin]
    state: State<F, B, E>,
}

/// In a box, since it waits for a store, whose futures have no name.
type Answer<B, E> = Pin<Box<dyn Future<Output = Result<Response<KeyedBody<B>>, E>> + Send>>;

#[pin_project(project = StateProjection)]
enum State<F, B: Body, E> {
    Passed {
        #[pin]
        answer: F,
    },
    Keyed {
        answer: Answer<B, E>,
    },
}

impl<F, B: Body, E> IdempotencyFuture<F, B, E> {
    pub(super) const fn passed(answer: F) -> Self {
        Self { state: State::Passed { answer } }
    }

    pub(super) const fn keyed(answer: Answer<B, E>) -> Self {
        Self { state: State::Keyed { answer } }
    }

    /// Nothing is called.
    pub(super) fn answered(response: Response<KeyedBody<B>>) -> Self
    where
        B: Send + 'static,
        B::Error: Send,
        E: Send + 'static,
    {
        Self::keyed(Box::pin(ready(Ok(response))))
    }
}

impl<F, B, E> Future for IdempotencyFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<KeyedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Passed { answer } => {
                answer.poll(cx).map(|answer| Ok(answer?.map(KeyedBody::passed)))
            }
            StateProjection::Keyed { answer } => answer.as_mut().poll(cx),
        }
    }
}

impl<F, B: Body, E> fmt::Debug for IdempotencyFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Passed { .. } => "IdempotencyFuture(passed)",
            State::Keyed { .. } => "IdempotencyFuture(keyed)",
        })
    }
}
