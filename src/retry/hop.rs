use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, Request, Response};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::verdict;
use crate::base::nesting::{self, Nesting};
use crate::base::{ATTEMPT, Asked, forbid_retry, read_attempt};

/// Lets the retries before and behind a server know of each other, so that they do not multiply: three hops with three
/// attempts each are three attempts at the last one, not 27.
///
/// For servers, outside of what calls other services. It does two things.
///
/// * A request that says it is a second or later attempt (in [`ATTEMPT`] or `grpc-previous-rpc-attempts`) is handled as
///   one: what [`retry`](super) sends meanwhile is sent once, for an automatic retry that failed is not to be retried
///   automatically (RFC 9110, section 9.2.2). What was lost with a connection, or refused unprocessed, is replayed once
///   all the same.
/// * If a `retry` in there gave up, and the response is a failure, the response says so in
///   [`DO_NOT_RETRY`](crate::base::DO_NOT_RETRY), or for gRPC in `grpc-retry-pushback-ms`: the caller's `retry` then
///   does not begin again. A `Retry-After` stays, for whoever wants to come back later.
///
/// Work that is spawned knows of neither, unless it is [carried](crate::base::deadline::carry), and then only of the
/// first. Anybody can send the header; all that it can achieve is that fewer retries are made on its behalf.
///
/// ```
/// use axum::{Router, routing::get};
/// use stonework::retry::HopLayer;
///
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(HopLayer::new());
/// # let _ = app;
/// ```
///
/// *Errors and readiness:* those of the inner service. *Cancellation:* dropping the future drops the call inside.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct HopLayer {
    header: Option<HeaderName>,
}

impl HopLayer {
    /// Read the attempt from [`ATTEMPT`].
    pub const fn new() -> Self {
        Self { header: Some(ATTEMPT) }
    }

    /// Read the attempt from this header: what the callers' [`attempt_header`](super::RetrySettings::attempt_header) is.
    pub fn header(self, name: HeaderName) -> Self {
        Self { header: self.header.map(|_| name) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(self, on: bool) -> Self {
        Self { header: self.header.filter(|_| on) }
    }
}

impl Default for HopLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for HopLayer {
    type Service = Hop<S>;

    fn layer(&self, inner: S) -> Hop<S> {
        Hop { inner, header: self.header.clone() }
    }
}

/// Lets the retries before and behind a server know of each other. See [`HopLayer`].
#[derive(Debug)]
pub struct Hop<S> {
    inner: S,
    header: Option<HeaderName>,
}

impl<S: Clone> Clone for Hop<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), header: self.header.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Hop<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HopFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(header) = &self.header else {
            return HopFuture { answer: self.inner.call(request), hop: None };
        };
        let grpc = Asked::of(&request).grpc;
        let attempt = read_attempt(request.headers(), header);
        let mut spent = false;
        let answer = within(attempt, &mut spent, || self.inner.call(request));
        HopFuture { answer, hop: Some(Noted { attempt, grpc, spent }) }
    }
}

/// A call between two hops. See [`HopLayer`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HopFuture<F> {
    #[pin]
    answer: F,
    // Nothing, if the layer is off.
    hop: Option<Noted>,
}

struct Noted {
    attempt: u32,
    grpc: bool,
    spent: bool,
}

impl<F, R, E> Future for HopFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(hop) = this.hop else { return this.answer.poll(cx) };
        let mut result = ready!(within(hop.attempt, &mut hop.spent, || this.answer.poll(cx)));
        if let Ok(response) = &mut result {
            if hop.spent && verdict::asks_for_another(response.status(), response.headers()) {
                forbid_retry(response.headers_mut(), hop.grpc);
            }
        }
        Poll::Ready(result)
    }
}

/// Do a part of a call that somebody before this hop says is part of this attempt. Whether a retry in it gave up is news
/// for the retries outside in this task too.
fn within<R>(attempt: u32, spent: &mut bool, work: impl FnOnce() -> R) -> R {
    let entered = nesting::enter(Nesting::or_part_of(attempt));
    let result = work();
    if entered.pass_on() {
        *spent = true;
        nesting::tell_spent();
    }
    result
}

impl<F> fmt::Debug for HopFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.hop.as_ref().map(|hop| hop.attempt);
        f.debug_struct("HopFuture").field("attempt", &attempt).finish_non_exhaustive()
    }
}
