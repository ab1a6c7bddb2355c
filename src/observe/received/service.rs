use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::header::Entry;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::parts::{Naming, Parts, Tracing};
use super::{Exchange, ReceivedFuture};
use crate::base::body::Held;
use crate::base::context::{self, Context};
use crate::base::{Asked, Peer, RequestId, Rng, Route, TRACEPARENT, TraceContext, scope};
use crate::observe::route::matched;

/// Knows what a request is called, and what became of it: the service of [`RequestIdLayer`](super::RequestIdLayer),
/// [`TraceLayer`](super::TraceLayer), [`RequestSpanLayer`](super::RequestSpanLayer), [`AccessLogLayer`](super::AccessLogLayer) and
/// `ServerMetricsLayer`.
#[derive(Debug)]
pub struct Received<S> {
    inner: S,
    // Nothing, if the layer is off.
    parts: Option<Arc<Parts>>,
}

/// What goes back with an answer.
pub(super) type Told = Option<(HeaderName, HeaderValue)>;

impl<S> Received<S> {
    pub(crate) const fn with(inner: S, parts: Option<Arc<Parts>>) -> Self {
        Self { inner, parts }
    }
}

impl<S: Clone> Clone for Received<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.parts.clone())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Received<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: 'static,
    ReqBody: Body,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<Held<ResBody, Option<Exchange>>>;
    type Error = S::Error;
    type Future = ReceivedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let without_body = Asked::of_method(request.method()).without_body;
        let Some(parts) = &self.parts else {
            return ReceivedFuture::new(self.inner.call(request), None, None, without_body);
        };
        let (context, told) = names(parts, &mut request);
        let started = parts.watches().then(scope::now);
        let mut exchange = Exchange::begin(parts, context, &request, started);
        let inner = &mut self.inner;
        let _entered = started.map(|started| scope::call(Some(started), None));
        let answer = exchange.inside(|| inner.call(request));
        ReceivedFuture::new(answer, Some(exchange), told, without_body)
    }
}

/// What the request is called from here on: what it was called outside, and what is new.
fn names<B>(parts: &Parts, request: &mut Request<B>) -> (Context, Told) {
    let outside = context::current();
    let mut context = Context {
        request_id: outside.as_ref().and_then(|context| context.request_id.clone()),
        trace: outside.as_ref().and_then(|context| context.trace.clone()),
        client: OnceLock::new(),
        route: OnceLock::new(),
        outside,
    };
    let peer = Peer::of(request.extensions());
    let mut told = None;
    // A request that brings neither gets one number as both, so that whoever has the one can find the other.
    let mut number = None;
    let mut number = |rng: &Rng| *number.get_or_insert_with(|| rng.unique_id());
    if let Some(naming) = &parts.request_id {
        let id = request_id(naming, peer, request, &mut number);
        // Whoever reads it, or passes it on, is not to take a name for good that was not believed.
        if let Entry::Occupied(mut written) = request.headers_mut().entry(&naming.header) {
            written.insert(id.header_value().clone());
        }
        told = Some((naming.header.clone(), id.header_value().clone()));
        request.extensions_mut().insert(id.clone());
        context.request_id = Some(id);
    }
    if let Some(tracing) = &parts.trace {
        let trace = trace(tracing, peer, request, &mut number);
        request.extensions_mut().insert(trace.clone());
        context.trace = Some(trace);
    }
    if let Some(route) = Route::of(request.extensions()).cloned().or_else(|| matched(request.extensions())) {
        let _ = context.route.set(route);
    }
    (context, told)
}

fn request_id<B>(
    naming: &Naming,
    peer: Peer,
    request: &Request<B>,
    number: impl FnOnce(&Rng) -> u128,
) -> RequestId {
    let read = if naming.accept_from.trusts(peer) {
        RequestId::read(request.headers(), &naming.header)
    } else {
        None
    };
    read.unwrap_or_else(|| RequestId::numbered(number(&naming.rng)))
}

fn trace<B>(
    tracing: &Tracing,
    peer: Peer,
    request: &mut Request<B>,
    number: impl FnOnce(&Rng) -> u128,
) -> TraceContext {
    let read = if tracing.accept_from.trusts(peer) { TraceContext::of(request.headers()) } else { None };
    match read {
        Some(Ok(parent)) => parent.child(&tracing.rng),
        // What cannot be read is as good as none, says the specification.
        Some(Err(_)) | None => {
            let sampled = tracing.rng.unit() < tracing.sample.as_f64();
            let trace = TraceContext::numbered(number(&tracing.rng), &tracing.rng).sampled(sampled);
            if request.headers().contains_key(TRACEPARENT) {
                trace.write(request.headers_mut());
            }
            trace
        }
    }
}
