//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use http::Request;

use super::RetrySettings;
use super::verdict::Role;
use crate::base::body::{Kept, Replay};
use crate::base::nesting::{self, Identity, Nesting, Repeated};
use crate::base::{
    Call, Error, IDEMPOTENCY_KEY, IdempotencyKey, Rng, Safety, Tried, erase_attempt, write_attempt,
};

/// What was decided about a request before it was first sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) safety: Safety,
    /// How often it may be sent, the first time included.
    pub(super) allowed: u32,
    pub(super) role: Role,
    /// Whether the caller asked for the number of attempts.
    pub(super) tells_attempts: bool,
    /// How often the request itself allows, if it said so.
    asked: Option<u32>,
    /// The attempt of a retry outside that this call is part of.
    outside: u32,
}

impl Plan {
    #[inline]
    pub(super) fn decide<B>(request: &mut Request<B>, settings: &RetrySettings, rng: &Rng) -> Self {
        let call = Call::of(request.extensions());
        let (harmless, wants_key) = (call.is_harmless_twice(), call.wants_key());
        let (asked, tells_attempts) = (call.max_attempts(), call.wants_attempts());
        if wants_key && !request.headers().contains_key(IDEMPOTENCY_KEY) {
            // Before the copy is made, so that every attempt carries the same.
            let key = IdempotencyKey::generate(rng, settings.key_format);
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.into());
        }
        let safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless || settings.repeatable_paths.has(request.uri().path()) => {
                Safety::Idempotent
            }
            safety => safety,
        };
        let outside = nesting::current();
        let role = match outside.repeated {
            Some(repeated) if is_left_to(repeated, safety, request) => Role::Inside,
            _ if outside.attempt > 1 => Role::PartOfRetry,
            _ => Role::Outermost,
        };
        let allowed = asked.map_or(settings.attempts, |asked| settings.attempts.min(asked));
        if asked.is_some() {
            // They are counted here. Layers below that counted them again would multiply them.
            Call::edit(request.extensions_mut(), Call::never_retry);
        }
        if role == Role::PartOfRetry {
            announce(request, settings, outside.attempt);
        }
        Self { safety, allowed, role, tells_attempts, asked, outside: outside.attempt }
    }

    /// Whether the caller said: once, whatever happens.
    pub(super) fn is_single(&self) -> bool {
        self.asked == Some(1)
    }

    /// Say what the retries inside are to know during this attempt, which endpoints were tried included. Where nothing is
    /// repeated, it is what those outside say.
    #[inline]
    pub(super) fn enter<B>(
        &self,
        copies: &Copies<B>,
        attempt: u32,
        tried: Tried,
    ) -> Option<nesting::Entered> {
        // Known by the URI of the copy, so only as long as there is one.
        let is_safe = self.safety != Safety::Unsafe;
        let repeated =
            copies.kept.as_ref().map(|copy| Repeated { request: Identity::of(copy.uri()), is_safe });
        // Without a copy it is repeated too, if it came back unsent.
        let is_part = repeated.is_some() || attempt > 1;
        let inside = Nesting { repeated, tried: Some(tried), ..Nesting::part_of(attempt.max(self.outside)) };
        is_part.then(|| nesting::enter(inside))
    }
}

/// What further attempts are made of.
#[derive(Debug)]
pub(super) struct Copies<B> {
    /// An attempt broke off, or got no answer in time, on a connection that had been kept, and none since has found that there is no
    /// other.
    wants_new_connection: bool,
    /// A copy, of which further copies can be made as long as its body allows. None is kept of what goes out once.
    kept: Option<Kept<B>>,
    /// The request itself, which came back unsent. That is rare, so it is kept elsewhere: what is in here is moved about
    /// by every call.
    returned: Option<Box<Request<B>>>,
}

impl<B: Replay> Copies<B> {
    /// A copy, if the request may go out more than once.
    #[inline]
    pub(super) fn of(request: &mut Request<B>, plan: &Plan, settings: &RetrySettings) -> Self {
        let repeats = plan.allowed > 1 && plan.role != Role::Inside;
        let is_recorded = repeats && request.body_mut().record(settings.replay_cap);
        let kept = if is_recorded { Kept::of(request) } else { None };
        Self { wants_new_connection: false, kept, returned: None }
    }

    /// Whether another request can be had.
    pub(super) fn is_repeatable(&self) -> bool {
        self.returned.is_some() || self.kept.as_ref().is_some_and(Kept::is_replayable)
    }

    /// Whether it carries an `Idempotency-Key`, as far as there is a copy, without which it is not sent again anyway.
    pub(super) fn are_keyed(&self) -> bool {
        self.kept.as_ref().is_some_and(|copy| matches!(IdempotencyKey::of(copy.headers()), Some(Ok(_))))
    }

    /// Take from the error of an attempt what the next one goes by: a request that came back unsent, and what to send it over. `silent`:
    /// nothing came in time on a connection that had been kept.
    pub(super) fn learn(&mut self, error: Option<&mut Error>, silent: bool)
    where
        B: Send + 'static,
    {
        let Some(error) = error else { return };
        // What came back from an earlier one is still here if none was made with it: the service failed to become ready.
        if self.returned.is_none() {
            self.returned = error.take_request().map(Box::new);
        }
        // Of all connections that may be dead by now, only a new one is none. Where none can be made, an old one is better.
        self.wants_new_connection =
            silent || error.is_cut_off() || (self.wants_new_connection && !error.is_connect());
    }

    /// The request that came back unsent from the last attempt, as the caller wrote it: when it is sent again, that is another
    /// first attempt. It is made of the copy, if there is one: that took the body over if there was to be another attempt.
    pub(super) fn give_back(
        &mut self,
        plan: &Plan,
        attempt: u32,
        settings: &RetrySettings,
    ) -> Option<Request<B>> {
        let returned = *self.returned.take()?;
        // Nothing was done to the copy.
        let copy = self.kept.take().and_then(Kept::into_request);
        let is_copy = copy.is_some();
        let mut request = copy.unwrap_or(returned);
        if attempt > 1 && !is_copy {
            Call::edit(request.extensions_mut(), |call| {
                let call = call.after(plan.outside - 1);
                if self.wants_new_connection { call.over_new_connection(false) } else { call }
            });
            if let Some(name) = &settings.attempt_header {
                erase_attempt(request.headers_mut(), name);
            }
        }
        if plan.role == Role::PartOfRetry && !is_copy {
            announce(&mut request, settings, plan.outside);
        }
        if let Some(asked) = plan.asked {
            Call::edit(request.extensions_mut(), |call| call.attempts(asked));
        }
        Some(request)
    }

    /// Make sure of the copy.
    pub(super) fn secure(&mut self) -> bool {
        if let Some(copy) = &mut self.kept {
            copy.take_over();
        }
        self.is_repeatable()
    }

    /// The request for this attempt.
    pub(super) fn next(&mut self, plan: &Plan, attempt: u32, settings: &RetrySettings) -> Option<Request<B>> {
        let returned = self.returned.take().map(|returned| *returned);
        let mut request = self.kept.as_ref().and_then(Kept::request).or(returned)?;
        Call::edit(request.extensions_mut(), |call| {
            let call = call.after(attempt - 1);
            if self.wants_new_connection { call.over_new_connection(true) } else { call }
        });
        announce(&mut request, settings, attempt.max(plan.outside));
        Some(request)
    }
}

/// Whether a retry outside repeats this very request, in all cases in which this one would.
fn is_left_to<B>(outside: Repeated, safety: Safety, request: &Request<B>) -> bool {
    (outside.is_safe || safety == Safety::Unsafe) && outside.request == Identity::of(request.uri())
}

/// Say which attempt this is to whoever is at the next hop.
fn announce<B>(request: &mut Request<B>, settings: &RetrySettings, attempt: u32) {
    if let Some(name) = &settings.attempt_header {
        write_attempt(request.headers_mut(), name, attempt);
    }
}
