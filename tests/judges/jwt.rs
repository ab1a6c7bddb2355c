//! Tokens that others make and read: joserfc in Python, jose in JavaScript.

use serde_json::{Value, json};
use stonework::jwt::{Backend, Key, Verifier};

use crate::kit::{node, python, run, script, text};
use crate::tokens::{self, ALGORITHMS};

const CLAIMS: &str = r#"{"iss":"ours","aud":"judge","sub":"alice","exp":4102444800}"#;

/// By either backend.
fn verifiers(key: &str, issuer: &str) -> [Verifier; 2] {
    [Backend::aws_lc(), Backend::rust_crypto()].map(|backend| {
        let builder = Verifier::builder().keys(Key::jwk(key).unwrap()).algorithms(ALGORITHMS);
        builder.issuer(issuer).audience("judge").backend(backend).build().unwrap()
    })
}

/// The same, whose signature another key has made.
fn forged(token: &str) -> String {
    let at = token.rfind('.').unwrap() + 10;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

async fn is_good(key: &str, issuer: &str, token: &str) -> bool {
    let mut good = Vec::new();
    for verifier in verifiers(key, issuer) {
        good.push(verifier.verify(token).await.is_ok_and(|claims| claims.subject() == Some("alice")));
    }
    assert!(good.windows(2).all(|pair| pair[0] == pair[1]), "the backends do not agree: {token}");
    good[0]
}

/// They read what we take, and refuse what we refuse; we take what they make.
async fn agree(program: &str, arguments: &[&str], issuer: &str) {
    let asked: Vec<Value> = ALGORITHMS
        .into_iter()
        .flat_map(|algorithm| {
            let jwk: Value = serde_json::from_str(&tokens::signer(algorithm).jwk("")).unwrap();
            let good = tokens::plain(algorithm, CLAIMS);
            let bad = forged(&good);
            [good, bad].map(|token| json!({ "alg": algorithm.name(), "jwk": jwk, "token": token }))
        })
        .collect();
    let input = serde_json::to_vec(&asked).unwrap();
    let answer: Value = serde_json::from_str(&text(run(program, arguments, &input).await)).unwrap();

    let read = answer["read"].as_array().unwrap();
    assert_eq!(read.len(), asked.len());
    for (place, (one, read)) in asked.iter().zip(read).enumerate() {
        let good = place % 2 == 0;
        assert_eq!(read.as_str() == Some("alice"), good, "they: {one}");
        let (jwk, token) = (one["jwk"].to_string(), one["token"].as_str().unwrap());
        assert_eq!(is_good(&jwk, "ours", token).await, good, "we: {one}");
    }
    let made = answer["made"].as_array().unwrap();
    assert_eq!(made.len(), ALGORITHMS.len());
    for one in made {
        let (jwk, token) = (one["jwk"].to_string(), one["token"].as_str().unwrap());
        assert!(is_good(&jwk, issuer, token).await, "{one}");
        assert!(!is_good(&jwk, issuer, &forged(token)).await, "{one}");
        assert!(!is_good(&jwk, "another", token).await, "{one}");
    }
}

#[tokio::test]
async fn python_s_joserfc_and_we_agree_about_every_algorithm_in_both_directions() {
    let Some(python) = python("joserfc") else { return };
    agree(&python, &[&script("jose_peer.py")], "joserfc").await;
}

#[tokio::test]
async fn javascript_s_jose_and_we_agree_about_every_algorithm_in_both_directions() {
    let Some(packages) = node("jose") else { return };
    agree("node", &[&script("jose_peer.mjs"), &packages], "jose").await;
}
