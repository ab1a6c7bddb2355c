//! What a verifier cannot be made of, and what holds when nobody says otherwise.

use std::time::Duration;

use stonework::jwt::{Algorithm, InvalidJwt, JwtLayer, JwtSettings, Keys, RequireLayer, Verifier};

use super::verifier;

fn made(settings: JwtSettings) -> Result<Verifier, InvalidJwt> {
    let builder = Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::Es256]);
    builder.any_issuer().any_audience().settings(settings).build()
}

fn message(made: Result<Verifier, InvalidJwt>) -> String {
    made.expect_err("it cannot be").to_string()
}

#[test]
fn a_setting_that_cannot_be_is_named() {
    let new = JwtSettings::new;
    for (settings, name) in [
        (new().leeway(Duration::from_secs(601)), "leeway"),
        (new().max_token_size(0), "max_token_size"),
        (new().max_token_size(64 * 1024 + 1), "max_token_size"),
        (new().require([""]), "required_claims"),
        (new().require((0..65).map(|at| at.to_string())), "required_claims"),
        (new().require(["sub", "jti", "sub"]), "required_claims"),
        (new().types(["at+jwt", ""]), "types"),
        (new().cache(1), "cache"),
        (new().cache_ttl(Duration::ZERO), "cache_ttl"),
    ] {
        assert!(message(made(settings.clone())).contains(&format!("`{name}`")), "{settings:?}");
    }
    let most = new().leeway(Duration::from_secs(600)).max_token_size(64 * 1024).cache(2);
    assert!(made(most.require((0..64).map(|at| at.to_string()))).is_ok());
    assert!(made(new().max_token_size(1)).is_ok());

    let algorithms = || Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::Es256]);
    let none: [&str; 0] = [];
    assert!(message(algorithms().issuers(none).any_audience().build()).contains("`issuer`"));
    assert!(message(algorithms().issuer("").any_audience().build()).contains("`issuer`"));
    assert!(message(algorithms().any_issuer().audiences(none).build()).contains("`audience`"));
    assert!(message(algorithms().any_issuer().audiences(["a", ""]).build()).contains("`audience`"));
    let nothing: [Algorithm; 0] = [];
    let builder = Verifier::builder().keys(Keys::pending()).algorithms(nothing);
    assert!(message(builder.any_issuer().any_audience().build()).contains("`algorithms`"));

    assert!(RequireLayer::scopes(["a b"]).unwrap_err().to_string().contains("`scopes`"));
    assert!(RequireLayer::any_role(none).unwrap_err().to_string().contains("`roles`"));
    let realm = JwtLayer::new(verifier(Keys::pending())).realm("\"");
    assert!(realm.unwrap_err().to_string().contains("`realm`"));
}

#[test]
fn a_setting_in_a_file_that_cannot_be_is_named() {
    for (json, name) in [
        (r#"{"leeway":"11m"}"#, "leeway"),
        (r#"{"leeway":30}"#, "unit"),
        (r#"{"max_token_size":0}"#, "max_token_size"),
        (r#"{"cache":0}"#, "cache"),
        (r#"{"cache_ttl":"0s"}"#, "cache_ttl"),
        (r#"{"required_claims":["sub","sub"]}"#, "required_claims"),
        (r#"{"types":[""]}"#, "types"),
        (r#"{"required":["sub"]}"#, "required"),
    ] {
        let error = serde_json::from_str::<JwtSettings>(json).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let read = |json| serde_json::from_str::<JwtSettings>(json).unwrap();
    assert_eq!(read("{}"), JwtSettings::new());
    assert_eq!(read(r#"{"cache":"off"}"#), JwtSettings::new());
    let settings = JwtSettings::access_tokens().cache(100).cache_ttl(Duration::from_millis(1_500));
    assert_eq!(read(&serde_json::to_string(&settings).unwrap()), settings);
}
