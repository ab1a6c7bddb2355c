//! Tokens about which the server is asked that issued them: a module of `jwt`, whose server is the one here.

use http::HeaderMap;
use stonework::base::{Delivery, Principal, TokenFault, TokenRefused, WallClock};
use stonework::jwt::{
    CannotTell, IntrospectLayer, IntrospectSettings, Introspected, Introspector, InvalidJwt, RequireLayer,
};
use stonework::testing::{Scripted, Step, Strict};
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::*;

const NOON: u64 = 1_767_268_800;

fn active(more: &str) -> Says {
    let text = format!(
        r#"{{"active":true,"iss":"https://id.example","aud":"https://api.example","sub":"alice","scope":"orders:read"{more}}}"#
    );
    Says::Status(200, None, text)
}

fn inactive() -> Says {
    Says::Status(200, None, r#"{"active":false}"#.into())
}

fn with(provider: &Provider, settings: IntrospectSettings) -> Introspector {
    let auth = ClientAuth::basic("api", SECRET);
    let builder = Introspector::builder("https://id.example/introspect", auth);
    builder
        .audiences(["https://api.example"])
        .issuer("https://id.example")
        .clock(WallClock::fixed_at(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(NOON)))
        .settings(settings)
        .build(provider.clone())
        .expect("valid settings")
}

fn introspector(provider: &Provider) -> Introspector {
    with(provider, IntrospectSettings::new())
}

fn fault(result: Result<Introspected, Error>) -> TokenFault {
    let error = result.expect_err("it is not good");
    assert_eq!((error.kind(), error.delivery()), (Kind::Invalid, Delivery::NotSent));
    error.cause::<TokenRefused>().expect("it says why").fault()
}

/// When to come back.
fn unknown(result: Result<Introspected, Error>) -> Duration {
    let error = result.expect_err("nobody knows");
    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Revocation));
    error.retry_after().expect("when to come back")
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_active_is_good_and_is_remembered_for_ten_seconds() {
    let provider = Provider::new(active(""));
    let introspector = introspector(&provider);
    let found = introspector.check("opaque").await.unwrap();
    assert_eq!((found.subject(), found.issuer()), (Some("alice"), Some("https://id.example")));
    assert!(found.principal().has_scope("orders:read"));
    let Asked { head, form } = provider.last();
    assert_eq!(form, "token=opaque&token_type_hint=access_token");
    assert_eq!((head.method().as_str(), head.uri().path()), ("POST", "/introspect"));
    assert!(head.headers()["authorization"].is_sensitive());

    provider.says(inactive());
    advance(10 * SECOND - Duration::from_millis(1)).await;
    assert!(introspector.check("opaque").await.is_ok());
    assert_eq!((provider.asked(), introspector.remembered()), (1, 1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(fault(introspector.check("opaque").await), TokenFault::Inactive);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_counted_from_the_question() {
    let provider = Provider::new(active(""));
    provider.takes(4 * SECOND);
    let introspector = introspector(&provider);
    let begun = Instant::now();
    assert!(introspector.check("opaque").await.is_ok());
    assert_eq!(begun.elapsed(), 4 * SECOND);
    provider.says(inactive());
    advance(6 * SECOND - Duration::from_millis(1)).await;
    assert!(introspector.check("opaque").await.is_ok());
    advance(Duration::from_millis(1)).await;
    assert_eq!(fault(introspector.check("opaque").await), TokenFault::Inactive);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_server_asked_for_is_made_no_shorter_by_a_question_that_fails_later() {
    let provider = Provider::new(Says::Never);
    let introspector = introspector(&provider);
    let slow = tokio::spawn({
        let introspector = introspector.clone();
        async move { introspector.check("slow").await }
    });
    settle().await;
    provider.says(Says::Status(503, Some(("retry-after", "60")), String::new()));
    assert_eq!(unknown(introspector.check("opaque").await), MINUTE);
    assert_eq!(unknown(slow.await.unwrap()), 55 * SECOND, "it is given up after five");
    advance(54 * SECOND).await;
    assert_eq!(unknown(introspector.check("opaque").await), SECOND);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_active_is_refused_and_asked_about_each_time() {
    let provider = Provider::new(inactive());
    let introspector = introspector(&provider);
    for number in 1..=3 {
        assert_eq!(fault(introspector.check("opaque").await), TokenFault::Inactive);
        assert_eq!((provider.asked(), introspector.remembered()), (number, 0));
    }
    provider.says(active(""));
    assert!(introspector.check("opaque").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_for_somebody_else_or_is_over_is_refused_though_it_is_active() {
    for (more, expected) in [
        (format!(r#","exp":{}"#, NOON - 31), TokenFault::Expired),
        (format!(r#","nbf":{}"#, NOON + 31), TokenFault::NotYetValid),
    ] {
        let provider = Provider::new(active(&more));
        assert_eq!(fault(introspector(&provider).check("opaque").await), expected);
    }
    let Says::Status(_, _, good) = active("") else { panic!("a status") };
    for (from, to, expected) in [
        ("https://api.example", "https://other.example", TokenFault::Audience),
        (r#""aud":"https://api.example","#, "", TokenFault::MissingAudience),
        ("https://id.example", "https://evil.example", TokenFault::Issuer),
        (r#""iss":"https://id.example","#, "", TokenFault::MissingIssuer),
    ] {
        let provider = Provider::new(Says::Status(200, None, good.replace(from, to)));
        assert_eq!(fault(introspector(&provider).check("opaque").await), expected, "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_is_not_remembered_beyond_its_end() {
    let provider = Provider::new(active(&format!(r#","exp":{}"#, NOON + 3)));
    let introspector = with(&provider, IntrospectSettings::new().leeway(Duration::ZERO));
    assert!(introspector.check("opaque").await.is_ok());
    advance(3 * SECOND).await;
    assert_eq!(fault(introspector.check("opaque").await), TokenFault::Expired);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_with_one_token_cause_one_question_and_whoever_leaves_takes_it_from_nobody() {
    let provider = Provider::new(active(""));
    provider.takes(3 * SECOND);
    let introspector = with(&provider, IntrospectSettings::new().without_cache());
    let first = tokio::spawn({
        let introspector = introspector.clone();
        async move { timeout(SECOND, introspector.check("opaque")).await.is_err() }
    });
    settle().await;
    let all: Vec<_> = (0..100)
        .map(|_| {
            let introspector = introspector.clone();
            tokio::spawn(async move { introspector.check("opaque").await.is_ok() })
        })
        .collect();
    let other = introspector.check("another").await;
    assert!(other.is_ok());
    for one in all {
        assert!(one.await.unwrap());
    }
    assert!(first.await.unwrap(), "it gave up");
    assert_eq!(provider.asked(), 2, "one for each token");
}

#[tokio::test(start_paused = true)]
async fn when_the_server_is_down_nobody_can_tell_and_it_is_left_alone_for_a_moment() {
    for (says, takes) in [
        (Says::Unreachable, Duration::ZERO),
        (Says::Never, 5 * SECOND),
        (Says::Status(503, None, String::new()), Duration::ZERO),
    ] {
        let provider = Provider::new(active(""));
        let introspector = with(&provider, IntrospectSettings::new().cache_ttl(MINUTE));
        assert!(introspector.check("known").await.is_ok());
        provider.says(says);
        let begun = Instant::now();
        assert_eq!(unknown(introspector.check("opaque").await), SECOND);
        assert_eq!(begun.elapsed(), takes);
        for number in 0..100 {
            unknown(introspector.check(&format!("opaque{number}")).await);
        }
        assert_eq!(provider.asked(), 2);
        assert!(introspector.check("known").await.is_ok(), "what is known is known");
        provider.says(active(""));
        advance(SECOND).await;
        assert!(introspector.check("opaque").await.is_ok());
    }
    let provider = Provider::new(Says::Status(429, Some(("retry-after", "7")), String::new()));
    let introspector = introspector(&provider);
    assert_eq!(unknown(introspector.check("opaque").await), 7 * SECOND);
    provider.says(Says::Status(503, Some(("retry-after", "99999999")), String::new()));
    advance(7 * SECOND).await;
    assert_eq!(unknown(introspector.check("opaque").await), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn what_one_token_alone_brings_about_locks_nobody_out() {
    // More than is read of an answer.
    let long = format!(r#"{{"active":true,"groups":"{}"}}"#, "x".repeat(70_000));
    for (status, text) in [
        (500, ""),
        (400, r#"{"error":"invalid_request"}"#),
        (200, "<html>"),
        (200, r#"{"active":1}"#),
        (200, &long),
    ] {
        let provider = Provider::new(Says::Status(status, None, text.into()));
        let introspector = introspector(&provider);
        assert_eq!(unknown(introspector.check("strange").await), SECOND);
        provider.says(active(""));
        assert!(introspector.check("opaque").await.is_ok());
    }
    let provider = Provider::new(Says::Panics);
    let introspector = introspector(&provider);
    unknown(introspector.check("strange").await);
    provider.says(active(""));
    assert!(introspector.check("strange").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_about_which_nothing_is_heard_locks_nobody_out_while_others_are_answered() {
    for others in [true, false] {
        let provider = Provider::new(Says::Never);
        let introspector = introspector(&provider);
        let slow = introspector.clone();
        let slow = tokio::spawn(async move { unknown(slow.check("slow").await) });
        sleep(4 * SECOND).await;
        provider.says(active(""));
        if others {
            assert!(introspector.check("a").await.is_ok());
        }
        slow.await.unwrap();
        let asked = provider.asked();
        assert_eq!(introspector.check("b").await.is_ok(), others);
        assert_eq!(provider.asked(), asked + usize::from(others), "it is left alone if it answers nobody");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_and_what_is_asked_at_once_is_bounded() {
    let provider = Provider::new(active(""));
    let introspector = introspector(&provider);
    for number in 0..5_000 {
        assert!(introspector.check(&format!("token{number}")).await.is_ok());
        assert!(introspector.remembered() <= 1_000);
    }
    provider.says(Says::Never);
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let introspector = introspector.clone();
            tokio::spawn(async move { introspector.check(&format!("slow{number}")).await.is_ok() })
        })
        .collect();
    settle().await;
    assert_eq!(provider.asked(), 5_100);
    let begun = Instant::now();
    assert_eq!(unknown(introspector.check("more").await), SECOND);
    assert_eq!((begun.elapsed(), provider.asked()), (Duration::ZERO, 5_100));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_what_can_be_no_token() {
    let provider = Provider::new(active(""));
    let introspector = introspector(&provider);
    assert_eq!(fault(introspector.check("").await), TokenFault::Malformed);
    assert_eq!(fault(introspector.check("a b").await), TokenFault::Malformed);
    assert_eq!(fault(introspector.check(&"x".repeat(8 * 1024 + 1)).await), TokenFault::TooLong);
    assert_eq!(provider.asked(), 0);
    assert!(introspector.check(&"x".repeat(8 * 1024)).await.is_ok(), "as long as it may be");
}

#[tokio::test(start_paused = true)]
async fn questions_end_with_the_last_handle() {
    let provider = Provider::new(Says::Never);
    let introspector = introspector(&provider);
    let waiting = tokio::spawn(async move { introspector.check("opaque").await.is_ok() });
    settle().await;
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!((metrics.num_alive_tasks(), provider.asked()), (2, 1));
    waiting.abort();
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}

/// The status, and what is in `WWW-Authenticate` and `Retry-After`.
async fn answered(provider: &Provider, authorization: Option<&str>, scope: &str) -> (u16, HeaderMap) {
    let handler = service_fn(|request: Request<Body>| async move {
        let who = Principal::of(request.extensions()).expect("who it is");
        assert_eq!(who.subject(), Some("alice"));
        assert_eq!(request.extensions().get::<Introspected>().unwrap().subject(), Some("alice"));
        assert!(request.headers()["authorization"].is_sensitive());
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    });
    let service = ServiceBuilder::new()
        .layer(IntrospectLayer::new(introspector(provider)).realm("api").unwrap().answer())
        .layer(RequireLayer::scopes([scope]).unwrap().answer())
        .service(handler);
    let mut request = Request::new(Body::empty());
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    let (head, _) = service.oneshot(request).await.unwrap().into_parts();
    (head.status.as_u16(), head.headers)
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_as_it_does_to_tokens_that_it_verifies_itself() {
    let provider = Provider::new(active(""));
    assert_eq!(answered(&provider, Some("Bearer opaque"), "orders:read").await.0, 200);
    assert_eq!(answered(&provider, Some("Bearer opaque"), "orders:write").await.0, 403);
    let (status, headers) = answered(&provider, None, "orders:read").await;
    assert_eq!((status, &headers["www-authenticate"]), (401, &r#"Bearer realm="api""#.parse().unwrap()));
    assert_eq!(answered(&provider, Some("Bearer a b"), "orders:read").await.0, 400);
    provider.says(inactive());
    let (status, headers) = answered(&provider, Some("Bearer opaque"), "orders:read").await;
    let expected = r#"Bearer realm="api", error="invalid_token""#.parse().unwrap();
    assert_eq!((status, &headers["www-authenticate"]), (401, &expected));
    provider.says(Says::Unreachable);
    let (status, headers) = answered(&provider, Some("Bearer opaque"), "orders:read").await;
    assert_eq!((status, &headers["retry-after"]), (503, &"1".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_those_are_let_in_who_may_be_and_switched_off_everybody_is() {
    let provider = Provider::new(inactive());
    let handler = service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    });
    let layer = IntrospectLayer::new(introspector(&provider)).answer();
    let optional = layer.clone().optional().layer(handler);
    let request = |authorization: Option<&str>| {
        let mut request = Request::new(Body::empty());
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        request
    };
    assert_eq!(optional.clone().oneshot(request(None)).await.unwrap().status(), 200);
    assert_eq!(optional.oneshot(request(Some("Bearer opaque"))).await.unwrap().status(), 401);
    let off = layer.when(false).layer(handler);
    assert_eq!(off.oneshot(request(Some("Bearer opaque"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn for_whom_tokens_have_to_be_is_decided_when_it_is_made_and_what_cannot_be_is_refused() {
    let provider = Provider::new(active(""));
    let builder = || Introspector::builder("https://id.example/introspect", ClientAuth::basic("api", SECRET));
    let wrong = |made: Result<Introspector, InvalidJwt>| made.unwrap_err().to_string();
    assert!(wrong(builder().build(provider.clone())).contains("`audiences`"));
    assert!(wrong(builder().audiences([""; 0]).build(provider.clone())).contains("`audiences`"));
    assert!(wrong(builder().any_audience().issuer("").build(provider.clone())).contains("`issuer`"));
    assert!(builder().any_audience().build(provider.clone()).is_ok());
    let at = |place: &str| Introspector::builder(place, ClientAuth::basic("api", SECRET)).any_audience();
    for nowhere in
        ["/introspect", "", "ftp://id.example/", "http://id.example/introspect", "https://a:b@id.example/"]
    {
        assert!(wrong(at(nowhere).build(provider.clone())).contains("`endpoint`"), "{nowhere}");
    }
    assert!(at("http://127.0.0.1:8080/").allow_plain_http().build(provider.clone()).is_ok());
    for (field, settings) in [
        ("cache", IntrospectSettings::new().cache(1)),
        ("cache_ttl", IntrospectSettings::new().cache_ttl(Duration::ZERO)),
        ("leeway", IntrospectSettings::new().leeway(HOUR)),
        ("max_at_once", IntrospectSettings::new().max_at_once(0)),
        ("max_response", IntrospectSettings::new().max_response(0)),
        ("max_token_size", IntrospectSettings::new().max_token_size(usize::MAX)),
        ("timeout", IntrospectSettings::new().timeout(Duration::ZERO)),
    ] {
        assert!(wrong(builder().any_audience().settings(settings).build(provider.clone())).contains(field));
    }
    let shown = format!("{:?} {:?}", introspector(&provider), builder());
    assert!(!shown.contains(SECRET) && !shown.contains("id.example"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_server_holds_no_place_below() {
    let provider = Provider::new(active(""));
    provider.takes(3 * SECOND);
    let script = |_, _: &Request<Body>| Step::<_, BoxError>::Answer(Response::new(Body::empty()));
    let below = Strict::new(Scripted::script(script)).capacity(1).pending_first(2);
    let ledger = below.ledger();
    let mut service = IntrospectLayer::new(introspector(&provider)).layer(below);
    for leaves in [true, false] {
        let request = Request::builder().header("authorization", "Bearer opaque").body(Body::empty());
        let mut call = Box::pin(service.ready().await.unwrap().call(request.unwrap()));
        assert!(timeout(SECOND, &mut call).await.is_err());
        assert_eq!((ledger.reservations_out(), ledger.in_flight(), ledger.calls()), (0, 0, 0));
        if !leaves {
            assert_eq!(call.await.unwrap().status(), 200);
        }
    }
    drop(service);
    ledger.assert_settled();
}
