//! A call to somebody who is asked now and then, over any service, whose answer is small.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use tower_service::Service;

use super::body::{Body, collect_up_to};
use super::call::Call;
use super::client_auth::ClientAuth;
use super::clock::WallClock;
use super::error::{BoxError, Error};
use super::kind::{Delivery, Kind};
use super::rng::Rng;

/// Any service, whatever its type; and how much of an answer is read.
#[derive(Clone)]
pub(crate) struct Ask(Arc<dyn Fn(Request<Body>) -> Asking + Send + Sync>);

/// Until the whole answer is there.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Error>> + Send>>;

impl Ask {
    /// No more than `most` bytes of an answer are read.
    pub(crate) fn new<S, B>(service: S, most: usize) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(ask(service.clone(), request, most))))
    }

    /// Send a form, with a proof of who sends it, and wait for the whole answer. It asks for something and changes nothing, so it may be
    /// repeated: by a retry below, or, where a proof is good for one request, here and once, with another.
    pub(crate) async fn form(
        &self,
        to: &http::Uri,
        form: &str,
        Prover { auth, clock, rng }: Prover<'_>,
    ) -> Result<Response<Bytes>, NotAsked> {
        let once = auth.proves_once();
        let mut again = once;
        loop {
            let mut form = form.to_owned();
            let proof = auth.prove(&mut form, clock.now(), rng.unique_id()).map_err(NotAsked::NotSigned)?;
            let answer = self.send(to.clone(), form, proof, !once).await;
            if !again || !is_worth_another(&answer) {
                return answer.map_err(NotAsked::Failed);
            }
            again = false;
        }
    }

    fn send(
        &self,
        to: http::Uri,
        form: String,
        authorization: Option<HeaderValue>,
        may_be_repeated: bool,
    ) -> Asking {
        let mut request = Request::new(Body::from(form));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = to;
        if may_be_repeated {
            Call::edit(request.extensions_mut(), Call::dangerously_assume_idempotent);
        }
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value);
        }
        (self.0)(request)
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Prover<'a> {
    pub(crate) auth: &'a ClientAuth,
    pub(crate) clock: &'a WallClock,
    pub(crate) rng: &'a Rng,
}

/// Why there is no answer.
pub(crate) enum NotAsked {
    /// There is no proof.
    NotSigned(BoxError),
    Failed(Error),
}

/// Whether it came to nothing by chance, and nobody said when to come back.
fn is_worth_another(answer: &Result<Response<Bytes>, Error>) -> bool {
    match answer {
        Ok(answer) => {
            answer.status().is_server_error() && !answer.headers().contains_key(header::RETRY_AFTER)
        }
        Err(error) => {
            let by_chance = matches!(error.kind(), Kind::Timeout | Kind::Transport);
            by_chance && error.retry_after().is_none() && !error.forbids_retry()
        }
    }
}

async fn ask<S, B>(mut service: S, request: Request<Body>, most: usize) -> Result<Response<Bytes>, Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Error::wrap)?;
    let (head, body) = service.call(request).await.map_err(Error::wrap)?.into_parts();
    let body = collect_up_to(body, most).await;
    let body = body.map_err(|error| Error::new(Kind::Body, error).with_delivery(Delivery::Answered))?;
    Ok(Response::from_parts(head, body))
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}
