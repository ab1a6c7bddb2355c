//! Who sends it?
//!
//! A [`Verifier`] says whether JSON Web Tokens are good, [`RemoteKeys`] fetch what it goes by, an [`Issuer`] makes them; a [`JwtLayer`] lets
//! requests in whose token is, and a [`RequireLayer`] those whose
//! sender may do what a route is for. Handlers take [`Claims`], and layers that need to know who is asking, such as a limit for each
//! caller, a [`Principal`](crate::base::Principal).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use stonework::base::ByPrincipal;
//! use stonework::jwt::{Algorithm, Claims, JwtLayer, Key, RequireLayer, Verifier};
//! use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer};
//! use tower::ServiceExt;
//!
//! // A secret, so that the example can show a token; mostly it is a set of public keys: `KeySet::jwks`.
//! let key = Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.")?;
//! let verifier = Verifier::builder()
//!     .keys(key)
//!     .algorithms([Algorithm::Hs256])
//!     .issuer("https://id.example")
//!     .audience("https://api.example")
//!     .build()?;
//!
//! let hello = |claims: Claims| async move { format!("hello {}", claims.subject().unwrap_or("whoever you are")) };
//! let app: Router = Router::new()
//!     .route("/", get(hello))
//!     .route("/orders", get(|| async { "none" }).layer(RequireLayer::scopes(["orders:write"])?.answer()))
//!     // Ten a second for each caller, whichever address they call from.
//!     .layer(RateLimitLayer::keyed(KeyedRateLimiter::new(Quota::per_second(10))?, ByPrincipal).answer())
//!     .layer(JwtLayer::new(verifier).answer());
//!
//! let ask = async |path, token| {
//!     let request = Request::get(path).header("authorization", format!("Bearer {token}"));
//!     app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
//! };
//! // From `https://id.example` for `https://api.example`: it is Alice, who may `orders:read`.
//! # let alice = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzY29wZSI6Im9yZGVyczpyZWFkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.PJt8QGJ1_MM_TTYMLhRpI9fHoUt6R-N5A6WdqE32PKU";
//! let answer = ask("/", alice).await;
//! assert_eq!(answer.status(), 200);
//! let answer = ask("/orders", alice).await;
//! assert_eq!(answer.status(), 403);
//! assert_eq!(answer.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="orders:write""#);
//! assert_eq!(ask("/", "not.a.token").await.status(), 401);
//! # Ok(()) }
//! ```
//!
//! # What is refused
//!
//! The key says which algorithm a token must have, and its header must agree: a token cannot choose ([RFC 8725](https://www.rfc-editor.org/rfc/rfc8725),
//! section 3.1). There is no `none`, an RSA key is no secret, and a text that is a public key cannot be made one. Refused are, before anything
//! else is looked at: what is no three parts of canonical base64url; a token that is too long; a header that is no JSON object, has a member twice, or asks for
//! an extension (`crit`, `b64`, `zip`); a token within the token; one of another type. Keys that a header brings along or points to (`jwk`, `jku`, `x5c`,
//! `x5u`) are not even looked at. Then, of what is signed: claims that have a member twice, at any depth, or one of a wrong type; no `exp`, or one that is over; `nbf`
//! or `iat` in the future; no `iss` or `aud` where one is expected, or another; a claim that is missing that [must be there](JwtSettings::require).
//!
//! # What is answered
//!
//! | | on a server, `.answer()` | `error` in `WWW-Authenticate` |
//! |---|---|---|
//! | no token, or credentials of another kind | 401 | none |
//! | a token that is not good | 401 | `invalid_token` |
//! | credentials that cannot be read, or more than one token | 400 | `invalid_request` |
//! | a scope or a role is missing | 403 | `insufficient_scope` |
//! | there are no keys yet, or nobody says whether it was revoked | 503 with `Retry-After` | |
//!
//! As [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) has it, in problem JSON; to a call of gRPC, `UNAUTHENTICATED`, `PERMISSION_DENIED` or
//! `UNAVAILABLE`. Neither says why a token is not good: [events](VerifierBuilder::observer) do, with the claim that is to blame.
//!
//! # What is remembered
//!
//! Nothing, unless [it is said](JwtSettings::cache). Then tokens that were found to be good are, and never by their text: a bounded number, for a while, and none longer
//! than until it expires. Whenever one comes, its time is looked at, whether its key is still there, and whether it was
//! [revoked](VerifierBuilder::revocation). Those that are not good are never remembered.
//!
//! # Where keys come from
//!
//! A [`KeySet`] that was read from a file; [`Keys`], which can be replaced by whoever knows better; or [`RemoteKeys`], which are fetched from an issuer
//! over any client, and fetched again: one task for each, no request waits for the first ones, and no outage takes those away that are there. Of
//! several issuers [each has its own](VerifierBuilder::issuers_with_keys). Whoever issues tokens has an [`Issuer`].
//! # Tokens that only their server knows
//! An [`Introspector`] asks the server that issued a token whether it is good (RFC 7662), and an [`IntrospectLayer`] takes the place of a
//! [`JwtLayer`]. What the server says is remembered for ten seconds; one question about a token is under way at a time; what is not said to be active
//! in so many words is refused, and what cannot be asked is answered with 503.
//!
//! # Whose arithmetic
//!
//! Signatures are checked by AWS-LC (feature `jwt`) or by the crates of RustCrypto (feature `jwt-rust-crypto`), through `jsonwebtoken`. Both may be there:
//! [`Backend`] is always said, by default it is AWS-LC, and no default of the process is read or set, whatever other crates do.
//!
//! *Not for:* encrypted tokens, tokens that are bound to a key of their sender's (they are refused, unless something in front
//! [compares](JwtSettings::bound_tokens) the key), sessions in cookies. *Not covered:* nobody is asked
//! whether a signed token was revoked unless you say whom, so until it expires it is good. That a point lies on its curve is found out with the first
//! token.
//!
//! *Defaults:* see [`JwtSettings`]. *Errors:* of kind `Invalid`, at whose end stands [`TokenRefused`](crate::base::TokenRefused); of kind
//! `Overload`, at whose end stands [`CannotTell`]. Not sent, both. *Panics:* none. *Cancellation:* dropping a future drops the call inside, or what
//! asks whether a token was revoked; nothing is left. *Readiness and cloning:* layers are always ready, and wait for the inner service in the call, when
//! it is known that it may come in; a clone shares keys and what is remembered.

mod active;
mod algorithm;
mod backend;
mod base64url;
mod bearer;
mod builder;
mod cache;
mod check;
mod checked;
mod claims;
mod der;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod gate;
mod header;
mod introspect;
mod introspect_builder;
mod introspect_layer;
mod introspect_settings;
mod issuer;
mod json;
mod jwk;
mod key;
mod keys;
mod layer;
mod material;
mod pem;
mod read;
mod remote;
mod require;
mod require_layer;
mod service;
mod set;
mod settings;
mod token;
mod trusted;
mod verifier;
mod verify;

pub use self::active::Introspected;
pub use self::algorithm::Algorithm;
pub use self::backend::Backend;
pub use self::builder::{
    Complete, NeedsAlgorithms, NeedsAlgorithmsOnly, NeedsAudience, NeedsIssuer, NeedsKeys, VerifierBuilder,
};
pub use self::checked::CheckedFuture;
pub use self::claims::{Claims, TokenInfo};
pub use self::error::{CannotTell, InvalidJwt};
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::extract::NoClaims;
pub use self::future::JwtFuture;
pub use self::introspect::Introspector;
pub use self::introspect_builder::IntrospectorBuilder;
pub use self::introspect_layer::{IntrospectLayer, IntrospectService};
pub use self::introspect_settings::IntrospectSettings;
pub use self::issuer::{Issuer, IssuerBuilder, IssuerService, IssuerSettings, NotSigned, SigningKey};
pub use self::key::Key;
pub use self::keys::Keys;
pub use self::layer::JwtLayer;
pub use self::remote::{RemoteKeys, RemoteKeysBuilder, RemoteKeysSettings};
pub use self::require_layer::{RequireLayer, RequireService};
pub use self::service::JwtService;
pub use self::set::{InvalidKeySet, KeySet};
pub use self::settings::JwtSettings;
pub use self::verifier::Verifier;
