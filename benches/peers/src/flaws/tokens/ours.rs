//! stonework's, to which the same is done.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use stonework::base::Backoff;
use stonework::client::Client;
use stonework::jwt::{Algorithm, JwtLayer, JwtSettings, Key, RemoteKeys, RemoteKeysSettings, Verifier};
use tower::{Layer, ServiceExt};

use super::kit::{self, AUDIENCE, Does, ISSUER, LIFETIME, Provider, SECRET, said, with};
use crate::flaws::{Found, block_on};
use crate::rows::{Content, NoOp};

fn call(verifier: &Verifier, request: Request<Content>) -> impl Future<Output = bool> + Send + use<> {
    let guard = JwtLayer::new(verifier.clone()).answer();
    let asked = guard.layer(NoOp { waits: false }).oneshot(request);
    async { asked.await.is_ok_and(|answer| answer.status().is_success()) }
}

pub(super) fn absent() -> Found {
    block_on(async {
        let key = Key::secret(Algorithm::Hs256, SECRET.as_bytes()).expect("it is long enough");
        let verifier = Verifier::builder().keys(key).algorithms([Algorithm::Hs256]);
        let verifier = verifier.issuer(ISSUER).audience(AUDIENCE).build().expect("valid settings");
        let (good, absent) = kit::absent();
        assert!(call(&verifier, with(&good)).await, "the token is good");
        let mut came_in = 0;
        for token in absent {
            came_in += usize::from(call(&verifier, with(&token)).await);
        }
        Found::new(came_in == 0, came_in.to_string())
    })
}

pub(super) fn leeway() -> Found {
    let key = Key::secret(Algorithm::Hs256, SECRET.as_bytes()).expect("it is long enough");
    let verifier = Verifier::builder().keys(key).algorithms([Algorithm::Hs256]);
    let settings = JwtSettings::new().leeway(Duration::from_secs(4_000_000_000));
    match verifier.issuer(ISSUER).audience(AUDIENCE).settings(settings).build() {
        // It names the setting, before there is a token.
        Err(refused) => {
            let why = refused.to_string();
            Found::new(why.contains("leeway"), format!("it is not built: \"{why}\""))
        }
        Ok(_) => Found::new(false, "it is built"),
    }
}

/// Keys that are fetched again after so long, and after a failure as soon as may be.
fn each() -> RemoteKeysSettings {
    let soon = Backoff::constant(LIFETIME).expect("a valid pause");
    RemoteKeysSettings::new().min_lifetime(LIFETIME).lifetime(LIFETIME).max_lifetime(LIFETIME).backoff(soon)
}

fn remote(provider: &Provider, settings: RemoteKeysSettings) -> RemoteKeys {
    let keys = RemoteKeys::jwks(Client::new(), provider.uri().to_string()).settings(settings);
    keys.allow_plain_http().build().expect("valid settings")
}

fn verifier(keys: &RemoteKeys) -> Verifier {
    let verifier = Verifier::builder().keys(keys).algorithms([Algorithm::EdDsa]);
    verifier.issuer(ISSUER).audience(AUDIENCE).build().expect("valid settings")
}

async fn fetching(provider: &Provider, settings: RemoteKeysSettings) -> Verifier {
    let keys = remote(provider, settings);
    keys.wait_ready().await;
    verifier(&keys)
}

pub(super) fn silent() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let verifier = fetching(&provider, each()).await;
        let came_in = kit::silent(&provider, |request| call(&verifier, request)).await;
        Found::new(came_in == 10, came_in.to_string())
    })
}

pub(super) fn away() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let verifier = fetching(&provider, each()).await;
        let came_in = kit::away(&provider, |request| call(&verifier, request)).await;
        Found::new(came_in == 5, came_in.to_string())
    })
}

pub(super) fn rotated() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        let verifier = fetching(&provider, RemoteKeysSettings::new()).await;
        let came_in = kit::rotated(&provider, |request| call(&verifier, request)).await;
        Found::new(came_in, said(came_in))
    })
}

pub(super) fn outage() -> Found {
    block_on(async {
        let provider = Provider::start().await;
        provider.now(Does::IsAway);
        let verifier = verifier(&remote(&provider, RemoteKeysSettings::new()));
        let guard = JwtLayer::new(verifier).answer().layer(NoOp { waits: false });
        let answer = guard.oneshot(with(&provider.token())).await.expect("refusals are answers");
        let comes_back = answer.headers().contains_key(RETRY_AFTER);
        let is_told = answer.status() == StatusCode::SERVICE_UNAVAILABLE && comes_back;
        Found::new(is_told, kit::told(answer.status(), answer.headers()))
    })
}
