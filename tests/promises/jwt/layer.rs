//! What is answered to whom, and what handlers are told.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use stonework::base::{ByPrincipal, Delivery, Error, Event, Kind, Principal, TokenFault, TokenRefused};
use stonework::jwt::{Algorithm, Claims, JwtLayer, Keys, RequireLayer, Verifier};
use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer};
use stonework::testing::Recorder;
use tower::{Layer, ServiceExt, service_fn};

use super::tokens::{ALGORITHMS, ED25519, SECRET, Signer, plain};
use super::{AUDIENCE, ISSUER, NOON, claims, noon, verifier};
use crate::support::Broken;

fn es() -> Verifier {
    verifier(ED25519.key(Algorithm::EdDsa))
}

fn alice(more: &str) -> String {
    plain(Algorithm::EdDsa, &claims(more))
}

async fn ask(app: &Router, path: &str, token: Option<&str>) -> Response<String> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn send(app: &Router, request: Request<Body>) -> Response<String> {
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

fn challenge<B>(response: &Response<B>) -> (u16, &str) {
    let challenge = response.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap());
    (response.status().as_u16(), challenge)
}

async fn whoami(claims: Claims) -> String {
    format!("{} of {}", claims.subject().unwrap(), claims.issuer().unwrap())
}

#[tokio::test]
async fn every_refusal_is_answered_as_rfc_6750_says_and_tells_nothing_of_use() {
    let told = Recorder::new();
    let builder = Verifier::builder().keys(ED25519.key(Algorithm::EdDsa)).algorithms(ALGORITHMS);
    let builder = builder.issuer(ISSUER).audience(AUDIENCE).clock(noon()).observer(told.clone());
    let layer = JwtLayer::new(builder.build().unwrap()).realm("an api").unwrap().answer();
    let app = Router::new().route("/", get(whoami)).layer(layer);

    let good = format!("Bearer {}", alice(""));
    let expired = plain(Algorithm::EdDsa, &format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1}}"#));
    let late = format!("bearer {expired}");
    let none = r#"Bearer realm="an api""#;
    let (invalid, malformed) =
        (format!(r#"{none}, error="invalid_token""#), format!(r#"{none}, error="invalid_request""#));
    let rsa = format!("Bearer {}", plain(Algorithm::Rs256, &claims("")));
    for (fields, path, status, expected, why) in [
        (&[good.as_str()][..], "/", 200, "", None),
        (&[], "/", 401, none, Some(TokenFault::Missing)),
        (&["Basic dTpw"], "/", 401, none, Some(TokenFault::Missing)),
        (&[], "/?access_token=a.b.c", 401, none, Some(TokenFault::Missing)),
        (&[&late], "/", 401, &invalid, Some(TokenFault::Expired)),
        (&[&rsa], "/", 401, &invalid, Some(TokenFault::Algorithm)),
        (&["Bearer a.b"], "/", 401, &invalid, Some(TokenFault::Encoding)),
        (&["Bearer"], "/", 400, &malformed, Some(TokenFault::Malformed)),
        (&["Bearer a b"], "/", 400, &malformed, Some(TokenFault::Malformed)),
        (&[&good, &good], "/", 400, &malformed, Some(TokenFault::Repeated)),
        (&[&good], "/?access_token=a.b.c", 400, &malformed, Some(TokenFault::Repeated)),
    ] {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        for field in fields {
            request.headers_mut().append("authorization", field.parse().unwrap());
        }
        let before = told.events().len();
        let answer = send(&app, request).await;
        assert_eq!(challenge(&answer), (status, expected), "{fields:?} {path}");
        let said = told.events()[before..].iter().find_map(|event| match event {
            Event::TokenRefused { why, .. } => Some(*why),
            _ => None,
        });
        assert_eq!(said, why);
        if status != 200 {
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body = answer.body();
            for word in ["expired", "algorithm", "EdDSA", "alice", "base64", ISSUER, "2026"] {
                assert!(!body.contains(word), "{body}");
            }
        }
    }
    let field = told.events().into_iter().find_map(|event| match event {
        Event::TokenRefused { why: TokenFault::Expired, field, .. } => field,
        _ => None,
    });
    assert_eq!(field.as_deref(), Some("exp"));
}

#[tokio::test]
async fn all_that_is_not_good_gets_the_same_answer() {
    let app = Router::new().route("/", get(whoami)).layer(JwtLayer::new(es()).answer());
    let strange = Signer::ed25519().token(Algorithm::EdDsa, r#"{"alg":"EdDSA"}"#, &claims(""));
    let mut answers = Vec::new();
    for token in ["a.b.c", &strange, &plain(Algorithm::EdDsa, "{}"), &plain(Algorithm::Rs256, &claims(""))] {
        let answer = ask(&app, "/", Some(token)).await;
        answers.push((answer.status(), answer.headers().clone(), answer.body().clone()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn a_route_asks_for_scopes_and_roles() {
    let told = Recorder::new();
    let require = |layer: Result<RequireLayer, _>| layer.unwrap().observer(told.clone()).answer();
    let app = Router::new()
        .route("/all", get(whoami).layer(require(RequireLayer::scopes(["a:r", "a:w"]))))
        .route("/any", get(whoami).layer(require(RequireLayer::any_scope(["a:r", "a:w"]))))
        .route("/roles", get(whoami).layer(require(RequireLayer::roles(["admin", "on call"]))))
        .route("/role", get(whoami).layer(require(RequireLayer::any_role(["admin", "on call"]))))
        .layer(JwtLayer::new(es()).optional().answer());
    let scope = |scope| format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
    let role = r#"Bearer error="insufficient_scope""#.to_owned();
    for (path, more, status, expected) in [
        ("/all", r#","scope":"x a:w a:r""#, 200, String::new()),
        ("/all", r#","scope":"a:r""#, 403, scope("a:r a:w")),
        ("/all", r#","scope":"a:ra:w""#, 403, scope("a:r a:w")),
        ("/all", "", 403, scope("a:r a:w")),
        ("/any", r#","scp":["a:w"]"#, 200, String::new()),
        ("/any", r#","scope":"a""#, 403, scope("a:r")),
        ("/roles", r#","roles":["on call","admin"]"#, 200, String::new()),
        ("/roles", r#","roles":["admin"],"scope":"on call""#, 403, role.clone()),
        ("/role", r#","roles":"admin""#, 200, String::new()),
        ("/role", r#","roles":["Admin"]"#, 403, role.clone()),
    ] {
        let answer = ask(&app, path, Some(&alice(more))).await;
        assert_eq!(challenge(&answer), (status, &*expected), "{path} {more}");
    }
    // Without a token nobody is known, and nobody is told what would do but what is said openly.
    let answer = ask(&app, "/all", None).await;
    assert_eq!(challenge(&answer), (401, r#"Bearer scope="a:r a:w""#));
    let refused = |event: &Event| matches!(event, Event::TokenRefused { why: TokenFault::Scope, .. });
    assert_eq!(told.events().iter().filter(|event| refused(event)).count(), 4);
}

#[tokio::test]
async fn who_comes_without_a_token_is_let_in_where_that_is_said_and_handlers_still_want_one() {
    async fn greet(claims: Option<Claims>) -> String {
        claims.map_or("nobody".to_owned(), |claims| claims.subject().unwrap().to_owned())
    }
    let app = Router::new()
        .route("/", get(greet))
        .route("/me", get(whoami))
        .layer(JwtLayer::new(es()).optional().answer());
    assert_eq!(ask(&app, "/", None).await.body(), "nobody");
    assert_eq!(ask(&app, "/", Some(&alice(""))).await.body(), "alice");
    assert_eq!(ask(&app, "/me", Some(&alice(""))).await.body(), &format!("alice of {ISSUER}"));
    assert_eq!(challenge(&ask(&app, "/me", None).await), (401, "Bearer"));
    // A token that is not good is no lack of one.
    assert_eq!(ask(&app, "/", Some("a.b.c")).await.status(), 401);
    // Where no layer stands, nobody is known.
    let bare = Router::new().route("/", get(whoami));
    assert_eq!(ask(&bare, "/", Some(&alice(""))).await.status(), 401);
    let off = Router::new().route("/", get(greet)).layer(JwtLayer::new(es()).answer().when(false));
    assert_eq!(ask(&off, "/", Some("a.b.c")).await.body(), "nobody");
}

#[derive(serde::Deserialize)]
struct Tenant {
    tenant: String,
}

#[tokio::test]
async fn a_service_reads_claims_of_its_own_and_what_it_cannot_read_is_refused() {
    let builder = Verifier::builder().keys(ED25519.key(Algorithm::EdDsa)).algorithms(ALGORITHMS);
    let builder = builder.issuer(ISSUER).audience(AUDIENCE).clock(noon()).claims::<Tenant>();
    let tenant = |claims: Claims<Tenant>| async move { claims.own().tenant.clone() };
    let app = Router::new().route("/", get(tenant)).layer(JwtLayer::new(builder.build().unwrap()).answer());
    assert_eq!(ask(&app, "/", Some(&alice(r#","tenant":"acme""#))).await.body(), "acme");
    for more in ["", r#","tenant":7"#] {
        assert_eq!(ask(&app, "/", Some(&alice(more))).await.status(), 401, "{more}");
    }
}

#[tokio::test]
async fn handlers_are_told_all_that_the_token_says_of_itself() {
    let more = format!(r#","jti":"7","nbf":{},"iat":{NOON},"scope":"a b","roles":["r"]"#, NOON - 1);
    let check = |claims: Claims, Extension(who): Extension<Principal>, headers: HeaderMap| async move {
        let at = |at: Option<std::time::SystemTime>| {
            at.unwrap().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!((claims.id(), at(claims.expires_at())), (Some("7"), NOON + 3600));
        assert_eq!((at(claims.not_before()), at(claims.issued_at())), (NOON - 1, NOON));
        assert_eq!((who.subject(), who.issuer()), (Some("alice"), Some(ISSUER)));
        assert!(who.scopes().eq(["a", "b"]) && who.roles().eq(["r"]));
        assert!(headers["authorization"].is_sensitive());
        assert!(!format!("{claims:?} {who:?} {headers:?}").contains("alice"));
    };
    let app = Router::new().route("/", get(check)).layer(JwtLayer::new(es()).answer());
    assert_eq!(ask(&app, "/", Some(&alice(&more))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_goes_by_who_is_asking() {
    let limiter = KeyedRateLimiter::new(Quota::per_minute(1)).unwrap();
    let app = Router::new()
        .route("/", get(whoami))
        .layer(RateLimitLayer::keyed(limiter, ByPrincipal).answer())
        .layer(JwtLayer::new(es()).answer());
    let bob = plain(
        Algorithm::EdDsa,
        &format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"bob","exp":{}}}"#, NOON + 60),
    );
    assert_eq!(ask(&app, "/", Some(&alice(""))).await.status(), 200);
    // Another token, and the same person.
    assert_eq!(ask(&app, "/", Some(&alice(r#","jti":"2""#))).await.status(), 429);
    assert_eq!(ask(&app, "/", Some(&bob)).await.status(), 200);
    assert_eq!(ask(&app, "/", Some(&bob)).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_answer_is_503_that_says_when_to_come_back() {
    let keys = Keys::pending();
    let app = Router::new().route("/", get(whoami)).layer(JwtLayer::new(verifier(keys.clone())).answer());
    let answer = ask(&app, "/", Some(&alice(""))).await;
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert!(!answer.headers().contains_key("www-authenticate"));
    assert_eq!(ask(&app, "/", None).await.status(), 401);
    keys.replace(ED25519.key(Algorithm::EdDsa));
    assert_eq!(ask(&app, "/", Some(&alice(""))).await.status(), 200);
}

#[tokio::test]
async fn grpc_is_told_in_its_own_way() {
    let app = Router::new()
        .route("/s/m", post(|| async {}).layer(RequireLayer::scopes(["a"]).unwrap().answer()))
        .layer(JwtLayer::new(es()).answer());
    let call = async |token: Option<String>| {
        let mut request = Request::post("/s/m").header("content-type", "application/grpc");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = send(&app, request.body(Body::empty()).unwrap()).await;
        (
            answer.status().as_u16(),
            answer.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    assert_eq!(call(None).await, (200, Some("16".to_owned())));
    assert_eq!(call(Some("a.b.c".to_owned())).await, (200, Some("16".to_owned())));
    assert_eq!(call(Some(alice(""))).await, (200, Some("7".to_owned())));
    assert_eq!(call(Some(alice(r#","scope":"a""#))).await, (200, None));
}

#[tokio::test]
async fn where_refusals_are_errors_they_say_why() {
    let inner = || service_fn(|_: Request<()>| async { Ok::<_, Infallible>("done") });
    let error = async |request: Request<()>| -> Error {
        JwtLayer::new(es()).plain().layer(inner()).oneshot(request).await.unwrap_err()
    };
    let request = |token: &str| Request::get("/").header("authorization", token).body(()).unwrap();
    let refused = error(request("Bearer a.b.c")).await;
    assert_eq!(refused.cause::<TokenRefused>().unwrap().fault(), TokenFault::Encoding);
    let refused = error(Request::get("/").body(()).unwrap()).await;
    assert_eq!(refused.cause::<TokenRefused>().unwrap().status(), 401);
    let answered =
        JwtLayer::new(es()).plain().layer(inner()).oneshot(request(&format!("Bearer {}", alice("")))).await;
    assert_eq!(answered.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_somebody_is_asked_about_its_token_leaves_nothing() {
    let builder = Verifier::builder().keys(SECRET.key(Algorithm::Hs256)).algorithms(ALGORITHMS);
    let builder = builder.any_issuer().any_audience().clock(noon());
    let verifier =
        builder.revocation(|_| std::future::pending::<Result<bool, Infallible>>()).build().unwrap();
    let asked = std::sync::Arc::new(());
    let held = asked.clone();
    let inner = service_fn(move |_: Request<()>| {
        let _held = held.clone();
        async { Ok::<_, Infallible>("done") }
    });
    let request =
        Request::get("/").header("authorization", format!("Bearer {}", plain(Algorithm::Hs256, &claims(""))));
    let call = JwtLayer::new(verifier).plain().layer(inner).oneshot(request.body(()).unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(60), call).await.is_err());
    assert_eq!(std::sync::Arc::strong_count(&asked), 1);
}

#[tokio::test]
async fn what_is_never_ready_below_was_not_sent() {
    for late in [false, true] {
        let service = JwtLayer::new(es()).layer(Broken { late });
        let request = Request::get("/").header("authorization", format!("Bearer {}", alice("")));
        let error = service.oneshot(request.body(()).unwrap()).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Other, Delivery::NotSent), "late: {late}");
    }
}
