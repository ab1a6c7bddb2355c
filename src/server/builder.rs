use std::fmt;
use std::net::ToSocketAddrs;
#[cfg(unix)]
use std::path::Path;

use http::Request;
use tokio::net::TcpListener;

use super::admission::{Admission, PriorityOf};
use super::brought::Brought;
use super::control::{Control, MaybeTls};
use super::error::Reason;
use super::inside::{Inside, Place};
use super::signals::Signals;
#[cfg(unix)]
use super::unix::UnixSocket;
use super::{BindError, InvalidServer, Listener, Server, ServerSettings};
use crate::base::body::Body;
use crate::base::{ByPrincipal, Detach, Network, Observe, Observer, PrincipalKey, Priority, Rng, WallClock};
use crate::health::Health;
use crate::limit::{ConcurrencyLimiter, KeyedRateLimiter, RateLimitLayer};

/// Assembles a [`Server`]. The order of the setters does not matter: the stack is always the same.
///
/// What can be written down in a file is in the [`ServerSettings`], limits on rates, sizes and times included; what is left, is set here.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it binds"]
pub struct ServerBuilder {
    pub(super) settings: ServerSettings,
    pub(super) brought: Brought,
    concurrency: Option<ConcurrencyLimiter>,
    detached: Vec<Detach>,
    health: Option<Health>,
    inside: Inside,
    observe: Observe,
    principals: Option<KeyedRateLimiter<PrincipalKey>>,
    priority: Option<PriorityOf>,
    rates: Option<KeyedRateLimiter<Network>>,
    rng: Rng,
    stop_on_signals: bool,
    tls: MaybeTls,
    wall: Option<WallClock>,
}

impl ServerBuilder {
    /// Behave like this. Default: [`ServerSettings::new`].
    pub fn settings(mut self, settings: ServerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Count what is in flight with this limiter, in place of one of the server's own: to watch it, to change the limit while the server
    /// runs, or to have several servers share it. The settings' [`concurrency`](ServerSettings::concurrency) is then of no account.
    ///
    /// ```
    /// use stonework::limit::ConcurrencyLimiter;
    /// use stonework::server::Server;
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
    /// let limiter = ConcurrencyLimiter::new(500)?;
    /// let builder = Server::builder().concurrency_limiter(limiter.clone());
    /// println!("{} of {} in flight", limiter.in_flight(), limiter.limit());
    /// # let _ = builder;
    /// # Ok(()) }
    /// ```
    pub fn concurrency_limiter(mut self, limiter: ConcurrencyLimiter) -> Self {
        self.concurrency = Some(limiter);
        self
    }

    /// Wait for this work, too, when the server stops: what goes on when its clients have gone. What began until the last connection
    /// was closed has the rest of the [drain](ServerSettings::drain_timeout) to end; what has not ended then is counted in the
    /// [`ShutdownReport`](super::ShutdownReport), and left running. Several servers may wait for the same; when the last of them
    /// stops it takes no more, until there is another. May be called several times. Default: none.
    ///
    /// ```
    /// use stonework::base::Detach;
    /// use stonework::server::{DetachLayer, Server};
    ///
    /// let detach = Detach::default();
    /// let builder = Server::builder().detach(detach.clone());
    /// let layer = DetachLayer::new(detach).answer();
    /// # let _ = (builder, layer);
    /// ```
    pub fn detach(mut self, detach: Detach) -> Self {
        self.detached.push(detach);
        self
    }

    /// Say how much a request matters, by its head: where there is too much to do, what matters less is refused first. Default: all matter the
    /// same. See [`ConcurrencyLimitLayer::priority`](crate::limit::ConcurrencyLimitLayer::priority); what asks for the
    /// [health](Self::health) of the server is answered at any rate.
    ///
    /// ```
    /// use stonework::base::Priority;
    /// use stonework::server::Server;
    ///
    /// let builder = Server::builder().priority(|request| match request.uri().path() {
    ///     "/export" => Priority::Batch,
    ///     _ => Priority::Interactive,
    /// });
    /// # let _ = builder;
    /// ```
    pub fn priority(mut self, of: fn(&Request<Body>) -> Priority) -> Self {
        self.priority = Some(of);
        self
    }

    /// Limit the rate of each client with this limiter, in place of one of the server's own: to watch it, to change the quota while the
    /// server runs, to say how many clients are kept, or to have several servers share it. The settings'
    /// [`rate_limit`](ServerSettings::rate_limit) is then of no account.
    ///
    /// ```
    /// use stonework::limit::{KeyedRateLimiter, Quota};
    /// use stonework::server::Server;
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
    /// let limiter = KeyedRateLimiter::new(Quota::per_second(50))?.max_keys(1_000_000);
    /// let builder = Server::builder().rate_limiter(limiter.clone());
    /// limiter.set_quota(Quota::per_second(10))?;
    /// # let _ = builder;
    /// # Ok(()) }
    /// ```
    pub fn rate_limiter(mut self, limiter: KeyedRateLimiter<Network>) -> Self {
        self.rates = Some(limiter);
        self
    }

    /// Limit the rate of each sender with this limiter, in place of one of the server's own. The settings'
    /// [`principal_rate_limit`](ServerSettings::principal_rate_limit) is then of no account. As there, something has to know the senders.
    pub fn principal_rate_limiter(mut self, limiter: KeyedRateLimiter<PrincipalKey>) -> Self {
        self.principals = Some(limiter);
        self
    }

    /// Let requests in whose token this layer takes for good; the mode of its refusals is set here. It stands inside of the limits on rates and
    /// sizes, which cost less. In place of another way to know who sends a request, if one was given. Default: everybody is let in.
    ///
    /// It looks at every request, probes of the [health](Self::health) excepted. Where some routes are for everybody, make it
    /// [optional](crate::jwt::JwtLayer::optional), and say on the others that they need a token: with a
    /// [`RequireLayer`](crate::jwt::RequireLayer), or a handler that takes [`Claims`](crate::jwt::Claims).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use stonework::jwt::{Algorithm, JwtLayer, Key, Verifier};
    /// use stonework::server::Server;
    ///
    /// let verifier = Verifier::builder()
    ///     .keys(Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.")?)
    ///     .algorithms([Algorithm::Hs256])
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .build()?;
    /// let builder = Server::builder().jwt(JwtLayer::new(verifier));
    /// # let _ = builder;
    /// # Ok(()) }
    /// ```
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn jwt<T: Send + Sync + 'static>(mut self, layer: crate::jwt::JwtLayer<T>) -> Self {
        self.brought.forget(Place::Tokens);
        self.put_jwt(layer);
        self
    }

    /// Let requests in whose token its own server takes for good, likewise.
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn introspect(mut self, layer: crate::jwt::IntrospectLayer) -> Self {
        self.brought.forget(Place::Tokens);
        self.put_introspect(layer);
        self
    }

    /// Do keyed requests once. It stands around the service, inside of everything else; what it has begun and whose client has gone is
    /// [waited for](Self::detach). Servers may share a layer. Default: keys are of no account.
    ///
    /// ```
    /// use stonework::idempotency::{IdempotencyLayer, MemoryStore};
    /// use stonework::server::Server;
    ///
    /// let builder = Server::builder().idempotency(IdempotencyLayer::new(MemoryStore::new()));
    /// # let _ = builder;
    /// ```
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    pub fn idempotency<S, F, R>(mut self, layer: crate::idempotency::IdempotencyLayer<S, F, R>) -> Self
    where
        S: crate::idempotency::Store,
        F: crate::base::KeyOf<http::Request<crate::Body>, Key: fmt::Display> + Clone + Send + Sync + 'static,
        R: crate::base::Refuse + Clone + Send + Sync + 'static,
    {
        self.brought.forget(Place::Idempotency);
        self.put_idempotency(layer);
        self
    }

    /// Draw request ids, what traces are called, and how long connections are kept from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Say the date of answers (`date`) by this clock, where the service does not. With a [fixed](WallClock::fixed_at) one, and a seeded
    /// [`rng`](Self::rng), what is sent is the same in each run of a test. Default: the system's.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use stonework::base::WallClock;
    /// use stonework::server::Server;
    ///
    /// let noon = WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    /// let builder = Server::builder().wall_clock(noon);
    /// # let _ = builder;
    /// ```
    pub fn wall_clock(mut self, wall: WallClock) -> Self {
        self.wall = Some(wall);
        self
    }

    /// Answer probes from this registry, before anything else sees them: `/livez`, `/readyz`, `/startupz`, and gRPC's health
    /// service. When the server begins to stop, readiness fails for the time of the
    /// [lame duck](ServerSettings::lame_duck). Default: none.
    pub fn health(mut self, health: Health) -> Self {
        self.health = Some(health);
        self
    }

    /// Tell this observer what happens: [`ServerPhaseChanged`](crate::base::Event::ServerPhaseChanged),
    /// [`HandlerPanicked`](crate::base::Event::HandlerPanicked), [`ConnectionClosed`](crate::base::Event::ConnectionClosed).
    /// Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Speak TLS, and nothing else, wherever it listens. The handshake of a connection takes nobody else's time, and has a
    /// [limit](ServerSettings::handshake_timeout). Keep a clone to replace the certificate later. Default: no TLS.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, tls: super::ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Begin to stop at SIGTERM or SIGINT, or where there are none at Ctrl-C; at the second one, skip ahead. They are
    /// caught before the port is opened, so none is lost and the process ends by none; and for as long as the process lives.
    /// Default: off, signals are yours.
    pub const fn stop_on_signals(mut self) -> Self {
        self.stop_on_signals = true;
        self
    }

    /// Open the port. From here on clients can connect; they are answered once the server
    /// [serves](Server::serve). Port 0 takes a free one, which [`Server::local_addr`] names.
    ///
    /// Of several addresses the first that works is taken. A host name is looked up there and then, which blocks the
    /// thread; an address is not looked up.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address: it is no address, it is taken, or it may not be used; or which names a
    /// setting that cannot be.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with the network enabled.
    pub async fn bind(mut self, addr: impl ToSocketAddrs + fmt::Debug) -> Result<Server, BindError> {
        let shown = format!("{addr:?}").trim_matches('"').to_owned();
        let open = async {
            self.complete()?;
            let signals = self.signals()?;
            let candidates: Vec<_> = addr.to_socket_addrs()?.collect();
            let listener = TcpListener::bind(&*candidates).await?;
            Ok(self.serves(listener, signals))
        };
        open.await.map_err(|source: Reason| BindError { addr: shown, source })
    }

    /// Listen at this path of the file system. A socket that a killed server left there is replaced: one of which the system says that nobody
    /// listens, so not that of a server that is busy, and not what a link leads to. Of two servers that find it at the same moment the later one
    /// wins, so start one. The file is removed when the server is dropped or stops, unless another one stands there by then. Nothing is waited
    /// for. Who may connect is a matter of the permissions of its directory.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the path: there is a file already, or it cannot be made; or which names a setting that
    /// cannot be.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with the network enabled.
    #[cfg(unix)]
    pub fn bind_unix(mut self, path: impl AsRef<Path>) -> Result<Server<UnixSocket>, BindError> {
        let path = path.as_ref();
        let open = || {
            self.complete()?;
            let signals = self.signals()?;
            Ok(self.serves(UnixSocket::bind(path)?, signals))
        };
        open().map_err(|source: Reason| BindError { addr: path.display().to_string(), source })
    }

    /// Serve what comes from there: a socket that was opened elsewhere, or connections that are none of the system's. See
    /// [`Listener`].
    ///
    /// # Errors
    ///
    /// [`InvalidServer`], which names a setting that cannot be.
    ///
    /// # Panics
    ///
    /// If it is to [stop on signals](Self::stop_on_signals) and the system lets none be caught.
    pub fn listen<L: Listener>(mut self, listener: L) -> Result<Server<L>, InvalidServer> {
        self.complete()?;
        let signals = self.signals().expect("signals can be caught");
        Ok(self.serves(listener, signals))
    }

    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(super) fn put_jwt<T: Send + Sync + 'static>(&mut self, layer: crate::jwt::JwtLayer<T>) {
        self.inside.put(Place::Tokens, format!("tokens: looked at here; {}", layer.told()), layer.answer());
    }

    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(super) fn put_introspect(&mut self, layer: crate::jwt::IntrospectLayer) {
        self.inside.put(Place::Tokens, format!("tokens: asked for; {}", layer.told()), layer.answer());
    }

    #[cfg(feature = "idempotency")]
    pub(super) fn put_idempotency<S, F, R>(&mut self, layer: crate::idempotency::IdempotencyLayer<S, F, R>)
    where
        S: crate::idempotency::Store,
        F: crate::base::KeyOf<http::Request<crate::Body>, Key: fmt::Display> + Clone + Send + Sync + 'static,
        R: crate::base::Refuse + Clone + Send + Sync + 'static,
    {
        self.detached.push(layer.detached().clone());
        self.inside.put(Place::Idempotency, "idempotency: keyed requests are done once".to_owned(), layer);
    }

    /// A limit for each sender is one for all of them where nobody knows them.
    pub(super) fn check_senders(&self) -> Result<(), InvalidServer> {
        let field = match (&self.principals, &self.settings.principal_rate_limit) {
            _ if self.inside.has(Place::Tokens) => return Ok(()),
            (Some(_), _) => "principal_rate_limiter",
            (None, Some(_)) => "principal_rate_limit",
            (None, None) => return Ok(()),
        };
        Err(InvalidServer::NoSenders { field })
    }

    /// What the settings say of what stands inside. They were checked.
    fn fill(&mut self) {
        if let Some(bytes) = self.settings.max_request_body {
            self.inside.limit_bodies(bytes);
        }
        let own = self.settings.principal_rate_limit;
        let own = own.and_then(|quota| KeyedRateLimiter::named("principal", quota).ok());
        if let Some(limiter) = self.principals.take().or(own) {
            let told = format!("principal rate limit: {} for each sender", limiter.quota());
            self.inside.put(Place::PrincipalRate, told, RateLimitLayer::keyed(limiter, ByPrincipal).answer());
        }
    }

    fn signals(&self) -> Result<Option<Signals>, Reason> {
        Ok(if self.stop_on_signals { Some(Signals::catch()?) } else { None })
    }

    fn serves<L>(mut self, listener: L, signals: Option<Signals>) -> Server<L> {
        self.fill();
        let tls = self.tls.is_some();
        let (limits, matters) = ((self.concurrency, self.rates), self.priority);
        let admission = Admission::new(&self.settings, tls, &self.rng, limits, matters, self.inside);
        let control =
            Control::new(self.settings, self.health, self.observe, self.wall, self.detached, self.tls);
        Server::new(listener, control, admission, signals, self.rng)
    }
}
