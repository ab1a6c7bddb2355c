use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use bytes::Buf;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower_service::Service;

use super::{Probe, judge};
use crate::base::body::Body;
use crate::base::{BoxError, Call, EndpointId, Error};
use crate::health::{IntoVerdict, Verdict};

/// The most of an answer that is read, in bytes, so that its connection can be used again.
const LARGEST: usize = 64 << 10;

type Make = Box<dyn Fn(&EndpointId) -> Result<Request<Body>, BoxError> + Send + Sync>;

/// Sends the endpoint a request, over any client, and looks at the status of the answer.
///
/// It is sent once, whatever retries the client has. Its answer is read to the end, as far as that is within 64 KiB; one that breaks off
/// is a failure. Give probes a client of their own, without a circuit: a circuit that is open would keep them from finding out that the
/// endpoint is well again.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use stonework::Body;
/// use stonework::health::{HttpProbe, Prober};
///
/// let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
/// let ready = HttpProbe::get(client.clone(), "/readyz");
///
/// // A request of your own, and which answers are good.
/// let own = HttpProbe::new(client, |endpoint| {
///     http::Request::head(format!("http://{endpoint}/")).header("host", "orders.test").body(Body::empty())
/// })
/// .passes(|status| status.is_success() || status.as_u16() == 401);
/// # let _ = (Prober::builder(ready), own);
/// ```
pub struct HttpProbe<S> {
    client: S,
    make: Make,
    passes: Box<dyn Fn(StatusCode) -> bool + Send + Sync>,
}

impl<S> HttpProbe<S> {
    /// `GET http://{endpoint}{path}`. The path begins with `/`, and may have a query.
    #[must_use]
    pub fn get(client: S, path: impl Into<String>) -> Self {
        let path = path.into();
        Self::new(client, move |endpoint| {
            let mut request = Request::get(format!("http://{endpoint}{path}")).body(Body::empty())?;
            Call::edit(request.extensions_mut(), Call::never_retry);
            Ok::<_, http::Error>(request)
        })
    }

    /// The request that `make` makes for an endpoint. If there is none, that is a failure of the probe.
    ///
    /// Retries below may repeat it, unless it says [`never_retry`](Call::never_retry).
    #[must_use]
    pub fn new<E: Into<BoxError>>(
        client: S,
        make: impl Fn(&EndpointId) -> Result<Request<Body>, E> + Send + Sync + 'static,
    ) -> Self {
        let make = move |endpoint: &EndpointId| make(endpoint).map_err(Into::into);
        Self { client, make: Box::new(make), passes: Box::new(|status| status.is_success()) }
    }

    /// Which answers are good. Default: 200 to 299.
    #[must_use]
    pub fn passes(mut self, passes: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.passes = Box::new(passes);
        self
    }
}

impl<S, B> Probe for HttpProbe<S>
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

impl<S, B> HttpProbe<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send,
{
    async fn ask(&self, endpoint: &EndpointId) -> Result<Verdict, BoxError> {
        let (head, body) = send(&self.client, (self.make)(endpoint)?).await?.into_parts();
        let (mut body, mut room) = (pin!(body), LARGEST);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
            match room.checked_sub(data.remaining()) {
                Some(rest) => room = rest,
                None => break,
            }
        }
        Ok(judge::http(head.status, (self.passes)(head.status)))
    }
}

/// The one made ready is the one called.
pub(super) async fn send<S, B>(client: &S, request: Request<Body>) -> Result<Response<B>, Error>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
{
    let mut client = client.clone();
    poll_fn(|cx| client.poll_ready(cx)).await.map_err(Error::wrap)?;
    client.call(request).await.map_err(Error::wrap)
}

impl<S> fmt::Debug for HttpProbe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe").finish_non_exhaustive()
    }
}
