//! What must hold of what authorization servers answer, whatever the bytes: as in `parsers.rs`.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use serde_json::Value;
use stonework::base::body::Body;
use stonework::base::{ClientAuth, TokenRefused};
use stonework::jwt::{CannotTell, Introspector};
use stonework::oauth::{NoToken, TokenSource};
use tokio::runtime::{Builder, Runtime};
use tower::{Service, service_fn};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// A server that answers with these bytes, at once.
fn server(
    bytes: Vec<u8>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |_: Request<Body>| {
        let bytes = bytes.clone();
        async move { Ok::<_, Infallible>(Response::new(Body::from(bytes))) }
    })
}

fn auth() -> ClientAuth {
    ClientAuth::basic("me", "a secret")
}

/// The answer to who asks for a token.
pub(crate) fn token_response(bytes: &[u8]) -> bool {
    let source = TokenSource::builder("https://id.example/token", auth()).build(server(bytes.to_vec()));
    let source = source.expect("an address");
    let (found, stats) = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let found = source.token().await;
            (found, source.stats())
        })
    });
    match &found {
        Ok(token) => {
            let said: Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!(said["access_token"], token.secret());
            assert!(said["token_type"].as_str().expect("a text").eq_ignore_ascii_case("bearer"));
            assert!(token.secret().bytes().all(|byte| byte.is_ascii_graphic()) && !token.secret().is_empty());
            assert_eq!(token.header().as_bytes(), [b"Bearer ", token.secret().as_bytes()].concat());
            assert!(token.header().is_sensitive());
            assert_eq!(said.get("scope").and_then(Value::as_str), token.scope());
            assert!(stats.good_for.is_some_and(|length| length <= Duration::from_secs(24 * 60 * 60)));
        }
        Err(error) => {
            let why = error.cause::<NoToken>().expect("why there is none");
            assert!(matches!(why, NoToken::Unreadable { .. }), "{why:?}");
            assert!(error.retry_after().is_some() && stats.good_for.is_none());
        }
    }
    found.is_ok()
}

/// The answer to who asks about a token.
pub(crate) fn introspection(bytes: &[u8]) -> bool {
    let builder = Introspector::builder("https://id.example/introspect", auth()).audiences(["a"]).issuer("i");
    let introspector = builder.build(server(bytes.to_vec())).expect("an address");
    let found = RUNTIME.with(|runtime| runtime.block_on(introspector.check("opaque")));
    match &found {
        Ok(found) => {
            let said: Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!((&said["active"], &said["iss"]), (&Value::Bool(true), &Value::from("i")));
            let audience = |aud: &Value| aud == "a";
            assert!(
                audience(&said["aud"]) || said["aud"].as_array().is_some_and(|all| all.iter().any(audience))
            );
            assert_eq!(said.get("sub").map(|sub| sub.as_str().expect("a text")), found.subject());
        }
        Err(error) => {
            let (refused, unknown) = (error.cause::<TokenRefused>(), error.cause::<CannotTell>());
            assert!(refused.is_some() != unknown.is_some());
            assert_eq!(introspector.remembered(), 0);
        }
    }
    found.is_ok()
}
