use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{StatusCode, Uri};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::active::{self, Doubt, Introspected, Terms};
use super::backend::Hash;
use super::cache::Cache;
use super::gate::{Started, Waiting};
use super::{Backend, CannotTell, IntrospectSettings, IntrospectorBuilder};
use crate::base::{
    Ask, ClientAuth, Deadline, Error, Event, Kind, NotAsked, Observe, Prover, RetryAfter, Rng, TokenFault,
    TokenRefused, WallClock, form,
};

/// When to come back if nobody says whether a token is good; and how long a server is left alone that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// It is left alone for no longer, whatever it says.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// Asks the server that issued tokens whether they are good (RFC 7662): for those that say nothing by themselves, and where one that was
/// called back has to be refused within seconds. A handle, whose clones share what is remembered.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use stonework::base::ClientAuth;
/// use stonework::jwt::Introspector;
/// # use stonework::base::body::Body;
/// # let client = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, std::io::Error>(http::Response::new(Body::from(r#"{"active":true,"sub":"alice","aud":"https://api.example"}"#)))
/// # });
///
/// // `client` is any service of HTTP requests.
/// let auth = ClientAuth::basic("api", "a secret");
/// let introspector = Introspector::builder("https://id.example/introspect", auth)
///     .audiences(["https://api.example"])
///     .build(client)?;
/// let found = introspector.check("mF_9.B5f-4.1JqM").await?;
/// assert_eq!(found.subject(), Some("alice"));
/// # Ok(()) }
/// ```
///
/// *Cancellation:* a question belongs to all who wait for its answer, and goes on when one of them leaves. It ends with the last handle.
#[derive(Clone)]
pub struct Introspector(Arc<Handle>);

/// What all handles share. The work that goes on has the rest, so that it can be ended when the last of them goes.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let running: Vec<_> =
            self.shared.questions().under_way.values().filter_map(|on| on.work.clone()).collect();
        // No lock is held any more: what is ended takes one.
        running.iter().for_each(AbortHandle::abort);
    }
}

pub(super) struct Shared {
    pub(super) ask: Ask,
    pub(super) endpoint: Uri,
    pub(super) auth: ClientAuth,
    pub(super) terms: Terms,
    pub(super) backend: Backend,
    pub(super) clock: WallClock,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    pub(super) settings: IntrospectSettings,
    pub(super) cache: Option<Cache<Introspected, 32>>,
    pub(super) questions: Mutex<Questions>,
}

#[derive(Default)]
pub(super) struct Questions {
    under_way: HashMap<Hash, Asking>,
    /// Until then nobody is asked.
    away: Option<Instant>,
    /// When it answered last, whatever it said.
    answered: Option<Instant>,
}

/// What those have who wait for an answer.
#[derive(Clone)]
struct Asking {
    told: watch::Receiver<Option<Told>>,
    /// What gets it, as soon as it has begun.
    work: Option<AbortHandle>,
}

/// What was found out.
type Told = Result<Introspected, Unsure>;

#[derive(Clone, Copy, Debug)]
enum Unsure {
    Refused(TokenFault),
    /// And when to come back.
    Unknown(Duration),
}

impl Introspector {
    /// Asks there, as this client. `endpoint` is the whole address of the server's introspection endpoint, which begins with `https:`.
    pub fn builder(endpoint: impl Into<String>, auth: ClientAuth) -> IntrospectorBuilder {
        IntrospectorBuilder::new(endpoint.into(), auth)
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(Handle { shared: Arc::new(shared) }))
    }

    /// Whether this token is good, and what the server says of it.
    ///
    /// # Errors
    ///
    /// Of kind `Invalid`, at whose end stands [`TokenRefused`], if it is not. Of kind `Overload`, at whose end stands [`CannotTell`], if the
    /// server cannot be asked or its answer cannot be read.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    pub async fn check(&self, token: &str) -> Result<Introspected, Error> {
        match self.start(token.as_bytes()) {
            Started::Done(result) => result,
            Started::Waits(answering) => answering.await,
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.0.shared.cache.as_ref().map_or(0, Cache::len)
    }

    pub(super) fn start(&self, token: &[u8]) -> Started<Introspected> {
        let shared = &self.0.shared;
        if token.len() > shared.settings.max_token_size {
            return Started::Done(Err(self.refuse(TokenFault::TooLong)));
        }
        let token = match std::str::from_utf8(token) {
            Ok(token) if !token.is_empty() && token.bytes().all(|byte| matches!(byte, b'!'..=b'~')) => token,
            _ => return Started::Done(Err(self.refuse(TokenFault::Malformed))),
        };
        let (hash, now) = (shared.backend.sha256(token.as_bytes()), Instant::now());
        if let Some(found) = shared.cache.as_ref().and_then(|cache| cache.get(&hash, now)) {
            let in_time = found.in_time(shared.since_1970(), shared.terms.leeway);
            return Started::Done(in_time.map(|()| found).map_err(|fault| self.refuse(fault)));
        }
        let mut begun = None;
        let waiting = {
            let mut questions = shared.questions();
            let away = questions.away.and_then(|until| until.checked_duration_since(now));
            let is_full = questions.under_way.len() >= shared.settings.max_at_once;
            match questions.under_way.get(&hash) {
                Some(on) => Ok(on.clone()),
                None => match away.filter(|left| !left.is_zero()) {
                    Some(left) => Err(left),
                    None if is_full => Err(PAUSE),
                    None => {
                        let (sender, told) = watch::channel(None);
                        begun = Some(sender);
                        let on = Asking { told, work: None };
                        questions.under_way.insert(hash, on.clone());
                        Ok(on)
                    }
                },
            }
        };
        if let Some(sender) = begun {
            let question = Question { shared: Arc::clone(shared), hash, token: token.into(), sender };
            // Where no lock is held: a runtime that is ending drops at once what it is given.
            let work = tokio::spawn(question.run()).abort_handle();
            if let Some(on) = shared.questions().under_way.get_mut(&hash) {
                on.work = Some(work);
            }
        }
        match waiting {
            Ok(on) => Started::Waits(self.wait(on)),
            Err(after) => Started::Done(Err(CannotTell::Revocation.error(after))),
        }
    }

    fn wait(&self, mut on: Asking) -> Waiting<Introspected> {
        // The handle stays as long as somebody waits, and with it the work.
        let this = self.clone();
        Box::pin(async move {
            let told = on.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
            match told.unwrap_or(Err(Unsure::Unknown(PAUSE))) {
                Ok(found) => Ok(found),
                Err(Unsure::Refused(fault)) => Err(this.refuse(fault)),
                Err(Unsure::Unknown(after)) => Err(CannotTell::Revocation.error(after)),
            }
        })
    }

    /// The error, as whoever listens is told.
    pub(super) fn refuse(&self, fault: TokenFault) -> Error {
        let refused = TokenRefused::new(fault);
        let field = refused.field().map(Arc::from);
        self.0.shared.observe.note(|| Event::TokenRefused { why: fault, field });
        refused.into()
    }
}

impl Shared {
    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_1970(&self) -> Duration {
        self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    async fn find_out(&self, token: &str, asked_at: Instant) -> Told {
        let mut text = String::new();
        form::add(&mut text, "token", token);
        form::add(&mut text, "token_type_hint", "access_token");
        let unknown = Err(Unsure::Unknown(PAUSE));
        let prover = Prover { auth: &self.auth, clock: &self.clock, rng: &self.rng };
        let response = match self.ask.form(&self.endpoint, &text, prover).await {
            Ok(response) => response,
            Err(NotAsked::NotSigned(_)) => return unknown,
            Err(NotAsked::Failed(error)) => {
                tracing::debug!(%error, "nobody says whether a token is good");
                return match error.retry_after() {
                    // It did answer, and what it says of this token is too much, or broke off.
                    _ if error.kind() == Kind::Body => {
                        self.questions().answered = Some(Instant::now());
                        unknown
                    }
                    None => self.is_silent(asked_at),
                    advice => self.is_away(advice),
                };
            }
        };
        let status = response.status();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            return self.is_away(RetryAfter::of(response.headers(), self.clock.now()));
        }
        self.questions().answered = Some(Instant::now());
        active::read(status, response.body(), &self.terms, self.since_1970()).map_err(|doubt| match doubt {
            Doubt::Fault(fault) => Unsure::Refused(fault),
            Doubt::Unreadable => {
                tracing::debug!(status = status.as_u16(), "the answer about a token cannot be read");
                Unsure::Unknown(PAUSE)
            }
        })
    }

    /// It did not answer what it was asked then. If it has answered others since, that is the matter of this token.
    fn is_silent(&self, asked_at: Instant) -> Told {
        let answers = self.questions().answered.is_some_and(|answered| answered > asked_at);
        if answers { Err(Unsure::Unknown(PAUSE)) } else { self.is_away(None) }
    }

    /// It is left alone for a moment, so that each token does not cost a time-out. What one token alone brings about, such as an answer that
    /// cannot be read, must not do that: whoever sends it would lock out all others.
    fn is_away(&self, advice: Option<Duration>) -> Told {
        let pause = advice.unwrap_or_default().clamp(PAUSE, MOST_PAUSE);
        let now = Instant::now();
        let mut questions = self.questions();
        // Another question may have been told to stay away for longer.
        let until = questions.away.into_iter().fold(now + pause, Instant::max);
        questions.away = Some(until);
        Err(Unsure::Unknown(until - now))
    }
}

/// One question, in a task of its own: whoever gives up waiting for the answer takes it away from nobody.
struct Question {
    shared: Arc<Shared>,
    hash: Hash,
    token: Box<str>,
    sender: watch::Sender<Option<Told>>,
}

impl Question {
    async fn run(self) {
        // The server may judge as soon as it is asked, however late its answer comes.
        let asked_at = Instant::now();
        let limit = Deadline::after(asked_at, self.shared.settings.timeout);
        let told = match limit.bound(self.shared.find_out(&self.token, asked_at)).await {
            Ok(told) => told,
            Err(_) => self.shared.is_silent(asked_at),
        };
        if let (Ok(found), Some(cache)) = (&told, &self.shared.cache) {
            cache.insert(self.hash, found.clone(), asked_at);
        }
        self.sender.send_replace(Some(told));
    }
}

impl Drop for Question {
    /// Before the sender goes, and after it has said what there is to say: whoever comes in between finds that.
    fn drop(&mut self) {
        self.shared.questions().under_way.remove(&self.hash);
    }
}

/// Shows the settings, and neither where it asks nor as whom.
impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("settings", &self.0.shared.settings).finish_non_exhaustive()
    }
}
