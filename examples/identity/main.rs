//! Who may come in while the one who says so changes its keys, publishes nonsense, or is away?
//!
//! *The problem:* a service that checks tokens depends on an identity provider that somebody else runs. If keys are fetched in a request, an
//! outage there is one here; if any unknown key is looked for, strangers can make the service flood the provider; if an odd answer
//! replaces good keys, everybody is locked out.
//!
//! *What to look at:* [`resource_server`] and [`caller`], which is all that a service and its clients need; then [`play`], where everything
//! happens to them.
//!
//! *What it shows:* a provider that is not there at first, rotates as planned, loses its keys, publishes odd ones, none, and errors, goes down and
//! comes back; two clients that call all the while; and an attacker with two thousand keys of its own. All of it over sockets.
//!
//!     cargo run --example identity
//!
//! It takes about fifteen seconds, and ends with exit code 0 if every claim held.

mod clients;
#[path = "../kit/mod.rs"]
mod kit;
mod provider;
mod show;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;
use stonework::base::{Backoff, BoxError, ClientAuth, HealthState};
use stonework::client::{Client, ClientSettings};
use stonework::health::{Health, HealthSettings, Impact};
use stonework::jwt::{
    Algorithm, Claims, Issuer, JwtLayer, RemoteKeys, RemoteKeysSettings, SigningKey, Verifier,
};
use stonework::oauth::{BearerLayer, TokenSettings, TokenSource};
use stonework::server::Server;
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

use self::clients::{Caller, Stranger, call};
use self::kit::Verdict;
use self::provider::{Mood, ODD_KEYS, Provider};
use self::show::{Hits, Show};

/// Everything is a hundred times as fast as it would be elsewhere: a token is good for two seconds, keys are fresh for one.
const TOKEN_LIFE: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_secs(1);
/// How long nobody looks for an unknown key again.
const COOLDOWN: Duration = Duration::from_secs(1);
const AUDIENCE: &str = "orders";
/// Of the provider's clients.
const SECRET: &str = "the-secret-of-an-example";
const FORGERIES: usize = 2_000;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

// ───────────────────────────────────────────────────────────── what a service and its clients need

/// Lets in who has a token of `issuer`, or of a partner, for [`AUDIENCE`]. It starts without either of them.
async fn resource_server(issuer: &str, partner: &str) -> Result<(SocketAddr, RemoteKeys), BoxError> {
    // Any client will do; what it retries is its matter. Whoever fetches pauses after failures: with a circuit as well, it would wait twice.
    let client = Client::builder().settings(ClientSettings::new().without_breaker()).build()?;
    let settings = RemoteKeysSettings::new()
        .min_lifetime(FRESH)
        .cooldown(COOLDOWN)
        .backoff(Backoff::exponential(FRESH / 5, FRESH / 2)?);
    let fetch = |issuer| {
        let builder = RemoteKeys::oidc(client.clone(), issuer).settings(settings.clone());
        // Within one machine.
        builder.allow_plain_http().build()
    };
    let (ours, theirs) = (fetch(issuer)?, fetch(partner)?);
    let verifier = Verifier::builder()
        .issuers_with_keys([(issuer, &ours), (partner, &theirs)])
        .algorithms([Algorithm::EdDsa])
        .audience(AUDIENCE)
        .build()?;

    let app = Router::new()
        .route("/orders", get(|claims: Claims| async move { format!("{:?}", claims.subject()) }))
        .layer(JwtLayer::new(verifier).answer())
        .route("/about", get(|| async { "everybody may read this" }));
    let check = {
        let keys = ours.clone();
        move || {
            let health = keys.health();
            async move { health }
        }
    };
    let often = HealthSettings::new().interval(FRESH / 5).timeout(FRESH / 10);
    let health = Health::builder().settings(often).readiness("identity", Impact::Shared, check).build()?;
    let server = Server::builder().health(health).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve(app));
    Ok((address, ours))
}

/// A client that speaks for itself: it gets tokens, and gets new ones in time.
fn caller(name: &str, issuer: &str, orders: &str) -> Result<Caller, BoxError> {
    // Each call once, so that the table below shows what was answered.
    let client =
        Client::builder().settings(ClientSettings::new().without_retry().without_breaker()).build()?;
    let source = TokenSource::builder(format!("{issuer}/token"), ClientAuth::body(name, SECRET))
        .allow_plain_http()
        .settings(TokenSettings::new().backoff(Backoff::exponential(FRESH / 10, FRESH / 4)?))
        .build(client.clone())?;
    let service = BearerLayer::new(source.clone(), [orders])?.layer(client);
    Ok(Caller { service, source, orders: format!("{orders}/orders") })
}

// ─────────────────────────────────────────────────────────────────────────────────── what happens

async fn play() -> Result<Verdict, BoxError> {
    let provider = Provider::new().await?;
    let (orders, keys) = resource_server(&provider.name, "http://127.0.0.1:9/partner").await?;
    let url = format!("http://{orders}");
    let callers = [caller("alice", &provider.name, &url)?, caller("bob", &provider.name, &url)?];
    let stranger = Stranger::new(&url)?;
    let mut show = Show { provider, keys, before: Hits::default(), verdict: Verdict::default() };

    show.scene("The provider is not there yet");
    let made_up = stranger.ask(&show.provider.issuer().sign(&claims("alice"))?).await?;
    show.row("a token", &made_up);
    let calls = call(&callers, Duration::ZERO, 1).await;
    show.row("clients", &calls);
    show.verdict.claim(made_up.is_all(made_up.unavailable), "who has a token is asked to come back");
    show.verdict
        .claim(calls.is_all(calls.unsent), "clients are told that there is no token, and send nothing");
    let (ready, about) = (stranger.get("/readyz").await?, stranger.get("/about").await?);
    show.verdict.claim(about == StatusCode::OK, "what everybody may read can be read");
    show.verdict
        .claim(ready == StatusCode::SERVICE_UNAVAILABLE, "the server is up, and says that it is not ready");

    show.scene("It comes up: a hundred calls at once of each client");
    show.provider.up().await?;
    timeout(5 * FRESH, show.keys.wait_ready()).await?;
    for caller in &callers {
        caller.until_there_is_a_token().await?;
    }
    let calls = call(&callers, Duration::ZERO, 100).await;
    let hits = show.row("clients", &calls);
    show.verdict.claim(calls.is_all(calls.good), "all are let in");
    show.verdict.claim(hits.tokens == 2, "with one token for each client");
    // It looks five times in a second.
    sleep(FRESH / 2).await;
    show.verdict.claim(stranger.get("/readyz").await? == StatusCode::OK, "the server is ready");
    let partner = Issuer::builder("http://127.0.0.1:9/partner").allow_plain_http().build()?;
    let partner = stranger.ask(&partner.sign(&claims("carol"))?).await?;
    show.row("a partner", &partner);
    show.verdict.claim(partner.is_all(partner.unavailable), "whose own provider is down has to wait, alone");

    show.scene("An attacker comes with two thousand keys of its own, and with what it has read about");
    let began = Instant::now();
    let forgeries = stranger.forge(&show.provider)?;
    let ((calls, forged), took) = {
        let both = async { tokio::join!(call(&callers, FRESH, 1), stranger.flood(&forgeries)) };
        let (calls, forged) = both.await;
        ((calls, forged?), began.elapsed())
    };
    show.row("the attacker", &forged);
    let hits = show.row("clients", &calls);
    // Those that come anyway, three quarters of their life after another, and those that an unknown key may cause.
    let most = 2 + took.div_duration_f64(FRESH * 3 / 4) as u64 + took.div_duration_f64(COOLDOWN) as u64;
    show.verdict.claim(forged.is_all(forged.refused), "none of them is let in");
    show.verdict.claim(calls.is_all(calls.good), "clients do not notice");
    show.verdict.claim(hits.keys <= most, format!("the provider notices at most {most} requests for keys"));

    show.scene("It changes its key, as planned");
    let old = show.provider.issuer().key_ids();
    show.provider.issuer().add_key(SigningKey::generate(Algorithm::EdDsa)?);
    let calls = call(&callers, FRESH * 2 + FRESH / 2, 1).await;
    show.row("clients", &calls);
    let token = show.provider.issuer().sign(&claims("dave"))?;
    let published = show.provider.issuer().key_ids();
    show.verdict.claim(published.len() == old.len() + 1, "both keys are published");
    show.verdict.claim(!has_same_head(&token, &show.provider.first), "tokens are signed with the new one");
    show.verdict.claim(calls.is_all(calls.good), "clients do not notice");

    show.scene("It loses its keys: it begins anew with another, and knows the old one no longer");
    show.provider.forget()?;
    let calls = call(&callers, FRESH * 2, 1).await;
    let hits = show.row("clients", &calls);
    show.verdict
        .claim(calls.is_all(calls.good) && hits.tokens >= 2, "clients got other tokens, and noticed nothing");

    for (mood, title) in [
        (Mood::Odd, "It publishes odd keys beside the good one"),
        (Mood::Empty, "It publishes no keys at all"),
        (Mood::Broken, "It answers 500 to whoever wants its keys"),
    ] {
        show.scene(title);
        show.provider.mood(mood);
        let calls = call(&callers, FRESH + FRESH / 2, 1).await;
        let hits = show.row("clients", &calls);
        show.verdict.claim(hits.keys > 0, "it was asked for them");
        show.verdict.claim(calls.is_all(calls.good), "clients do not notice");
        let skipped = show.keys.current().map_or(0, |keys| keys.skipped().len());
        let health = show.keys.health();
        match mood {
            Mood::Odd => show.verdict.claim(skipped == ODD_KEYS.len(), "the odd ones were left out"),
            _ => {
                show.verdict.claim(health == HealthState::Warn, "the check says so, and goes by the old ones")
            }
        }
    }

    show.scene("It goes down");
    let late = show.provider.issuer().sign(&claims("erin"))?;
    show.provider.down().await?;
    let soon = call(&callers, FRESH / 10, 1).await;
    show.row("clients, soon", &soon);
    sleep(TOKEN_LIFE).await;
    let after = call(&callers, Duration::ZERO, 1).await;
    show.row("clients, later", &after);
    let late = stranger.ask(&late).await?;
    show.row("a token", &late);
    show.verdict.claim(soon.is_all(soon.good), "clients go on with the tokens that they have");
    show.verdict
        .claim(after.is_all(after.unsent), "and are told when these are over, before they send anything");
    show.verdict.claim(late.is_all(late.good), "the server goes on with the keys that it has");
    show.verdict.claim(stranger.get("/readyz").await? == StatusCode::OK, "and is ready");

    show.scene("It comes back");
    show.provider.mood(Mood::Well);
    show.provider.up().await?;
    for caller in &callers {
        caller.until_there_is_a_token().await?;
    }
    let calls = call(&callers, FRESH, 1).await;
    show.row("clients", &calls);
    show.verdict.claim(calls.is_all(calls.good), "all are let in again");
    show.verdict.claim(show.keys.health() == HealthState::Pass, "and the keys are new");
    show.provider.down().await?;
    Ok(show.verdict)
}

/// What a client is told that it may do.
fn claims(who: &str) -> serde_json::Value {
    json!({ "sub": who, "aud": AUDIENCE })
}

/// Whether two tokens were signed with one key: it is named in the first part.
fn has_same_head(one: &str, other: &str) -> bool {
    one.split('.').next() == other.split('.').next()
}
