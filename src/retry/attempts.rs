//! The copies of one request: made once, before the first attempt, and only where one may be needed.

use http::Request;

use super::RetrySettings;
use super::verdict::Role;
use crate::base::body::{Kept, Replay};
use crate::base::nesting::{self, Identity, Nesting, Repeated};
use crate::base::{Call, Error, IDEMPOTENCY_KEY, IdempotencyKey, Rng, Safety, erase_attempt, write_attempt};

/// What was decided about a request before it was first sent.
#[derive(Debug)]
pub(super) struct Plan<B> {
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
    /// An attempt was cut off on a connection that had been kept, and none since has found that there is no other.
    wants_new_connection: bool,
    /// A copy, of which further copies can be made as long as its body allows. None is kept of what goes out once.
    copy: Option<Kept<B>>,
    /// The request itself, which came back unsent. That is rare, so it is kept elsewhere: what is in here is moved about
    /// by every call.
    returned: Option<Box<Request<B>>>,
}

impl<B> Plan<B> {
    /// Before anything is decided.
    #[inline]
    pub(super) const fn undecided(allowed: u32) -> Self {
        Self {
            safety: Safety::Unsafe,
            allowed,
            role: Role::Outermost,
            tells_attempts: false,
            asked: None,
            outside: 1,
            wants_new_connection: false,
            copy: None,
            returned: None,
        }
    }
}

impl<B: Replay> Plan<B> {
    /// Decide, and keep a copy if the request may go out more than once.
    #[inline]
    pub(super) fn decide(&mut self, request: &mut Request<B>, settings: &RetrySettings, rng: &Rng) {
        let call = Call::of(request.extensions());
        let (harmless, wants_key) = (call.is_harmless_twice(), call.wants_key());
        self.asked = call.max_attempts();
        self.tells_attempts = call.wants_attempts();
        if wants_key && !request.headers().contains_key(IDEMPOTENCY_KEY) {
            // Before the copy is made, so that every attempt carries the same.
            let key = IdempotencyKey::generate(rng, settings.key_format);
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.into());
        }
        self.safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless || settings.repeatable_paths.has(request.uri().path()) => {
                Safety::Idempotent
            }
            safety => safety,
        };
        let outside = nesting::current();
        self.outside = outside.attempt;
        self.role = match outside.repeated {
            Some(repeated) if self.is_left_to(repeated, request) => Role::Inside,
            _ if outside.attempt > 1 => Role::PartOfRetry,
            _ => Role::Outermost,
        };
        if let Some(asked) = self.asked {
            self.allowed = self.allowed.min(asked);
        }
        if self.asked.is_some_and(|asked| asked > 1) {
            // They are counted here. Layers below that counted them again would multiply them.
            Call::edit(request.extensions_mut(), Call::never_retry);
        }
        if self.role == Role::PartOfRetry {
            announce(request, settings, self.outside);
        }
        let repeats = self.allowed > 1 && self.role != Role::Inside;
        if repeats && request.body_mut().record(settings.replay_cap) {
            self.copy = Kept::of(request);
        }
    }

    /// Whether the caller said: once, whatever happens.
    pub(super) fn is_single(&self) -> bool {
        self.asked == Some(1)
    }

    /// Whether another request can be had.
    pub(super) fn is_repeatable(&self) -> bool {
        self.returned.is_some() || self.copy.as_ref().is_some_and(Kept::is_replayable)
    }

    /// Take from the error of an attempt what the next one goes by: a request that came back unsent, and what to send it over.
    pub(super) fn learn(&mut self, error: Option<&mut Error>)
    where
        B: Send + 'static,
    {
        self.returned = None;
        let Some(error) = error else { return };
        self.returned = error.take_request().map(Box::new);
        // Of all connections that a server may have closed by now, only a new one is none. Where none can be made, an old one is better.
        self.wants_new_connection = error.is_cut_off() || (self.wants_new_connection && !error.is_connect());
    }

    /// The request that came back unsent from this attempt, as the caller wrote it: when it is sent again, that is another
    /// first attempt.
    pub(super) fn give_back(&mut self, attempt: u32, settings: &RetrySettings) -> Option<Request<B>> {
        let mut request = *self.returned.take()?;
        if attempt > 1 {
            Call::edit(request.extensions_mut(), |call| {
                let call = call.after(self.outside - 1);
                if self.wants_new_connection { call.over_new_connection(false) } else { call }
            });
            if let Some(name) = &settings.attempt_header {
                erase_attempt(request.headers_mut(), name);
            }
        }
        if self.role == Role::PartOfRetry {
            announce(&mut request, settings, self.outside);
        }
        if let Some(asked) = self.asked {
            Call::edit(request.extensions_mut(), |call| call.attempts(asked));
        }
        Some(request)
    }

    /// Make sure of the copy.
    pub(super) fn secure(&mut self) -> bool {
        if let Some(copy) = &mut self.copy {
            copy.take_over();
        }
        self.is_repeatable()
    }

    /// The request for this attempt.
    pub(super) fn next(&mut self, attempt: u32, settings: &RetrySettings) -> Option<Request<B>> {
        let returned = self.returned.take().map(|returned| *returned);
        let mut request = self.copy.as_ref().and_then(Kept::request).or(returned)?;
        Call::edit(request.extensions_mut(), |call| {
            let call = call.after(attempt - 1);
            if self.wants_new_connection { call.over_new_connection(true) } else { call }
        });
        announce(&mut request, settings, attempt.max(self.outside));
        Some(request)
    }
}

impl<B> Plan<B> {
    /// What the retries inside are to know during this attempt. Where nothing is repeated, it is what those outside say.
    #[inline]
    pub(super) fn inside(&self, attempt: u32) -> Option<Nesting> {
        // Known by the URI of the copy, so only as long as there is one.
        let repeated = self
            .copy
            .as_ref()
            .map(|copy| Repeated { request: Identity::of(copy.uri()), is_safe: self.is_safe() });
        // Without a copy it is repeated too, if it came back unsent.
        let is_part = repeated.is_some() || attempt > 1;
        is_part.then(|| Nesting { repeated, ..Nesting::part_of(attempt.max(self.outside)) })
    }

    /// Whether it carries an `Idempotency-Key`, as far as there is a copy, without which it is not sent again anyway.
    pub(super) fn is_keyed(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| matches!(IdempotencyKey::of(copy.headers()), Some(Ok(_))))
    }

    fn is_safe(&self) -> bool {
        self.safety != Safety::Unsafe
    }

    /// Whether a retry outside repeats this very request, in all cases in which this one would.
    fn is_left_to(&self, outside: Repeated, request: &Request<B>) -> bool {
        (outside.is_safe || !self.is_safe()) && outside.request == Identity::of(request.uri())
    }
}

/// Say which attempt this is to whoever is at the next hop.
fn announce<B>(request: &mut Request<B>, settings: &RetrySettings, attempt: u32) {
    if let Some(name) = &settings.attempt_header {
        write_attempt(request.headers_mut(), name, attempt);
    }
}
