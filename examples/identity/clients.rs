//! Who comes with tokens: clients that get theirs from the provider, and a stranger.

use std::time::Duration;

use http::{Request, StatusCode, header};
use serde_json::json;
use stonework::Body;
use stonework::base::{BoxError, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::jwt::{Algorithm, Issuer, SigningKey};
use stonework::oauth::{BearerService, NoToken, TokenSource};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use super::provider::Provider;
use super::show::Answered;
use super::{FORGERIES, FRESH, claims};

pub(crate) struct Caller {
    pub(crate) service: BearerService<Client>,
    pub(crate) source: TokenSource,
    pub(crate) orders: String,
}

impl Caller {
    pub(crate) async fn call(&self) -> Answered {
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

    pub(crate) async fn until_there_is_a_token(&self) -> Result<(), BoxError> {
        let wait = async {
            while self.source.token().await.is_err() {
                sleep(FRESH / 20).await;
            }
        };
        Ok(timeout(5 * FRESH, wait).await?)
    }
}

/// All clients call for so long, so many times at once.
pub(crate) async fn call(callers: &[Caller], length: Duration, at_once: usize) -> Answered {
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
pub(crate) struct Stranger {
    client: Client,
    url: String,
}

impl Stranger {
    pub(crate) fn new(url: &str) -> Result<Self, BoxError> {
        let settings = ClientSettings::new().without_retry().without_breaker();
        Ok(Self { client: Client::builder().settings(settings).build()?, url: url.to_owned() })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<StatusCode, BoxError> {
        Ok(self.client.get(format!("{}{path}", self.url)).send().await?.status())
    }

    pub(crate) async fn ask(&self, token: &str) -> Result<Answered, BoxError> {
        let request = Request::get(format!("{}/orders", self.url));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        Ok(Answered::status(self.client.send(request.body(Body::empty())?).await?.status()))
    }

    /// Tokens of all kinds, none of them good.
    pub(crate) fn forge(&self, provider: &Provider) -> Result<Vec<String>, BoxError> {
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
    pub(crate) async fn flood(&self, tokens: &[String]) -> Result<Answered, BoxError> {
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
