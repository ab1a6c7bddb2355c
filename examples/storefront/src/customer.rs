//! Somebody who buys things: what a program does that wants to know what became of its orders.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, header};
use serde_json::Value;
use stonework::Body;
use stonework::balance::{Balancer, BalancerSettings, OutlierSettings, Pick};
use stonework::base::{Backoff, BoxError, EndpointId};
use stonework::client::{Client, ClientSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::{sleep, timeout};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

/// A call, with all its attempts; longer than a server takes to learn that another one was killed.
const CALL: Duration = Duration::from_secs(10);
/// An attempt: longer than a server takes, so that it is the server that says so.
const ATTEMPT: Duration = Duration::from_secs(6);
/// After an attempt that says nothing, and not when to come back: an instance that is being started anew is not missed for long.
const BRIEFLY: Duration = Duration::from_millis(50);
/// How long somebody goes on asking what became of their order.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer of the shop is longer, but for what all its customers have bought.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// What everybody calls.
pub type Line = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A way to these instances. Outermost first: a deadline, retries, a limit for each attempt, and whichever instance is there and has the least
/// to do; to each a circuit and connections. What goes over the wire is counted.
///
/// # Errors
///
/// None, as long as the numbers above are good.
pub fn line(instances: impl IntoIterator<Item = SocketAddr>, tally: &Tally) -> Result<Line, BoxError> {
    let tally = tally.clone();
    // It tells each attempt's server how much time is left. What has retries above it needs none of its own.
    let client = Client::builder().settings(ClientSettings::new().without_retry()).build()?;
    let endpoint = move |id: &EndpointId| {
        let (to, tally) = (id.clone(), tally.clone());
        client
            .clone()
            .map_request(move |request| at(&to, request))
            .map_result(move |result| tally.count(result))
    };
    let members = instances.into_iter().map(|address| address.to_string());
    // By what is in flight: a login takes a hundred times as long as an order, so an instance is not slow that had one.
    let again = Backoff::exponential(BRIEFLY, 10 * BRIEFLY)?;
    // An instance that was killed is back in no time here, so it is soon tried again, soon believed, and soon has its share.
    let settings = BalancerSettings::new()
        .pick(Pick::LeastLoaded)
        .backoff(again)
        .outliers(OutlierSettings::new().base_ejection(BRIEFLY))
        .slow_start(10 * BRIEFLY);
    let balancer = Balancer::builder(endpoint).members(members).settings(settings).build()?;
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_millis(500))?;
    let line = ServiceBuilder::new()
        .layer(TimeoutLayer::new(CALL))
        .layer(RetryLayer::from(RetrySettings::new().attempts(4).backoff(backoff)))
        .layer(AttemptTimeoutLayer::new(ATTEMPT))
        .service(balancer.service());
    let line = line.map_response(|response: Response<_>| response.map(Body::new)).map_err(BoxError::from);
    Ok(BoxCloneSyncService::new(line))
}

/// The same request, there.
fn at(id: &EndpointId, mut request: Request<Body>) -> Request<Body> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{id}{path}").parse().expect("an address and a path");
    request
}

// ───────────────────────────────────────────────────────────────────────────── what went over the wire

/// How many answers of each status there were, and of each instance; and how many requests had none.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

/// See [`Tally`].
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By status.
    pub answers: BTreeMap<u16, u64>,
    /// By what instances call themselves.
    pub instances: BTreeMap<String, u64>,
    /// Those that were sent, or may have been, and were not answered; and those that could not be sent.
    pub unanswered: u64,
}

impl Tally {
    fn count<B, E>(&self, result: Result<Response<B>, E>) -> Result<Response<B>, E> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(response) => {
                *counts.answers.entry(response.status().as_u16()).or_default() += 1;
                *counts.instances.entry(served_by(response.headers()).to_owned()).or_default() += 1;
            }
            Err(_) => counts.unanswered += 1,
        }
        drop(counts);
        result
    }

    /// An answer that came some other way.
    pub fn add(&self, status: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).answers.entry(status).or_default() += 1;
    }

    /// As it is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn served_by(fields: &HeaderMap) -> &str {
    fields.get("served-by").and_then(|name| name.to_str().ok()).unwrap_or("nobody")
}

// ───────────────────────────────────────────────────────────────────────────── a customer

/// Somebody who has logged in.
#[derive(Clone)]
pub struct Customer {
    line: Line,
    token: Arc<str>,
}

/// What somebody was told of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// What the order is called.
    pub id: String,
    /// Whether this is the answer to an earlier request with the same key.
    pub replayed: bool,
    /// Who said so.
    pub served_by: String,
}

impl Customer {
    /// With this password.
    ///
    /// # Errors
    ///
    /// If nobody answers, or they are not let in.
    pub async fn log_in(line: Line, user: &str, password: &str) -> Result<Self, BoxError> {
        let credentials = serde_json::json!({ "user": user, "password": password }).to_string();
        // Nothing is done by it, so it can be asked for as often as it takes.
        let request = || {
            let request = Request::post("/login").header(header::CONTENT_TYPE, "application/json");
            request.body(Body::from(credentials.clone()))
        };
        let (_, answer) = until_known(&line, StatusCode::OK, request).await?;
        let token = answer["token"].as_str().ok_or("there is no token")?.into();
        Ok(Self { line, token })
    }

    /// Buy something, and go on asking until it is known what became of that, always with the same key.
    ///
    /// # Errors
    ///
    /// If that cannot be known in time, or it cannot be bought.
    pub async fn order(
        &self,
        key: &str,
        product: &str,
        quantity: u32,
        note: &str,
    ) -> Result<Bought, BoxError> {
        let order = serde_json::json!({ "product": product, "quantity": quantity, "note": note }).to_string();
        let request = || {
            self.authorized(Request::post("/orders"))
                .header(header::CONTENT_TYPE, "application/json")
                .header("idempotency-key", format!("\"{key}\""))
                .body(Body::from(order.clone()))
        };
        let (fields, order) = until_known(&self.line, StatusCode::CREATED, request).await?;
        let id = order["id"].as_str().ok_or("it has no name")?.to_owned();
        let replayed = fields.contains_key("idempotency-replayed");
        Ok(Bought { id, replayed, served_by: served_by(&fields).to_owned() })
    }

    /// What the shop says at this path.
    ///
    /// # Errors
    ///
    /// If nobody answers, or there is nothing for them.
    pub async fn get(&self, path: &str) -> Result<Value, BoxError> {
        let request = || self.authorized(Request::get(path)).body(Body::empty());
        Ok(until_known(&self.line, StatusCode::OK, request).await?.1)
    }

    /// What they prove with who they are.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same one, with the same token, over another line.
    #[must_use]
    pub fn over(&self, line: Line) -> Self {
        Self { line, token: Arc::clone(&self.token) }
    }

    fn authorized(&self, request: http::request::Builder) -> http::request::Builder {
        request.header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }
}

/// Asks until there is an answer that says what happened: the wanted one, to its end; or one that says that it will not be.
async fn until_known(
    line: &Line,
    wanted: StatusCode,
    request: impl Fn() -> Result<Request<Body>, http::Error>,
) -> Result<(HeaderMap, Value), BoxError> {
    let asking = async {
        loop {
            let mut wait = BRIEFLY;
            if let Ok(response) = line.clone().oneshot(request()?).await {
                let (head, body) = response.into_parts();
                let later =
                    head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                // An answer that breaks off is none.
                let said: Option<Value> = match body.collect_up_to(LARGEST_ANSWER).await {
                    Ok(bytes) => serde_json::from_slice(&bytes).ok(),
                    Err(_) => None,
                };
                match said {
                    Some(said) if head.status == wanted => return Ok((head.headers, said)),
                    // It says no, and not that it is for now.
                    Some(said) if head.status.is_client_error() && later.is_none() => {
                        return Err(format!("{}: {}", head.status, said["detail"]).into());
                    }
                    _ => wait = later.map_or(BRIEFLY, Duration::from_secs),
                }
            }
            sleep(wait).await;
        }
    };
    timeout(PATIENCE, asking).await?
}
