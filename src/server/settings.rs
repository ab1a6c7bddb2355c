use std::time::Duration;

use http::HeaderName;

use super::InvalidServer;
use crate::base::{TIMEOUT_MS, TrustedPeers};
use crate::limit::{ConcurrencySettings, Quota, TrustedProxies};
use crate::timeout::BodyLimits;

/// An [`http::HeaderMap`] panics at 24 576 fields, and at 6 554 whose names were chosen to fall together; and handlers may add some. Far beyond
/// that hyper panics at any head, since it makes room for as many as there may be.
pub(super) const MOST_HEADERS: usize = 6_000;

/// How a [`Server`](super::Server) behaves. With the feature `serde` it can be read from a file and written to one: durations as `"250ms"`,
/// what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::server::ServerSettings;
///
/// let settings = ServerSettings::new().header_read_timeout(Duration::from_secs(5)).without_max_age();
/// assert_ne!(settings, ServerSettings::new());
/// # #[cfg(feature = "serde")] {
/// let text = r#"{ "header_read_timeout": "5s", "max_age": "off" }"#;
/// let read: ServerSettings = serde_json::from_str(text).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<ServerSettings>(r#"{ "ping_timeout": "0s" }"#).unwrap_err();
/// assert!(refused.to_string().contains("ping_timeout"));
/// # }
/// ```
///
/// An impossible value is told where a port is opened, by [`BindError`](super::BindError).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a server is made from them"]
pub struct ServerSettings {
    pub(super) access_log: bool,
    pub(super) access_log_paths: bool,
    pub(super) age_grace: Option<Duration>,
    pub(super) concurrency: Option<ConcurrencySettings>,
    pub(super) deadline: Option<Duration>,
    pub(super) deadline_from: Option<TrustedPeers>,
    pub(super) deadline_header: HeaderName,
    pub(super) drain_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) header_read_timeout: Duration,
    #[cfg(feature = "idempotency")]
    pub(super) idempotency: Option<crate::idempotency::IdempotencySettings>,
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(super) introspect: Option<crate::jwt::IntrospectSettings>,
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(super) jwt: Option<crate::jwt::JwtSettings>,
    pub(super) keep_alive_timeout: Duration,
    pub(super) lame_duck: Duration,
    pub(super) max_age: Option<Duration>,
    pub(super) max_concurrent_streams: u32,
    pub(super) max_connections: Option<usize>,
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) max_head_size: u32,
    pub(super) max_headers: usize,
    pub(super) max_request_body: Option<u64>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: bool,
    pub(super) overload_queue: bool,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) principal_rate_limit: Option<Quota>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) rate_limit: Option<Quota>,
    pub(super) request_body: BodyLimits,
    pub(super) request_id_from: Option<TrustedPeers>,
    pub(super) request_span: bool,
    pub(super) stall_timeout: Option<Duration>,
    pub(super) trace_from: Option<TrustedPeers>,
    pub(super) trusted_proxies: TrustedProxies,
}

impl ServerSettings {
    /// Ten seconds for a head, 75 between requests, 30 of silence in a body; 16 384 connections, a quarter of them from one
    /// address; connections that live an hour; ten seconds to finish at shutdown. The setters say more.
    pub const fn new() -> Self {
        Self {
            access_log: false,
            access_log_paths: false,
            age_grace: None,
            concurrency: Some(ConcurrencySettings::new(16_384)),
            deadline: None,
            deadline_from: Some(TrustedPeers::everybody()),
            deadline_header: TIMEOUT_MS,
            drain_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(10),
            #[cfg(feature = "idempotency")]
            idempotency: None,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            introspect: None,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            jwt: None,
            keep_alive_timeout: Duration::from_secs(75),
            lame_duck: Duration::from_secs(5),
            max_age: Some(Duration::from_secs(60 * 60)),
            max_concurrent_streams: 100,
            max_connections: Some(16_384),
            max_connections_per_address: Some(4_096),
            max_head_size: 64 * 1024,
            max_headers: 100,
            max_request_body: None,
            #[cfg(feature = "metrics")]
            metrics: false,
            overload_queue: false,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            principal_rate_limit: None,
            queue_timeout: None,
            rate_limit: None,
            request_body: BodyLimits::new(),
            request_id_from: Some(TrustedPeers::nobody()),
            request_span: false,
            stall_timeout: Some(Duration::from_secs(30)),
            trace_from: Some(TrustedPeers::everybody()),
            trusted_proxies: TrustedProxies::none(),
        }
    }

    /// For connections that are meant to stay: server-sent events, WebSockets, gRPC streams. As [`new`](Self::new), but they do
    /// not grow old, and a client may be silent in the middle of a body. What remains bounds heads and idleness, and finds
    /// clients that are gone or take nothing.
    pub fn streaming() -> Self {
        Self { max_age: None, request_body: BodyLimits::none(), ..Self::new() }
    }

    /// Write a line for each request: see [`AccessLogLayer`](crate::observe::AccessLogLayer). What asks for the
    /// [health](super::ServerBuilder::health) is not written down. Default: off.
    pub const fn access_log(mut self) -> Self {
        self.access_log = true;
        self
    }

    /// Write a line for each request, with its path, and without its query: see [`AccessLogLayer::paths`](crate::observe::AccessLogLayer::paths).
    /// Default: off, since what stands in a path may be a secret.
    pub const fn access_log_paths(mut self) -> Self {
        self.access_log_paths = true;
        self.access_log()
    }

    /// How long requests may go on, and answers be read, on a connection that has reached its [age](Self::max_age).
    /// Default: off, that is for as long as they take.
    pub const fn age_grace(mut self, grace: Duration) -> Self {
        self.age_grace = Some(grace);
        self
    }

    /// How many requests may be in flight at once, over all connections, until the ends of their answers; more are answered with
    /// 503. Default: 16 384, as many as connections, so that it begins to matter where connections carry several requests. What
    /// asks for the [health](super::ServerBuilder::health) does not count.
    pub const fn concurrency(mut self, settings: ConcurrencySettings) -> Self {
        self.concurrency = Some(settings);
        self
    }

    /// Serve any number of requests at once. In a file: `concurrency = "off"`.
    pub const fn without_concurrency(mut self) -> Self {
        self.concurrency = None;
        self
    }

    /// How long a handler may take to answer, waiting for its turn included; then its client is answered with 504. It is the deadline in scope, so
    /// that the clients in the handler are cut to it. Default: off, since large uploads take as long as they take.
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Whose word is taken for how much time they have left: theirs is the deadline then, if it is earlier than that of the server, and a request
    /// that has none left is refused before any work. Default: everybody's, since it can only be shorter.
    ///
    /// What a handler calls is cut to it. As long as it is everybody's, nothing that is called is blamed for not having answered within less than a
    /// second that a caller gave: a stranger could open a circuit that all share. Where deadlines of your own peers are that short, and are to
    /// count, name the peers here. See [`ReceiveDeadlineLayer::believe`](crate::timeout::ReceiveDeadlineLayer::believe).
    pub fn deadline_from(mut self, peers: TrustedPeers) -> Self {
        self.deadline_from = Some(peers);
        self
    }

    /// Read nothing of the time that callers have left. In a file: `deadline_from = "off"`.
    pub fn without_deadline_from(mut self) -> Self {
        self.deadline_from = None;
        self
    }

    /// In which header callers say how many milliseconds they have left; in a call of gRPC it is `grpc-timeout`. Default: [`TIMEOUT_MS`].
    pub fn deadline_header(mut self, name: HeaderName) -> Self {
        self.deadline_header = name;
        self
    }

    /// How long a shutdown waits for what is in flight, before it drops the rest. Zero drops it at once. Default:
    /// 10 s.
    pub const fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// How long a client may take for the TLS handshake. Default: 10 s.
    pub const fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// How long a client may take for the first bytes of a connection, and then, over HTTP/1, for each head, from its first
    /// byte to the empty line. Default: 10 s.
    pub const fn header_read_timeout(mut self, limit: Duration) -> Self {
        self.header_read_timeout = limit;
        self
    }

    /// How long a connection may wait for its next request. Over HTTP/2 it is told then that it is over. Default: 75 s.
    ///
    /// A proxy in front of the server has to give up idle connections earlier, or it sends requests into closing ones.
    pub const fn keep_alive_timeout(mut self, limit: Duration) -> Self {
        self.keep_alive_timeout = limit;
        self
    }

    /// How long a shutdown goes on as if nothing were, but for [readiness](super::ServerBuilder::health), which fails:
    /// whoever sends requests here learns of it in this time, and sends them elsewhere. Without a registry of health nobody
    /// could learn of it, and this is skipped. Zero skips it, too. Default: 5 s.
    pub const fn lame_duck(mut self, time: Duration) -> Self {
        self.lame_duck = time;
        self
    }

    /// How old a connection may be. Then it takes on nothing more, is told so (`Connection: close`, GOAWAY), and ends with what
    /// it has begun; so clients spread over servers that came later. Each has an age of its own, up to a tenth more or
    /// less. Default: 1 h.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Let connections be as old as they like. In a file: `max_age = "off"`.
    pub const fn without_max_age(mut self) -> Self {
        self.max_age = None;
        self
    }

    /// How many requests an HTTP/2 client may have in flight on one connection. Default: 100, the least that RFC 9113
    /// recommends.
    pub const fn max_concurrent_streams(mut self, most: u32) -> Self {
        self.max_concurrent_streams = most;
        self
    }

    /// How many connections there may be. More wait in the queue of the port until one ends. Default: 16 384; what the
    /// system allows (`ulimit -n`) may be less, and then they wait as well.
    pub const fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = Some(most);
        self
    }

    /// Take any number of connections. In a file: `max_connections = "off"`.
    pub const fn without_max_connections(mut self) -> Self {
        self.max_connections = None;
        self
    }

    /// How many connections there may be from one address, or from one IPv6 network of 64 bits. More are closed as they
    /// come. Default: 4 096. All clients behind one proxy have the same address.
    pub const fn max_connections_per_address(mut self, most: usize) -> Self {
        self.max_connections_per_address = Some(most);
        self
    }

    /// Take any number of connections from one address. In a file: `max_connections_per_address = "off"`.
    pub const fn without_max_connections_per_address(mut self) -> Self {
        self.max_connections_per_address = None;
        self
    }

    /// How many bytes the head of a request may have; a larger one is answered with 431. Default: 64 KiB. Over HTTP/2, where each field counts as
    /// 32 bytes more than it has, it is at most 198 000.
    pub const fn max_head_size(mut self, bytes: u32) -> Self {
        self.max_head_size = bytes;
        self
    }

    /// How many fields the head of a request may have over HTTP/1; one with more is answered with 431. Over HTTP/2 their
    /// [size](Self::max_head_size) alone counts. Default: 100; at most 6 000, since an
    /// [`http::HeaderMap`] can be made to panic with few more.
    pub const fn max_headers(mut self, most: usize) -> Self {
        self.max_headers = most;
        self
    }

    /// How many bytes the body of a request may have; a larger one is answered with 413. Default: off, since only its owner knows.
    pub const fn max_request_body(mut self, bytes: u64) -> Self {
        self.max_request_body = Some(bytes);
        self
    }

    /// Count requests with the `metrics` facade: see [`ServerMetricsLayer`](crate::observe::ServerMetricsLayer). What asks for the
    /// [health](super::ServerBuilder::health) is not counted. Default: off.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub const fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Let requests for which there is no room wait in a queue that never gets old, in the place of [`queue_timeout`](Self::queue_timeout): see
    /// [`Admission::Queue`](crate::limit::Admission::Queue). With a limit that is [adaptive](ConcurrencySettings::adaptive) the server is well
    /// again as soon as it can be after it was overwhelmed, whatever its clients do. Default: off.
    ///
    /// ```
    /// use stonework::limit::AdaptiveSettings;
    /// use stonework::server::ServerSettings;
    ///
    /// let settings = ServerSettings::new().concurrency(AdaptiveSettings::new().into()).overload_queue();
    /// # let _ = settings;
    /// ```
    pub const fn overload_queue(mut self) -> Self {
        self.overload_queue = true;
        self
    }

    /// How often an HTTP/2 client is asked whether it is still there. Default: 30 s.
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How long an HTTP/2 client may take to answer a ping before its connection is closed. Default: 20 s.
    pub const fn ping_timeout(mut self, limit: Duration) -> Self {
        self.ping_timeout = limit;
        self
    }

    /// How much each sender may ask for, by what its token says of it; more is answered with 429. All of whom nothing is known are one, so a
    /// server is not built without something that knows: [`jwt`](../struct.ServerBuilder.html#method.jwt) or
    /// [`introspect`](../struct.ServerBuilder.html#method.introspect). Default: off.
    pub const fn principal_rate_limit(mut self, quota: Quota) -> Self {
        self.principal_rate_limit = Some(quota);
        self
    }

    /// How long a request for which there is no room may wait for it, in the order of arrival, before it is answered with 503. How
    /// many may wait is said by [`ConcurrencySettings::queue`]. Default: off, they are answered at once. See also
    /// [`overload_queue`](Self::overload_queue).
    pub const fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// How much each client may ask for, by its address or its IPv6 network of 64 bits; more is answered with 429. Who the client is
    /// behind proxies is said by [`trusted_proxies`](Self::trusted_proxies). Default: off, since only its owner knows.
    pub const fn rate_limit(mut self, quota: Quota) -> Self {
        self.rate_limit = Some(quota);
        self
    }

    /// How long the body of a request may take. Default: 30 s of silence while the handler waits for more, and no other
    /// limit, [`BodyLimits::new`]. Once a call of gRPC is being answered with a stream, its client may be silent for as long as it
    /// likes: pings tell whether it is there. Who serves calls whose clients are silent before that, needs other limits.
    pub const fn request_body(mut self, limits: BodyLimits) -> Self {
        self.request_body = limits;
        self
    }

    /// Whose names for requests are taken over (`x-request-id`); others get new ones. They go back with the answer. Default: nobody's. A request
    /// that brings neither a name nor a trace gets one number as both, so that whoever has the one finds the other. See
    /// [`RequestIdLayer`](crate::observe::RequestIdLayer).
    pub fn request_id_from(mut self, peers: TrustedPeers) -> Self {
        self.request_id_from = Some(peers);
        self
    }

    /// Do not give names to requests. In a file: `request_id_from = "off"`.
    pub fn without_request_id(mut self) -> Self {
        self.request_id_from = None;
        self
    }

    /// Open a span for each request: see [`RequestSpanLayer`](crate::observe::RequestSpanLayer). Default: off.
    pub const fn request_span(mut self) -> Self {
        self.request_span = true;
        self
    }

    /// How long a client may take nothing of what there is for it. Over HTTP/1 its connection is closed then, over HTTP/2 its
    /// request cut off; there, what it takes counts in pieces of 16 KiB, so that less than one in that time is nothing. Default: 30 s.
    pub const fn stall_timeout(mut self, limit: Duration) -> Self {
        self.stall_timeout = Some(limit);
        self
    }

    /// Wait for as long as clients like to take what they asked for. In a file: `stall_timeout = "off"`.
    pub const fn without_stall_timeout(mut self) -> Self {
        self.stall_timeout = None;
        self
    }

    /// Whose traces go on here (`traceparent`); for others a new one begins. Default: everybody's. See [`TraceLayer`](crate::observe::TraceLayer).
    pub fn trace_from(mut self, peers: TrustedPeers) -> Self {
        self.trace_from = Some(peers);
        self
    }

    /// Have nothing to do with traces. In a file: `trace_from = "off"`.
    pub fn without_trace(mut self) -> Self {
        self.trace_from = None;
        self
    }

    /// Which proxies are believed when they say who the client is; requests then have it as their
    /// [`ClientAddress`](crate::base::ClientAddress). Default: none, the peer is the client. **Behind a proxy all clients have its
    /// address until this is said.**
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// What cannot be.
    pub(super) fn check(&self) -> Result<(), InvalidServer> {
        let zero = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        for (field, instead, refused) in [
            ("deadline", None, zero(self.deadline)),
            ("handshake_timeout", None, self.handshake_timeout.is_zero()),
            ("header_read_timeout", None, self.header_read_timeout.is_zero()),
            ("keep_alive_timeout", None, self.keep_alive_timeout.is_zero()),
            ("max_age", Some("without_max_age"), zero(self.max_age)),
            ("max_concurrent_streams", None, self.max_concurrent_streams == 0),
            ("max_connections", Some("without_max_connections"), self.max_connections == Some(0)),
            (
                "max_connections_per_address",
                Some("without_max_connections_per_address"),
                self.max_connections_per_address == Some(0),
            ),
            ("max_head_size", None, self.max_head_size == 0),
            ("max_headers", None, self.max_headers == 0),
            ("ping_interval", None, self.ping_interval.is_zero()),
            ("ping_timeout", None, self.ping_timeout.is_zero()),
            ("queue_timeout", None, zero(self.queue_timeout)),
            ("stall_timeout", Some("without_stall_timeout"), zero(self.stall_timeout)),
        ] {
            if refused {
                return Err(match instead {
                    Some(instead) => InvalidServer::ZeroForOff { field, instead },
                    None => InvalidServer::Zero { field },
                });
            }
        }
        if self.max_headers > MOST_HEADERS {
            return Err(InvalidServer::TooLarge { field: "max_headers", most: MOST_HEADERS });
        }
        if let Some(concurrency) = &self.concurrency {
            concurrency.check().map_err(InvalidServer::Concurrency)?;
        }
        if self.overload_queue && self.queue_timeout.is_some() {
            return Err(InvalidServer::Both { field: "queue_timeout", other: "overload_queue" });
        }
        if self.access_log_paths && !self.access_log {
            return Err(InvalidServer::Without { field: "access_log_paths", other: "access_log" });
        }
        if self.concurrency.is_none() && self.overload_queue {
            return Err(InvalidServer::Without { field: "overload_queue", other: "concurrency" });
        }
        if self.concurrency.is_none() && self.queue_timeout.is_some() {
            return Err(InvalidServer::Without { field: "queue_timeout", other: "concurrency" });
        }
        if let Some(quota) = &self.rate_limit {
            quota.check().map_err(InvalidServer::RateLimit)?;
        }
        if let Some(quota) = &self.principal_rate_limit {
            quota.check().map_err(InvalidServer::PrincipalRateLimit)?;
        }
        self.check_brought()
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self::new()
    }
}
