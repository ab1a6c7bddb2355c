//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use http::Request;

use crate::base::body::Replay;
use crate::base::{Call, IDEMPOTENCY_KEY, IdempotencyKey, KeyFormat, Rng, Safety};

/// What was decided about a request before it was first sent.
#[derive(Debug)]
pub(super) struct Plan<B> {
    pub(super) safety: Safety,
    /// How often it may be sent, the first time included.
    pub(super) allowed: u32,
    /// How often the request itself allows, if it said so.
    asked: Option<u32>,
    /// A copy, of which further copies can be made as long as its body allows. None is kept of what goes out once.
    copy: Option<Request<B>>,
    /// The request itself, which came back unsent.
    returned: Option<Request<B>>,
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
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.into());
        }
        let safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless => Safety::Idempotent,
            safety => safety,
        };
        let allowed = asked.map_or(allowed, |asked| asked.min(allowed));
        if asked.is_some_and(|asked| asked > 1) {
            // They are counted here. Layers below that counted them again would multiply them.
            Call::edit(request.extensions_mut(), Call::never_retry);
        }
        let copy = if allowed > 1 && request.body_mut().record(cap) { copy(request) } else { None };
        Self { safety, allowed, asked, copy, returned: None }
    }

    /// Whether the caller said: once, whatever happens.
    pub(super) fn is_single(&self) -> bool {
        self.asked == Some(1)
    }

    /// Whether another request can be had.
    pub(super) fn is_repeatable(&self) -> bool {
        self.returned.is_some() || self.copy.as_ref().is_some_and(|copy| copy.body().is_replayable())
    }

    /// Keep a request that came back unsent.
    pub(super) fn keep(&mut self, returned: Option<Request<B>>) {
        self.returned = returned;
    }

    /// The request that came back unsent, as the caller wrote it.
    pub(super) fn give_back(&mut self) -> Option<Request<B>> {
        let mut request = self.returned.take()?;
        if let Some(asked) = self.asked {
            Call::edit(request.extensions_mut(), |call| call.attempts(asked));
        }
        Some(request)
    }

    /// Make sure of the copy: whatever still reads the body for the attempt that failed has to stop, since it would eat
    /// what the next one needs.
    pub(super) fn secure(&mut self) -> bool {
        if let Some(copy) = &mut self.copy {
            copy.body_mut().take_over();
        }
        self.is_repeatable()
    }

    /// The request for this attempt.
    pub(super) fn next(&mut self, attempt: u32) -> Option<Request<B>> {
        let returned = self.returned.take();
        let mut request = self.copy.as_ref().and_then(copy).or(returned)?;
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
