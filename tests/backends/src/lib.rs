//! Tokens are verified, whatever backends the rest of a program brings: `.ci/run` tests this with each feature alone.
//!
//! A package of its own, since the features of all that is built together are added up.

#![cfg(test)]
#![cfg(any(
    feature = "aws-lc",
    feature = "aws-lc-beside-rust-crypto",
    feature = "rust-crypto",
    feature = "rust-crypto-beside-aws-lc",
    feature = "both"
))]

use std::panic::catch_unwind;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{DecodingKey, Validation, decode};
use stonework::base::{TokenFault, TokenRefused, WallClock};
use stonework::jwt::{Algorithm, Backend, Key, Verifier};

/// RFC 7515, appendix A.3, and RFC 8037, appendix A.4, which is signed and no token.
const KEYS: [&str; 2] = [
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
];
const TOKENS: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
];

/// Good, or why not.
async fn verify(key: &str, token: &str) -> Result<(), TokenFault> {
    let clock = WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_300_819_379));
    let builder =
        Verifier::builder().keys(Key::jwk(key).unwrap()).algorithms([Algorithm::Es256, Algorithm::EdDsa]);
    let verifier = builder.any_issuer().any_audience().clock(clock).build().unwrap();
    match verifier.verify(token).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.cause::<TokenRefused>().unwrap().fault()),
    }
}

#[derive(serde::Deserialize)]
struct Any {}

/// What the library below says, asked by the program itself. Nothing, if it panics.
fn theirs() -> Option<bool> {
    catch_unwind(|| {
        let (x, y) =
            ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let mut rules = Validation::new(jsonwebtoken::Algorithm::ES256);
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        decode::<Any>(TOKENS[0], &DecodingKey::from_ec_components(x, y).unwrap(), &rules).is_ok()
    })
    .ok()
}

#[tokio::test(flavor = "current_thread")]
async fn tokens_are_verified_whatever_else_was_built() {
    let one = cfg!(any(feature = "aws-lc", feature = "rust-crypto"));
    // It cannot choose between two; with one it works, before and after.
    let expected = if one { Some(true) } else { None };
    assert_eq!(theirs(), expected);
    for _ in 0..2 {
        assert_eq!(verify(KEYS[0], TOKENS[0]).await, Ok(()));
        assert_eq!(verify(KEYS[1], TOKENS[1]).await, Err(TokenFault::Claims));
        let forged = TOKENS[1].replace("SBvZ", "SBvY");
        assert_eq!(verify(KEYS[1], &forged).await, Err(TokenFault::Signature));
    }
    assert_eq!(theirs(), expected);
    let rust = cfg!(any(feature = "rust-crypto", feature = "rust-crypto-beside-aws-lc"));
    assert_eq!(format!("{:?}", Backend::default()), if rust { "RustCrypto" } else { "AWS-LC" });
}
