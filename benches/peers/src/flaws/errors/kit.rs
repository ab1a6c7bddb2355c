//! A service that fails, and a walk from what its caller is told to the cause.

use std::error::Error;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

/// Fails each call.
#[derive(Clone, Copy)]
pub(super) struct Down;

impl Service<Request<Content>> for Down {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Ready<Result<Response<Content>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        ready(Err(Broken))
    }
}

/// What a call through a layer came to: it says that it failed, and whether the cause stands in its chain.
pub(super) async fn is_found<S>(service: S) -> bool
where
    S: Service<Request<Content>, Error: Error + 'static>,
{
    let error = match service.oneshot(plain()).await {
        Ok(_) => panic!("it fails each call"),
        Err(error) => error,
    };
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        if error.is::<Broken>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// `2 of 7`.
pub(super) fn counted(found: [bool; 7]) -> (usize, String) {
    let count = found.iter().filter(|found| **found).count();
    (count, format!("{count} of {}", found.len()))
}
