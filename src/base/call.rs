//! What one request says about itself: the single request extension of this crate.

use http::{Extensions, HeaderMap, Method};

use super::key::IdempotencyKey;

/// Whether a request may be sent again once it may have been received. Decided from the request, before anything can
/// fail. [`Call`] changes it for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: the replay table has a column for each")]
pub enum Safety {
    /// Its method is idempotent (RFC 9110, section 9.2.2): GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
    Idempotent,
    /// It carries a valid `Idempotency-Key`: the server promises to do it once.
    Keyed,
    /// Anything else: doing it twice may do harm.
    Unsafe,
}

impl Safety {
    /// Read it off the method and the headers. A malformed `Idempotency-Key`, or more than one, protects nothing.
    ///
    /// ```
    /// use http::{HeaderMap, Method};
    /// use stonework::base::Safety;
    ///
    /// let mut headers = HeaderMap::new();
    /// assert_eq!(Safety::of(&Method::GET, &headers), Safety::Idempotent);
    /// assert_eq!(Safety::of(&Method::POST, &headers), Safety::Unsafe);
    /// headers.insert("idempotency-key", "\"8e03978e\"".parse().unwrap());
    /// assert_eq!(Safety::of(&Method::POST, &headers), Safety::Keyed);
    /// ```
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method.is_idempotent() {
            Self::Idempotent
        } else if matches!(IdempotencyKey::of(headers), Some(Ok(_))) {
            Self::Keyed
        } else {
            Self::Unsafe
        }
    }
}

/// Options and facts of one call, carried in the request's [`Extensions`].
///
/// A request needs one only to differ from the defaults. Layers that are not in the stack ignore what is meant for
/// them.
///
/// ```
/// use http::Request;
/// use stonework::base::Call;
///
/// let mut request = Request::get("/report").body(()).unwrap();
/// Call::edit(request.extensions_mut(), |call| call.attempts(1));
/// assert_eq!(Call::of(request.extensions()).attempt(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    attempts: Option<u32>,
    collect_within: Option<usize>,
    generate_key: bool,
    harmless_twice: bool,
    new_connection: bool,
    previous_attempts: u32,
    tell_attempts: bool,
}

impl Call {
    /// The defaults: whatever the layers were set to.
    ///
    /// ```
    /// use http::Extensions;
    /// use stonework::base::Call;
    ///
    /// // A request that says nothing of itself has the defaults.
    /// assert_eq!(*Call::of(&Extensions::new()), Call::new());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempts: None,
            collect_within: None,
            generate_key: false,
            harmless_twice: false,
            new_connection: false,
            previous_attempts: 0,
            tell_attempts: false,
        }
    }

    /// What the request says of itself, or the defaults.
    #[must_use]
    pub fn of(extensions: &Extensions) -> &Self {
        static DEFAULT: Call = Call::new();
        extensions.get().unwrap_or(&DEFAULT)
    }

    /// Change what a request says of itself.
    pub fn edit(extensions: &mut Extensions, change: impl FnOnce(Self) -> Self) {
        match extensions.get_mut::<Self>() {
            // In its place: it is in a box of its own.
            Some(call) => *call = change(std::mem::take(call)),
            None => {
                extensions.insert(change(Self::default()));
            }
        }
    }

    /// Send this request at most so many times, the first included. It can only lower what the layer allows. The
    /// outermost `retry` counts; those below it pass the request on once for each of its attempts.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: the first attempt cannot be left out.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0, "attempts count the first one, so there is at least one");
        self.attempts = Some(attempts);
        self
    }

    /// Send this request once, whatever happens; no copy of it is kept.
    #[must_use]
    pub const fn never_retry(self) -> Self {
        self.attempts(1)
    }

    /// Give this request an `Idempotency-Key` if it has none, the same on every attempt. Only for servers that honour
    /// it (draft-ietf-httpapi-idempotency-key-header): one that does not will do the work twice.
    #[must_use]
    pub const fn keyed(mut self) -> Self {
        self.generate_key = true;
        self
    }

    /// Treat this request as idempotent although its method is not. **If that is wrong, its work may be done twice**:
    /// a charge charged twice, a mail sent twice.
    #[must_use]
    pub const fn dangerously_assume_idempotent(mut self) -> Self {
        self.harmless_twice = true;
        self
    }

    /// Read the response body as a part of each attempt, up to so many bytes, whatever the
    /// [`CollectLayer`](crate::retry::CollectLayer) was set to, also if that is switched off. With 0 nothing
    /// is read: the answer to this request is passed on with its head, as events that are sent while they happen have to be.
    #[must_use]
    pub const fn collect_within(mut self, bytes: usize) -> Self {
        self.collect_within = Some(bytes);
        self
    }

    /// Let the response say how many [`Attempts`] there were, also if it was one.
    #[must_use]
    pub const fn tell_attempts(mut self) -> Self {
        self.tell_attempts = true;
        self
    }

    /// Which attempt this is, counted from 1: what the innermost `retry` above says.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.previous_attempts.saturating_add(1)
    }

    pub(crate) const fn max_attempts(&self) -> Option<u32> {
        self.attempts
    }

    pub(crate) const fn collects_within(&self) -> Option<usize> {
        self.collect_within
    }

    pub(crate) const fn wants_attempts(&self) -> bool {
        self.tell_attempts
    }

    pub(crate) const fn wants_key(&self) -> bool {
        self.generate_key
    }

    /// Without a key that was to be made.
    #[cfg(feature = "client")]
    pub(crate) const fn unkeyed(mut self) -> Self {
        self.generate_key = false;
        self
    }

    pub(crate) const fn is_harmless_twice(&self) -> bool {
        self.harmless_twice
    }

    /// Whether it goes over a new connection: an attempt before this one was cut off on one that had been kept, or got no answer there in time.
    #[cfg(feature = "retry")]
    pub(crate) const fn over_new_connection(mut self, wanted: bool) -> Self {
        self.new_connection = wanted;
        self
    }

    #[cfg(feature = "client")]
    pub(crate) const fn wants_new_connection(&self) -> bool {
        self.new_connection
    }

    pub(crate) const fn after(mut self, previous_attempts: u32) -> Self {
        self.previous_attempts = previous_attempts;
        self
    }
}

/// How many attempts a response took: an extension of the response.
///
/// [`retry`](crate::retry) adds it when there was more than one attempt, or when the call
/// [asked](Call::tell_attempts). An error says the same with [`Error::attempts`](crate::base::Error::attempts).
///
/// ```
/// use http::Response;
/// use stonework::base::Attempts;
///
/// let response = Response::new(());
/// assert_eq!(Attempts::of(response.extensions()), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts(u32);

impl Attempts {
    /// What a response says of itself, counted from 1, or `None` if it does not say: then there was one, or nothing
    /// counted.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<u32> {
        extensions.get().map(|Self(attempts)| *attempts)
    }

    pub(crate) fn tell(extensions: &mut Extensions, attempts: u32) {
        extensions.insert(Self(attempts));
    }
}

/// In a response: it is that of another service than the one that was called. What belongs to the one, a part of a body
/// or a tag, says nothing about the other.
#[derive(Clone, Copy)]
pub(crate) struct StandsIn;

impl StandsIn {
    pub(crate) fn tell(extensions: &mut Extensions) {
        extensions.insert(Self);
    }

    pub(crate) fn is_told(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

/// In a response: it is that of another resource than the one that was asked for, and this head asks for it. Tags and
/// ranges speak of that one.
#[derive(Clone)]
#[cfg(feature = "retry")]
pub(crate) struct EndedAt(http::Request<()>);

#[cfg(feature = "retry")]
impl EndedAt {
    #[cfg(feature = "client")]
    pub(crate) fn tell(extensions: &mut Extensions, head: http::Request<()>) {
        extensions.insert(Self(head));
    }

    pub(crate) fn take(extensions: &mut Extensions) -> Option<http::Request<()>> {
        extensions.remove::<Self>().map(|Self(head)| head)
    }

    pub(crate) fn is_told(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}
