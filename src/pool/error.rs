use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Delivery, Elapsed, Error, Kind, Phase};

/// A pool had nothing for its caller. It stands in the chain of an [`Error`] of kind [`Overload`](Kind::Overload), if too many waited
/// already, and of kind [`Timeout`](Kind::Timeout), with [`Elapsed`] at its end, if the wait was too long.
///
/// ```
/// use std::time::Duration;
/// use stonework::pool::{Pool, PoolExhausted, PoolSettings};
/// # use stonework::pool::Manage;
/// # struct Any;
/// # impl Manage for Any {
/// #     type Object = ();
/// #     type Error = std::convert::Infallible;
/// #     async fn connect(&self) -> Result<(), Self::Error> { Ok(()) }
/// # }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let settings = PoolSettings::new().max(1).wait_timeout(Duration::from_secs(1));
/// let pool = Pool::builder(Any).settings(settings).name("orders").build().unwrap();
/// let mine = pool.get().await.unwrap();
/// let error = pool.get().await.unwrap_err();
/// assert!(error.is_timeout());
/// let exhausted = error.cause::<PoolExhausted>().unwrap();
/// assert_eq!((exhausted.pool(), exhausted.max(), exhausted.in_use()), ("orders", 1, 1));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PoolExhausted {
    pub(super) pool: Arc<str>,
    pub(super) max: usize,
    pub(super) in_use: usize,
    pub(super) waiting: usize,
    pub(super) last_failure: Option<Arc<Error>>,
    pub(super) elapsed: Option<Elapsed>,
}

impl PoolExhausted {
    /// The name of the pool; empty if it was given none.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// How many there may be.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// How many were in use.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// How many others waited.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Why connecting failed the last time, if it has not succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Error> {
        self.last_failure.as_deref()
    }

    pub(super) fn into_error(mut self, waited: Option<Duration>) -> Error {
        self.elapsed = waited.map(|waited| Elapsed::new(Phase::Pool, waited));
        let kind = if self.elapsed.is_some() { Kind::Timeout } else { Kind::Overload };
        Error::new(kind, self).with_delivery(Delivery::NotSent)
    }
}

impl fmt::Display for PoolExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, max, in_use, waiting, last_failure, .. } = self;
        f.write_str("the pool ")?;
        if !pool.is_empty() {
            write!(f, "{pool:?} ")?;
        }
        write!(f, "had none: {in_use} of {max} in use, {waiting} waiting")?;
        match last_failure {
            Some(failure) => write!(f, "; the last attempt to connect failed: {failure:#}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PoolExhausted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.elapsed.as_ref().map(|elapsed| elapsed as _)
    }
}

/// A pool could not connect. It stands in the chain of an [`Error`] of kind [`Connect`](Kind::Connect), before the error of its
/// [`Manage`](super::Manage), which all who waited share.
#[derive(Clone, Debug)]
pub struct ConnectFailed(pub(super) Arc<Error>);

impl ConnectFailed {
    pub(super) fn into_error(self, retry_after: Option<Duration>) -> Error {
        let error = Error::new(Kind::Connect, self);
        match retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool could not connect")
    }
}

impl std::error::Error for ConnectFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Of the shared one only what it was made from: it is no call of its own.
        self.0.source()
    }
}

/// The pool was closed: see [`Pool::close`](super::Pool::close). It stands at the end of the chain of an [`Error`] of kind
/// [`Other`](Kind::Other).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is closed")]
#[non_exhaustive]
pub struct PoolClosed;

impl From<PoolClosed> for Error {
    fn from(closed: PoolClosed) -> Self {
        Self::new(Kind::Other, closed).with_delivery(Delivery::NotSent).without_retry()
    }
}
