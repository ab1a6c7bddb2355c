use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::{self, Granted};
use super::cached::{Begin, Cached, Ended, Look};
use super::error::NoToken;
use super::{AccessToken, TokenSettings, TokenSourceBuilder};
use crate::base::{Ask, ClientAuth, Deadline, Error, Kind, NotAsked, Prover, RetryAfter, Rng, WallClock};

/// Gets tokens for this client, and keeps the last one: a handle, whose clones share it. See the [module](super), where an example stands.
///
/// *Cancellation:* a fetch belongs to all who wait for it, and goes on when one of them leaves. It ends with the last handle.
#[derive(Clone)]
pub struct TokenSource(Arc<Handle>);

/// What all handles share. The work that goes on has the rest, so that it can be ended when the last of them goes.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let running = self.shared.cached().fetching().and_then(|waiting| waiting.work.clone());
        // No lock is held any more: what is ended drops what it has, and takes one.
        if let Some(running) = running {
            running.abort();
        }
    }
}

struct Shared {
    ask: Ask,
    endpoint: Uri,
    auth: ClientAuth,
    /// What is the same in each request.
    grant: String,
    settings: TokenSettings,
    clock: WallClock,
    rng: Rng,
    cached: Mutex<Cached<Waiting>>,
}

/// What those have who wait for a fetch.
#[derive(Clone)]
struct Waiting {
    ended: watch::Receiver<Option<Ended>>,
    /// What does it, as soon as it has begun.
    work: Option<AbortHandle>,
}

impl Waiting {
    fn on(sender: &mut Option<watch::Sender<Option<Ended>>>) -> Self {
        let (made, ended) = watch::channel(None);
        *sender = Some(made);
        Self { ended, work: None }
    }
}

impl TokenSource {
    /// Asks for tokens there, as this client. `endpoint` is the whole address of the server's token endpoint, which begins with `https:`.
    pub fn builder(endpoint: impl Into<String>, auth: ClientAuth) -> TokenSourceBuilder {
        TokenSourceBuilder::new(endpoint.into(), auth)
    }

    pub(super) fn new(
        ask: Ask,
        endpoint: Uri,
        auth: ClientAuth,
        grant: String,
        settings: TokenSettings,
        clock: WallClock,
        rng: Rng,
    ) -> Self {
        let cached = Mutex::new(Cached::new(settings.clone(), rng.clone()));
        let shared = Shared { ask, endpoint, auth, grant, settings, clock, rng, cached };
        Self(Arc::new(Handle { shared: Arc::new(shared) }))
    }

    /// A token that is good: mostly the one that there is. When most of its life is over another one is asked for, and meanwhile it is still
    /// handed out. Only without one that is good there is something to wait for, and all wait for the same.
    ///
    /// # Errors
    ///
    /// If there is none, and none can be had: at its end stands why, [`NoToken`], and [`Error::retry_after`] says when it is worth asking
    /// again. Until then nobody else is asked.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    pub async fn token(&self) -> Result<AccessToken, Error> {
        match self.obtain() {
            Obtained::Now(result) => result,
            Obtained::Later(coming) => coming.await,
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> TokenStats {
        let cached = self.0.shared.cached();
        let (fetches, failures) = cached.counts();
        TokenStats { fetches, failures, good_for: cached.good_for(Instant::now()) }
    }

    pub(super) fn obtain(&self) -> Obtained {
        let mut sender = None;
        let (look, begin) = self.0.shared.cached().look(Instant::now(), || Waiting::on(&mut sender));
        self.run(begin.zip(sender));
        self.obtained(look)
    }

    /// This one was refused: another, if there is one or one can be hoped for.
    pub(super) fn renew(&self, refused: &AccessToken) -> Option<Obtained> {
        let mut sender = None;
        let waiting = || Waiting::on(&mut sender);
        let (look, begin) = self.0.shared.cached().renew(refused, Instant::now(), waiting);
        self.run(begin.zip(sender));
        look.map(|look| self.obtained(look))
    }

    fn obtained(&self, look: Look<Waiting>) -> Obtained {
        match look {
            Look::Good(token) => Obtained::Now(Ok(token)),
            Look::Wait(on) => Obtained::Later(self.wait(on)),
            Look::Failed(why, after) => Obtained::Now(Err(why.error(after))),
        }
    }

    /// Begin it, where no lock is held: a runtime that is ending drops at once what it is given.
    fn run(&self, begun: Option<(Begin, watch::Sender<Option<Ended>>)>) {
        let Some((number, sender)) = begun else { return };
        let fetch = Fetch { shared: Arc::clone(&self.0.shared), number, sender };
        let work = tokio::spawn(fetch.run()).abort_handle();
        if let Some(waiting) = self.0.shared.cached().waited_for(number) {
            waiting.work = Some(work);
        }
    }

    fn wait(&self, mut on: Waiting) -> Coming {
        // The handle stays as long as somebody waits, and with it the work.
        let source = self.clone();
        Coming(Box::pin(async move {
            let ended = on.ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
            drop(source);
            match ended {
                Some(Ok(token)) => Ok(token),
                Some(Err((why, after))) => Err(why.error(after)),
                None => Err(NoToken::GivenUp.error(Duration::ZERO)),
            }
        }))
    }
}

/// A token, or what to wait for.
pub(super) enum Obtained {
    Now(Result<AccessToken, Error>),
    Later(Coming),
}

/// Until a fetch has ended.
pub(super) struct Coming(Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + Send + Sync>>);

impl Future for Coming {
    type Output = Result<AccessToken, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.0.as_mut().poll(cx)))
    }
}

impl Shared {
    fn cached(&self) -> MutexGuard<'_, Cached<Waiting>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ask, and say what was answered, and when to come back if that was said.
    async fn fetch(&self) -> (Result<Granted, NoToken>, Option<Duration>) {
        let prover = Prover { auth: &self.auth, clock: &self.clock, rng: &self.rng };
        match self.ask.form(&self.endpoint, &self.grant, prover).await {
            Ok(response) => {
                let advice = RetryAfter::of(response.headers(), self.clock.now());
                (answer::read(response.status(), response.body()), advice)
            }
            Err(NotAsked::NotSigned(error)) => {
                (Err(NoToken::not_signed(Error::new(Kind::Other, error))), None)
            }
            Err(NotAsked::Failed(error)) => {
                let advice = error.retry_after();
                (Err(NoToken::failed(error)), advice)
            }
        }
    }
}

/// One fetch, in a task of its own: whoever gives up waiting for it takes it away from nobody. However it ends, there can be another.
struct Fetch {
    shared: Arc<Shared>,
    number: Begin,
    sender: watch::Sender<Option<Ended>>,
}

impl Fetch {
    async fn run(self) {
        let sent = Instant::now();
        let limit = Deadline::after(sent, self.shared.settings.fetch_timeout);
        let (found, advice) = match limit.bound(self.shared.fetch()).await {
            Ok(answered) => answered,
            Err(elapsed) => (Err(NoToken::failed(elapsed.into())), None),
        };
        if let Err(why) = &found {
            tracing::warn!(%why, "no new token");
        }
        let ended = self.shared.cached().ended(self.number, sent, found, advice, Instant::now());
        self.sender.send_replace(Some(ended));
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.shared.cached().given_up(self.number, Instant::now());
    }
}

/// How a [`TokenSource`] is doing: see [`stats`](TokenSource::stats).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStats {
    /// How many times a token was asked for.
    pub fetches: u64,
    /// How many of those failed.
    pub failures: u64,
    /// For how long the token will be good that there is.
    pub good_for: Option<Duration>,
}

/// Shows how it is doing, and neither where it asks, nor as whom, nor what it has.
impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("settings", &self.0.shared.settings).finish_non_exhaustive()
    }
}
