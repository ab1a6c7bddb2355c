//! From `jwt-authorizer`: a layer over a router becomes another, and what it asks of a token becomes more.

use axum_of_jwt_authorizer::Router;
use axum_of_jwt_authorizer::body::Body;
use axum_of_jwt_authorizer::routing::get;
use http::{Request, StatusCode, header};
use jwt_authorizer::{IntoLayer, JwtAuthorizer, Validation};
use serde_json::json;
use stonework::base::BoxError;
use stonework::jwt::{Algorithm, Issuer, JwtLayer, Key, SigningKey, Verifier};
use tower::ServiceExt;

use crate::kit::Verdict;
use crate::stage::{chapter, scene};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "orders";

/// Who has a token of the issuer for this audience may come in.
async fn before(router: Router) -> Result<Router, BoxError> {
    let rules = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let authorizer: JwtAuthorizer = JwtAuthorizer::from_ed_pem_text(PUBLIC);
    Ok(router.layer(authorizer.validation(rules).build().await?.into_layer()))
}

fn after(router: Router) -> Result<Router, BoxError> {
    let verifier = Verifier::builder()
        .keys(Key::pem(Algorithm::EdDsa, PUBLIC)?)
        .algorithms([Algorithm::EdDsa])
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .build()?;
    Ok(router.layer(JwtLayer::new(verifier).answer()))
}

// ─────────────────────────────────────────────────────────────────────────────────────── the same callers

/// The pair of RFC 8037, appendix A, which everybody knows.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

async fn ask(router: &Router, token: Option<&str>) -> Result<StatusCode, BoxError> {
    let mut request = Request::get("/");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(router.clone().oneshot(request.body(Body::empty())?).await?.status())
}

pub(crate) async fn play(verdict: &mut Verdict) -> Result<(), BoxError> {
    chapter("jwt-authorizer → jwt::JwtLayer over the same router");
    let router = || Router::new().route("/", get(|| async { "orders" }));
    let (before, after) = (before(router()).await?, after(router())?);
    let key = || SigningKey::pem(Algorithm::EdDsa, PRIVATE);
    let ours = Issuer::builder(ISSUER).key(key()?).build()?;
    let other = Issuer::builder("https://elsewhere.example").key(key()?).build()?;
    let stranger = Issuer::builder(ISSUER).key(SigningKey::generate(Algorithm::EdDsa)?).build()?;

    let good = ours.sign(&json!({ "sub": "alice", "aud": AUDIENCE }))?;
    let (kept, signature) = good.rsplit_once('.').ok_or("a token has three parts")?;
    let turned: String = signature.chars().rev().collect();
    let tokens = [
        ("as it should be", good.clone(), Expected::In),
        ("none", String::new(), Expected::Out),
        (
            "signed by somebody else",
            stranger.sign(&json!({ "sub": "alice", "aud": AUDIENCE }))?,
            Expected::Out,
        ),
        ("with its signature turned round", format!("{kept}.{turned}"), Expected::Out),
        ("of another issuer", other.sign(&json!({ "aud": AUDIENCE }))?, Expected::Out),
        ("for another audience", ours.sign(&json!({ "sub": "alice", "aud": "payments" }))?, Expected::Out),
        ("for no audience", ours.sign(&json!({ "sub": "alice" }))?, Expected::Differs),
    ];
    scene("tokens, and what comes of them");
    println!("    {:<32}{:>8}{:>8}", "a token", "before", "after");
    let (mut same, mut rows) = (true, Vec::new());
    for (what, token, expected) in &tokens {
        let token = (!token.is_empty()).then_some(token.as_str());
        let (one, two) = (ask(&before, token).await?, ask(&after, token).await?);
        println!("    {what:<32}{:>8}{:>8}", one.as_u16(), two.as_u16());
        match expected {
            Expected::In => same &= [one, two] == [StatusCode::OK; 2],
            Expected::Out => same &= [one, two] == [StatusCode::UNAUTHORIZED; 2],
            Expected::Differs => rows.push((one, two)),
        }
    }
    println!();
    verdict.claim(same, "the good one comes in, and the bad ones stay out, before and after");
    let [(one, two)] = rows[..] else { return Err("one row differs".into()) };
    verdict.claim(
        one == StatusCode::OK,
        "before, a token that names no audience comes in, though one was asked for",
    );
    verdict.claim(two == StatusCode::UNAUTHORIZED, "after, it stays out");
    Ok(())
}

/// What is claimed of a token.
enum Expected {
    In,
    Out,
    /// Before as after is not the same.
    Differs,
}
