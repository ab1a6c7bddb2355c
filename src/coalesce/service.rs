use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::decide::Key;
use super::flight::Group;
use super::work::work;
use super::{CoalesceFuture, CoalesceSettings, Coalesced};
use crate::base::{BoxError, Error, context};

/// Makes one call of several that ask for the same at the same time. See the [module](super).
pub struct CoalesceService<S> {
    inner: S,
    settings: Arc<CoalesceSettings>,
    is_on: bool,
    /// The calls under way. What they answer with is known only when there is a request.
    group: Arc<OnceLock<Arc<dyn Any + Send + Sync>>>,
}

impl<S> CoalesceService<S> {
    pub(super) fn with(inner: S, settings: Arc<CoalesceSettings>, is_on: bool) -> Self {
        Self { inner, settings, is_on, group: Arc::default() }
    }

    /// Nothing, if the first request had answers of another type.
    fn group<B: Send + 'static>(&self) -> Option<Arc<Group<B>>> {
        let group = self.group.get_or_init(|| Group::<B>::new());
        Arc::clone(group).downcast().ok()
    }
}

impl<S: Clone> Clone for CoalesceService<S> {
    fn clone(&self) -> Self {
        let (settings, group) = (Arc::clone(&self.settings), Arc::clone(&self.group));
        Self { inner: self.inner.clone(), settings, is_on: self.is_on, group }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for CoalesceService<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    ReqBody: Body + Send + 'static,
    B: Body<Error: Into<BoxError>, Data: Send> + Send + Unpin + 'static,
{
    type Response = Response<Coalesced<B>>;
    type Error = Error;
    type Future = CoalesceFuture<S, ReqBody, B>;

    /// Always: the wait for the service is part of the call, and who shares one needs no service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let key = if self.is_on { Key::of(&request, &self.settings.ignored_headers) } else { None };
        let Some(((key, left_out), group)) = key.zip(self.group::<B>()) else {
            return CoalesceFuture::alone(self.inner.clone(), request);
        };
        let (service, max_body) = (self.inner.clone(), self.settings.max_body);
        let mut own = Some((service, request));
        let member = group.join(key, left_out, |flight| {
            let (service, request) = own.take().expect("it is begun once");
            // In the name of the first, whoever drives it.
            Box::pin(context::carry(work(service, request, max_body, flight)))
        });
        CoalesceFuture::joined(member, own)
    }
}

impl<S: fmt::Debug> fmt::Debug for CoalesceService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceService")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
