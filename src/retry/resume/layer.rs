use std::sync::Arc;

use tower_layer::Layer;

use super::{Resume, ResumeSettings};
use crate::base::{Budget, Rng};

/// Resumes a large download that broke off in the middle of its body: asks for the rest, and only for the rest.
///
/// The reader of the body notices a pause and nothing else. **Its place is outside `retry`, and outside the limit on the
/// whole call**: each request for the rest is a call of its own, with all that stands below.
///
/// ```
/// use stonework::base::body::Body;
/// use stonework::client::Client;
/// use stonework::retry::ResumeLayer;
/// use stonework::testing::{ScriptedServer, in_order, respond};
/// use http_body_util::BodyExt;
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::base::BoxError> {
/// let server = ScriptedServer::start(in_order([
///     respond(200).header("etag", "\"v1\"").body("0123456789").half(), // closes after half of it
///     respond(206).header("etag", "\"v1\"").header("content-range", "bytes 5-9/10").body("56789").close(),
/// ]))
/// .await;
///
/// let service = ResumeLayer::new().layer(Client::new());
/// let request = http::Request::get(server.uri("/large")).body(Body::empty())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "0123456789");
/// assert_eq!(server.seen()[1].header("range"), Some("bytes=5-"));
/// # Ok(()) }
/// ```
///
/// # What is resumed
///
/// Only what can be without a guess. *The request* is a GET without a body and without a `Range`, and does not
/// [say how often it may be sent](crate::base::Call::attempts). *The answer* is a 200 with exactly one `Content-Length`,
/// and with one `ETag` that is strong (RFC 9110, section 8.8.3): a weak one says that two things are alike, and bytes of
/// things that are alike must not be put together. It does not say `Accept-Ranges: none`, and is not that of
/// a fallback, nor is any that goes on with it: their tags are their own. Everything else passes
/// untouched, and its body ends as it ends.
///
/// A body that fails, or ends before its length, is asked for with `Range: bytes=N-` and `If-Range` (RFC 9110, sections 14.2
/// and 13.1.5), and goes on with a 206 that has the same `ETag`, a `Content-Range` that begins at the very byte, and the
/// same complete length. If nothing was delivered yet, it is asked for as at first, and goes on with a 200 that has the
/// same `ETag` and length: the head is with the caller already. **Nothing else is ever put behind what was read.**
///
/// A body that was [too large](crate::base::body::BodyTooLarge) for a layer below, or had no
/// time left there, is not asked for again. Limits below are limits on each answer: what
/// is asked for in its turn has the whole of them again.
///
/// *Pauses and costs:* each request for the rest comes after a pause, at most three in a row bring nothing and ten are made
/// for one body ([`ResumeSettings`]), and each is charged to a [`Budget`], so that a server which breaks off all its
/// downloads is not asked for all of them again. The head of each request that may qualify is copied; beyond that nothing is
/// allocated as long as nothing breaks.
/// *Where not:* above a layer that decodes bodies. What that answers has no length and is not resumed; put it outside.
/// *Deadlines:* that in scope where the body is polled holds for what is asked for; no pause begins that would end
/// after it.
///
/// *Errors:* of the call, as the inner service. Of the body: its own, when nothing more is tried; where asking for the
/// rest failed, an [`Error`](crate::base::Error) with [`Changed`](super::Changed) or
/// [`NotResumed`](super::NotResumed) in its chain, and that error behind it.
/// *Panics:* when it has to wait outside a Tokio runtime with timers. *Cancellation:* dropping the body drops the request
/// that is under way, and a resume that was charged but not begun goes back to the budget. *Readiness and cloning:* as the
/// inner service; one that is asked for the rest is made ready first. A clone shares the budget.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ResumeLayer {
    shared: Arc<Shared>,
    on: bool,
}

/// What all clones of a service share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) settings: ResumeSettings,
    pub(super) budget: Budget,
    /// Whether nobody else says how many requests there are.
    pub(super) deposits: bool,
    pub(super) rng: Rng,
}

impl ResumeLayer {
    /// With the defaults: see [`ResumeSettings`].
    pub fn new() -> Self {
        Self::from(ResumeSettings::new())
    }

    /// Take the cost of resumes from this budget, in the place of one of the layer's own. It is only taken from: whoever
    /// shares it, `retry` below for one, counts the requests that fill it.
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|shared| {
            shared.budget = budget;
            shared.deposits = false;
        })
    }

    /// Whether nobody below counts the requests that fill the budget.
    #[cfg(feature = "client")]
    pub(crate) fn counting(self, counts: bool) -> Self {
        self.with(|shared| shared.deposits = counts)
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    pub fn rng(self, rng: Rng) -> Self {
        self.with(|shared| shared.rng = rng)
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        self.on &= on;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl Default for ResumeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<ResumeSettings> for ResumeLayer {
    fn from(settings: ResumeSettings) -> Self {
        let budget = Budget::new(settings.budget);
        let shared = Shared { settings, budget, deposits: true, rng: Rng::default() };
        Self { shared: Arc::new(shared), on: true }
    }
}

impl<S> Layer<S> for ResumeLayer {
    type Service = Resume<S>;

    fn layer(&self, inner: S) -> Resume<S> {
        Resume::with(inner, self.on.then(|| Arc::clone(&self.shared)))
    }
}
