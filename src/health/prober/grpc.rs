use std::fmt;

use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use tower_service::Service;

use super::http::send;
use super::{Probe, judge};
use crate::base::body::Body;
use crate::base::{BoxError, Call, EndpointId, GrpcStatus};
use crate::health::{IntoVerdict, Verdict, grpc};

/// Asks the endpoint's `grpc.health.v1.Health/Check`, over any client that speaks HTTP/2.
///
/// It passes if the endpoint serves, and if it knows no such method (`UNIMPLEMENTED`), as gRPC's own clients have it. It is sent once, whatever
/// retries the client has. Give probes a client of their own, without a circuit, as for [`HttpProbe`](super::HttpProbe).
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use stonework::Body;
/// use stonework::health::{GrpcProbe, Prober};
///
/// let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
/// let prober = Prober::builder(GrpcProbe::new(client).service("orders.v1.Orders"));
/// # let _ = prober;
/// ```
#[derive(Clone)]
#[must_use = "a probe does nothing without a prober"]
pub struct GrpcProbe<S> {
    client: S,
    service: String,
    scheme: &'static str,
}

impl<S> GrpcProbe<S> {
    /// About the server as a whole, at `http://{endpoint}`.
    pub fn new(client: S) -> Self {
        Self { client, service: String::new(), scheme: "http" }
    }

    /// About this service, by its full name: `package.Service`. One that the endpoint does not know is not well. Default: the
    /// empty name, which stands for the server as a whole.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// At `https://{endpoint}`: over TLS, for a certificate that has the endpoint's name or address. Default: no.
    pub const fn https(mut self) -> Self {
        self.scheme = "https";
        self
    }

    fn request(&self, endpoint: &EndpointId) -> Result<Request<Body>, http::Error> {
        let mut request = Request::new(Body::from(grpc::request(&self.service)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(format!("{}://{endpoint}{}Check", self.scheme, grpc::PREFIX))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        Call::edit(request.extensions_mut(), Call::never_retry);
        Ok(request)
    }
}

impl<S, B> Probe for GrpcProbe<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send,
{
    async fn probe(&self, endpoint: &EndpointId) -> Verdict {
        self.ask(endpoint).await.into_verdict()
    }
}

impl<S, B> GrpcProbe<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send,
{
    async fn ask(&self, endpoint: &EndpointId) -> Result<Verdict, BoxError> {
        let (head, body) = send(&self.client, self.request(endpoint)?).await?.into_parts();
        // What has no message says it in its head.
        if let Some(status) = GrpcStatus::of(&head.headers) {
            return Ok(judge::grpc(head.status, Some(status), &[]));
        }
        let answer = Limited::new(body, grpc::LARGEST).collect().await?;
        let status = answer.trailers().and_then(GrpcStatus::of);
        Ok(judge::grpc(head.status, status, &answer.to_bytes()))
    }
}

impl<S> fmt::Debug for GrpcProbe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcProbe").field("service", &self.service).finish_non_exhaustive()
    }
}
