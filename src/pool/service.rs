use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::{InPool, PoolFuture};
use super::{Manage, Pool};
use crate::base::{Answer, Hold, Http, Plain, Problem};

/// A pool of services as one service, so that other layers apply: each call gets an object of its own, which goes back when the call
/// has ended.
///
/// With a response over HTTP that is the end of its body: a connection is not used again before. An object is closed after a call that
/// failed, or after which its connection speaks another protocol (101, or a success of CONNECT); one whose call or body was dropped, unless
/// its manager says that it is [clean](Manage::is_clean). It is always ready: the
/// wait for an object, and for that to be ready, is part of the call.
///
/// ```
/// use stonework::pool::{Manage, Pool};
/// use tower::{ServiceExt, service_fn, util::BoxService};
///
/// struct Echoes;
///
/// impl Manage for Echoes {
///     type Object = BoxService<String, String, std::convert::Infallible>;
///     type Error = std::convert::Infallible;
///
///     async fn connect(&self) -> Result<Self::Object, Self::Error> {
///         Ok(BoxService::new(service_fn(|text: String| async move { Ok(text) })))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
/// let service = Pool::new(Echoes).service().plain();
/// assert_eq!(service.oneshot("hello".to_owned()).await?, "hello");
/// # Ok(()) }
/// ```
pub struct PoolService<M: Manage, Mo = Http> {
    pool: Pool<M>,
    mode: Mo,
}

impl<M: Manage> Pool<M> {
    /// The pool as a service: see [`PoolService`].
    #[must_use]
    pub fn service(&self) -> PoolService<M> {
        PoolService { pool: self.clone(), mode: Http }
    }
}

impl<M: Manage, Mo> PoolService<M, Mo> {
    /// Refuse with a response, a [`Problem`], and leave the inner error type alone: for servers.
    #[must_use]
    pub fn answer(self) -> PoolService<M, Answer<Problem>> {
        PoolService { pool: self.pool, mode: Answer::with(Problem) }
    }

    /// Refuse with an error, whatever the type of the response; an object goes back when its response is returned.
    #[must_use]
    pub fn plain(self) -> PoolService<M, Plain> {
        PoolService { pool: self.pool, mode: Plain }
    }

    /// The pool.
    pub const fn pool(&self) -> &Pool<M> {
        &self.pool
    }
}

impl<M: Manage, Mo: Clone> Clone for PoolService<M, Mo> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), mode: self.mode.clone() }
    }
}

impl<M, Mo, Req> Service<Req> for PoolService<M, Mo>
where
    M: Manage,
    M::Object: Service<Req>,
    Req: Send + 'static,
    Mo: Hold<Req, <M::Object as Service<Req>>::Response, <M::Object as Service<Req>>::Error, InPool<M>>
        + Clone,
{
    type Response = Mo::Response;
    type Error = Mo::Error;
    type Future = PoolFuture<M, Req, Mo>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Mo::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (asked, mode) = (self.mode.note(&request), self.mode.clone());
        match self.pool.try_get_fresh() {
            Some(object) => PoolFuture::with(object, request, asked, mode),
            None => {
                let pool = self.pool.clone();
                PoolFuture::waiting(Box::pin(async move { pool.get().await }), request, asked, mode)
            }
        }
    }
}

impl<M: Manage, Mo> fmt::Debug for PoolService<M, Mo> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolService").field("pool", &self.pool).finish_non_exhaustive()
    }
}
