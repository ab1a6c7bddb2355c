//! The application server: its routes, and what a request meets before it comes to a handler.

use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{Html, Response};
use axum::routing::{MethodRouter, get, post};
use http::{HeaderValue, header};
use stonework::base::{BoxError, ByClient, ByPrincipal, Detach, Network, PrincipalKey, Rng, WallClock};
use stonework::health::{Health, Impact};
use stonework::idempotency::{AfterCrash, IdempotencyLayer, IdempotencySettings};
use stonework::jwt::{Issuer, JwtLayer, Verifier};
use stonework::limit::{ConcurrencyLimitLayer, ConcurrencySettings, KeyedRateLimiter, Quota, RateLimitLayer};
use stonework::observe::{MetricsObserver, Prometheus, RouteLayer};
use stonework::server::{DetachLayer, Server, ServerBuilder, ServerSettings};
use tower::ServiceBuilder;

use crate::database::{Database, Keys};
use crate::{answers, login, orders, products};

/// How long an instance that is not heard of is believed to be at work on an order. One that works is heard of each third of it, and a commit
/// takes far less. So nobody waits long for an instance that was killed, and no slow one is taken for dead.
const LEASE: Duration = Duration::from_secs(1);
/// How long a request may take, if its client does not say less. Twice the lease, and the time to do it after that.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest body is an order, with its note in the longest of characters.
const LARGEST_BODY: u64 = 4 * 1024;
/// How many requests are worked on at once, and how many wait for their turn, which is soon: the database works on one order after the other.
const AT_ONCE: usize = 64;
const WAITING: usize = 256;
const TURN: Duration = Duration::from_secs(1);
/// What one address may ask for. Everybody in the show and in the tests has the same one, so it is a lot.
const BY_ADDRESS: Quota = Quota::per_second(1_000).burst(2_000);
/// What one user may ask for, from whatever address.
const BY_USER: Quota = Quota::per_second(200).burst(400);
/// How often passwords may be guessed from one address, and how many guesses are checked at once: each keeps a processor busy. The show logs in
/// a dozen times.
const GUESSES: Quota = Quota::per_second(1).burst(30);
const GUESSES_AT_ONCE: usize = 2;
/// How long a login waits for its turn: less than the deadline, so that it is told that there is too much to do.
const GUESS_TURN: Duration = Duration::from_secs(3);
/// How many guesses come to their end though their client has gone: one that has begun cannot be stopped, and keeps its turn until it is over.
/// Those that still wait for their turn are among them, for as long as [`GUESS_TURN`]; others are told to come back.
const GUESSES_UNDER_WAY: usize = 32;

/// What handlers know. Nothing of it is about a user or a request: two instances that share the database and the key are one shop.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) issuer: Issuer,
    pub(crate) rng: Rng,
    pub(crate) clock: WallClock,
}

/// What an instance is told.
#[derive(Clone)]
pub struct Options {
    /// What it calls itself, in the field `served-by` of its answers.
    pub name: String,
    /// What signs tokens: see [`new_key`](crate::new_key).
    pub key: Vec<u8>,
    /// Whether keys are of account. **Without it, what is sent twice is done twice.**
    pub idempotency: bool,
    /// Whether a line is written for each request.
    pub log: bool,
}

/// A server, and what it serves. It has yet to be bound.
///
/// # Errors
///
/// If the key is none.
pub fn application(
    options: &Options,
    database: Database,
    metrics: Prometheus,
) -> Result<(ServerBuilder, Router), BoxError> {
    let settings = IdempotencySettings::new()
        // An order without a key would be made again by whoever asks again.
        .required(true)
        // All that the handler does is one transaction, with the record in it: what was not recorded was not done.
        .after_crash(AfterCrash::Rerun)
        .lease(LEASE)
        // A second press of the button waits for the first, and gets its answer.
        .wait_up_to(2 * LEASE);
    let keys = IdempotencyLayer::new(database.keys()).settings(settings)?.observer(MetricsObserver);
    let keys = keys.when(options.idempotency);

    let check = database.clone();
    let health = Health::builder().readiness("database", Impact::Shared, move || {
        let database = check.clone();
        async move { database.check().await }
    });
    let mut settings = ServerSettings::new()
        .deadline(DEADLINE)
        .max_request_body(LARGEST_BODY)
        .concurrency(ConcurrencySettings::new(AT_ONCE).queue(WAITING))
        .queue_timeout(TURN)
        .rate_limit(BY_ADDRESS)
        .metrics()
        // No load balancer asks here whether it is ready, so nobody has to be given time to notice that it is not.
        .lame_duck(Duration::ZERO);
    if options.log {
        settings = settings.access_log();
    }
    // Orders that have begun are finished before the server ends, also if their clients have gone.
    let builder =
        Server::builder().settings(settings).health(health.build()?).detach(keys.detached().clone());
    Ok((builder, router(options, database, keys, metrics)?))
}

/// The routes.
fn router(
    options: &Options,
    database: Database,
    keys: IdempotencyLayer<Keys>,
    metrics: Prometheus,
) -> Result<Router, BoxError> {
    let (issuer, verifier) = login::tokens(&options.key)?;
    let shop = Shop { database, issuer, rng: Rng::from_entropy(), clock: WallClock::system() };
    let name = HeaderValue::try_from(&options.name)?;

    let guesses = ServiceBuilder::new()
        .layer(
            RateLimitLayer::keyed(KeyedRateLimiter::<Network>::named("login", GUESSES)?, ByClient).answer(),
        )
        .layer(DetachLayer::new(Detach::new(GUESSES_UNDER_WAY)).answer())
        .layer(ConcurrencyLimitLayer::new(GUESSES_AT_ONCE)?.wait_up_to(GUESS_TURN).answer());
    let users = for_users(verifier, keys)?;

    Ok(Router::new()
        .route("/", get(page))
        .route("/openapi.json", get(openapi))
        .route("/metrics", get(move || measured(metrics.clone())))
        .route("/login", post(login::login).route_layer(guesses))
        .route("/products", get(products::list))
        .route("/orders", users(get(orders::list).post(orders::place)))
        .route("/orders/{id}", users(get(orders::one)))
        .fallback(answers::not_found)
        .method_not_allowed_fallback(answers::not_allowed)
        // So that the server, which measures what comes in, can say which route it was for.
        .layer(RouteLayer::matched())
        .layer(map_response(move |mut response: Response| {
            response.headers_mut().insert("served-by", name.clone());
            std::future::ready(response)
        }))
        .with_state(shop))
}

/// What stands around the routes of those who have logged in; not around the whole server, as `ServerBuilder::jwt` and `idempotency` have it,
/// since some routes are for everybody. Who it is comes first: a rate and a key belong to somebody. A method that there
/// is not is refused without any of it.
fn for_users(
    verifier: Verifier,
    keys: IdempotencyLayer<Keys>,
) -> Result<impl Fn(MethodRouter<Shop>) -> MethodRouter<Shop>, BoxError> {
    let layers = ServiceBuilder::new()
        .layer(JwtLayer::new(verifier).answer())
        .layer(
            RateLimitLayer::keyed(KeyedRateLimiter::<PrincipalKey>::named("user", BY_USER)?, ByPrincipal)
                .answer(),
        )
        .layer(keys);
    Ok(move |routes: MethodRouter<Shop>| routes.route_layer(layers.clone()))
}

/// `GET /`: the tier above, which is a page that asks for all else.
async fn page() -> ([(header::HeaderName, &'static str); 2], Html<&'static str>) {
    // It is all of one piece, and asks for nothing from elsewhere.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let fields = [(header::CONTENT_SECURITY_POLICY, policy), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (fields, Html(include_str!("../page.html")))
}

/// `GET /openapi.json`
async fn openapi() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../openapi.json"))
}

/// `GET /metrics`. **Whoever can reach it can read it**: a real shop has it on a port of its own.
async fn measured(metrics: Prometheus) -> ([(header::HeaderName, &'static str); 1], String) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let text = format!("{}# TYPE tokio_tasks gauge\ntokio_tasks {tasks}\n", metrics.render());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
