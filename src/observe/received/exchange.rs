use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::thread;

use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tracing::Span;

use super::parts::Parts;
use super::record::{Ended, Record};
use super::{log, span};
use crate::base::body::{BodyEnd, Guard};
use crate::base::context::{self, Context, Known};
use crate::base::{GrpcStatus, Panicked, Route};
use crate::observe::attributes::error_type;

/// A request that a server was sent, until its answer is over: the [guard](crate::base::body::Guard) of its body. See the [module](crate::observe).
pub struct Exchange {
    /// What is in force while it is being answered.
    known: Known,
    /// Nothing, if nobody is to be told of the end.
    watch: Option<Box<Watch>>,
}

/// What it is called if something panicked.
const PANIC: &str = "panic";

struct Watch {
    parts: Arc<Parts>,
    record: Record,
    started: Instant,
    span: Span,
}

impl Exchange {
    pub(super) fn begin<B: http_body::Body>(
        parts: &Arc<Parts>,
        context: Context,
        request: &Request<B>,
        // Nothing, if nobody is to be told of the end.
        started: Option<Instant>,
    ) -> Self {
        let watch = started.map(|started| {
            let with_path = parts.log.is_some_and(|log| log.paths);
            let record = Record::begin(request, parts.scheme, with_path);
            let span = if parts.span { span::open(&record, &context) } else { Span::none() };
            #[cfg(feature = "metrics")]
            if parts.metrics {
                super::metrics::active(&record, 1.0);
            }
            Box::new(Watch { parts: Arc::clone(parts), record, started, span })
        });
        Self { known: Some(Arc::new(context)), watch }
    }

    /// Whether somebody is to be told of the end.
    pub(super) const fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Do this on behalf of the request.
    pub(super) fn inside<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let _known = context::enter(&mut self.known);
        let _span = self.watch.as_ref().map(|watch| watch.span.enter());
        work()
    }

    /// The head of the answer is there.
    pub(super) fn answered<B>(&mut self, response: &Response<B>) {
        if let Some(watch) = &mut self.watch {
            watch.record.status = Some(response.status());
            // Somebody inside answers for a service that did.
            if response.extensions().get::<Panicked>().is_some() {
                watch.record.error = Some(PANIC);
            }
            if watch.record.grpc {
                let said = GrpcStatus::of(response.headers());
                watch.record.grpc_status = said.or_else(|| GrpcStatus::of_http(response.status()));
            }
            if let Some(route) = Route::of(response.extensions()) {
                watch.record.route = Some(route.clone());
            }
        }
    }

    /// There is no answer, but this error.
    pub(super) fn failed<E: 'static>(mut self, error: &E) {
        if let Some(watch) = &mut self.watch {
            watch.record.error = Some(error_type(error));
        }
        self.end(Ended::Failed);
    }

    fn end(&mut self, ended: Ended) {
        let Some(mut watch) = self.watch.take() else { return };
        let context = self.known.as_deref();
        let record = &mut watch.record;
        let ended = if record.error.is_some() { Ended::Failed } else { ended };
        if let Some(context) = context {
            record.client = context.client.get().copied().unwrap_or(record.client);
            record.route = record.route.take().or_else(|| context.route.get().cloned());
        }
        let error: Option<Cow<'static, str>> = record.error_type(ended);
        let took = watch.started.elapsed();
        if watch.parts.span {
            span::close(&watch.span, record, error.as_deref());
        }
        if watch.parts.log.is_some() {
            let _span = watch.span.enter();
            log::write(record, context, ended, error.as_deref(), took);
        }
        #[cfg(feature = "metrics")]
        if watch.parts.metrics {
            super::metrics::active(record, -1.0);
            super::metrics::count(record, error, took);
        }
    }
}

impl Guard for Exchange {
    fn scoped<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        self.inside(poll)
    }

    fn data(&mut self, bytes: usize) {
        if let Some(watch) = &mut self.watch {
            watch.record.response_size = watch.record.response_size.saturating_add(bytes as u64);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.record.grpc) {
            watch.record.grpc_status = GrpcStatus::of(trailers).or(watch.record.grpc_status);
        }
    }

    fn settle(mut self, end: BodyEnd) {
        self.end(end.into());
    }
}

impl Drop for Exchange {
    /// Before it was answered.
    fn drop(&mut self) {
        if self.watch.is_none() {
            return;
        }
        if !thread::panicking() {
            return self.end(Ended::Aborted);
        }
        if let Some(watch) = &mut self.watch {
            watch.record.error = Some(PANIC);
        }
        self.end(Ended::Failed);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("over", &self.watch.is_none()).finish_non_exhaustive()
    }
}
