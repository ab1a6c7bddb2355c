use std::fmt;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower_service::Service;

use super::ServerMetricsLayer;
use crate::base::body::Body;

/// How often what was recorded is added up, if nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);
/// As OpenTelemetry's conventions advise for durations in seconds.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// From 256 bytes to 64 MiB, in steps of 16.
const BYTES: &[f64] = &[256.0, 4_096.0, 65_536.0, 1_048_576.0, 16_777_216.0, 67_108_864.0];

/// What the `metrics` facade is told, for Prometheus: a recorder, and a service that answers scrapes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::observe::PrometheusRefused> {
/// use axum::{Router, routing::get};
/// use stonework::observe::{Prometheus, RouteLayer, ServerMetricsLayer};
///
/// let prometheus = Prometheus::install()?;
/// let router: Router = Router::new()
///     .route("/users/{id}", get(|| async { "hello" }))
///     .layer(RouteLayer::matched())
///     .layer(ServerMetricsLayer::new())
///     .route_service("/metrics", prometheus.service());
/// # let _ = router;
/// # Ok(()) }
/// ```
///
/// Names are written as Prometheus has them: `http_server_request_duration_seconds` with its buckets, `stonework_retries_total`. Durations have the
/// buckets that OpenTelemetry advises.
///
/// **Whoever can reach the service can read it**: give it a port of its own, or a route that the outside does not see.
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
}

impl Prometheus {
    /// Be the recorder of this program. What was recorded is added up now and then, by a task that goes on as long as the runtime does.
    ///
    /// # Errors
    ///
    /// [`PrometheusRefused`], if the program has a recorder already.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    pub fn install() -> Result<Self, PrometheusRefused> {
        let (prometheus, recorder) = Self::with_recorder();
        metrics::set_global_recorder(recorder).map_err(|_| PrometheusRefused)?;
        ServerMetricsLayer::describe();
        let handle = prometheus.handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                handle.run_upkeep();
            }
        });
        Ok(prometheus)
    }

    /// Be one of several recorders, or that of a test: install it yourself, tell it [what there is](ServerMetricsLayer::describe), and call
    /// [`add_up`](Self::add_up) every few seconds.
    #[must_use]
    pub fn with_recorder() -> (Self, impl metrics::Recorder + Send + Sync + 'static) {
        let buckets = |builder: PrometheusBuilder, suffix: &str, buckets| {
            let matcher = Matcher::Suffix(suffix.to_owned());
            builder.set_buckets_for_metric(matcher, buckets).expect("there are some")
        };
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let builder = buckets(builder, "duration", SECONDS);
        let builder = buckets(builder, "delay", SECONDS);
        let builder = buckets(builder, "connect", SECONDS);
        let builder = buckets(builder, "wait", SECONDS);
        let recorder = buckets(builder, "size", BYTES).build_recorder();
        (Self { handle: recorder.handle() }, recorder)
    }

    /// What there is now, as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Add up what was recorded since the last time, so that it takes no more room. A scrape does it as well.
    pub fn add_up(&self) {
        self.handle.run_upkeep();
    }

    /// A service that answers `GET`, whatever the path.
    #[must_use]
    pub fn service(&self) -> PrometheusService {
        PrometheusService { prometheus: self.clone() }
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

/// Answers scrapes. See [`Prometheus::service`].
///
/// *Errors:* none. *Panics:* never of itself. *Readiness:* it is always ready. *Cancellation:* there is nothing to cancel: it answers at once.
#[derive(Debug)]
pub struct PrometheusService {
    prometheus: Prometheus,
}

impl Clone for PrometheusService {
    fn clone(&self) -> Self {
        Self { prometheus: self.prometheus.clone() }
    }
}

impl<B> Service<Request<B>> for PrometheusService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_head = *request.method() == Method::HEAD;
        let mut response = Response::new(Body::empty());
        if !is_head && *request.method() != Method::GET {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return ready(Ok(response));
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !is_head {
            *response.body_mut() = Body::from(self.prometheus.render());
        }
        ready(Ok(response))
    }
}

/// The program has a recorder already. See [`Prometheus::install`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recorder of metrics is installed already")]
#[non_exhaustive]
pub struct PrometheusRefused;
