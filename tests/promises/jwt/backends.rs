//! Whose arithmetic it is: said, and never the process's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stonework::jwt::{Algorithm, Backend};

use super::tokens::{ED25519, plain};
use super::{claims, verifier};

#[derive(serde::Deserialize)]
struct Any {}

#[tokio::test]
async fn with_both_backends_tokens_are_verified_where_the_library_below_panics() {
    let token = plain(Algorithm::EdDsa, &claims(""));
    assert_eq!(Backend::default(), Backend::aws_lc());
    assert_ne!(Backend::default(), Backend::rust_crypto());
    assert!(verifier(ED25519.key(Algorithm::EdDsa)).verify(&token).await.is_ok());

    // Which shows that it has both, and that nobody has chosen one for the process.
    let theirs = AssertUnwindSafe(|| {
        let der = ED25519.der();
        let key = jsonwebtoken::DecodingKey::from_ed_der(&der[der.len() - 32..]);
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        rules.validate_aud = false;
        jsonwebtoken::decode::<Any>(&token, &key, &rules).is_ok()
    });
    assert!(catch_unwind(theirs).is_err(), "it would have had to guess");
}
