//! One fetch: the discovery document, if there is one and it is not known yet, and the keys.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use tokio::time::Instant;
use tower_service::Service;

use super::NotKeys;
use super::document;
use super::max_age::max_age;
use crate::base::body::{Body, collect_up_to};
use crate::base::{BoxError, Deadline, Error, Kind, RetryAfter, WallClock, take};
use crate::jwt::KeySet;

/// How long the address of the keys is believed without asking the issuer for it again.
const BELIEVED: Duration = Duration::from_secs(86_400);

/// How long it is believed once the issuer could not be asked: until then no fetch waits for that again.
const DOUBTED: Duration = Duration::from_secs(3_600);

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Source {
    /// From this address.
    Jwks(Uri),
    /// From the address that the issuer says.
    Issuer { issuer: String, plain: bool, found: Option<Found> },
}

#[derive(Clone, Debug)]
pub(super) struct Found {
    jwks: Uri,
    /// When the issuer is asked again.
    until: Instant,
}

/// What was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) max_age: Option<Duration>,
}

/// Fetches over a client. One fetch at a time.
#[derive(Debug)]
pub(super) struct Fetcher<S> {
    pub(super) client: S,
    pub(super) source: Source,
    pub(super) max_size: usize,
    /// For all of one fetch.
    pub(super) timeout: Duration,
}

impl<S, B> Fetcher<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    /// # Errors
    ///
    /// The client's, or [`NotKeys`]: in any case there are no keys to use.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, Error> {
        let jwks = self.jwks().await?;
        // They may have moved, unless they turn out to be there: this may be dropped while it waits for them.
        let until = self.found().map(|found| std::mem::replace(&mut found.until, Instant::now()));
        let fetched = self.keys(jwks).await?;
        if let Some((found, until)) = self.found().zip(until) {
            found.until = until;
        }
        Ok(fetched)
    }

    fn found(&mut self) -> Option<&mut Found> {
        match &mut self.source {
            Source::Jwks(_) => None,
            Source::Issuer { found, .. } => found.as_mut(),
        }
    }

    /// Where the keys are.
    async fn jwks(&mut self) -> Result<Uri, Error> {
        let (issuer, plain, known) = match &self.source {
            Source::Jwks(uri) => return Ok(uri.clone()),
            Source::Issuer { issuer, plain, found } => (issuer.clone(), *plain, found.clone()),
        };
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(known.jwks.clone());
        }
        let discovered = match known {
            // Half of the time is left for the keys, in case that the document hangs.
            Some(_) => {
                let limit = Deadline::within(self.timeout / 2);
                limit
                    .bound(self.discover(&issuer, plain))
                    .await
                    .unwrap_or_else(|_| Err(NotKeys::TimedOut.into()))
            }
            None => self.discover(&issuer, plain).await,
        };
        match discovered {
            Ok(jwks) => {
                let until = Instant::now() + BELIEVED;
                let found = Some(Found { jwks: jwks.clone(), until });
                self.source = Source::Issuer { issuer, plain, found };
                Ok(jwks)
            }
            // Where they were before is better than nowhere.
            Err(error) => {
                let mut found = known.ok_or(error)?;
                found.until = Instant::now() + DOUBTED;
                let jwks = found.jwks.clone();
                self.source = Source::Issuer { issuer, plain, found: Some(found) };
                Ok(jwks)
            }
        }
    }

    async fn discover(&mut self, issuer: &str, plain: bool) -> Result<Uri, Error> {
        let place = document::configuration(issuer, plain).ok_or(NotKeys::Address)?;
        let (_, document) = self.get(place).await?;
        Ok(document::jwks_uri(&document, issuer, plain)?)
    }

    async fn keys(&mut self, place: Uri) -> Result<Fetched, Error> {
        let (headers, set) = self.get(place).await?;
        let set =
            std::str::from_utf8(&set).ok().and_then(|set| KeySet::jwks(set).ok()).ok_or(NotKeys::Set)?;
        if set.is_empty() {
            return Err(NotKeys::Empty.into());
        }
        Ok(Fetched { keys: set, max_age: max_age(&headers) })
    }

    async fn get(&mut self, place: Uri) -> Result<(HeaderMap, Bytes), Error> {
        // The one made ready is the one called.
        poll_fn(|cx| self.client.poll_ready(cx)).await.map_err(Error::wrap)?;
        let mut client = take(&mut self.client);
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = place;
        let accepted = HeaderValue::from_static("application/json, application/jwk-set+json");
        request.headers_mut().insert(ACCEPT, accepted);
        let answer = client.call(request).await.map_err(Error::wrap)?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            let error = Error::from(NotKeys::Status(head.status));
            return Err(match RetryAfter::of(&head.headers, WallClock::system().now()) {
                Some(delay) => error.with_retry_after(delay),
                None => error,
            });
        }
        let body = collect_up_to(body, self.max_size).await.map_err(Error::wrap)?;
        Ok((head.headers, body))
    }
}

impl From<NotKeys> for Error {
    fn from(why: NotKeys) -> Self {
        let kind = match why {
            NotKeys::TimedOut => Kind::Timeout,
            NotKeys::Panicked | NotKeys::Status(_) => Kind::Other,
            _ => Kind::Invalid,
        };
        Self::new(kind, why)
    }
}
