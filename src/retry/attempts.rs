//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use std::mem;

use http::Request;

use crate::base::body::Replay;
use crate::base::{Call, IDEMPOTENCY_KEY, IdempotencyKey, KeyFormat, Rng, Safety};

/// What was decided about a request before it was first sent.
#[derive(Debug)]
pub(super) struct Plan<B> {
    pub(super) safety: Safety,
    pub(super) asked: Option<u32>,
    spare: Spare<B>,
}

/// What can be sent in place of the request.
#[derive(Debug)]
enum Spare<B> {
    None,
    /// A copy, of which further copies can be made as long as its body allows.
    Copy(Request<B>),
    /// The request itself, which came back unsent.
    Returned(Request<B>),
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
        Self { safety, asked, spare: copy.map_or(Spare::None, Spare::Copy) }
    }

    /// Whether another request can be had.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.spare {
            Spare::None => false,
            Spare::Copy(copy) => copy.body().is_replayable(),
            Spare::Returned(_) => true,
        }
    }

    /// Keep a request that came back unsent.
    pub(super) fn keep(&mut self, returned: Request<B>) {
        self.spare = Spare::Returned(returned);
    }

    /// Make sure of the copy: whatever still reads the body for the attempt that failed has to stop, since it would eat
    /// what the next one needs.
    pub(super) fn secure(&mut self) -> bool {
        if let Spare::Copy(copy) = &mut self.spare {
            copy.body_mut().take_over();
        }
        self.is_repeatable()
    }

    /// The request for this attempt.
    pub(super) fn next(&mut self, attempt: u32) -> Option<Request<B>> {
        let mut request = match mem::replace(&mut self.spare, Spare::None) {
            Spare::None => return None,
            Spare::Copy(kept) => {
                let next = copy(&kept);
                self.spare = Spare::Copy(kept);
                next?
            }
            Spare::Returned(request) => request,
        };
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
