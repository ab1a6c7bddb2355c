use http::{Request, Response};
use tower_service::Service;

use crate::Body;

/// What a [`Server`](super::Server) can serve: a service of `http::Request<`[`Body`]`>` that answers with an `http::Response<B>` and can be
/// cloned, since each request gets a clone.
///
/// Every service of that kind is one, a router of axum that was given its state among them, and nothing else can be. It has a name so that
/// the compiler can say what is missing in one sentence.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use stonework::Body;
/// use stonework::server::Servable;
/// use tower::service_fn;
///
/// fn can_be_served<B>(_: impl Servable<B>) {}
///
/// can_be_served(axum::Router::new());
/// can_be_served(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) }));
/// ```
///
/// A handler of axum is none: it becomes one by a route.
///
/// ```compile_fail,E0277
/// # use stonework::server::Servable;
/// # fn can_be_served<B>(_: impl Servable<B>) {}
/// async fn hello() -> &'static str {
///     "hello"
/// }
/// can_be_served(hello);
/// ```
///
/// ```
/// # use stonework::server::Servable;
/// # fn can_be_served<B>(_: impl Servable<B>) {}
/// # async fn hello() -> &'static str {
/// #     "hello"
/// # }
/// can_be_served(axum::Router::new().route("/", axum::routing::get(hello)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served",
    label = "not a service that a server can take",
    note = "an axum `Router` can, with its state: `.with_state(…)`; so can a `tower::service_fn` of `http::Request<stonework::Body>`",
    note = "each request gets a clone: what is in a box can be cloned in a `tower::util::BoxCloneService`"
)]
pub trait Servable<B>:
    Service<
        Request<Body>,
        Response = Response<B>,
        Error = <Self as Servable<B>>::Failure,
        Future = <Self as Servable<B>>::Work,
    > + Clone
    + sealed::Sealed<B>
{
    /// Its [`Service::Error`].
    type Failure;
    /// Its [`Service::Future`].
    type Work;
}

// The sentence above is what helps, and not which of these bounds failed.
#[diagnostic::do_not_recommend]
impl<S, B> Servable<B> for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
{
    type Failure = S::Error;
    type Work = S::Future;
}

mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can name it is its purpose")]
    pub trait Sealed<B> {}
    impl<S, B> Sealed<B> for S {}
}
