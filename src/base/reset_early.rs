/// A body over HTTP/2 whose sender took its stream back before the end of it, and called that no error (`NO_ERROR`).
///
/// A server may do so after the end of its answer, to hear no more of the request (RFC 9113, section 8.1). Before it, something is
/// missing; hyper ends the body like a whole one, and only that its stream has not ended tells them apart.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset before the end of the body")]
pub(crate) struct ResetEarly;
