//! With whose authority?
//!
//! A [`TokenSource`] gets tokens for a client that speaks for itself (client credentials, RFC 6749, section 4.4), and a [`BearerLayer`] sends
//! requests with them:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), stonework::base::BoxError> {
//! use http::{Request, Response};
//! use stonework::base::ClientAuth;
//! use stonework::base::body::Body;
//! use stonework::oauth::{BearerLayer, TokenSource};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # let plain = service_fn(|request: Request<Body>| async move {
//! #     let text = match request.uri().path() {
//! #         "/token" => r#"{ "access_token": "abc", "token_type": "Bearer", "expires_in": 3600 }"#.to_owned(),
//! #         _ => format!("{:?}", request.headers().get("authorization").map(|value| value.as_bytes().len())),
//! #     };
//! #     Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
//! # });
//! # let for_tokens = plain.clone();
//! // Any two clients that send requests: that for tokens has limits, retries and connections of its own.
//! let source = TokenSource::builder("https://id.example/token", ClientAuth::basic("orders", "a secret"))
//!     .scope("stock:read")
//!     .build(for_tokens)?;
//!
//! let client = BearerLayer::new(source, ["https://stock.example"])?.layer(plain);
//! let request = Request::get("https://stock.example/items").body(Body::empty())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.into_body().collect_up_to(100).await?, "Some(10)"); // the length of "Bearer abc"
//! # Ok(()) }
//! ```
//!
//! *Where it stands:* on a client, inside of retry, so that each attempt has a token that is good then, and outside of a limit on each attempt, so
//! that waiting for a token does not count as the server's slowness. The client that fetches tokens is another stack: one with the layer in it would
//! wait for itself. Nor may the two share a limit on calls at once or a pool with a cap: a request that was answered with 401 keeps its answer, and
//! with it its place, while it waits for another token, which then waits for that place until it is [given up](TokenSettings::fetch_timeout).
//!
//! # When a token is fetched
//!
//! The first request that needs one begins. When between 70 % and 90 % of a token's life are over, as chance has it, the next request begins another
//! fetch, and nobody waits for it. If it fails, the old token is used until its very end; only then requests fail. However many wait, one fetch is
//! under way, in a task of its own, which ends with the last handle: a caller that gives up takes it away from nobody. Where nobody asks, nothing is
//! fetched.
//!
//! After a fetch that failed the server is [left alone](TokenSettings::backoff), for longer if it [says so](crate::base::RetryAfter); meanwhile those
//! who need a token are told at once why there is none.
//!
//! # When a token is refused
//!
//! A request that is answered with 401 waits for another token and is sent once more, if its body can be sent twice: a server that answers so has not
//! done what it was asked (RFC 9110, section 15.5.2), whatever the method. All that are refused with the same token wait for one fetch; the next one
//! because of a refusal begins ten seconds later [at the earliest](TokenSettings::renewal_pause). If there is no other token, the 401 is the answer.
//!
//! *Not for:* tokens on behalf of a user, which need a browser; tokens that are bound to a key (DPoP, mutual TLS). *Not covered:* gRPC says that a
//! token is not good with a status in its trailers, not with 401, and is not sent again.
//!
//! *Defaults:* see [`TokenSettings`]. *Errors:* those of the service, and, with [`NoToken`] in the chain, of requests that were not sent because
//! there is no token; these come back with the error. *Panics:* outside a Tokio runtime with timers. *Cancellation:* dropping a future drops the call
//! inside, and no fetch. *Readiness and cloning:* a layer is always ready, and waits for the inner service in the call, when there is a token; a
//! clone shares the source.

mod access_token;
mod answer;
mod builder;
mod cached;
mod error;
mod future;
mod layer;
mod service;
mod settings;
mod source;

pub use self::access_token::AccessToken;
pub use self::builder::TokenSourceBuilder;
pub use self::error::{CallFailed, InvalidOauth, NoToken, Refusal};
pub use self::future::BearerFuture;
pub use self::layer::BearerLayer;
pub use self::service::BearerService;
pub use self::settings::TokenSettings;
pub use self::source::{TokenSource, TokenStats};
