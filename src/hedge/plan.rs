//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use std::time::Duration;

use http::Request;

use super::layer::Shared;
use crate::base::body::{Kept, Replay};
use crate::base::nesting::{self, Identity};
use crate::base::{Call, Error, Safety, write_attempt};

/// What was decided about a request that may be sent twice, before it was first sent.
#[derive(Debug)]
pub(super) struct Plan<B> {
    pub(super) safety: Safety,
    /// How many attempts there may be, the first included. One, if there is no copy.
    pub(super) allowed: u32,
    /// How long the first is waited for.
    pub(super) delay: Option<Duration>,
    /// A retry outside sends this very request again when it fails.
    pub(super) left_to_retry: bool,
    /// The number of the first attempt, as those outside count.
    pub(super) number: u32,
    /// Whether the caller asked for the number of attempts.
    pub(super) tells_attempts: bool,
    /// How many attempts the caller asked for, if that is counted here and not below.
    asked: Option<u32>,
    copy: Option<Kept<B>>,
}

impl<B: Replay> Plan<B> {
    /// Nothing, if it is sent once whatever happens.
    #[inline]
    pub(super) fn of<C>(request: &mut Request<B>, shared: &Shared<C>) -> Option<Self> {
        let settings = shared.hedge.settings();
        let call = Call::of(request.extensions());
        let asked = call.max_attempts();
        let allowed = settings.attempts.min(asked.unwrap_or(u32::MAX));
        if !shared.is_on || allowed <= 1 {
            return None;
        }
        let harmless = call.is_harmless_twice();
        let safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless || settings.repeatable_paths.has(request.uri().path()) => {
                Safety::Idempotent
            }
            Safety::Unsafe => return None,
            safety => safety,
        };
        let outside = nesting::current();
        let left_to_retry = outside
            .repeated
            .is_some_and(|repeated| repeated.is_safe && repeated.request == Identity::of(request.uri()));
        if outside.attempt > 1 && !left_to_retry {
            // It is part of what somebody before this hop, or a hedge outside, sends for the second time.
            return None;
        }
        let number = call.attempt().max(outside.attempt);
        let delay = shared.hedge.delay();
        let tells_attempts = call.wants_attempts();
        let mut plan = Self {
            safety,
            allowed: 1,
            delay,
            left_to_retry,
            number,
            tells_attempts,
            asked: None,
            copy: None,
        };
        // Nothing is known that would be a reason to send it twice: the call is only measured.
        let is_of_use = delay.is_some() || !left_to_retry;
        if is_of_use && request.body_mut().record(settings.replay_cap) {
            if asked.is_some() {
                // They are counted here. Layers below that counted them again would multiply them.
                Call::edit(request.extensions_mut(), Call::never_retry);
                plan.asked = asked;
            }
            plan.copy = Kept::of(request);
            plan.allowed = if plan.copy.is_some() { allowed } else { 1 };
        }
        Some(plan)
    }

    /// Whether there can be a request for another attempt.
    pub(super) fn is_repeatable(&self) -> bool {
        self.copy.as_ref().is_some_and(Kept::is_replayable)
    }

    /// Make sure of it: no attempt is under way that needs the body.
    pub(super) fn secure(&mut self) -> bool {
        if let Some(copy) = &mut self.copy {
            copy.take_over();
        }
        self.is_repeatable()
    }

    /// The request for the next attempt, of this number, if there can be one.
    pub(super) fn request<C>(&self, attempt: u32, shared: &Shared<C>) -> Option<Request<B>> {
        let mut request = self.copy.as_ref()?.request()?;
        Call::edit(request.extensions_mut(), |call| call.after(attempt - 1));
        if let Some(name) = &shared.hedge.settings().attempt_header {
            write_attempt(request.headers_mut(), name, attempt);
        }
        Some(request)
    }
}

impl<B: 'static> Plan<B> {
    /// What was written into the request that came back unsent with this error holds for this call alone.
    pub(super) fn give_back(&self, error: &mut Error) {
        if let Some((asked, request)) = self.asked.zip(error.request_mut::<Request<B>>()) {
            Call::edit(request.extensions_mut(), |call| call.attempts(asked));
        }
    }
}

impl<B> Plan<B> {
    /// Whether there is more than one attempt to know of.
    pub(super) const fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The call is over.
    pub(super) fn release(&mut self) {
        self.copy = None;
    }
}
