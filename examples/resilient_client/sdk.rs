//! A small SDK for the API of a shop, as the author of a library writes it: methods with types, options for a single call, and an error that
//! says what its caller can do. What is hard about calling an API that fails is the client's below it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stonework::base::{Backoff, BoxError, Budget, Observer, Rng};
use stonework::breaker::BreakerSettings;
use stonework::client::{Client, ClientSettings, RequestBuilder};
use stonework::retry::RetrySettings;

use crate::error::ShopError;

/// The longest answer, in bytes. Those of this API have a few hundred.
const LARGEST: usize = 256 * 1024;
/// How long a call takes at most, with everything: about as long as somebody waits who has pressed a button.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
pub(crate) struct Stock {
    pub(crate) left: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) item: &'static str,
    pub(crate) customer: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) number: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) orders: Vec<u64>,
    next: Option<u32>,
}

/// What a single call wants otherwise. All of it goes over the same client, with the same connections, circuit and budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    deadline: Option<Duration>,
    key: Option<String>,
    once: bool,
}

impl Options {
    /// Wait no longer than this. It can only shorten what the SDK allows.
    pub(crate) fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Do it once for this key, however often it is asked for. It is the caller's, so that he can ask again tomorrow.
    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Send it once, whatever happens.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// The shop. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    client: Client,
    base: String,
    ids: Rng,
}

impl Shop {
    /// The one at `base`, which is `http://host:port`. The budget is the user's, who may have several clients of one service.
    pub(crate) fn new(
        base: impl Into<String>,
        budget: Budget,
        observer: impl Observer + 'static,
    ) -> Result<Self, BoxError> {
        let ms = Duration::from_millis;
        let breaker = BreakerSettings::new()
            // Half of at least ten within two seconds: who makes ten calls a second knows after a second of failures.
            .min_calls(10)
            .window(ms(2_000))
            // It begins by asking again soon, for most outages of this API are short.
            .open_time(Backoff::exponential(ms(400), ms(1_000))?);
        let retry = RetrySettings::new()
            .backoff(Backoff::exponential(ms(50), ms(400))?)
            // Whoever has pressed a button is told that it takes longer, and not kept waiting.
            .max_retry_after(DEADLINE);
        let settings = ClientSettings::new()
            .deadline(DEADLINE)
            // Three of them fit into the deadline, and an answer that is any good comes sooner.
            .attempt_timeout(ms(600))
            // Answers are small, so one that breaks off is an attempt that failed, and within the limits on time.
            .collect_within(LARGEST)
            .breaker(breaker)
            .retry(retry);
        let client = Client::builder().settings(settings).budget(budget).observer(observer).build()?;
        Ok(Self { client, base: base.into(), ids: Rng::from_entropy() })
    }

    /// How much there is of something.
    pub(crate) async fn stock(&self, item: &str, options: Options) -> Result<Stock, ShopError> {
        // In the query, where whatever somebody calls a thing is written so that it stays one.
        let request = self.client.get(format!("{}/stock", self.base)).query(&[("item", item)]);
        self.call(request, &options, true).await
    }

    /// Order something. Without a [key](Options::key) it is sent once, unless it is certain that it was not received.
    pub(crate) async fn order(&self, order: &Order, options: Options) -> Result<Receipt, ShopError> {
        let request = self.client.post(format!("{}/orders", self.base)).json(order);
        match options.key.as_deref() {
            Some(key) => self.call(request.idempotency_key(key), &options, true).await,
            None => self.call(request, &options, false).await,
        }
    }

    /// All orders, page by page. Each page is a call, with a deadline of its own.
    pub(crate) fn orders(&self, options: Options) -> Pages<'_> {
        Pages { shop: self, options, next: Some(1) }
    }

    /// What all calls have in common. `repeatable`: whether the shop may be asked twice.
    async fn call<T>(
        &self,
        request: RequestBuilder,
        options: &Options,
        repeatable: bool,
    ) -> Result<T, ShopError>
    where
        T: DeserializeOwned,
    {
        // In each error, and in the log of the shop: so its support can find what happened.
        let id = format!("{:016x}", self.ids.next_u64());
        let failed = |error| ShopError::of(error, repeatable, &id);
        let mut request = request.header("x-request-id", id.as_str());
        if let Some(limit) = options.deadline {
            request = request.deadline(limit);
        }
        if options.once {
            request = request.never_retry();
        }
        let answer = request.send().await.map_err(failed)?;
        let (status, attempts) = (answer.status(), answer.attempts());
        if status.is_client_error() && status.as_u16() != 429 {
            // What stands between may refuse as well, in words of its own.
            let problem: Result<Problem, _> = answer.json().await;
            let code = problem.map_or_else(|_| status.to_string(), |problem| problem.code);
            return Err(ShopError::refused(code, attempts, &id));
        }
        answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }
}

/// See [`Shop::orders`].
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    shop: &'a Shop,
    options: Options,
    next: Option<u32>,
}

impl Pages<'_> {
    /// The next one, if there is one. After an error it is the same again.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, ShopError> {
        let Some(number) = self.next else { return Ok(None) };
        let request = self.shop.client.get(format!("{}/orders", self.shop.base)).query(&[("page", number)]);
        let page: Page = self.shop.call(request, &self.options, true).await?;
        self.next = page.next;
        Ok(Some(page))
    }
}

/// What the shop says of a request that it does not like.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
}
