//! An identity provider in memory, which can be in all the states that providers are in.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use stonework::Body;
use stonework::base::BoxError;
use stonework::jwt::Algorithm;
use tower::Service;

use super::ISSUER;
use super::tokens::Signer;

/// What it does when it is asked.
#[derive(Clone)]
pub(crate) enum Does {
    /// Answers with this status and what it publishes.
    Answer(u16),
    /// Answers with this.
    Say(String),
    /// Nobody is there.
    Refuse,
    /// Never answers.
    Hang,
    /// Never says where its keys are, and answers with them.
    HangDocument,
    /// Says where its keys are, and never answers with them.
    HangKeys,
    Panic,
}

#[derive(Clone)]
pub(crate) struct Provider(Arc<Mutex<State>>);

struct State {
    does: Does,
    keys: Vec<String>,
    document: String,
    headers: Vec<(&'static str, String)>,
    takes: Duration,
    documents: usize,
    sets: usize,
}

impl Provider {
    /// That of the usual issuer, with this key.
    pub(crate) fn with(key: String) -> Self {
        let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys"}}"#);
        Self(Arc::new(Mutex::new(State {
            does: Does::Answer(200),
            keys: vec![key],
            document,
            headers: Vec::new(),
            takes: Duration::from_millis(20),
            documents: 0,
            sets: 0,
        })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked in here")
    }

    pub(crate) fn does(&self, does: Does) {
        self.state().does = does;
    }

    pub(crate) fn publish(&self, keys: impl IntoIterator<Item = String>) {
        self.state().keys = keys.into_iter().collect();
    }

    pub(crate) fn document(&self, document: impl Into<String>) {
        self.state().document = document.into();
    }

    pub(crate) fn header(&self, name: &'static str, value: &str) {
        let mut state = self.state();
        state.headers.retain(|(other, _)| *other != name);
        state.headers.push((name, value.to_owned()));
    }

    /// How often somebody asked for the document, and for the keys.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let state = self.state();
        (state.documents, state.sets)
    }
}

impl Service<Request<Body>> for Provider {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut state = self.state();
        let is_document = request.uri().path().ends_with("/.well-known/openid-configuration");
        let published = if is_document {
            state.documents += 1;
            state.document.clone()
        } else {
            state.sets += 1;
            format!(r#"{{"keys":[{}]}}"#, state.keys.join(","))
        };
        let (does, headers, takes) = (state.does.clone(), state.headers.clone(), state.takes);
        drop(state);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let (status, text) = match does {
                Does::Answer(status) => (status, published),
                Does::Say(text) => (200, text),
                Does::Refuse => return Err("connection refused".into()),
                Does::HangDocument if !is_document => (200, published),
                Does::HangKeys if is_document => (200, published),
                Does::Hang | Does::HangDocument | Does::HangKeys => std::future::pending().await,
                Does::Panic => panic!("the client panics, on purpose"),
            };
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            Ok(answer.body(Full::from(text)).expect("a valid answer"))
        })
    }
}

/// Its public key, under this name.
pub(crate) fn named(signer: &Signer, name: &str) -> String {
    signer.jwk(&format!(r#","kid":"{name}""#))
}

/// A token that says that it was signed with the key of this name.
pub(crate) fn token_of(signer: &Signer, name: &str, claims: &str) -> String {
    signer.token(Algorithm::EdDsa, &format!(r#"{{"alg":"EdDSA","kid":"{name}"}}"#), claims)
}
