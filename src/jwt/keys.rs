use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::time::Instant;

use super::algorithm::Algorithms;
use super::{Key, KeySet};
use crate::base::{Event, Observe, Observer, scope};

/// When to come back while there are no keys, if nobody says.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The keys that a [`Verifier`](super::Verifier) goes by: a handle, in which they can be replaced while it is in use.
///
/// From a [`KeySet`] or a [`Key`] it is made by itself. To replace them later, keep a clone:
///
/// ```
/// use stonework::jwt::{Algorithm, KeySet, Keys, Verifier};
///
/// # fn fetched() -> &'static str { r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"# }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // None yet: until there are some, requests are answered with 503.
/// let keys = Keys::pending();
/// let verifier = Verifier::builder()
///     .keys(keys.clone())
///     .algorithms([Algorithm::EdDsa])
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
/// assert!(keys.current().is_none());
///
/// keys.replace(KeySet::jwks(fetched())?);
/// assert_eq!(keys.current().unwrap().len(), 1);
/// # let _ = verifier;
/// # Ok(()) }
/// ```
///
/// A token that was remembered is forgotten when its key is no longer there.
#[derive(Clone)]
pub struct Keys {
    /// Each token reads it, on all cores at once, so nothing is written for that, no count and no lock.
    state: Arc<ArcSwap<State>>,
    unknown: Option<Arc<dyn Unknown>>,
    observe: Observe,
}

/// What there is at one moment.
#[derive(Debug)]
pub(super) enum State {
    /// Until then, if that is known.
    Usable {
        set: KeySet,
        until: Option<Instant>,
    },
    Away {
        retry_after: Duration,
    },
}

impl State {
    /// The keys, or when to come back.
    pub(super) fn usable(&self, now: Instant) -> Result<&KeySet, Duration> {
        match self {
            Self::Usable { until: Some(until), .. } if *until <= now => Err(RETRY_AFTER),
            Self::Usable { set, .. } => Ok(set),
            Self::Away { retry_after } => Err(*retry_after),
        }
    }
}

/// What to do about a name that no key has.
trait Unknown: Send + Sync {
    fn look_for(&self, id: &str) -> Looking;
}

/// Until it has been looked for.
pub(super) type Looking = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F, Fut> Unknown for F
where
    F: Fn(&str) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn look_for(&self, id: &str) -> Looking {
        Box::pin(self(id))
    }
}

impl Keys {
    /// These, until they are [replaced](Self::replace).
    #[must_use]
    pub fn new(set: impl Into<KeySet>) -> Self {
        Self::with(State::Usable { set: set.into(), until: None })
    }

    /// None yet: requests are answered with 503 that asks to come back in five seconds, since nobody knows whether a token is good.
    #[must_use]
    pub fn pending() -> Self {
        Self::with(State::Away { retry_after: RETRY_AFTER })
    }

    fn with(state: State) -> Self {
        Self { state: Arc::new(ArcSwap::from_pointee(state)), unknown: None, observe: Observe::default() }
    }

    /// When a token names a key that is not there, and none without a name has signed it, call this and wait until it is done, then look once more: it may have
    /// [replaced](Self::replace) the keys. Clones made from here on do so.
    ///
    /// It is called for whatever strangers write: it has to see by itself that it does not ask an issuer too often, and that it ends.
    /// Nobody waits for longer than the [deadline](crate::Deadline) of the call.
    #[must_use]
    pub fn when_unknown<F, Fut>(mut self, look_for: F) -> Self
    where
        F: Fn(&str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.unknown = Some(Arc::new(look_for));
        self
    }

    /// Tell this one when keys are replaced, and which are left out; clones made from here on do so. It is told of those that are there.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        if let Some(set) = self.current() {
            self.tell(&set);
        }
        self
    }

    /// Use these from now on, for the next token that comes. Which keys are no longer there is a matter of this very moment: tokens of
    /// theirs are refused, remembered or not.
    pub fn replace(&self, set: impl Into<KeySet>) {
        let set = set.into();
        // They are in use before anybody hears of it.
        self.state.store(Arc::new(State::Usable { set: set.clone(), until: None }));
        self.tell(&set);
    }

    /// Use these until then. The same as before are no news.
    pub(super) fn replace_until(&self, set: KeySet, until: Option<Instant>) {
        let news = self.current().is_none_or(|current| !current.is_same(&set));
        self.state.store(Arc::new(State::Usable { set: set.clone(), until }));
        if news {
            self.tell(&set);
        }
    }

    /// There are none: answer with 503 that asks to come back so much later.
    pub fn set_unavailable(&self, retry_after: Duration) {
        self.state.store(Arc::new(State::Away { retry_after }));
    }

    /// Those in use. Nothing, if there are none yet, or no more.
    #[must_use]
    pub fn current(&self) -> Option<KeySet> {
        self.load().usable(scope::now()).ok().cloned()
    }

    /// What there is now.
    /// Nobody can replace them any more, and none is for one of these: each token would be refused, for ever.
    pub(super) fn are_useless(&self, algorithms: Algorithms) -> bool {
        let nobody_else = self.unknown.is_none() && Arc::strong_count(&self.state) == 1;
        let set = self.current().filter(|_| nobody_else);
        set.is_some_and(|set| !set.keys().any(|key| algorithms.each().any(|algorithm| key.fits(algorithm))))
    }

    pub(super) fn load(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    pub(super) fn look_for(&self, id: &str) -> Option<Looking> {
        self.unknown.as_ref().map(|unknown| unknown.look_for(id))
    }

    fn tell(&self, set: &KeySet) {
        for why in set.skipped() {
            self.observe.note(|| Event::KeySkipped { why: *why });
        }
        self.observe.note(|| Event::KeysReplaced { usable: set.len(), skipped: set.skipped().len() });
    }
}

impl From<KeySet> for Keys {
    fn from(set: KeySet) -> Self {
        Self::new(set)
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("state", &self.load().usable(scope::now())).finish_non_exhaustive()
    }
}
