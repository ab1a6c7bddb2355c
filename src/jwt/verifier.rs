use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::backend::{FINGERPRINT, Fingerprints};
use super::cache::Cache;
use super::check::in_time;
use super::claims::{Claims, TokenInfo, Verified};
use super::gate::Started;
use super::keys::Looking;
use super::trusted::Trusted;
use super::verify::{Rules, Wrong};
use super::{Backend, CannotTell, Keys, VerifierBuilder};
use crate::base::{BoxError, Error, Event, Observe, TokenFault, TokenRefused, WallClock, scope};

/// When to come back if nobody says whether a token was revoked.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Says whether tokens are good: a handle, whose clones share keys and what is remembered.
///
/// It is made step by step, and each step is a decision that nobody makes for the service: which keys, which algorithms, who issues
/// tokens, and for whom they are. The last two can be left open, which reads badly.
///
/// ```
/// use stonework::base::TokenFault;
/// use stonework::base::TokenRefused;
/// use stonework::jwt::{Algorithm, Key, Verifier};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::jwk(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// let verifier = Verifier::builder()
///     .keys(key)
///     .algorithms([Algorithm::EdDsa])
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
///
/// // A token of the attacker's, which says that it needs no signature.
/// let error = verifier.verify("eyJhbGciOiJub25lIn0.e30.AA").await.unwrap_err();
/// assert_eq!(error.cause::<TokenRefused>().unwrap().fault(), TokenFault::Algorithm);
/// # Ok(()) }
/// ```
///
/// Nothing is left out by accident:
///
/// ```compile_fail,E0599
/// use stonework::jwt::{Algorithm, Keys, Verifier};
///
/// // For whom?
/// Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::EdDsa]).issuer("https://id.example").build();
/// ```
///
/// ```compile_fail,E0599
/// use stonework::jwt::{Algorithm, Keys, Verifier};
///
/// // From whom?
/// Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::EdDsa]).audience("https://api.example").build();
/// ```
///
/// *Errors:* see [`verify`](Self::verify). *Cancellation:* what a dropped future has not found out, nobody remembers.
pub struct Verifier<T = ()>(Arc<Shared<T>>);

pub(super) struct Shared<T> {
    pub(super) memory: Option<Memory<T>>,
    pub(super) clock: WallClock,
    pub(super) observe: Observe,
    pub(super) own: fn(&str) -> Option<T>,
    pub(super) revocation: Option<Arc<dyn Revocation>>,
    pub(super) rules: Rules,
    pub(super) trusted: Trusted,
}

/// Tokens that were found to be good.
pub(super) struct Memory<T> {
    fingerprints: Fingerprints,
    cache: Cache<Arc<Verified<T>>, FINGERPRINT>,
}

impl<T> Memory<T> {
    /// Of so many tokens, each for `ttl`.
    pub(super) fn new(backend: Backend, most: usize, ttl: Duration) -> Self {
        Self { fingerprints: backend.fingerprints(), cache: Cache::new(most, ttl, scope::now()) }
    }
}

/// Asked about each token that is good otherwise.
pub(super) trait Revocation: Send + Sync {
    fn is_revoked(&self, token: TokenInfo) -> Answering;
}

/// Until it is known whether a token was revoked.
type Answering = Pin<Box<dyn Future<Output = Result<bool, BoxError>> + Send>>;

impl<F, Fut, E> Revocation for F
where
    F: Fn(TokenInfo) -> Fut + Send + Sync,
    Fut: Future<Output = Result<bool, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn is_revoked(&self, token: TokenInfo) -> Answering {
        let asked = self(token);
        Box::pin(async move { asked.await.map_err(Into::into) })
    }
}

impl Verifier {
    /// The first of its steps.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::start()
    }
}

impl<T: Send + Sync + 'static> Verifier<T> {
    pub(super) fn new(shared: Shared<T>) -> Self {
        Self(Arc::new(shared))
    }

    /// Whether this token is good, and what it says.
    ///
    /// # Errors
    ///
    /// Of kind `Invalid`, at whose end stands [`TokenRefused`], if it is not. Of kind `Overload`, at whose end stands [`CannotTell`], if
    /// there are no keys, or nobody says whether it was revoked.
    pub async fn verify(&self, token: &str) -> Result<Claims<T>, Error> {
        match self.start(token.as_bytes(), |_| true) {
            Started::Done(result) => result,
            Started::Waits(waiting) => waiting.await,
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.0.memory.as_ref().map_or(0, |memory| memory.cache.len())
    }

    /// The keys that it goes by: those of anybody, or of each issuer, in the order in which they were said.
    pub fn keys(&self) -> impl Iterator<Item = &Keys> {
        self.0.trusted.keys()
    }

    /// What `is_token` does not take is refused for that, whatever else may be wrong with it.
    pub(super) fn start(&self, token: &[u8], is_token: fn(&[u8]) -> bool) -> Started<Claims<T>> {
        let malformed = || TokenFault::Malformed.into();
        match self.look(token).map_err(|wrong| if is_token(token) { wrong } else { malformed() }) {
            Err(Wrong::NoKey(id, fault)) => match self.look_for(token, &id) {
                Some(looking) => {
                    let (this, token) = (self.clone(), Box::<[u8]>::from(token));
                    Started::Waits(Box::pin(async move {
                        looking.await;
                        match this.look(&token) {
                            Ok(claims) => this.unless_revoked(claims).await,
                            Err(wrong) => Err(this.refuse(wrong)),
                        }
                    }))
                }
                None => Started::Done(Err(self.refuse(fault.into()))),
            },
            Err(wrong) => Started::Done(Err(self.refuse(wrong))),
            Ok(claims) if self.0.revocation.is_none() => Started::Done(Ok(claims)),
            Ok(claims) => {
                let this = self.clone();
                Started::Waits(Box::pin(async move { this.unless_revoked(claims).await }))
            }
        }
    }

    fn look_for(&self, token: &[u8], id: &str) -> Option<Looking> {
        self.0.trusted.pick(token, self.0.rules.longest).ok()?.keys.look_for(id)
    }

    /// All that can be known at once.
    fn look(&self, token: &[u8]) -> Result<Claims<T>, Wrong> {
        let Shared { memory, clock, rules, trusted, .. } = &*self.0;
        let now = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Some(Memory { fingerprints, cache }) = memory else {
            return self.check(token, now).map(|found| Claims(Arc::new(found)));
        };
        // Before any work is done for it.
        if token.len() > rules.longest {
            return Err(TokenFault::TooLong.into());
        }
        let (fingerprint, at) = (fingerprints(token), scope::now());
        if let Some(found) = cache.get(&fingerprint, at) {
            let keys = trusted.of(found.known.issuer()).map(Keys::load);
            if keys.is_some_and(|keys| keys.usable(at).is_ok_and(|keys| keys.holds(&found.known.key))) {
                let in_time = in_time(&found.known.times, now, rules.leeway);
                if in_time.is_err() {
                    cache.remove(&fingerprint);
                }
                return in_time.map(|()| Claims(found)).map_err(Wrong::from);
            }
            cache.remove(&fingerprint);
        }
        let found = Arc::new(self.check(token, now)?);
        cache.insert(fingerprint, Arc::clone(&found), at);
        Ok(Claims(found))
    }

    fn check(&self, token: &[u8], now: Duration) -> Result<Verified<T>, Wrong> {
        let Shared { own, rules, trusted, .. } = &*self.0;
        let picked = trusted.pick(token, rules.longest)?;
        let keys = picked.keys.load();
        let found = rules.check(token, keys.usable(scope::now()), now, *own)?;
        if !picked.is_of(found.known.issuer()) {
            return Err(TokenFault::Issuer.into());
        }
        Ok(found)
    }

    async fn unless_revoked(&self, claims: Claims<T>) -> Result<Claims<T>, Error> {
        let Some(revocation) = &self.0.revocation else { return Ok(claims) };
        match revocation.is_revoked(claims.info()).await {
            Ok(false) => Ok(claims),
            Ok(true) => Err(self.refuse(TokenFault::Revoked.into())),
            Err(error) => {
                tracing::debug!(%error, "nobody says whether a token was revoked");
                Err(CannotTell::Revocation.error(RETRY_AFTER))
            }
        }
    }

    /// The error, as whoever listens is told.
    pub(super) fn refuse(&self, wrong: Wrong) -> Error {
        let refused = match wrong {
            Wrong::Fault(fault) | Wrong::NoKey(_, fault) => TokenRefused::new(fault),
            Wrong::NoClaim(claim) => TokenRefused::new(TokenFault::MissingClaim).for_claim(Some(claim)),
            Wrong::NoKeys(after) => return CannotTell::Keys.error(after),
        };
        self.0
            .observe
            .note(|| Event::TokenRefused { why: refused.fault(), field: refused.field().map(Arc::from) });
        refused.into()
    }
}

/// Shares keys and what is remembered.
impl<T> Clone for Verifier<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Verifier<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.0.trusted)
            .field("rules", &self.0.rules)
            .finish_non_exhaustive()
    }
}
