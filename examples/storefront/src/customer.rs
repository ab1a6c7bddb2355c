//! Somebody who buys things: what a program does that wants to know what became of its orders.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use stonework::balance::{BalancerSettings, OutlierSettings, Pick};
use stonework::base::{Backoff, BoxError, Ending, Event, Kind, Observer};
use stonework::client::{Client, ClientSettings, RequestBuilder, UpstreamSettings};
use stonework::retry::RetrySettings;
use tokio::time::{sleep, timeout};

/// A call, with all its attempts; longer than a server takes to learn that another one was killed.
const CALL: Duration = Duration::from_secs(10);
/// An attempt: longer than a server takes, so that it is the server that says so.
const ATTEMPT: Duration = Duration::from_secs(6);
/// After an attempt that says nothing, and not when to come back: an instance that is being started anew is not missed for long.
const BRIEFLY: Duration = Duration::from_millis(50);
/// How long somebody goes on asking what became of their order.
const PATIENCE: Duration = Duration::from_secs(60);

/// What everybody calls. It is a name alone: the client knows where the instances are.
const SHOP: &str = "http://shop";

/// A client of these instances. Outermost first, as it always has it: a deadline, retries, a limit for each attempt, and whichever instance is
/// there and has the least to do; to each a circuit and connections. What becomes of each attempt is counted.
///
/// # Errors
///
/// None, as long as the numbers above are good.
pub fn client(instances: impl IntoIterator<Item = SocketAddr>, tally: &Tally) -> Result<Client, BoxError> {
    // An instance that was killed is back in no time here, so it is soon tried again, soon believed, and soon has its share.
    let balancer = BalancerSettings::new()
        // By what is in flight: a login takes far longer than an order, so an instance is not slow that had one.
        .pick(Pick::LeastLoaded)
        .backoff(Backoff::exponential(BRIEFLY, 10 * BRIEFLY)?)
        .outliers(OutlierSettings::new().base_ejection(BRIEFLY))
        .slow_start(10 * BRIEFLY);
    let members = instances.into_iter().map(|address| address.to_string());
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_millis(500))?;
    let settings = ClientSettings::new()
        .deadline(CALL)
        .retry(RetrySettings::new().attempts(4).backoff(backoff))
        .attempt_timeout(ATTEMPT)
        .upstream(SHOP, UpstreamSettings::new().members(members).balancer(balancer));
    Ok(Client::builder().settings(settings).observer(tally.clone()).build()?)
}

// ───────────────────────────────────────────────────────────────────────────── what went over the wire

/// How many attempts had an answer of each status, and how many had none.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

/// See [`Tally`].
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By status.
    pub answers: BTreeMap<u16, u64>,
    /// Those that were sent, or may have been, and were not answered; and those that could not be sent.
    pub unanswered: u64,
}

impl Tally {
    /// An answer that came some other way.
    pub fn add(&self, status: u16) {
        *self.lock().answers.entry(status).or_default() += 1;
    }

    /// As it is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tally {
    fn observe(&self, event: &Event) {
        match event {
            Event::AttemptEnded { ending: Ending::Status(status), .. } => self.add(status.as_u16()),
            Event::AttemptEnded { .. } => self.lock().unanswered += 1,
            _ => {}
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── a customer

/// Somebody who has logged in.
#[derive(Clone)]
pub struct Customer {
    client: Client,
    token: Arc<str>,
}

/// What somebody was told of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// What the order is called.
    pub id: String,
    /// Whether this is the answer to an earlier request with the same key.
    pub replayed: bool,
    /// What the instance calls itself that said so.
    pub served_by: String,
}

impl Customer {
    /// With this password.
    ///
    /// # Errors
    ///
    /// If nobody answers, or they are not let in.
    pub async fn log_in(client: Client, user: &str, password: &str) -> Result<Self, BoxError> {
        let credentials = serde_json::json!({ "user": user, "password": password });
        // Nothing is done by it, so it can be asked for as often as it takes.
        let ask = || client.post(format!("{SHOP}/login")).json(&credentials);
        let (_, answer) = until_known(StatusCode::OK, ask).await?;
        let token = answer["token"].as_str().ok_or("there is no token")?.into();
        Ok(Self { client, token })
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
        let order = serde_json::json!({ "product": product, "quantity": quantity, "note": note });
        let ask = || {
            let request = self.client.post(format!("{SHOP}/orders")).bearer(&self.token);
            request.idempotency_key(key).json(&order)
        };
        let (fields, order) = until_known(StatusCode::CREATED, ask).await?;
        let id = order["id"].as_str().ok_or("it has no name")?.to_owned();
        let served_by =
            fields.get("served-by").and_then(|name| name.to_str().ok()).ok_or("nobody says so")?;
        let replayed = fields.contains_key("idempotency-replayed");
        Ok(Bought { id, replayed, served_by: served_by.to_owned() })
    }

    /// What the shop says at this path.
    ///
    /// # Errors
    ///
    /// If nobody answers, or there is nothing for them.
    pub async fn get(&self, path: &str) -> Result<Value, BoxError> {
        let ask = || self.client.get(format!("{SHOP}{path}")).bearer(&self.token);
        Ok(until_known(StatusCode::OK, ask).await?.1)
    }

    /// What they prove with who they are.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same one, with the same token, and another client.
    #[must_use]
    pub fn with(&self, client: Client) -> Self {
        Self { client, token: Arc::clone(&self.token) }
    }
}

/// Asks until there is an answer that says what happened: the wanted one, to its end; or one that says that it will not be.
async fn until_known(
    wanted: StatusCode,
    ask: impl Fn() -> RequestBuilder,
) -> Result<(HeaderMap, Value), BoxError> {
    let asking = async {
        loop {
            let wait = match ask().send().await {
                Ok(answer) => {
                    let (status, later) = (answer.status(), answer.retry_after());
                    let fields = answer.headers().clone();
                    match answer.json::<Value>().await {
                        Ok(said) if status == wanted => return Ok((fields, said)),
                        // It says no, and not that it is for now.
                        Ok(said) if status.is_client_error() && later.is_none() => {
                            return Err(format!("{status}: {}", said["detail"]).into());
                        }
                        // An answer that breaks off is none.
                        _ => later.unwrap_or(BRIEFLY),
                    }
                }
                // It is no request, now or later.
                Err(error) if error.kind() == Kind::Invalid => return Err(error.into()),
                Err(_) => BRIEFLY,
            };
            sleep(wait).await;
        }
    };
    timeout(PATIENCE, asking).await?
}
