use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::header::Entry;
use http::{HeaderName, Request};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::base::context::{self, Context, Known};
use crate::base::{RequestId, Rng, TRACEPARENT, TraceContext, X_REQUEST_ID};

/// Tells the next hop what a request is called: in a client, the other end of a [`RequestIdLayer`](super::RequestIdLayer) and a
/// [`TraceLayer`](super::TraceLayer).
///
/// A server's handler need not pass anything on: the names of its request are in scope wherever it calls a client, as its deadline is. They are
/// written into each attempt, with a span identifier of its own, so that whoever receives two attempts can tell them apart. What a caller has written
/// into the headers stays, unless it is of the trace in scope: a proxy that passes a head on does not pass off another's span for its own.
///
/// It is put into the stack once or twice, as a [`SpanLayer`](super::SpanLayer) is:
///
/// ```
/// use stonework::observe::PropagateLayer;
/// use stonework::retry::RetryLayer;
/// use tower::ServiceBuilder;
///
/// let layers = ServiceBuilder::new()
///     .layer(PropagateLayer::call()) // only for traces that are to begin with a call that belongs to none
///     .layer(RetryLayer::new())
///     .layer(PropagateLayer::attempt());
/// # let _ = layers;
/// ```
///
/// *Errors, panics, readiness and cloning:* those of the inner service. *Cancellation:* dropping the future drops the call inside.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct PropagateLayer {
    // Nothing, if the layer is off.
    does: Option<Does>,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum Does {
    Begin,
    Tell { request_id: Option<HeaderName>, trace: bool },
}

impl PropagateLayer {
    /// Begin a trace, if the call belongs to none: put it outside of `retry`, so that all attempts are of one trace.
    pub fn call() -> Self {
        Self { does: Some(Does::Begin), rng: Rng::from_entropy() }
    }

    /// Write what is in scope into the headers: put it inside of `retry`.
    pub fn attempt() -> Self {
        Self {
            does: Some(Does::Tell { request_id: Some(X_REQUEST_ID), trace: true }),
            rng: Rng::from_entropy(),
        }
    }

    /// Write the request id into this header. Default: `x-request-id`.
    pub fn header(mut self, name: HeaderName) -> Self {
        if let Some(Does::Tell { request_id, .. }) = &mut self.does {
            *request_id = Some(name);
        }
        self
    }

    /// Leave the request id out.
    pub fn without_request_id(mut self) -> Self {
        if let Some(Does::Tell { request_id, .. }) = &mut self.does {
            *request_id = None;
        }
        self
    }

    /// Leave the trace out.
    pub fn without_trace(mut self) -> Self {
        if let Some(Does::Tell { trace, .. }) = &mut self.does {
            *trace = false;
        }
        self
    }

    /// Draw identifiers from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.does = None;
        }
        self
    }
}

impl<S> Layer<S> for PropagateLayer {
    type Service = Propagate<S>;

    fn layer(&self, inner: S) -> Propagate<S> {
        Propagate { inner, does: self.does.clone().map(Arc::new), rng: self.rng.clone() }
    }
}

/// What a client tells the next hop of a request's names. See [`PropagateLayer`].
///
/// With the feature `serde` it is read from a file as `"off"`, `"pass-on"` or `"begin"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Propagation {
    /// Nothing.
    Off,
    /// What is in scope: the names of the request that a server is answering.
    #[default]
    PassOn,
    /// The same, and a call that belongs to no trace begins one.
    Begin,
}

/// In a few words.
impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::PassOn => "request id and trace are passed on",
            Self::Begin => "request id and trace are passed on, and a call without one begins a trace",
        })
    }
}

/// Tells the next hop what a request is called. See [`PropagateLayer`].
#[derive(Debug)]
pub struct Propagate<S> {
    inner: S,
    does: Option<Arc<Does>>,
    rng: Rng,
}

impl<S: Clone> Clone for Propagate<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), does: self.does.clone(), rng: self.rng.clone() }
    }
}

impl<S, B> Service<Request<B>> for Propagate<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PropagateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.does.as_deref() {
            None => PropagateFuture { answer: self.inner.call(request), known: None },
            Some(Does::Begin) => {
                let mut known = begin(&self.rng, &request);
                let answer = match &mut known {
                    Some(_) => {
                        let _entered = context::enter(&mut known);
                        self.inner.call(request)
                    }
                    None => self.inner.call(request),
                };
                PropagateFuture { answer, known }
            }
            Some(Does::Tell { request_id, trace }) => {
                if let Some(known) = context::current() {
                    tell(&known, request_id.as_ref(), *trace, &self.rng, &mut request);
                }
                PropagateFuture { answer: self.inner.call(request), known: None }
            }
        }
    }
}

/// What is in force inside, if that is more than outside.
fn begin<B>(rng: &Rng, request: &Request<B>) -> Known {
    let outside = context::current();
    let outside = outside.as_deref();
    if outside.is_some_and(|context| context.trace.is_some()) || request.headers().contains_key(TRACEPARENT) {
        return None;
    }
    let request_id = outside.and_then(|context| context.request_id.clone());
    Some(Arc::new(Context { request_id, trace: Some(TraceContext::start(rng)), ..Context::default() }))
}

fn tell<B>(known: &Context, header: Option<&HeaderName>, trace: bool, rng: &Rng, request: &mut Request<B>) {
    if let Some(trace) = known.trace.as_ref().filter(|_| trace) {
        let another = match TraceContext::of(request.headers()) {
            Some(Ok(written)) => written.trace_id() != trace.trace_id(),
            Some(Err(_)) | None => false,
        };
        if !another {
            trace.child(rng).write(request.headers_mut());
        }
    }
    if let (Some(name), Some(id)) = (header, &known.request_id) {
        let id = RequestId::header_value(id);
        if let Entry::Vacant(vacant) = request.headers_mut().entry(name) {
            vacant.insert(id.clone());
        }
    }
}

/// A call that is told what a request is called. See [`PropagateLayer`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct PropagateFuture<F> {
    #[pin]
    answer: F,
    known: Known,
}

impl<F: Future> Future for PropagateFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.known.is_none() {
            return this.answer.poll(cx);
        }
        let _entered = context::enter(this.known);
        this.answer.poll(cx)
    }
}

impl<F> fmt::Debug for PropagateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropagateFuture").field("begins", &self.known.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(request_id: Option<RequestId>, trace: Option<TraceContext>) -> Known {
        Some(Arc::new(Context { request_id, trace, ..Context::default() }))
    }

    fn written(trace: &TraceContext) -> Request<()> {
        let mut request = Request::new(());
        trace.write(request.headers_mut());
        request
    }

    #[test]
    fn only_a_call_that_belongs_to_no_trace_begins_one_and_it_keeps_its_name() {
        let rng = Rng::seeded(1);
        let (id, trace) = (Some(RequestId::generate(&rng)), TraceContext::start(&rng));
        assert!(begin(&rng, &Request::new(())).is_some());
        assert!(begin(&rng, &written(&trace)).is_none(), "its headers say one");
        let mut outside = known(id.clone(), None);
        let entered = context::enter(&mut outside);
        let begun = begin(&rng, &Request::new(())).expect("a request without a trace");
        assert!(begun.trace.is_some() && begun.request_id == id);
        drop(entered);
        let mut outside = known(id, Some(trace));
        let _entered = context::enter(&mut outside);
        assert!(begin(&rng, &Request::new(())).is_none(), "it is in one");
    }

    #[test]
    fn what_the_caller_has_written_stays_unless_it_is_of_the_trace_in_scope() {
        let rng = Rng::seeded(1);
        let (ours, another) = (TraceContext::start(&rng), TraceContext::start(&rng));
        let scope = Context { trace: Some(ours.clone()), ..Context::default() };
        for (before, stays) in [(&another, true), (&ours, false)] {
            let mut request = written(before);
            tell(&scope, None, true, &rng, &mut request);
            let after = TraceContext::of(request.headers()).unwrap().unwrap();
            assert_eq!(after.trace_id(), before.trace_id());
            assert_eq!(after.span_id() == before.span_id(), stays);
        }
    }

    #[test]
    fn it_is_as_ready_as_what_is_inside() {
        let inner = tower::service_fn(|_: Request<()>| std::future::ready(Ok::<_, ()>(())));
        for (places, is_ready) in [(0, false), (1, true)] {
            let inner = tower::limit::ConcurrencyLimit::new(inner, places);
            let mut service = PropagateLayer::attempt().layer(inner);
            let mut cx = TaskContext::from_waker(std::task::Waker::noop());
            assert_eq!(Service::<Request<()>>::poll_ready(&mut service, &mut cx).is_ready(), is_ready);
        }
    }
}
