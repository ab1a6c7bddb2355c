use std::time::Duration;

use crate::base::BoxError;

/// What [`Scripted`](super::Scripted) does with one call.
///
/// ```
/// use std::time::Duration;
/// use stonework::testing::Step;
///
/// let steps: [Step<&str>; 3] = [
///     Step::fail("connection reset"),
///     Step::AnswerAfter(Duration::from_millis(30), "slow"),
///     Step::Answer("ok"),
/// ];
/// # drop(steps);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<Res, E = BoxError> {
    /// Answers at the first poll.
    Answer(Res),
    /// Answers when this much of tokio's time has passed since the call. A pause of zero answers at the first poll.
    AnswerAfter(Duration, Res),
    /// Fails at the first poll.
    Fail(E),
    /// Fails when this much of tokio's time has passed since the call.
    FailAfter(Duration, E),
    /// Never answers, and never wakes.
    Hang,
}

impl<Res, E> Step<Res, E> {
    /// [`Fail`](Self::Fail) with whatever converts: for the default `BoxError`, a plain `&str`.
    pub fn fail(error: impl Into<E>) -> Self {
        Self::Fail(error.into())
    }
}
