//! Was that good? One judgement that every layer shares, so that they cannot disagree.

use http::{HeaderMap, Response, StatusCode, header};

use super::error::Error;
use super::kind::Kind;
use super::scope;

/// The judgement on one attempt. See [`Classify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: layers match on all four")]
pub enum Outcome {
    /// It worked, or failed in a way that is no fault of the service (a 404, say).
    Success,
    /// The service failed; another attempt may fare better.
    Failure,
    /// The service has too much to do.
    Overload,
    /// It says nothing about the service: the caller went away, or the request was malformed before it left.
    Neutral,
}

impl Outcome {
    /// Whether another attempt might turn out better.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Failure | Self::Overload)
    }
}

/// Judges how an attempt ended. Retry, and every other layer that needs to know, asks the same one.
///
/// Any closure of the right shape will do:
///
/// ```
/// use http::Response;
/// use stonework::base::{Classify, ClassifyHttp, Error, Outcome};
///
/// // An API that answers 200 with an `x-error` header when it failed.
/// let judge = |result: Result<&Response<()>, &Error>| match result {
///     Ok(response) if response.headers().contains_key("x-error") => Outcome::Failure,
///     other => ClassifyHttp.classify(other),
/// };
/// let failed = Response::builder().header("x-error", "1").body(()).unwrap();
/// assert_eq!(judge.classify(Ok(&failed)), Outcome::Failure);
/// assert_eq!(judge.classify(Ok(&Response::new(()))), Outcome::Success);
/// ```
///
/// It judges failures too, so it takes a result, and not a response alone:
///
/// ```compile_fail
/// # use http::Response;
/// # use stonework::base::Outcome;
/// # fn judges<R>(_: impl stonework::base::Classify<R>) {}
/// judges(|response: &Response<()>| if response.status() == 200 { Outcome::Success } else { Outcome::Failure });
/// ```
///
/// ```
/// # use http::Response;
/// # use stonework::base::{Error, Outcome};
/// # fn judges<R>(_: impl stonework::base::Classify<R>) {}
/// judges(|result: Result<&Response<()>, &Error>| match result {
///     Ok(response) if response.status() == 200 => Outcome::Success,
///     _ => Outcome::Failure,
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not judge results of type `{R}`",
    label = "this has to judge results",
    note = "a closure does: `|result: Result<&http::Response<_>, &stonework::Error>| stonework::base::Outcome::Success`"
)]
pub trait Classify<R> {
    /// Judge a response, or the error that came in its place.
    fn classify(&self, result: Result<&R, &Error>) -> Outcome;

    /// Judge again at the end of the response body, by its trailers. For what is counted, not for what is repeated:
    /// by then the caller has the response.
    ///
    /// `None`, the default, leaves it at the first judgement.
    fn classify_trailers(&self, trailers: &HeaderMap) -> Option<Outcome> {
        let _ = trailers;
        None
    }
}

impl<R, F> Classify<R> for F
where
    F: Fn(Result<&R, &Error>) -> Outcome,
{
    fn classify(&self, result: Result<&R, &Error>) -> Outcome {
        self(result)
    }
}

/// The default judgement on HTTP.
///
/// | how it ended | outcome |
/// |---|---|
/// | 429; 503 with `Retry-After`; an error of kind [`CircuitOpen`](Kind::CircuitOpen) or [`Overload`](Kind::Overload) | `Overload` |
/// | any other 5xx except 501; any error not named here | `Failure` |
/// | an error of kind [`Invalid`](Kind::Invalid), or [`Timeout`](Kind::Timeout) where a [stranger](crate::timeout::ReceiveDeadlineLayer::believe) gave less than a second | `Neutral` |
/// | everything else, 4xx and 501 included | `Success` |
///
/// 409 is among the last, since it says nothing against the service: that [`retry`](crate::retry) sends a request with a key again, when it is told to
/// come back for its answer, is no judgement on it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ClassifyHttp;

impl<B> Classify<Response<B>> for ClassifyHttp {
    fn classify(&self, result: Result<&Response<B>, &Error>) -> Outcome {
        match result {
            Ok(response) => match response.status() {
                StatusCode::TOO_MANY_REQUESTS => Outcome::Overload,
                StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(header::RETRY_AFTER) => {
                    Outcome::Overload
                }
                StatusCode::NOT_IMPLEMENTED => Outcome::Success,
                status if status.is_server_error() => Outcome::Failure,
                _ => Outcome::Success,
            },
            Err(error) => judge_error(error),
        }
    }
}

pub(super) fn judge_error(error: &Error) -> Outcome {
    match error.kind() {
        Kind::CircuitOpen | Kind::Overload => Outcome::Overload,
        Kind::Invalid => Outcome::Neutral,
        Kind::Timeout if scope::was_hasty() => Outcome::Neutral,
        _ => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: bool) -> Outcome {
        let mut response = Response::builder().status(status);
        if retry_after {
            response = response.header("retry-after", "1");
        }
        ClassifyHttp.classify(Ok(&response.body(()).unwrap()))
    }

    #[test]
    fn statuses_are_judged_as_the_table_says() {
        for (status, advice, outcome) in [
            (200, false, Outcome::Success),
            (404, false, Outcome::Success),
            (408, false, Outcome::Success),
            (429, false, Outcome::Overload),
            (500, false, Outcome::Failure),
            (501, false, Outcome::Success),
            (503, false, Outcome::Failure),
            (503, true, Outcome::Overload),
            (504, true, Outcome::Failure),
        ] {
            assert_eq!(judged(status, advice), outcome, "{status}, Retry-After: {advice}");
        }
    }

    #[test]
    fn errors_are_judged_by_kind() {
        let judge = |kind| Classify::<Response<()>>::classify(&ClassifyHttp, Err(&Error::new(kind, "x")));
        assert_eq!(judge(Kind::Timeout), Outcome::Failure);
        assert_eq!(judge(Kind::Connect), Outcome::Failure);
        assert_eq!(judge(Kind::Overload), Outcome::Overload);
        assert_eq!(judge(Kind::CircuitOpen), Outcome::Overload);
        assert_eq!(judge(Kind::Invalid), Outcome::Neutral);
    }
}
