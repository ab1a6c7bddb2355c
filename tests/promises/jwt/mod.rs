//! What the verifier of tokens, and the layers over it, promise.

mod attacks;
mod backends;
mod issuer;
mod issuers;
mod keys;
mod layer;
mod provider;
mod remembered;
mod remote;
mod remote_outage;
mod settings;
pub(crate) mod tokens;
mod vectors;

use std::time::{Duration, SystemTime};

use stonework::base::{Error, Kind, TokenFault, TokenRefused, WallClock};
use stonework::jwt::{Claims, JwtSettings, Keys, Verifier};

/// The first of January of 2026, at noon.
const NOON: u64 = 1_767_268_800;
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://api.example";

/// It is noon, and the clock goes on with tokio's.
fn noon() -> WallClock {
    WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(NOON))
}

/// Claims that are good at noon and for an hour, with these as well: `,"x":1`.
fn claims(more: &str) -> String {
    let end = NOON + 3600;
    format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice","exp":{end}{more}}}"#)
}

/// Of tokens from there, for us.
fn verifier(keys: impl Into<Keys>) -> Verifier {
    with(keys, JwtSettings::new())
}

fn with(keys: impl Into<Keys>, settings: JwtSettings) -> Verifier {
    let builder = Verifier::builder().keys(keys).algorithms(tokens::ALGORITHMS);
    builder
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .clock(noon())
        .settings(settings)
        .build()
        .expect("valid settings")
}

/// Why it was refused.
fn fault<T>(result: Result<Claims<T>, Error>) -> TokenFault {
    let error = result.expect_err("it is not good");
    assert_eq!(error.kind(), Kind::Invalid);
    error.cause::<TokenRefused>().expect("it says why").fault()
}
