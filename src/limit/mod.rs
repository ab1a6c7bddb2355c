//! May it come in?
//!
//! How large a body may be: [`RequestBodyLimitLayer`] on a server, so that nobody can fill its memory or its disk, and
//! [`ResponseBodyLimitLayer`] on a client, against a peer that sends more than anybody wants.
//!
//! A body that is announced to be too large is refused before a byte of it is read, on a server with 413. One that grows
//! over the limit fails with the frame that passes it: nothing beyond the limit is handed on.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use axum::{Router, body::Body, routing::post};
//! use http::{Request, StatusCode};
//! use stonework::limit::RequestBodyLimitLayer;
//! use tower::ServiceExt;
//!
//! let app: Router = Router::new()
//!     .route("/", post(|body: String| async move { body }))
//!     .layer(RequestBodyLimitLayer::new(1024).answer());
//!
//! let large = Request::post("/").body(Body::from("x".repeat(1025))).unwrap();
//! assert_eq!(app.oneshot(large).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
//! # }
//! ```
//!
//! Customized, where a refusal is an error of the client:
//!
//! ```
//! use stonework::limit::ResponseBodyLimitLayer;
//!
//! let layer = ResponseBodyLimitLayer::new(10 * 1024 * 1024);
//! # let _ = layer;
//! ```
//!
//! *Not covered:* the size of the head, which is the connection's to limit, and trailers. What is limited is the content as
//! it is transferred: a compressed body may be larger than the limit once it is not. *Not for:* limits on time, which are
//! in [`timeout`](crate::timeout).
//!
//! *Errors:* of kind `Body`, at whose end stands [`BodyTooLarge`](crate::base::body::BodyTooLarge); no `retry` repeats
//! them. *Cancellation:* dropping a future drops the call inside. *Readiness and cloning:* those of the inner service.

mod body;
mod rate;
mod shared;

pub use self::body::{
    LimitedBody, RequestBodyLimit, RequestBodyLimitLayer, RequestLimitFuture, ResponseBodyLimit,
    ResponseBodyLimitLayer, ResponseLimitFuture,
};
pub use self::rate::{Allowed, InvalidQuota, Quota, RateLimiter, Reservation};
pub use self::shared::*;
