//! One error for every layer that can refuse.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::kind::{Delivery, Kind};

/// Any error, as tower's layers pass it on. [`Error::wrap`] takes it.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The error of every layer of this crate that can refuse a call: one pointer in size, and it never nests.
///
/// * [`kind`](Self::kind) says what went wrong, [`delivery`](Self::delivery) how far the request got,
///   [`attempts`](Self::attempts) how often it was sent, [`retry_after`](Self::retry_after) when to come back.
/// * [`source`](StdError::source) leads through the whole chain, at whose end stands a small event such as
///   [`Elapsed`](crate::base::Elapsed); find it with [`cause`](Self::cause).
/// * `{}` prints one line; `{:#}` prints the chain. Neither they nor `Debug` print anything of a request: no URI, no
///   header, no body. What a foreign error in the chain prints of itself is its own affair.
///
/// ```
/// use stonework::base::{Delivery, Error, Kind};
///
/// let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
/// let error = Error::new(Kind::Transport, broken);
/// assert_eq!(error.delivery(), Delivery::Unknown);
/// assert_eq!(error.to_string(), "the connection failed");
/// assert_eq!(format!("{error:#}"), "the connection failed: connection reset");
/// assert!(error.cause::<std::io::Error>().is_some());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    delivery: Delivery,
    attempts: u32,
    retry_after: Option<Duration>,
    retry_is_pointless: bool,
    /// The connection that it was sent over had been kept from before, and broke.
    cut_off: bool,
    source: Option<BoxError>,
    // Bodies are `Send` and need not be `Sync`; the lock makes the error `Sync` all the same. Nobody ever waits for
    // it: it is only entered through `&mut`.
    request: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Error {
    /// An error of this kind. It counts as [`Delivery::NotSent`] for [`Kind::CircuitOpen`], [`Kind::Connect`],
    /// [`Kind::Invalid`] and [`Kind::NoEndpoint`], and as [`Delivery::Unknown`] for the others.
    pub fn new(kind: Kind, source: impl Into<BoxError>) -> Self {
        Self::build(kind, Some(source.into()))
    }

    /// What a layer does with an error from below: one of ours is taken as it is and never nested; a foreign one is
    /// kept as the source, and kind, delivery, attempts and the advice to retry come from the nearest [`Error`] (or
    /// [`Kind`]) in its chain.
    ///
    /// ```
    /// use stonework::base::{BoxError, Error, Kind};
    ///
    /// let ours = Error::new(Kind::Overload, "full").with_attempts(2);
    /// let boxed: BoxError = ours.into();
    /// let wrapped = Error::wrap(boxed);
    /// assert!(wrapped.is_overload());
    /// assert_eq!(wrapped.attempts(), 2);
    /// ```
    pub fn wrap(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(ours) => *ours,
            Err(foreign) => Self::around(foreign),
        }
    }

    fn around(foreign: BoxError) -> Self {
        let mut shape = Self::nearest(&*foreign);
        shape.0.source = Some(foreign);
        shape
    }

    /// What the nearest of ours in a chain says, with no source.
    fn nearest(error: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ours) = error.downcast_ref::<Self>() {
                let mut shape = Self::build(ours.kind(), None).with_delivery(ours.delivery());
                shape.0.attempts = ours.0.attempts;
                shape.0.retry_after = ours.0.retry_after;
                shape.0.retry_is_pointless = ours.0.retry_is_pointless;
                shape.0.cut_off = ours.0.cut_off;
                return shape;
            }
            if let Some(kind) = error.downcast_ref::<Kind>() {
                return Self::build(*kind, None);
            }
            next = error.source();
        }
        Self::build(Kind::Other, None)
    }

    /// The kind of the nearest of ours in a chain.
    pub(crate) fn kind_in(error: &(dyn StdError + 'static)) -> Option<Kind> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ours) = error.downcast_ref::<Self>() {
                return Some(ours.kind());
            }
            if let Some(kind) = error.downcast_ref::<Kind>() {
                return Some(*kind);
            }
            next = error.source();
        }
        None
    }

    /// An error that came out of a body. That a request was not sent is said of the exchange which the body comes from;
    /// of the one that it is being sent in, it says nothing. So it is kept from being read that way.
    pub(crate) fn of_body(error: BoxError) -> BoxError {
        match Self::nearest(&*error).delivery() {
            Delivery::NotSent | Delivery::Refused => Self::new(Kind::Body, error).into(),
            Delivery::Unknown | Delivery::Answered => error,
        }
    }

    fn build(kind: Kind, source: Option<BoxError>) -> Self {
        let delivery = match kind {
            Kind::CircuitOpen | Kind::Connect | Kind::Invalid | Kind::NoEndpoint => Delivery::NotSent,
            _ => Delivery::Unknown,
        };
        let request = Mutex::new(None);
        let (attempts, retry_after, retry_is_pointless, cut_off) = (0, None, false, false);
        let inner =
            Inner { kind, delivery, attempts, retry_after, retry_is_pointless, cut_off, source, request };
        Self(Box::new(inner))
    }

    /// Say how far the request got. Where it may have been received, a request that was handed back is let go: it
    /// looks as if it could be sent again, and that is not known any more.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.set_delivery(delivery);
        self
    }

    pub(crate) fn set_delivery(&mut self, delivery: Delivery) {
        self.0.delivery = delivery;
        if matches!(delivery, Delivery::Unknown | Delivery::Answered) {
            *self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Say how many attempts were begun.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Say when it is worth trying again.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Say that trying again here would be in vain: a [`retry`](crate::retry) above then does not, and a refusal on a
    /// server [says so](crate::base::DO_NOT_RETRY) to the one who asked.
    ///
    /// ```
    /// use stonework::base::{Error, Kind};
    ///
    /// let error = Error::new(Kind::Overload, "shutting down").without_retry();
    /// assert!(error.forbids_retry());
    /// ```
    #[must_use]
    pub fn without_retry(mut self) -> Self {
        self.0.retry_is_pointless = true;
        self
    }

    /// Say that a connection broke which had been kept from before: others that have lain idle may be as dead, and an attempt that
    /// follows is better made over a new one.
    #[cfg(feature = "client")]
    pub(crate) fn while_kept(mut self) -> Self {
        self.0.cut_off = true;
        self
    }

    /// Whether a connection broke that had been kept from before.
    #[cfg(feature = "retry")]
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.cut_off
    }

    /// Hand the request back with the error, because it never left: [`take_request`](Self::take_request) returns it.
    /// This sets the delivery to [`Delivery::NotSent`].
    #[must_use]
    pub fn with_request<R: Send + 'static>(mut self, request: R) -> Self {
        *self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(request));
        self.with_delivery(Delivery::NotSent)
    }

    /// What a call of several attempts knows of all of them.
    pub(crate) fn sum_up<R: Send + 'static>(
        &mut self,
        request: Option<R>,
        delivery: Delivery,
        attempts: u32,
    ) {
        if let (Some(request), Delivery::NotSent | Delivery::Refused) = (request, delivery) {
            *self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(request));
        }
        self.set_delivery(delivery);
        self.0.attempts = attempts;
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// How far the request got.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// How many attempts were made, over all layers of `retry` below; one that found its service not ready counts too, one
    /// that a circuit refused does not. 0 when no attempt had begun, or nothing counted.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether the one that refused said that trying again here would be in vain.
    #[must_use]
    pub fn forbids_retry(&self) -> bool {
        self.0.retry_is_pointless
    }

    /// How long the one that refused asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The request, when it came back unsent and is of type `R`; a second call answers `None`. It comes from the last
    /// attempt, and only where no earlier one may have been received.
    ///
    /// ```
    /// use stonework::base::{Delivery, Error, Kind};
    ///
    /// let mut error = Error::new(Kind::Connect, "refused").with_request(http::Request::new("body"));
    /// assert_eq!(error.delivery(), Delivery::NotSent);
    /// let request: http::Request<&str> = error.take_request().expect("it never left");
    /// assert_eq!(*request.body(), "body");
    /// ```
    pub fn take_request<R: 'static>(&mut self) -> Option<R> {
        let slot = self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner);
        match slot.take()?.downcast() {
            Ok(request) => Some(*request),
            Err(other) => {
                *slot = Some(other);
                None
            }
        }
    }

    /// The same, while it stays with the error: whoever added something to it takes that back.
    #[cfg(any(feature = "hedge", feature = "oauth", feature = "timeout"))]
    pub(crate) fn request_mut<R: 'static>(&mut self) -> Option<&mut R> {
        self.0.request.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()?.downcast_mut()
    }

    /// The nearest error of type `E` in the chain, this one's sources included.
    #[must_use]
    pub fn cause<E: StdError + 'static>(&self) -> Option<&E> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// A limit of time ran out: of an attempt, of the whole call, or of a body.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout
    }

    /// Something refused the call because it has too much to do: come back later, elsewhere, or not at all.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        self.kind() == Kind::Overload
    }

    /// A circuit breaker refused the call, or its last attempt; that one was not sent. What became of attempts before it,
    /// [`delivery`](Self::delivery) says. [`retry_after`](Self::retry_after) says how long the circuit stays open.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.kind() == Kind::CircuitOpen
    }

    /// No connection could be made for the call, or for its last attempt; that one was not sent. What became of attempts
    /// before it, [`delivery`](Self::delivery) says.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.kind() == Kind::Connect
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.text())?;
        if f.alternate() {
            let mut next = self.source();
            while let Some(error) = next {
                // An event ends its chain with its kind, by which foreign layers know it. That was the first word already.
                if error.downcast_ref() != Some(&self.0.kind) {
                    write!(f, ": {error}")?;
                }
                // One of ours further down prints its own chain only once.
                next = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("delivery", &self.0.delivery);
        shown.field("attempts", &self.0.attempts);
        if let Some(delay) = self.0.retry_after {
            shown.field("retry_after", &delay);
        }
        shown.field("source", &self.0.source).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("from a foreign layer")]
    struct Foreign(#[source] BoxError);

    #[test]
    fn one_of_ours_is_never_nested() {
        let once = Error::new(Kind::Timeout, "late").with_attempts(3);
        let again = Error::wrap(Error::wrap(once));
        assert_eq!((again.kind(), again.attempts()), (Kind::Timeout, 3));
        assert!(again.cause::<Error>().is_none(), "the only Error is the outermost");
    }

    #[test]
    fn a_foreign_error_around_ours_keeps_kind_delivery_attempts_and_advice() {
        let inner = Error::new(Kind::Overload, "full")
            .with_delivery(Delivery::NotSent)
            .with_attempts(2)
            .with_retry_after(Duration::from_secs(7));
        let wrapped = Error::wrap(Foreign(Box::new(Foreign(inner.into()))));
        assert_eq!(wrapped.kind(), Kind::Overload);
        assert_eq!(wrapped.delivery(), Delivery::NotSent);
        assert_eq!(wrapped.attempts(), 2);
        assert_eq!(wrapped.retry_after(), Some(Duration::from_secs(7)));
        assert!(wrapped.cause::<Foreign>().is_some(), "the foreign one stays in the chain");
    }

    #[test]
    fn an_unknown_error_counts_as_possibly_delivered() {
        let wrapped = Error::wrap("no idea");
        assert_eq!((wrapped.kind(), wrapped.delivery()), (Kind::Other, Delivery::Unknown));
    }

    #[test]
    fn what_a_body_fails_with_says_nothing_about_the_request_that_carries_it() {
        let elsewhere = Error::new(Kind::Connect, "another exchange").with_attempts(3);
        let error = Error::wrap(Foreign(Error::of_body(elsewhere.into())));
        assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Body, Delivery::Unknown, 0));
        assert!(error.cause::<Error>().is_some_and(|cause| cause.kind() == Kind::Body));

        let plain = Error::of_body("the disk is gone".into());
        assert!(plain.downcast_ref::<Error>().is_none(), "an error that claims nothing stays as it is");
    }

    #[test]
    fn a_request_comes_back_once_and_only_as_what_it_was() {
        let mut error = Error::new(Kind::Other, "x").with_request(String::from("me"));
        assert_eq!(error.take_request::<u8>(), None);
        assert_eq!(error.take_request::<String>().as_deref(), Some("me"));
        assert_eq!(error.take_request::<String>(), None);

        let received = Error::new(Kind::Other, "x").with_request(String::from("me"));
        assert_eq!(received.with_delivery(Delivery::Unknown).take_request::<String>(), None);
    }

    #[test]
    fn the_chain_says_each_thing_once() {
        let late =
            Error::from(crate::base::Elapsed::new(crate::base::Phase::Response, Duration::from_secs(2)));
        assert_eq!(format!("{late:#}"), "the call ran out of time: no answer within 2s");
        assert!(late.cause::<Kind>().is_some(), "it is in the chain all the same");

        let around = Error::new(Kind::Connect, Kind::Timeout);
        assert_eq!(
            format!("{around:#}"),
            "no connection could be made: the call ran out of time",
            "another kind is news"
        );
    }

    #[test]
    fn the_error_is_one_pointer_and_crosses_threads() {
        fn ok<T: Send + Sync + 'static>() {}
        ok::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn each_question_for_a_kind_is_answered_with_yes_for_that_one_alone() {
        let (timeout, overload) = (Kind::Timeout, Kind::Overload);
        let (circuit_open, connect) = (Kind::CircuitOpen, Kind::Connect);
        let others = [Kind::Body, Kind::Invalid, Kind::NoEndpoint, Kind::Other, Kind::Transport];
        for kind in [timeout, overload, circuit_open, connect].into_iter().chain(others) {
            let error = Error::new(kind, "x");
            assert_eq!(error.is_timeout(), kind == timeout, "{kind:?}");
            assert_eq!(error.is_overload(), kind == overload, "{kind:?}");
            assert_eq!(error.is_circuit_open(), kind == circuit_open, "{kind:?}");
            assert_eq!(error.is_connect(), kind == connect, "{kind:?}");
        }
    }
}
