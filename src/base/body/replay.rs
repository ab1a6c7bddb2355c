//! What a layer that repeats requests asks of a body.

use std::fmt;
use std::sync::Arc;

use bytes::Buf;
use http_body::Body as _;
use http_body_util::{Empty, Full};

use crate::base::{BoxError, Kind};

/// A body that can be sent again.
///
/// A layer that may repeat a request calls [`record`](Replay::record) before the first attempt and
/// [`fork`](Replay::fork) before each, keeps one of the two and sends the other. Layers nest: a fork can be recorded
/// and forked in its turn, and shares what is kept.
///
/// It is implemented for bodies in memory (`Full`, `Empty`), for [`Body`](super::Body), and by
/// [`ReplayBody`](super::ReplayBody) for any other body. The [module](super) has an example.
///
/// # A body that is no `Replay`
///
/// Bodies of frameworks are streams, which are gone once they were read. A service of those does not compile below a layer that
/// repeats:
///
/// ```compile_fail,E0277
/// # use http::{Request, Response};
/// # use stonework::retry::RetryLayer;
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # fn serves<R>(_: impl Service<R>) {}
/// let channel = service_fn(|_: Request<axum::body::Body>| async { Ok::<_, std::io::Error>(Response::new(String::new())) });
/// serves::<Request<axum::body::Body>>(ServiceBuilder::new().layer(RetryLayer::new()).service(channel));
/// ```
///
/// With a body that keeps what is read, and is the other one again below, it does:
///
/// ```
/// # use http::{Request, Response};
/// # use stonework::base::body::ReplayBody;
/// # use stonework::retry::RetryLayer;
/// # use tower::{Service, ServiceBuilder, service_fn};
/// # fn serves<R>(_: impl Service<R>) {}
/// # let channel = service_fn(|_: Request<axum::body::Body>| async { Ok::<_, std::io::Error>(Response::new(String::new())) });
/// let stack = ServiceBuilder::new()
///     .map_request(|request: Request<axum::body::Body>| request.map(ReplayBody::new))
///     .layer(RetryLayer::new())
///     .map_request(|request: Request<ReplayBody<axum::body::Body>>| request.map(axum::body::Body::new))
///     .service(channel);
/// serves::<Request<axum::body::Body>>(stack);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a body that can be sent again",
    label = "repeating a request needs a body that can be sent again",
    note = "wrap it before the layer that repeats: `.map_request(|request: http::Request<_>| \
            request.map(stonework::base::body::ReplayBody::new))`"
)]
pub trait Replay: http_body::Body + Sized {
    /// From now on keeps what is read, up to `cap` bytes, so that the body can be [forked](Replay::fork).
    ///
    /// Returns `false` when it is known already that the body cannot be sent twice: its
    /// [size hint](http_body::Body::size_hint) is over `cap`, it is being read and was not recorded, or it grew over an
    /// earlier limit or failed. Nothing is allocated then, and the body is sent as it would have been.
    ///
    /// Recording twice is recording once, with the larger of the two limits. The answer is for the `cap` asked, so the
    /// layer with the smaller limit may be told `false` where the other was told `true`.
    ///
    /// Names and values of trailers count towards `cap`, with 32 bytes for each line.
    fn record(&mut self, cap: usize) -> bool;

    /// A second body with the same content from the start: the same bytes in total, not necessarily cut in the same
    /// places, and the same trailers.
    ///
    /// Returns `None` when that is not possible, or no longer: the body is not recorded, is over its limit, or failed.
    ///
    /// A fork and its origin may be read in any order and at the same time, and either may be dropped at any point.
    /// When the body grows over its limit, the one in front goes on undisturbed and the others end with a
    /// [`ReplayLimit`].
    fn fork(&self) -> Option<Self>;

    /// Whether [`fork`](Replay::fork) would give a second body now.
    fn is_replayable(&self) -> bool {
        self.fork().is_some()
    }

    /// Called on a copy from which the next attempt will be forked: ends, with [`Superseded`], the body that the copy
    /// was forked from and all that were forked after it, whether or not they have begun to read. The attempt before
    /// may still have one, and once the body is over the limit it would take from the source what the next one needs.
    /// Copies forked earlier, which layers above keep, are not touched.
    fn take_over(&mut self) {}
}

/// Recording costs nothing, since forking copies the data's handle. `Full` forgets what it has given out: fork it
/// before it is read.
impl<D: Buf + Clone> Replay for Full<D> {
    fn record(&mut self, cap: usize) -> bool {
        self.size_hint().lower() <= cap as u64
    }

    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// Always possible, whatever the limit.
impl<D: Buf> Replay for Empty<D> {
    fn record(&mut self, _cap: usize) -> bool {
        true
    }

    fn fork(&self) -> Option<Self> {
        Some(Self::new())
    }
}

/// A recorded body grew over its limit, and this was not the reader in front.
///
/// The reader in front got the whole body. See [`Replay::fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayLimit {
    /// The limit, in bytes.
    pub cap: usize,
}

impl fmt::Display for ReplayLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is over its replay limit of {} bytes and cannot be read a second time", self.cap)
    }
}

impl std::error::Error for ReplayLimit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Kind::Body)
    }
}

/// A later attempt has taken the body over. See [`Replay::take_over`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is being sent by a later attempt")
    }
}

impl std::error::Error for Superseded {}

/// The body that was being recorded failed, and another reader has the error itself. See [`ReplayBody`](super::ReplayBody).
///
/// It shows the same message.
#[derive(Clone, Debug)]
pub struct SourceFailed {
    message: Arc<str>,
}

impl SourceFailed {
    pub(super) fn new(error: &BoxError) -> Self {
        Self { message: error.to_string().into() }
    }

    pub(super) fn panicked() -> Self {
        Self { message: "the body panicked while it was being read".into() }
    }
}

impl fmt::Display for SourceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Kind::Body)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;
    use crate::base::Error;

    struct Once;

    impl http_body::Body for Once {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }

    impl Replay for Once {
        fn record(&mut self, _: usize) -> bool {
            false
        }

        fn fork(&self) -> Option<Self> {
            None
        }
    }

    #[test]
    fn a_body_can_be_sent_again_if_it_has_a_fork() {
        assert!(!Once.is_replayable());
        assert!(Full::new(Bytes::new()).is_replayable() && Empty::<Bytes>::new().is_replayable());
    }

    #[test]
    fn why_a_body_cannot_be_read_is_said_and_is_of_its_kind() {
        let source: BoxError = "the disk is gone".into();
        let cases: [(BoxError, &str, Kind); 4] = [
            (
                ReplayLimit { cap: 10 }.into(),
                "the body is over its replay limit of 10 bytes and cannot be read a second time",
                Kind::Body,
            ),
            (Superseded.into(), "the body is being sent by a later attempt", Kind::Other),
            (SourceFailed::new(&source).into(), "the disk is gone", Kind::Body),
            (SourceFailed::panicked().into(), "the body panicked while it was being read", Kind::Body),
        ];
        for (error, text, kind) in cases {
            assert_eq!(error.to_string(), text);
            assert_eq!(Error::wrap(error).kind(), kind, "{text}");
        }
    }
}
