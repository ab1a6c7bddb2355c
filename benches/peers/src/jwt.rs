//! The rows of the comparison `jwt`: tokens that are verified, by themselves and by layers.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use http::{Request, Response};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, Validation, decode};
use jwt_authorizer::layer::AuthorizationLayer;
use jwt_authorizer::{AuthError, IntoLayer, JwtAuthorizer, RegisteredClaims};
use stonework::jwt::{Algorithm, JwtLayer, JwtSettings, Key, Verifier};
use tower::{Layer, Service};

use crate::measure::{Calls, Subject, at_once};
use crate::rows::{Answer, Broken, Content, Kind, NoOp, Row, plain};

/// What ours may cost over the signature alone.
const VERIFIED: Kind = Kind::Token { nanos: Some(600), allocations: Some(4) };
/// What one may cost that is remembered, layer included.
const REMEMBERED: Kind = Kind::Token { nanos: Some(450), allocations: None };
const FREE: Kind = Kind::Token { nanos: None, allocations: None };

const TOKEN: &str = "a token";
const REQUEST: &str = "a request";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://api.example";

/// One that is good until the year 2100, and how it is signed.
#[derive(Clone, Copy)]
struct Signed {
    algorithm: Algorithm,
    theirs: jsonwebtoken::Algorithm,
    token: &'static str,
}

const SECRET: &str = "the secret of an example, 32 by.";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
const HS256: Signed = Signed {
    algorithm: Algorithm::Hs256,
    theirs: jsonwebtoken::Algorithm::HS256,
    token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzY29wZSI6Im9yZGVyczpyZWFkIG9yZGVyczp3cml0ZSIsImlhdCI6MTc2NzI2ODgwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.frXcRN-ocOXfYMK6Ofe7ISqPs2bbtdN4S6s5jb_1qiE",
};
const ED25519: Signed = Signed {
    algorithm: Algorithm::EdDsa,
    theirs: jsonwebtoken::Algorithm::EdDSA,
    token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzY29wZSI6Im9yZGVyczpyZWFkIG9yZGVyczp3cml0ZSIsImlhdCI6MTc2NzI2ODgwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.oI4kiMThJAJn_3gYc7wFoN6tI3SHNN87T2YPKfwkYbhoBfNr0pYOBjDDTNZbE2Ij5FiX7ur-UL9h_-KSFiFoDg",
};

pub(crate) fn rows(case: &str) -> Vec<Row> {
    let signed = if case == HS256.algorithm.name() { HS256 } else { ED25519 };
    let Signed { theirs, token, .. } = signed;
    let (message, signature) = token.rsplit_once('.').expect("a token");
    let signature = BASE64.decode(signature).expect("base64url");
    let (alone, key, rules) = (signed.their_key(), signed.their_key(), signed.their_rules());
    let ours = signed.verifier(JwtSettings::new());
    let no_op = NoOp { waits: false };
    let layer = |settings| JwtLayer::new(signed.verifier(settings)).answer().layer(no_op);
    vec![
        asks("the signature alone", Kind::Bare, move || {
            let verifier = (DEFAULT_PROVIDER.verifier_factory)(&theirs, &alone).expect("a key");
            verifier.verify(black_box(message).as_bytes(), &signature).is_ok()
        }),
        asks("jsonwebtoken decode", Kind::Peer, move || {
            decode::<RegisteredClaims>(black_box(token), &key, &rules).is_ok()
        }),
        asks("stonework Verifier", VERIFIED, move || at_once(ours.verify(black_box(token))).is_ok()),
        calls("bare", Kind::Bare, signed, no_op),
        calls("jwt-authorizer", Kind::Peer, signed, signed.their_layer().layer(Theirs(no_op))),
        calls("stonework JwtLayer", FREE, signed, layer(JwtSettings::new())),
        calls("stonework JwtLayer, remembered", REMEMBERED, signed, layer(JwtSettings::new().cache(1_000))),
    ]
}

/// One of tokens that are signed with a secret, and one of those.
pub(crate) fn verifier(settings: JwtSettings) -> (Verifier, &'static str) {
    (HS256.verifier(settings), HS256.token)
}

impl Signed {
    fn verifier(self, settings: JwtSettings) -> Verifier {
        let key = match self.algorithm {
            Algorithm::Hs256 => Key::secret(Algorithm::Hs256, SECRET.as_bytes()),
            other => Key::pem(other, PUBLIC),
        };
        let builder = Verifier::builder().keys(key.expect("a key").named("one")).algorithms([self.algorithm]);
        builder.issuer(ISSUER).audience(AUDIENCE).settings(settings).build().expect("valid settings")
    }

    fn their_key(self) -> DecodingKey {
        match self.algorithm {
            Algorithm::Hs256 => DecodingKey::from_secret(SECRET.as_bytes()),
            _ => {
                DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("a key")
            }
        }
    }

    /// Those that ask for as much as ours do by themselves.
    fn their_rules(self) -> Validation {
        let mut rules = Validation::new(self.theirs);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.validate_nbf = true;
        rules
    }

    fn their_layer(self) -> AuthorizationLayer<RegisteredClaims> {
        let authorizer: JwtAuthorizer = match self.algorithm {
            Algorithm::Hs256 => JwtAuthorizer::from_secret(SECRET),
            _ => JwtAuthorizer::from_ed_pem_text(PUBLIC),
        };
        let rules = jwt_authorizer::Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
        let built = at_once(authorizer.validation(rules).build());
        built.expect("a key").into_layer()
    }
}

fn asks(name: &'static str, kind: Kind, ask: impl Fn() -> bool + 'static) -> Row {
    Row { name, head: TOKEN, kind, peer: None, subject: Box::new(Asks(ask)), shared: None }
}

struct Asks<F>(F);

impl<F: Fn() -> bool> Subject for Asks<F> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        for _ in 0..calls {
            assert!(black_box((self.0)()), "the token is good");
        }
    }

    fn timers(&mut self) -> usize {
        0
    }
}

/// Calls that are answered well, which is asked first.
fn calls<S, E>(name: &'static str, kind: Kind, signed: Signed, mut service: S) -> Row
where
    S: Service<Request<Content>, Response: IsGood, Error = E> + 'static,
    E: std::fmt::Debug,
{
    let mut request = plain();
    let field = format!("Bearer {}", signed.token).parse().expect("a value");
    request.headers_mut().insert("authorization", field);
    let answer = at_once(service.call(request.clone())).expect("an answer");
    assert!(answer.is_good(), "the token is good");
    let subject = Box::new(Calls::new(service, request, Request::clone));
    Row { name, head: REQUEST, kind, peer: None, subject, shared: None }
}

/// Answers with what their layer can make of a refusal.
#[derive(Clone, Copy)]
struct Theirs(NoOp);

struct TheirAnswer(Response<Content>);

impl From<AuthError> for TheirAnswer {
    fn from(_: AuthError) -> Self {
        panic!("the token is good")
    }
}

impl Service<Request<Content>> for Theirs {
    type Response = TheirAnswer;
    type Error = Broken;
    type Future = TheirFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Service::<Request<Content>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Content>) -> TheirFuture {
        TheirFuture(self.0.call(request))
    }
}

struct TheirFuture(Answer);

impl Future for TheirFuture {
    type Output = Result<TheirAnswer, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(TheirAnswer)
    }
}

trait IsGood {
    fn is_good(&self) -> bool;
}

impl IsGood for TheirAnswer {
    fn is_good(&self) -> bool {
        self.0.status().is_success()
    }
}

impl<B> IsGood for Response<B> {
    fn is_good(&self) -> bool {
        self.status().is_success()
    }
}
