//! What the compiler says to those who put a layer that refuses with an error onto a router of axum.

use std::convert::Infallible;

use super::Error;

/// Nothing has it. Without it the compiler would only say that an [`Infallible`] cannot be made of an [`Error`].
#[diagnostic::on_unimplemented(
    message = "a layer refuses with a `stonework::Error`, where every refusal has to be an answer",
    label = "this layer may fail",
    note = "let it answer: `.answer()`, as in `.layer(TimeoutLayer::new(limit).answer())`"
)]
trait CannotFail {
    fn never(self) -> Infallible;
}

// For every lifetime, since a bound that is plainly false is refused here, and not at whoever needs it.
#[doc(hidden)]
impl From<Error> for Infallible
where
    for<'a> &'a Error: CannotFail,
{
    fn from(error: Error) -> Self {
        error.never()
    }
}
