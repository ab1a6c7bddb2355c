use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::Following;
use super::trail::Trail;
use crate::base::Error;
use crate::base::body::Body;

/// Goes where a server says that the answer is.
pub(crate) struct Redirect<S> {
    inner: S,
    /// Nothing, if it is switched off.
    terms: Option<Terms<S>>,
}

/// What all clones share.
struct Terms<S> {
    limit: u32,
    tells_head: bool,
    /// What is called for the second request and all that follow: copied only then, since most calls have one.
    fresh: Arc<S>,
}

impl<S: Clone> Redirect<S> {
    /// Follow up to `limit` redirects, or none; `tells_head`: and say with which head the last one was asked for.
    pub(crate) fn new(inner: S, limit: Option<u32>, tells_head: bool) -> Self {
        let terms = limit.map(|limit| Terms { limit, tells_head, fresh: Arc::new(inner.clone()) });
        Self { inner, terms }
    }
}

impl<S: Clone> Clone for Redirect<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), terms: self.terms.clone() }
    }
}

impl<S> Clone for Terms<S> {
    fn clone(&self) -> Self {
        Self { limit: self.limit, tells_head: self.tells_head, fresh: Arc::clone(&self.fresh) }
    }
}

impl<S> fmt::Debug for Redirect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.terms.as_ref().map(|terms| terms.limit);
        f.debug_struct("Redirect").field("limit", &limit).finish_non_exhaustive()
    }
}

impl<S> Service<Request<Body>> for Redirect<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Error> + Clone,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Following<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Following<S> {
        let plan = self.terms.as_ref().map(|terms| {
            let trail = Trail::of(&mut request, terms.limit, terms.tells_head);
            (trail, Arc::clone(&terms.fresh))
        });
        Following::new(self.inner.call(request), plan)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::task::Waker;

    use super::*;

    /// Answers with what it was made with, at once.
    #[derive(Clone)]
    struct Answers(u16);

    impl Service<Request<Body>> for Answers {
        type Response = Response<Body>;
        type Error = Error;
        type Future = Ready<Result<Response<Body>, Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::from_u16(self.0).expect("a status");
            ready(Ok(response))
        }
    }

    fn allocations(service: &mut Redirect<Answers>, request: Request<Body>) -> u64 {
        let mut request = Some(request);
        let measured = allocation_counter::measure(|| {
            let call = service.call(request.take().expect("one call"));
            let polled = std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(response)) if response.extensions().is_empty()));
        });
        measured.count_total
    }

    #[test]
    fn an_answer_that_is_no_redirect_costs_no_allocation_but_the_copy_of_the_fields() {
        let get = || Request::get("http://host/").body(Body::empty()).unwrap();
        let mut with_field = get();
        with_field.headers_mut().insert("accept", http::HeaderValue::from_static("*/*"));
        let cost = allocation_counter::measure(|| drop(with_field.headers().clone())).count_total;
        assert!(cost > 0, "the measure sees an allocation");
        for status in [200, 304, 302] {
            let mut service = Redirect::new(Answers(status), Some(10), true);
            let uri = get().uri().clone();
            let (mut plain, mut more) = (get(), get());
            *more.headers_mut() = with_field.headers().clone();
            // The first copy of a URI makes it one that is shared.
            *plain.uri_mut() = uri.clone();
            *more.uri_mut() = uri.clone();
            assert_eq!(allocations(&mut service, plain), 0, "{status}");
            assert_eq!(allocations(&mut service, more), cost, "{status}");
        }
    }
}
