//! A whole body in memory, up to a limit.

use std::fmt;
use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::base::{BoxError, Kind};

/// Reads a body to its end and returns its data. Trailers are read and left out.
///
/// A body in one frame of [`Bytes`] is not copied.
///
/// # Errors
///
/// [`BodyTooLarge`] as soon as it is known that there are more than `limit` bytes: before anything is read if the
/// size hint (a `Content-Length`) says so, otherwise with the frame that passes the limit. Or the body's own error.
///
/// # Cancellation
///
/// Dropping the future drops the body and what was read of it.
///
/// ```
/// use http_body_util::Full;
/// use stonework::base::body::{BodyTooLarge, collect_up_to};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let error = collect_up_to(Full::<bytes::Bytes>::from("far too long"), 5).await.unwrap_err();
/// assert_eq!(error.downcast_ref::<BodyTooLarge>().map(|error| error.limit), Some(5));
/// # }
/// ```
pub async fn collect_up_to<B>(body: B, limit: usize) -> Result<Bytes, BoxError>
where
    B: http_body::Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyTooLarge { limit }.into());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(Into::into)?.into_data() else { continue };
        // Counted before anything is copied, so that one huge frame costs no second copy.
        if data.remaining() > limit - first.len() - all.len() {
            return Err(BodyTooLarge { limit }.into());
        }
        if first.is_empty() && all.is_empty() {
            first = data.copy_to_bytes(data.remaining());
        } else {
            all.put(std::mem::take(&mut first));
            all.put(data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A body is larger than it may be: see [`collect_up_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

impl BodyTooLarge {
    /// Larger than so many bytes.
    ///
    /// ```
    /// use stonework::base::body::BodyTooLarge;
    ///
    /// let error = BodyTooLarge::of(1024);
    /// assert_eq!(error.to_string(), "the body is larger than the limit of 1024 bytes");
    /// ```
    #[must_use]
    pub const fn of(limit: usize) -> Self {
        Self { limit }
    }
}

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is larger than the limit of {} bytes", self.limit)
    }
}

impl std::error::Error for BodyTooLarge {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Kind::Body)
    }
}
