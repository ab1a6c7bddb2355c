use tower_layer::Layer;

use super::Collect;

/// Makes an attempt include reading the response body, as long as that is no larger than a cap.
///
/// A response whose body breaks off half way is no answer; but by the time the body is read, `retry` has long passed the
/// head on. Below this layer's place in the stack an attempt ends with the head, above it with the whole body:
///
/// * a body that breaks off is a failed attempt, which is repeated if the request may be;
/// * the limit on an attempt covers the body.
///
/// **Its place is inside `retry` and inside the limit on an attempt.**
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full, StreamBody};
/// use stonework::retry::{CollectLayer, RetryLayer};
/// use stonework::timeout::AttemptTimeoutLayer;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// # use bytes::Bytes;
/// # use http_body::Frame;
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// # static SEEN: AtomicU32 = AtomicU32::new(0);
/// # let flaky = service_fn(|_: Request<Full<Bytes>>| async {
/// #     let whole = SEEN.fetch_add(1, Ordering::Relaxed) > 0;
/// #     let rest = if whole { Ok(Frame::data(Bytes::from("answer"))) } else { Err("the connection broke") };
/// #     let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from("an "))), rest]);
/// #     Ok::<_, std::io::Error>(Response::new(StreamBody::new(frames)))
/// # });
///
/// let mut service = ServiceBuilder::new()
///     .layer(RetryLayer::new())
///     .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
///     .layer(CollectLayer::new(64 * 1024))
///     .service(flaky); // breaks off in the middle of its first response
///
/// let request = Request::get("/").body(Full::default()).unwrap();
/// let response = service.ready().await.unwrap().call(request).await.unwrap();
/// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "an answer");
/// # }
/// ```
///
/// *Memory:* at most the cap for each call, and the one frame that passes it. Small frames are gathered; what is counted
/// is the content, and a large frame that is a part of a larger buffer keeps that buffer.
/// *A larger body* is no error: one that announces its length is not read at all but passed on at once, any other is read
/// up to the cap and passed on with the rest still to come. What then breaks off, breaks off at the reader.
/// *Passed on at once* is also what has no body: the answer to a HEAD, a 204, a 304.
/// *Costs:* nothing is copied and nothing allocated for a body of one frame.
/// *Not for:* responses that are read while they are being made, such as server-sent events: the caller sees none of it
/// before the cap is reached. For large downloads there is [`ResumeLayer`](super::super::ResumeLayer).
///
/// *Errors:* an [`Error`](crate::base::Error), [answered](crate::base::Delivery::Answered), of the kind that the body's
/// own error has, else of kind [`Body`](crate::base::Kind::Body), with that as its source.
/// *Cancellation:* dropping the response future drops the body. *Readiness and cloning:* as the inner service.
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct CollectLayer {
    cap: Option<usize>,
}

impl CollectLayer {
    /// Collect bodies of up to `cap_bytes`. There is no default: it is paid by every call that is under way.
    pub const fn new(cap_bytes: usize) -> Self {
        Self { cap: Some(cap_bytes) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.cap = None;
        }
        self
    }
}

impl<S> Layer<S> for CollectLayer {
    type Service = Collect<S>;

    fn layer(&self, inner: S) -> Collect<S> {
        Collect::with(inner, self.cap)
    }
}
