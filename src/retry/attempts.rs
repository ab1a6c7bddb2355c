//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use http::Request;

use crate::base::body::Replay;
use crate::base::{Call, IDEMPOTENCY_KEY, IdempotencyKey, KeyFormat, Rng, Safety};

/// What was decided about a request before it was first sent.
#[derive(Debug)]
pub(super) struct Plan<B> {
    pub(super) safety: Safety,
    pub(super) asked: Option<u32>,
    copy: Option<Request<B>>,
}

impl<B: Replay> Plan<B> {
    /// Decide, and keep a copy if the request may go out more than once.
    pub(super) fn of(
        request: &mut Request<B>,
        allowed: u32,
        cap: usize,
        format: KeyFormat,
        rng: &Rng,
    ) -> Self {
        let call = Call::of(request.extensions());
        let (asked, harmless, wants_key) = (call.max_attempts(), call.is_harmless_twice(), call.wants_key());
        if wants_key && !request.headers().contains_key(IDEMPOTENCY_KEY) {
            // Before the copy is made, so that every attempt carries the same.
            let key = IdempotencyKey::generate(rng, format);
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.header_value().clone());
        }
        let safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless => Safety::Idempotent,
            safety => safety,
        };
        let single = allowed <= 1 || asked == Some(1);
        let copy = if !single && request.body_mut().record(cap) { copy(request) } else { None };
        Self { safety, asked, copy }
    }

    /// Whether another request can be had.
    pub(super) fn is_repeatable(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.body().is_replayable())
    }

    /// Keep a request that came back unsent, where there is no copy to send in its place.
    pub(super) fn keep(&mut self, returned: Request<B>) {
        self.copy = Some(returned);
    }

    /// The request for the next attempt; `last` if there cannot be yet another.
    pub(super) fn next(&mut self, attempt: u32, last: bool) -> Option<Request<B>> {
        let mut request = match (last, &self.copy) {
            (false, Some(kept)) => copy(kept).or_else(|| self.copy.take()),
            _ => self.copy.take(),
        }?;
        // Whatever still reads the body for an earlier attempt has to stop: it would eat what this one needs.
        request.body_mut().take_over();
        Call::edit(request.extensions_mut(), |call| call.after(attempt - 1));
        Some(request)
    }
}

fn copy<B: Replay>(request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(request.body().fork()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
