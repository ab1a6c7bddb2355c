use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::body::KeyedBody;
use super::core::Core;
use super::work::Keyed;
use super::{IdempotencyFuture, IdempotencySettings, Store, key};
use crate::base::body::Body;
use crate::base::{Asked, BoxError, Error, Event, KeyOf, KeyedFault, KeyedRefused, Refuse, take};

/// Does a keyed request once. See [`IdempotencyLayer`](super::IdempotencyLayer).
pub struct IdempotencyService<I, S, F, R> {
    inner: I,
    /// Nothing, if the layer is switched off.
    core: Option<Arc<Core<S>>>,
    route: F,
    refuse: R,
}

impl<I, S, F, R> IdempotencyService<I, S, F, R> {
    pub(super) const fn with(inner: I, core: Option<Arc<Core<S>>>, route: F, refuse: R) -> Self {
        Self { inner, core, route, refuse }
    }
}

impl<I: Clone, S, F: Clone, R: Clone> Clone for IdempotencyService<I, S, F, R> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.core.clone(), self.route.clone(), self.refuse.clone())
    }
}

/// The key of a request, or `None` if it is to pass as it is.
fn key<B>(settings: &IdempotencySettings, request: &Request<B>) -> Result<Option<String>, KeyedFault> {
    if !settings.methods.contains(request.method()) {
        return Ok(None);
    }
    match key::read(request.headers()) {
        Ok(None) if settings.required => Err(KeyedFault::Missing),
        read => read.map_err(KeyedFault::Invalid),
    }
}

impl<I, S, F, R, ReqBody, ResBody> Service<Request<ReqBody>> for IdempotencyService<I, S, F, R>
where
    I: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send + 'static,
    S: Store,
    F: KeyOf<Request<ReqBody>, Key: fmt::Display>,
    R: Refuse + Clone + Send + 'static,
    ReqBody: HttpBody<Error: Into<BoxError>> + Send + 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Send + 'static,
{
    type Response = Response<KeyedBody<ResBody>>;
    type Error = I::Error;
    type Future = IdempotencyFuture<I::Future, ResBody, I::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let key = self.core.as_ref().map_or(Ok(None), |core| key(&core.settings, &request));
        let (core, key) = match (&self.core, key) {
            (Some(core), Ok(Some(key))) => (Arc::clone(core), key),
            (_, Ok(_)) => return IdempotencyFuture::passed(self.inner.call(request.map(Body::new))),
            (core, Err(fault)) => {
                // It is not called, so what it reserved is given back.
                drop(take(&mut self.inner));
                if let Some(core) = core {
                    core.observe.note(|| Event::KeyedRefused { why: fault });
                }
                let error = Error::from(KeyedRefused::new(fault));
                return IdempotencyFuture::answered(refused(&self.refuse, Asked::of(&request), &error));
            }
        };
        let service = take(&mut self.inner);
        let (asked, refuse) = (Asked::of(&request), self.refuse.clone());
        let keyed = Keyed { core, service, ready: true, route: self.route.key_of(&request).to_string(), key };
        let answer = keyed.answer(request.map(Body::new));
        IdempotencyFuture::keyed(Box::pin(async move {
            let reply = answer.await?;
            Ok(reply.unwrap_or_else(|error| refused(&refuse, asked, &error)))
        }))
    }
}

fn refused<B: HttpBody>(refuse: &impl Refuse, asked: Asked, error: &Error) -> Response<KeyedBody<B>> {
    refuse.refuse(asked, error).map(|data| KeyedBody::whole(data, None))
}

impl<I: fmt::Debug, S, F, R> fmt::Debug for IdempotencyService<I, S, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyService")
            .field("inner", &self.inner)
            .field("settings", &self.core.as_ref().map(|core| &core.settings))
            .finish_non_exhaustive()
    }
}
