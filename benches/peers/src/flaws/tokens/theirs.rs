//! jsonwebtoken and jwt-authorizer.

use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_of_jwt_authorizer::response::IntoResponse;
use http::{HeaderMap, Request, StatusCode};
use jsonwebtoken::{DecodingKey, decode};
use jwt_authorizer::layer::AuthorizationLayer;
use jwt_authorizer::{
    AuthError, IntoLayer, JwtAuthorizer, Refresh, RefreshStrategy, RegisteredClaims, Validation,
};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};

use super::kit::{self, AUDIENCE, Does, ISSUER, LIFETIME, Provider, SECRET, said, with};
use crate::flaws::{Found, block_on};
use crate::rows::{Broken, Content};

/// Whoever comes in is answered.
#[derive(Clone, Copy)]
struct Inside;

struct Answer(StatusCode, HeaderMap);

impl From<AuthError> for Answer {
    fn from(error: AuthError) -> Self {
        let (head, _) = error.into_response().into_parts();
        Self(head.status, head.headers)
    }
}

impl Service<Request<Content>> for Inside {
    type Response = Answer;
    type Error = Broken;
    type Future = Ready<Result<Answer, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        ready(Ok(Answer(StatusCode::OK, HeaderMap::new())))
    }
}

type Guard = AuthorizationLayer<RegisteredClaims>;

async fn guard(authorizer: JwtAuthorizer) -> Guard {
    let rules = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    authorizer.validation(rules).build().await.expect("valid settings").into_layer()
}

fn call(guard: &Guard, request: Request<Content>) -> impl Future<Output = bool> + Send + use<> {
    let asked = guard.layer(Inside).oneshot(request);
    async { asked.await.is_ok_and(|Answer(status, _)| status.is_success()) }
}

pub(super) fn absent_jwt_authorizer() -> Found {
    block_on(async {
        let guard = guard(JwtAuthorizer::from_secret(SECRET)).await;
        let (good, absent) = kit::absent();
        assert!(call(&guard, with(&good)).await, "the token is good");
        let mut came_in = 0;
        for token in absent {
            came_in += usize::from(call(&guard, with(&token)).await);
        }
        Found::new(came_in == 4, came_in.to_string())
    })
}

pub(super) fn absent_jsonwebtoken() -> Found {
    let (good, absent) = kit::absent();
    let mut rules = jsonwebtoken::Validation::default();
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    let mut strict = rules.clone();
    strict.set_required_spec_claims(&["exp", "iss", "aud"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let is_good = |token: &str, rules: &jsonwebtoken::Validation| decode::<Value>(token, &key, rules).is_ok();
    assert!(is_good(&good, &strict), "the token is good");
    let [lenient, strict] =
        [rules, strict].map(|rules| absent.iter().filter(|token| is_good(token, &rules)).count());
    Found::new(
        (lenient, strict) == (4, 0),
        format!("{lenient} (if it is said that they must be there: {strict})"),
    )
}

pub(super) fn leeway() -> Found {
    let (token, key) = (kit::of_2001(), DecodingKey::from_secret(SECRET.as_bytes()));
    let read = |leeway: u64| {
        let mut rules = jsonwebtoken::Validation::default();
        rules.set_audience(&[AUDIENCE]);
        rules.leeway = leeway;
        catch_unwind(AssertUnwindSafe(|| decode::<Value>(&token, &key, &rules)))
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let [less, more] = [LESS, MORE].map(read);
    std::panic::set_hook(hook);
    let told = |read| match read {
        Ok(Ok(_)) => "it is good".to_owned(),
        // In a build without checks of overflow.
        Ok(Err(error)) => format!("\"{error}\""),
        Err(_) => "a panic".to_owned(),
    };
    let shown = matches!(less, Ok(Ok(_))) && !matches!(more, Ok(Ok(_)));
    Found::new(shown, format!("{} (with 31 years: {})", told(more), told(less)))
}

/// 31 years, and 126: less and more than have gone by since 1970.
const LESS: u64 = 1_000_000_000;
const MORE: u64 = 4_000_000_000;

fn each(interval: Duration) -> Refresh {
    // What failed is tried again as soon as may be, as by ours.
    Refresh { strategy: RefreshStrategy::Interval, refresh_interval: interval, retry_interval: interval }
}

async fn fetching(provider: &Provider, refresh: Option<Refresh>) -> Guard {
    let authorizer: JwtAuthorizer = JwtAuthorizer::from_jwks_url(&provider.uri().to_string());
    guard(match refresh {
        Some(refresh) => authorizer.refresh(refresh),
        None => authorizer,
    })
    .await
}

pub(super) fn silent() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let guard = fetching(&provider, Some(each(LIFETIME))).await;
        let came_in = kit::silent(&provider, |request| call(&guard, request)).await;
        Found::new(came_in == 0, came_in.to_string())
    })
}

pub(super) fn away() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let guard = fetching(&provider, Some(each(LIFETIME))).await;
        let came_in = kit::away(&provider, |request| call(&guard, request)).await;
        Found::new(came_in == 0, came_in.to_string())
    })
}

pub(super) fn rotated() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let guard = fetching(&provider, None).await;
        let came_in = kit::rotated(&provider, |request| call(&guard, request)).await;
        Found::new(!came_in, said(came_in))
    })
}

pub(super) fn outage() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        provider.now(Does::IsAway);
        let guard = fetching(&provider, None).await;
        let answer = guard.layer(Inside).oneshot(with(&provider.token())).await;
        let Answer(status, headers) = answer.expect("refusals are answers");
        Found::new(status == StatusCode::INTERNAL_SERVER_ERROR, kit::told(status, &headers))
    })
}
