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

mod kit;

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, body};
use http::{Request, StatusCode, header};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;
use stonework::Body;
use stonework::base::{Backoff, BoxError, ClientAuth, HealthState, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::health::{Health, HealthSettings, Impact};
use stonework::jwt::{
    Algorithm, Claims, Issuer, IssuerSettings, JwtLayer, RemoteKeys, RemoteKeysSettings, SigningKey, Verifier,
};
use stonework::oauth::{BearerLayer, BearerService, NoToken, TokenSettings, TokenSource};
use stonework::server::{Server, ServerHandle, ServerSettings};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};

use self::kit::Verdict;

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

// ──────────────────────────────────────────────────────────────────────────────────── the clients

struct Caller {
    service: BearerService<Client>,
    source: TokenSource,
    orders: String,
}

impl Caller {
    async fn call(&self) -> Answered {
        let request = Request::get(&self.orders).body(Body::empty()).expect("an address of our own");
        match self.service.clone().oneshot(request).await {
            Ok(response) => Answered::status(response.status()),
            Err(error) => {
                let mut causes =
                    std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
                let unsent = causes.any(|cause| cause.is::<NoToken>());
                Answered { asked: 1, unsent: usize::from(unsent), ..Answered::default() }
            }
        }
    }

    async fn until_there_is_a_token(&self) -> Result<(), BoxError> {
        let wait = async {
            while self.source.token().await.is_err() {
                sleep(FRESH / 20).await;
            }
        };
        Ok(timeout(5 * FRESH, wait).await?)
    }
}

/// All clients call for so long, so many times at once.
async fn call(callers: &[Caller], length: Duration, at_once: usize) -> Answered {
    let (began, mut all) = (Instant::now(), Answered::default());
    loop {
        let calls = callers.iter().flat_map(|caller| (0..at_once).map(|_| caller.call()));
        for answered in futures_util::future::join_all(calls).await {
            all.add(&answered);
        }
        if began.elapsed() >= length {
            return all;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whoever has a token that they did not get from a [`TokenSource`].
struct Stranger {
    client: Client,
    url: String,
}

impl Stranger {
    fn new(url: &str) -> Result<Self, BoxError> {
        let settings = ClientSettings::new().without_retry().without_breaker();
        Ok(Self { client: Client::builder().settings(settings).build()?, url: url.to_owned() })
    }

    async fn get(&self, path: &str) -> Result<StatusCode, BoxError> {
        Ok(self.client.get(format!("{}{path}", self.url)).send().await?.status())
    }

    async fn ask(&self, token: &str) -> Result<Answered, BoxError> {
        let request = Request::get(format!("{}/orders", self.url));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        Ok(Answered::status(self.client.send(request.body(Body::empty())?).await?.status()))
    }

    /// Tokens of all kinds, none of them good.
    fn forge(&self, provider: &Provider) -> Result<Vec<String>, BoxError> {
        let ours = |key| Issuer::builder(&*provider.name).allow_plain_http().key(key).build();
        let good = provider.issuer().sign(&claims("alice"))?;
        let (head, rest) = good.split_once('.').ok_or("a token has three parts")?;
        let (payload, signature) = rest.split_once('.').ok_or("a token has three parts")?;
        let own = ours(SigningKey::generate(Algorithm::EdDsa)?)?.sign(&claims("alice"))?;
        let own = own.split_once('.').ok_or("a token has three parts")?.1;
        let elsewhere = Issuer::builder("https://elsewhere.example").key(provider.key()?).build()?;
        let yesterday = WallClock::fixed_at(WallClock::system().now() - Duration::from_secs(86_400));
        let yesterday = Issuer::builder(&*provider.name).allow_plain_http().clock(yesterday);
        let mut all = vec![
            // `{"alg":"none"}`
            format!("eyJhbGciOiJub25lIn0.{payload}."),
            format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"),
            // Signed with another key than it says.
            format!("{head}.{own}"),
            format!("{head}.{payload}."),
            format!("{head}.{payload}.{}", signature.chars().rev().collect::<String>()),
            // Signed with the right one.
            provider.issuer().sign(&json!({ "sub": "alice", "aud": "payments" }))?,
            provider.issuer().sign(&json!({ "sub": "alice" }))?,
            elsewhere.sign(&claims("alice"))?,
            yesterday.key(provider.key()?).build()?.sign(&claims("alice"))?,
        ];
        for _ in all.len()..FORGERIES {
            all.push(ours(SigningKey::generate(Algorithm::EdDsa)?)?.sign(&claims("alice"))?);
        }
        Ok(all)
    }

    /// All of them, eight at a time.
    async fn flood(&self, tokens: &[String]) -> Result<Answered, BoxError> {
        let mut tasks = JoinSet::new();
        for part in tokens.chunks(tokens.len().div_ceil(8)) {
            let (stranger, part) = (Self::new(&self.url)?, part.to_vec());
            tasks.spawn(async move {
                let mut all = Answered::default();
                for token in part {
                    all.add(&stranger.ask(&token).await?);
                }
                Ok::<_, BoxError>(all)
            });
        }
        let mut all = Answered::default();
        while let Some(part) = tasks.join_next().await {
            all.add(&part??);
        }
        Ok(all)
    }
}

// ─────────────────────────────────────────────────────────────────────────────────── the provider

/// What it does when somebody wants its keys.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Odd,
    Empty,
    Broken,
}

/// Of no type that anybody knows, of one without what belongs to it, and one that is no object.
const ODD_KEYS: [&str; 3] = [
    r#"{"kty":"LATTICE","crv":"Kyber-9000","x":"AAAA","kid":"tomorrow"}"#,
    r#"{"kty":"OKP","crv":"Ed25519","kid":"half"}"#,
    r#""a key""#,
];

/// An [`Issuer`] over a socket, with clients that have a secret, and with moods.
struct Provider {
    /// Its name, which is its address.
    name: String,
    address: SocketAddr,
    /// A token that was signed with its first key.
    first: String,
    /// The key that it had first, so that the attacker can have got hold of tokens that it signed.
    key: String,
    shared: Arc<Shared>,
    running: Option<(ServerHandle, JoinHandle<()>)>,
}

struct Shared {
    now: Mutex<(Issuer, Mood)>,
    documents: AtomicU64,
    keys: AtomicU64,
    tokens: AtomicU64,
}

impl Provider {
    /// It is not up yet, but it knows where it will be.
    async fn new() -> Result<Self, BoxError> {
        let address = Server::builder().bind("127.0.0.1:0").await?.local_addr();
        let name = format!("http://{address}");
        let key = KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem();
        let issuer = issuer(&name, SigningKey::pem(Algorithm::EdDsa, &key)?)?;
        let first = issuer.sign(&claims("alice"))?;
        let counts = || AtomicU64::new(0);
        let now = Mutex::new((issuer, Mood::Well));
        let shared = Arc::new(Shared { now, documents: counts(), keys: counts(), tokens: counts() });
        Ok(Self { name, address, first, key, shared, running: None })
    }

    async fn up(&mut self) -> Result<(), BoxError> {
        let app = Router::new()
            .route("/.well-known/{document}", get(publish))
            .route("/token", post(grant))
            .with_state(Arc::clone(&self.shared));
        let settings = ServerSettings::new().lame_duck(Duration::ZERO);
        let server = Server::builder().settings(settings).bind(self.address).await?;
        let handle = server.handle();
        let serving = tokio::spawn(async move {
            server.serve(app).await;
        });
        self.running = Some((handle, serving));
        Ok(())
    }

    async fn down(&mut self) -> Result<(), BoxError> {
        if let Some((handle, serving)) = self.running.take() {
            handle.shut_down();
            serving.await?;
        }
        Ok(())
    }

    fn issuer(&self) -> Issuer {
        self.shared.now().0
    }

    fn key(&self) -> Result<SigningKey, BoxError> {
        Ok(SigningKey::pem(Algorithm::EdDsa, &self.key)?)
    }

    fn mood(&self, mood: Mood) {
        self.shared.now.lock().expect("nobody panics with it").1 = mood;
    }

    fn forget(&self) -> Result<(), BoxError> {
        let other = issuer(&self.name, SigningKey::generate(Algorithm::EdDsa)?)?;
        self.shared.now.lock().expect("nobody panics with it").0 = other;
        Ok(())
    }

    fn hits(&self) -> Hits {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        Hits { documents: of(&shared.documents), keys: of(&shared.keys), tokens: of(&shared.tokens) }
    }
}

fn issuer(name: &str, key: SigningKey) -> Result<Issuer, BoxError> {
    let settings = IssuerSettings::new()
        .token_lifetime(TOKEN_LIFE)
        .max_age(FRESH)
        .publish_ahead(FRESH)
        // When it rotates, we say so.
        .without_rotation();
    let builder = Issuer::builder(name).allow_plain_http().key(key).settings(settings);
    Ok(builder.metadata("token_endpoint", format!("{name}/token")).build()?)
}

impl Shared {
    fn now(&self) -> (Issuer, Mood) {
        self.now.lock().expect("nobody panics with it").clone()
    }
}

/// Its keys and its discovery document, as an [`Issuer`] publishes them, or not.
async fn publish(State(shared): State<Arc<Shared>>, request: Request<body::Body>) -> Response {
    let (issuer, mood) = shared.now();
    let are_keys = request.uri().path().ends_with("jwks.json");
    if are_keys { &shared.keys } else { &shared.documents }.fetch_add(1, Ordering::Relaxed);
    let Ok(published) = issuer.service().oneshot(request).await;
    let (head, published) = published.into_parts();
    if !are_keys || mood == Mood::Well {
        return Response::from_parts(head, body::Body::new(published));
    }
    let keys = match mood {
        Mood::Well | Mood::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Empty => r#"{"keys":[]}"#.to_owned(),
        Mood::Odd => {
            let keys = published.collect_up_to(10_000).await.unwrap_or_default();
            let keys = String::from_utf8_lossy(&keys);
            keys.replacen(r#"{"keys":["#, &format!(r#"{{"keys":[{},"#, ODD_KEYS.join(",")), 1)
        }
    };
    Response::from_parts(head, keys.into())
}

/// A token for a client that knows the secret (RFC 6749, sections 2.3.1 and 4.4).
async fn grant(State(shared): State<Arc<Shared>>, form: String) -> Response {
    shared.tokens.fetch_add(1, Ordering::Relaxed);
    let says = |name: &str, value: &str| form.split('&').any(|pair| pair == format!("{name}={value}"));
    let known = ["alice", "bob"].into_iter().find(|name| says("client_id", name));
    let known = known.filter(|_| says("client_secret", SECRET) && says("grant_type", "client_credentials"));
    match known.and_then(|name| shared.now().0.sign(&claims(name)).ok()) {
        Some(token) => Json(json!({
            "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFE.as_secs()
        }))
        .into_response(),
        None => (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response(),
    }
}

// ─────────────────────────────────────────────────────────────────────────────────────── the show

/// What became of requests.
#[derive(Clone, Copy, Default)]
struct Answered {
    asked: usize,
    good: usize,
    refused: usize,
    unavailable: usize,
    /// For want of a token.
    unsent: usize,
}

impl Answered {
    fn status(status: StatusCode) -> Self {
        let is = |other| usize::from(status == other);
        Self {
            asked: 1,
            good: is(StatusCode::OK),
            refused: is(StatusCode::UNAUTHORIZED),
            unavailable: is(StatusCode::SERVICE_UNAVAILABLE),
            unsent: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.good += other.good;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.unsent += other.unsent;
    }

    fn is_all(&self, of_them: usize) -> bool {
        self.asked > 0 && of_them == self.asked
    }
}

/// What the provider was asked for.
#[derive(Clone, Copy, Default)]
struct Hits {
    documents: u64,
    keys: u64,
    tokens: u64,
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9}{:>6}{:>8}", self.documents, self.keys, self.tokens)
    }
}

struct Show {
    provider: Provider,
    keys: RemoteKeys,
    before: Hits,
    verdict: Verdict,
}

impl Show {
    fn scene(&mut self, title: &str) {
        println!("\n{title}\n");
        println!(
            "    {:<16}{:>7}{:>7}{:>7}{:>7}{:>10}   provider: {:>9}{:>6}{:>8}",
            "who", "asked", "200", "401", "503", "no token", "document", "keys", "tokens"
        );
        self.before = self.provider.hits();
    }

    /// And what the provider was asked for since the scene began.
    fn row(&mut self, who: &str, answered: &Answered) -> Hits {
        let (now, before) = (self.provider.hits(), self.before);
        let hits = Hits {
            documents: now.documents - before.documents,
            keys: now.keys - before.keys,
            tokens: now.tokens - before.tokens,
        };
        let Answered { asked, good, refused, unavailable, unsent } = answered;
        println!(
            "    {who:<16}{asked:>7}{good:>7}{refused:>7}{unavailable:>7}{unsent:>10}             {hits}"
        );
        hits
    }
}
