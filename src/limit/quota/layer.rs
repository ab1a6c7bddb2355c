use std::fmt;
use std::time::Duration;

use tower_layer::Layer;

use super::{Heard, ServerQuota, ServerQuotas};
use crate::base::{ByHost, HostPort, Http};
use crate::limit::Admission;
use crate::limit::gate::{Gated, Keyed, Settings};

/// Keeps to what servers say of their limits: in the fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers),
/// and with 429 and `Retry-After`. For clients; see "A client that holds back" in the [module](crate::limit). It takes `http::Request`
/// and `http::Response`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use stonework::limit::{QuotaUsedUp, ServerQuotaLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// // A server that takes two requests each ten seconds, and says after this one that none is left.
/// let server = service_fn(|_: Request<Full<Bytes>>| async {
///     let response = Response::builder()
///         .header("ratelimit", r#""search";r=0;t=10"#)
///         .header("ratelimit-policy", r#""search";q=2;w=10"#);
///     response.body(Full::<Bytes>::default())
/// });
/// let service = ServerQuotaLayer::new().layer(server);
/// let get = || Request::get("http://api.test/").body(Full::default());
///
/// service.clone().oneshot(get()?).await?;
/// let error = service.clone().oneshot(get()?).await.unwrap_err();
/// assert_eq!(error.cause::<QuotaUsedUp>().unwrap().policy(), Some("search"));
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
///
/// tokio::time::sleep(Duration::from_secs(10)).await;
/// assert!(service.oneshot(get()?).await.is_ok());
/// # Ok(()) }
/// ```
///
/// When nothing is left of a limit, requests to its server are refused here until there is more, or [wait](Self::wait_up_to). What is
/// left is what the server has said, less what was sent since the request that it said it to: it may not have seen that yet. When the
/// time is over, there is as much as the policy says; without one, everything is sent until the server says more. Those that come back
/// are told different instants, one after another, so that they do not all come at once.
///
/// A limit that an answer does not name, though it names others, is forgotten when the window is over for which something was said of it:
/// there may be none any more, and a server that names only the tightest says so again when that is the one.
///
/// What a server says is about itself alone, and it is not believed for longer than [a minute](ServerQuotas::longest) at a time. What is
/// malformed, or counted in something else than requests, says nothing.
///
/// *Errors:* of kind [`Overload`](crate::base::Kind::Overload) with [`QuotaUsedUp`](super::QuotaUsedUp) at the end, not sent, with the
/// request handed back and the time to come back; else those of the inner service. *Readiness and cloning:* always ready; clones know the
/// same.
/// *Cancellation:* who is dropped while waiting has taken nothing, and leaves its turn to the next who comes and can wait for it; those
/// who waited behind keep theirs.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ServerQuotaLayer<K = HostPort, F = ByHost> {
    quotas: Keyed<ServerQuotas<K>, F>,
    settings: Settings<ServerQuota<K, F>, Http>,
}

impl ServerQuotaLayer {
    /// For each host and port.
    pub fn new() -> Self {
        Self::from(ServerQuotas::new())
    }
}

/// For each host and port.
impl Default for ServerQuotaLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// For each host and port.
impl From<ServerQuotas> for ServerQuotaLayer {
    fn from(quotas: ServerQuotas) -> Self {
        Self::keyed(quotas, ByHost)
    }
}

impl<K, F: Clone> ServerQuotaLayer<K, F> {
    /// With a key of one's own, where a server has limits for each path or for each of its users: see [`KeyOf`](crate::base::KeyOf).
    pub fn keyed(quotas: ServerQuotas<K>, key: F) -> Self {
        let quotas = Keyed { limiter: quotas, key };
        Self { settings: Settings::new(ServerQuota(quotas.clone()), Http), quotas }
    }
}

impl<K, F> ServerQuotaLayer<K, F> {
    /// Let a request for which nothing is left wait until there is more, so long at most and until the deadline in scope. Whoever would
    /// have to wait longer is refused at once. Default: it is refused at once.
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.settings.admission = Admission::WaitUpTo(patience);
        self
    }

    /// With `false`, switch the layer off; its type stays the same. It still hears what servers say.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.settings.gate = None;
        }
        self
    }
}

impl<K, F: Clone> Clone for ServerQuotaLayer<K, F> {
    fn clone(&self) -> Self {
        Self { quotas: self.quotas.clone(), settings: self.settings.clone() }
    }
}

impl<K, F> fmt::Debug for ServerQuotaLayer<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerQuotaLayer")
            .field("quotas", &self.quotas)
            .field("admission", &self.settings.admission)
            .finish_non_exhaustive()
    }
}

impl<S, K, F: Clone> Layer<S> for ServerQuotaLayer<K, F> {
    type Service = Gated<Heard<S, K, F>, ServerQuota<K, F>>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated::with(Heard::new(inner, self.quotas.clone()), self.settings.clone())
    }
}
