//! How does a call end? The type parameter of a layer that can refuse.
//!
//! | mode | chosen by | a refusal is | the layer's error is | the response passes |
//! |---|---|---|---|---|
//! | [`Http`] | default | an [`Error`] | [`Error`] | as it is; in a [`Held`] body, if the layer keeps something |
//! | [`Answer<R>`] | `.answer()` | a response, made by `R` | the inner service's | in a [`Held`] body |
//! | [`Plain`] | `.plain()` | an [`Error`] | [`Error`] | as it is, whatever its type |
//!
//! On the client side a refusal is an error: the caller has to know that nobody answered. On the server side it is a
//! response, since an error there costs the connection.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::body::{BodyEnd, Guard, Held, HoldUntil};
use super::error::{BoxError, Error};
use super::kind::Delivery;
use super::refuse::{Asked, Problem, Refuse};
use super::scope::{self, Along};

/// How a call through a layer ends; `Req`, `Res` and `E` are the request, response and error of the inner service.
///
/// Implemented by [`Http`], [`Answer`] and [`Plain`]; there is no need for another.
///
/// Only HTTP has a response that says no, so a layer that answers does not compile over anything else:
///
/// ```compile_fail,E0277
/// # use std::time::Duration;
/// # use stonework::timeout::TimeoutLayer;
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # fn serves<R>(_: impl Service<R>) {}
/// let echo = service_fn(|text: String| async { Ok::<_, std::io::Error>(text) });
/// serves::<String>(ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(1)).answer()).service(echo));
/// ```
///
/// There the refusal is an error:
///
/// ```
/// # use std::time::Duration;
/// # use stonework::timeout::TimeoutLayer;
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # fn serves<R>(_: impl Service<R>) {}
/// # let echo = service_fn(|text: String| async { Ok::<_, std::io::Error>(text) });
/// serves::<String>(ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(1)).plain()).service(echo));
/// ```
#[diagnostic::on_unimplemented(
    message = "a layer in the mode `{Self}` cannot wrap this service",
    note = "`.answer()` needs `http::Request` and an `http::Response` whose body yields `Bytes`",
    note = "`.plain()` and the default need an error that converts into a boxed error"
)]
pub trait Mode<Req, Res, E>: sealed::Sealed {
    /// What the layer answers.
    type Response;
    /// What the layer fails with.
    type Error;

    /// Note what a refusal will need, before the request is handed on.
    fn ask(&self, request: &Req) -> Asked;
    /// Pass a response on. A body that is held keeps `deadline` in scope while it is polled.
    fn pass(&self, asked: Asked, response: Res, deadline: Option<Instant>) -> Self::Response;
    /// Pass an error on.
    fn fail(&self, error: E) -> Self::Error;
    /// The error as one of ours, where it is.
    fn ours(error: &mut Self::Error) -> Option<&mut Error>;
    /// End the call from here.
    ///
    /// # Errors
    ///
    /// `error` itself, where a refusal is an error.
    fn refuse(&self, asked: Asked, error: Error) -> Result<Self::Response, Self::Error>;
}

/// Pass on an error of a service that broke before it was called.
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "timeout"))]
pub(crate) fn unready<Req, Res, E, M: Mode<Req, Res, E>>(mode: &M, error: E) -> M::Error {
    let mut error = mode.fail(error);
    if let Some(ours) = M::ours(&mut error) {
        ours.set_delivery(Delivery::NotSent);
    }
    error
}

mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed {}
    impl Sealed for super::Http {}
    impl Sealed for super::Plain {}
    impl<R> Sealed for super::Answer<R> {}
}

/// A refusal is an [`Error`]; work lasts until the response body ends. The default.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct Http;

/// A refusal is an [`Error`]; work lasts until the response is returned, whatever its type.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct Plain;

/// A refusal is a response, made by `R`; the inner service's error type stays as it is, so that the layer sits on an
/// axum `Router` with nothing in between. [`Problem`] is the default; see [`Refuse`](super::Refuse) for one of your own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<R = Problem>(R);

impl<R> Answer<R> {
    pub(crate) const fn with(refuse: R) -> Self {
        Self(refuse)
    }
}

macro_rules! errors {
    ($mode:ty) => {
        impl<Req, Res, E: Into<BoxError>> Mode<Req, Res, E> for $mode {
            type Response = Res;
            type Error = Error;

            fn ask(&self, _: &Req) -> Asked {
                Asked::default()
            }

            fn pass(&self, _: Asked, response: Res, _: Option<Instant>) -> Res {
                response
            }

            fn fail(&self, error: E) -> Error {
                Error::wrap(error)
            }

            fn ours(error: &mut Error) -> Option<&mut Error> {
                Some(error)
            }

            fn refuse(&self, _: Asked, error: Error) -> Result<Res, Error> {
                Err(error)
            }
        }
    };
}

errors!(Http);
errors!(Plain);

impl<R, ReqBody, ResBody, E> Mode<Request<ReqBody>, Response<ResBody>, E> for Answer<R>
where
    R: Refuse,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<Held<ResBody, InScope>>;
    type Error = E;

    fn ask(&self, request: &Request<ReqBody>) -> Asked {
        Asked::of(request)
    }

    fn pass(&self, asked: Asked, response: Response<ResBody>, deadline: Option<Instant>) -> Self::Response {
        let until = match deadline {
            Some(_) => HoldUntil::of_response(asked.without_body, &response),
            None => HoldUntil::Head,
        };
        let scope = InScope { deadline, hasty: scope::is_hasty(deadline) };
        response.map(|body| Held::new(body, scope, until))
    }

    fn fail(&self, error: E) -> E {
        error
    }

    fn ours(_: &mut E) -> Option<&mut Error> {
        None
    }

    fn refuse(&self, asked: Asked, error: Error) -> Result<Self::Response, E> {
        Ok(self.0.refuse(asked, &error).map(Held::bytes))
    }
}

/// A mode of a layer that keeps something until the work is done: a [`Guard`] of type `G`, which is settled when the
/// response body has ended, or with [`Plain`] when the response is returned.
///
/// Implemented by [`Http`], [`Answer`] and [`Plain`]; there is no need for another. What each is for, [`Mode`] shows.
#[diagnostic::on_unimplemented(
    message = "a layer in the mode `{Self}` cannot wrap this service",
    note = "`.answer()` and the default need `http::Request` and an `http::Response` whose body yields `Bytes`",
    note = "`.plain()` takes any request and response; the error has to convert into a boxed error"
)]
pub trait Hold<Req, Res, E, G>: sealed::Sealed {
    /// What the layer answers.
    type Response;
    /// What the layer fails with.
    type Error;
    /// Whether a refusal is a response.
    const ANSWERS: bool = false;

    /// Note what a refusal will need, before the request is handed on.
    fn note(&self, request: &Req) -> Asked;
    /// When the work is done, as far as the head of the response tells.
    fn until(&self, asked: Asked, response: &Res) -> HoldUntil;
    /// Pass a response on, with `guard` until then.
    fn hold(&self, response: Res, until: HoldUntil, guard: G) -> Self::Response;
    /// Pass an error on.
    fn err(&self, error: E) -> Self::Error;
    /// Pass on an error of a service that did not become ready for this request, which goes back with it where errors are ours.
    fn unready(&self, error: E, request: Req) -> Self::Error
    where
        Req: Send + 'static;
    /// The error as a classifier wants it, where it is one of ours.
    fn judged(error: &Self::Error) -> Option<&Error>;
    /// The head of a response, where responses have one.
    fn head(response: &Res) -> Option<(StatusCode, &HeaderMap)> {
        let _ = response;
        None
    }
    /// End the call from here.
    ///
    /// # Errors
    ///
    /// `error` itself, where a refusal is an error.
    fn end(&self, asked: Asked, error: Error) -> Result<Self::Response, Self::Error>;
    /// Add fields to an answer, where [refusals are responses](Self::ANSWERS).
    fn add(&self, response: &mut Self::Response, fields: impl FnOnce(&mut HeaderMap)) {
        let _ = (response, fields);
    }
}

impl<ReqBody, ResBody, E, G> Hold<Request<ReqBody>, Response<ResBody>, E, G> for Http
where
    ResBody: Body<Data = Bytes>,
    E: Into<BoxError>,
    G: Guard,
{
    type Response = Response<Held<ResBody, G>>;
    type Error = Error;

    #[inline]
    fn note(&self, request: &Request<ReqBody>) -> Asked {
        Asked::of_method(request.method())
    }

    #[inline]
    fn until(&self, asked: Asked, response: &Response<ResBody>) -> HoldUntil {
        HoldUntil::of_response(asked.without_body, response)
    }

    #[inline]
    fn hold(&self, response: Response<ResBody>, until: HoldUntil, guard: G) -> Self::Response {
        response.map(|body| Held::new(body, guard, until))
    }

    fn err(&self, error: E) -> Error {
        Error::wrap(error)
    }

    fn unready(&self, error: E, request: Request<ReqBody>) -> Error
    where
        Request<ReqBody>: Send + 'static,
    {
        Error::wrap(error).with_delivery(Delivery::NotSent).with_request(request)
    }

    fn judged(error: &Error) -> Option<&Error> {
        Some(error)
    }

    fn head(response: &Response<ResBody>) -> Option<(StatusCode, &HeaderMap)> {
        Some((response.status(), response.headers()))
    }

    fn end(&self, _: Asked, error: Error) -> Result<Self::Response, Error> {
        Err(error)
    }
}

impl<Req, Res, E: Into<BoxError>, G: Guard> Hold<Req, Res, E, G> for Plain {
    type Response = Res;
    type Error = Error;

    fn note(&self, _: &Req) -> Asked {
        Asked::default()
    }

    #[inline]
    fn until(&self, _: Asked, _: &Res) -> HoldUntil {
        HoldUntil::Head
    }

    #[inline]
    fn hold(&self, response: Res, _: HoldUntil, guard: G) -> Res {
        guard.settle(BodyEnd::Complete);
        response
    }

    fn err(&self, error: E) -> Error {
        Error::wrap(error)
    }

    fn unready(&self, error: E, request: Req) -> Error
    where
        Req: Send + 'static,
    {
        Error::wrap(error).with_delivery(Delivery::NotSent).with_request(request)
    }

    fn judged(error: &Error) -> Option<&Error> {
        Some(error)
    }

    fn end(&self, _: Asked, error: Error) -> Result<Res, Error> {
        Err(error)
    }
}

impl<R, ReqBody, ResBody, E, G> Hold<Request<ReqBody>, Response<ResBody>, E, G> for Answer<R>
where
    R: Refuse,
    ResBody: Body<Data = Bytes>,
    G: Guard,
{
    type Response = Response<Held<ResBody, G>>;
    type Error = E;
    const ANSWERS: bool = true;

    fn note(&self, request: &Request<ReqBody>) -> Asked {
        Asked::of(request)
    }

    #[inline]
    fn until(&self, asked: Asked, response: &Response<ResBody>) -> HoldUntil {
        HoldUntil::of_response(asked.without_body, response)
    }

    #[inline]
    fn hold(&self, response: Response<ResBody>, until: HoldUntil, guard: G) -> Self::Response {
        response.map(|body| Held::new(body, guard, until))
    }

    fn err(&self, error: E) -> E {
        error
    }

    fn unready(&self, error: E, _: Request<ReqBody>) -> E
    where
        Request<ReqBody>: Send + 'static,
    {
        error
    }

    fn judged(_: &E) -> Option<&Error> {
        None
    }

    fn head(response: &Response<ResBody>) -> Option<(StatusCode, &HeaderMap)> {
        Some((response.status(), response.headers()))
    }

    fn end(&self, asked: Asked, error: Error) -> Result<Self::Response, E> {
        Ok(self.0.refuse(asked, &error).map(Held::bytes))
    }

    fn add(&self, response: &mut Self::Response, fields: impl FnOnce(&mut HeaderMap)) {
        fields(response.headers_mut());
    }
}

/// Keeps a deadline in scope while a response body is polled. See [`Held`].
#[derive(Clone, Copy)]
pub struct InScope {
    deadline: Option<Instant>,
    hasty: bool,
}

impl Guard for InScope {
    fn scoped<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        Along::until(self.deadline, self.hasty).poll(poll)
    }

    fn settle(self, _: BodyEnd) {}
}

impl fmt::Debug for InScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InScope").field(&self.deadline).finish()
    }
}
