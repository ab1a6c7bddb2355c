use std::fmt;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::RemoteKeysBuilder;
use super::core::Core;
use super::schedule::Standing;
use crate::base::HealthState;
use crate::jwt::{KeySet, Keys};

/// The keys of one issuer, fetched from where it publishes them: a handle, which a [`Verifier`](crate::jwt::Verifier) takes as it takes
/// [`Keys`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use http::{Request, Response};
/// use stonework::base::HealthState;
/// use stonework::jwt::{Algorithm, RemoteKeys, Verifier};
/// use stonework::{Body, Error};
///
/// // Any client will do; mostly it is `stonework::client::Client`. This one has the provider in it.
/// let client = tower::service_fn(|request: Request<Body>| async move {
///     let json = match request.uri().path() {
///         "/.well-known/openid-configuration" => {
///             r#"{"issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#
///         }
///         _ => r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
///     };
///     Ok::<_, Error>(Response::new(Body::from(json)))
/// });
///
/// let keys = RemoteKeys::oidc(client, "https://id.example").build()?;
/// let verifier = Verifier::builder()
///     .keys(&keys)
///     .algorithms([Algorithm::EdDsa])
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
///
/// // Nobody has to wait: until there are keys, requests are answered with 503. Whoever wants to, does.
/// assert_eq!(keys.health(), HealthState::Unknown);
/// tokio::time::timeout(Duration::from_secs(10), keys.wait_ready()).await?;
/// assert_eq!(keys.health(), HealthState::Pass);
/// # let _ = verifier;
/// # Ok(()) }
/// ```
///
/// # When they are fetched
///
/// At once; then again before they are old, which the answer says (`Cache-Control: max-age`, RFC 9111) and
/// [settings](super::RemoteKeysSettings) limit; and when a token names a key that is not there and none without a name
/// has signed it, once in each
/// [cooldown](super::RemoteKeysSettings::cooldown), whatever comes of it. There is one fetch at a time, whoever asks. It goes through the client
/// as any other request does: retries, limits and a breaker are the client's matter; a redirect that it does not follow is a failure. After a
/// failure it [waits by itself](super::RemoteKeysSettings::backoff), and for longer if the client says so, as one does whose circuit is open.
///
/// # What failures do
///
/// Keys that are there stay, for [as long as settings say](super::RemoteKeysSettings::max_stale): an answer that is late, too large, no set,
/// or has no key that can be used changes nothing. Nor does a token of a stranger, whatever it names. Without keys, and with keys that are
/// too old, requests are answered with 503 and `Retry-After`. A process starts without its provider, and goes on without it.
///
/// # How well it is
///
/// [`health`](Self::health) is a readiness check. What stands for it in a whole server is a matter of what the server is good for without:
///
/// ```
/// # #[cfg(feature = "health")] {
/// use stonework::health::{Health, Impact};
/// use stonework::jwt::RemoteKeys;
///
/// fn check(keys: &RemoteKeys) -> stonework::health::HealthBuilder {
///     let keys = keys.clone();
///     // It is not ready before the first keys are there, and stays ready from then on: all replicas have the same provider.
///     Health::builder().readiness("identity", Impact::Shared, move || {
///         let health = keys.health();
///         async move { health }
///     })
/// }
/// # let _ = check;
/// # }
/// ```
///
/// *Task:* one, which fetches, from [`build`](RemoteKeysBuilder::build) on until the last handle is gone, with the verifiers made from it. No
/// request begins another. *Cancellation:* a request that is dropped while its key is looked for leaves nothing behind; the fetch goes on.
/// *Errors and panics* of the client are failures of the fetch. *Cloning* shares everything.
#[derive(Clone)]
pub struct RemoteKeys {
    owner: Arc<Owner>,
}

struct Owner {
    core: Arc<Core>,
    task: JoinHandle<()>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RemoteKeys {
    /// Those of the issuer of this name, from where its discovery document says (OpenID Connect Discovery 1.0): `https://id.example` has it
    /// at `https://id.example/.well-known/openid-configuration`. It must say of itself exactly this name.
    pub fn oidc<S>(client: S, issuer: impl Into<String>) -> RemoteKeysBuilder<S> {
        RemoteKeysBuilder::issuer(client, issuer.into())
    }

    /// Those at this address, a JWK Set (RFC 7517, section 5). Nobody is asked whose they are.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::jwt::InvalidJwt> {
    /// # #[cfg(feature = "client")] {
    /// use stonework::client::Client;
    /// use stonework::jwt::RemoteKeys;
    ///
    /// let keys = RemoteKeys::jwks(Client::new(), "https://id.example/keys").build()?;
    /// # let _ = keys;
    /// # }
    /// # Ok(()) }
    /// ```
    pub fn jwks<S>(client: S, address: impl Into<String>) -> RemoteKeysBuilder<S> {
        RemoteKeysBuilder::jwks(client, address.into())
    }

    pub(super) fn new(core: Arc<Core>, task: JoinHandle<()>) -> Self {
        Self { owner: Arc::new(Owner { core, task }) }
    }

    /// How well it is: [`Unknown`](HealthState::Unknown) before the first fetch has ended, [`Fail`](HealthState::Fail) without keys,
    /// [`Warn`](HealthState::Warn) with keys that should have been fetched again and could not be, else [`Pass`](HealthState::Pass).
    #[must_use]
    pub fn health(&self) -> HealthState {
        match self.owner.core.standing() {
            Standing::Unknown => HealthState::Unknown,
            Standing::None => HealthState::Fail,
            Standing::Stale => HealthState::Warn,
            Standing::Fresh => HealthState::Pass,
        }
    }

    /// The keys in use. Nothing, if there are none.
    #[must_use]
    pub fn current(&self) -> Option<KeySet> {
        self.owner.core.keys.current()
    }

    /// How often they were fetched, or tried to be.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.owner.core.fetches()
    }

    /// Waits until there are keys, however long that is.
    ///
    /// # Cancellation
    ///
    /// Dropping the future only ends the waiting.
    pub async fn wait_ready(&self) {
        self.owner.core.wait_ready().await;
    }
}

/// What the verifier goes by; it keeps the task alive as well.
impl From<RemoteKeys> for Keys {
    fn from(remote: RemoteKeys) -> Self {
        let keys = remote.owner.core.keys.clone();
        keys.when_unknown(move |name| {
            let (owner, name) = (Arc::clone(&remote.owner), Box::<str>::from(name));
            async move { owner.core.look_for(&name).await }
        })
    }
}

impl From<&RemoteKeys> for Keys {
    fn from(remote: &RemoteKeys) -> Self {
        remote.clone().into()
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("from", &self.owner.core.name)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
