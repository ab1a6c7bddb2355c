use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use super::Step;
use super::seen::Running;

/// The answer of a [`Scripted`](super::Scripted) service.
///
/// # Panics
///
/// When it is polled again after it has answered.
#[must_use = "futures do nothing unless polled"]
pub struct ScriptedFuture<Req, Res, E> {
    sleep: Option<Pin<Box<Sleep>>>,
    /// `None` hangs while the call is running.
    answer: Option<Result<Res, E>>,
    answered: bool,
    running: Running<Req>,
}

impl<Req, Res, E> ScriptedFuture<Req, Res, E> {
    pub(super) fn new(step: Step<Res, E>, running: Running<Req>) -> Self {
        let (pause, answer) = match step {
            Step::Answer(response) => (None, Some(Ok(response))),
            Step::AnswerAfter(pause, response) => (Some(pause), Some(Ok(response))),
            Step::Fail(error) => (None, Some(Err(error))),
            Step::FailAfter(pause, error) => (Some(pause), Some(Err(error))),
            Step::Hang => (None, None),
        };
        // The pause counts from the call, not from the first poll; and no timer for no pause.
        let sleep = pause.filter(|pause| !pause.is_zero()).map(|pause| Box::pin(tokio::time::sleep(pause)));
        Self { sleep, answer, answered: false, running }
    }
}

/// Nothing in it is pinned in place: the timer has its own box.
impl<Req, Res, E> Unpin for ScriptedFuture<Req, Res, E> {}

impl<Req, Res, E> Future for ScriptedFuture<Req, Res, E> {
    type Output = Result<Res, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.answered, "a `ScriptedFuture` was polled after it had answered");
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
        }
        let Some(answer) = self.answer.take() else { return Poll::Pending };
        self.answered = true;
        self.running.answered();
        Poll::Ready(answer)
    }
}

impl<Req, Res, E> fmt::Debug for ScriptedFuture<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedFuture").field("answered", &self.answered).finish_non_exhaustive()
    }
}
