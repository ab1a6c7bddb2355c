use std::fmt;

use http::{Request, Response, Uri};

use super::follow::{Step, Stop, Terms, next};
use crate::base::body::{Body, Replay};
use crate::base::{Call, Delivery, EndedAt, Error, Kind};

/// How much of a stream is kept for a redirect that asks for it once more. Bytes in memory are there anyway, however many.
const MOST: usize = 64 * 1024;

/// Where the answer to a request was found: an extension of the response, if that was not where it was sent to.
///
/// ```
/// use http::Response;
/// use stonework::client::Redirected;
///
/// let response = Response::new(());
/// assert!(Redirected::of(&response).is_none());
/// ```
#[derive(Clone)]
pub struct Redirected {
    count: u32,
    uri: Uri,
}

impl Redirected {
    /// What a response says of itself, or `None` if no redirect was followed.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// How many redirects were followed: at least one.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The URI that answered. A server chose it, and it may carry secrets.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Shows how many there were. URIs carry secrets.
impl fmt::Debug for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirected").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What is kept of a request for as long as its answer may be a redirect.
pub(super) struct Trail {
    /// That of the request under way.
    head: Request<()>,
    /// A copy of its body, if there is one.
    body: Option<Body>,
    followed: u32,
    limit: u32,
    /// Somebody above asks for the rest of an answer that breaks off, and has to know where.
    tells_head: bool,
}

impl Trail {
    pub(super) fn of(request: &mut Request<Body>, limit: u32, tells_head: bool) -> Self {
        // A request that the caller wants sent once has no copy of its body.
        let is_single = Call::of(request.extensions()).max_attempts() == Some(1);
        let body = request.body_mut();
        let is_empty = http_body::Body::is_end_stream(body);
        let body = if is_empty || !is_single {
            body.record(MOST);
            body.fork()
        } else {
            None
        };
        Self { head: copy(request), body, followed: 0, limit, tells_head }
    }

    /// The request to send after this answer; none, if the answer is for the caller.
    pub(super) fn next(&mut self, response: &Response<Body>) -> Result<Option<Request<Body>>, Error> {
        // Whoever still sends the body of the last request has the rest of it, if it grew too long to be kept.
        let has_body = self.body.as_ref().is_some_and(Replay::is_replayable);
        let terms = Terms { followed: self.followed, limit: self.limit, has_body };
        let step = next(&self.head, terms, response.status(), response.headers());
        Ok(match step.map_err(stopped)? {
            Some(step) => self.take(step),
            None => None,
        })
    }

    fn take(&mut self, step: Step) -> Option<Request<Body>> {
        let body = if step.without_body {
            self.body.insert(Body::empty()).fork()
        } else {
            let kept = self.body.as_mut()?;
            // The last request may be sending it still, and would eat what this one needs.
            kept.take_over();
            kept.fork()
        };
        // Before anything says that it was followed.
        let body = body?;
        step.take(&mut self.head);
        self.followed += 1;
        let mut request = copy(&self.head).map(|()| Body::empty());
        *request.body_mut() = body;
        Some(request)
    }

    /// Say on the last answer where it was found.
    pub(super) fn mark(self, response: &mut Response<Body>) {
        if self.followed == 0 {
            return;
        }
        let told = Redirected { count: self.followed, uri: self.head.uri().clone() };
        response.extensions_mut().insert(told);
        if self.tells_head {
            EndedAt::tell(response.extensions_mut(), self.head);
        }
    }

    /// Nobody may think that the request was not sent because the last one of several was not: the first was answered,
    /// and may have done its work.
    pub(super) fn judge(&self, error: Error) -> Error {
        match error.delivery() {
            Delivery::NotSent | Delivery::Refused if self.followed > 0 => {
                error.with_delivery(Delivery::Answered)
            }
            _ => error,
        }
    }
}

fn stopped(stop: Stop) -> Error {
    let error = match stop {
        Stop::Invalid(why) => Error::new(Kind::Other, why),
        Stop::TooMany(why) => Error::new(Kind::Other, why),
    };
    error.with_delivery(Delivery::Answered)
}

/// The head alone.
fn copy<B>(request: &Request<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    *head.extensions_mut() = request.extensions().clone();
    head
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::base::BoxError;
    use crate::base::body::Superseded;

    fn redirect(status: u16) -> Response<Body> {
        Response::builder().status(status).header("location", "/there").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn whoever_still_sends_the_body_stops_before_the_next_request_is_made() {
        // Longer than what is kept, so that two readers would take it from each other.
        let pieces = (0..10).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; MOST / 4]))));
        let body = Body::new(StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>())));
        let mut request = Request::put("http://host/").body(body).unwrap();
        let mut trail = Trail::of(&mut request, 10, false);
        let mut first = request.into_body();
        assert!(first.frame().await.is_some_and(|frame| frame.is_ok()));

        let next = trail.next(&redirect(307)).unwrap().expect("little was read, so it can be followed");
        let stopped = first.frame().await.expect("it does not look like an end").unwrap_err();
        assert!(stopped.is::<Superseded>(), "{stopped}");
        assert_eq!(next.into_body().collect_up_to(usize::MAX).await.unwrap().len(), MOST / 4 * 10);
        assert!(trail.next(&redirect(307)).unwrap().is_none(), "now it is gone");
        assert!(trail.next(&redirect(303)).unwrap().is_some(), "and not needed");
    }

    #[tokio::test]
    async fn a_body_that_has_outgrown_what_is_kept_leaves_the_trail_as_it_was() {
        let pieces = (0..10).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; MOST / 4]))));
        let body = Body::new(StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>())));
        let mut request = Request::put("http://host/here").body(body).unwrap();
        let mut trail = Trail::of(&mut request, 10, false);
        // Whoever sends it has come so far since it was looked at.
        let terms = Terms { followed: 0, limit: 10, has_body: true };
        let response = redirect(307);
        let step = next(&trail.head, terms, response.status(), response.headers()).unwrap().unwrap();
        request.into_body().collect_up_to(usize::MAX).await.unwrap();
        assert!(trail.take(step).is_none());
        assert_eq!((trail.followed, trail.head.uri().path()), (0, "/here"));
    }
}
