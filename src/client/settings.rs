#[cfg(feature = "balance")]
use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::HttpVersions;
use crate::base::TIMEOUT_MS;
use crate::breaker::BreakerSettings;
use crate::fallback::FallbackSettings;
use crate::hedge::HedgeSettings;
use crate::limit::{ConcurrencySettings, Quota, ThrottleSettings};
use crate::observe::Propagation;
use crate::retry::{ResumeSettings, RetrySettings};
use crate::timeout::BodyLimits;

/// How a [`Client`](super::Client) behaves. With the feature `serde` it can be read from a file and written to one: durations as `"250ms"`,
/// what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::client::ClientSettings;
///
/// let settings = ClientSettings::new().deadline(Duration::from_secs(5)).without_retry();
/// # #[cfg(feature = "serde")] {
/// let read: ClientSettings = serde_json::from_str(r#"{ "deadline": "5s", "retry": "off" }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<ClientSettings>(r#"{ "retry": { "atempts": 5 } }"#).unwrap_err();
/// assert!(refused.to_string().contains("`atempts`"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a client is built from them"]
pub struct ClientSettings {
    pub(super) attempt_timeout: Option<Duration>,
    #[cfg(feature = "oauth")]
    pub(super) bearer: Option<crate::oauth::TokenSettings>,
    pub(super) body: BodyLimits,
    pub(super) breaker: Option<BreakerSettings>,
    pub(super) collect_within: Option<usize>,
    pub(super) concurrency: Option<ConcurrencySettings>,
    pub(super) connect_timeout: Duration,
    pub(super) connection_lifetime: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) deadline_header: Option<HeaderName>,
    pub(super) expect_continue: Option<u64>,
    #[cfg(feature = "decompression")]
    pub(super) decompression: bool,
    pub(super) fallback: FallbackSettings,
    pub(super) hedge: Option<HedgeSettings>,
    pub(super) http: HttpVersions,
    pub(super) http2_keep_alive: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_host: usize,
    pub(super) max_idle_per_host: usize,
    pub(super) max_response_body: usize,
    pub(super) max_waiting: usize,
    pub(super) pool_timeout: Option<Duration>,
    pub(super) propagation: Propagation,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) rate_limit: Option<Quota>,
    pub(super) redirects: Option<u32>,
    pub(super) resume: Option<ResumeSettings>,
    pub(super) retry: Option<RetrySettings>,
    pub(super) server_quotas: bool,
    pub(super) throttle: Option<ThrottleSettings>,
    #[cfg(feature = "balance")]
    pub(super) upstreams: BTreeMap<String, super::UpstreamSettings>,
}

impl ClientSettings {
    /// The defaults: 30 s for a call, 10 s for an attempt, 5 s to connect, 30 s of silence in a body, and retries and circuits
    /// as [`RetrySettings`] and [`BreakerSettings`] have them.
    pub fn new() -> Self {
        Self {
            attempt_timeout: Some(Duration::from_secs(10)),
            #[cfg(feature = "oauth")]
            bearer: None,
            body: BodyLimits::new(),
            breaker: Some(BreakerSettings::new()),
            collect_within: None,
            concurrency: None,
            connect_timeout: Duration::from_secs(5),
            connection_lifetime: Some(Duration::from_secs(5 * 60)),
            deadline: Some(Duration::from_secs(30)),
            deadline_header: Some(TIMEOUT_MS),
            expect_continue: Some(1024 * 1024),
            #[cfg(feature = "decompression")]
            decompression: false,
            fallback: FallbackSettings::new(),
            hedge: None,
            http: HttpVersions::Auto,
            http2_keep_alive: Some(Duration::from_secs(20)),
            idle_timeout: Some(Duration::from_secs(4)),
            max_connections: 1024,
            max_connections_per_host: 100,
            max_idle_per_host: 32,
            max_response_body: 10 * 1024 * 1024,
            max_waiting: 1000,
            pool_timeout: Some(Duration::from_secs(5)),
            propagation: Propagation::PassOn,
            queue_timeout: Some(Duration::from_secs(1)),
            rate_limit: None,
            redirects: Some(10),
            resume: None,
            retry: Some(RetrySettings::new()),
            server_quotas: false,
            throttle: None,
            #[cfg(feature = "balance")]
            upstreams: BTreeMap::new(),
        }
    }

    /// How long one attempt may take, connecting included, until its response head has arrived. Default: 10 s. It is cut
    /// to what is left of the call.
    pub const fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = Some(limit);
        self
    }

    /// Do without a limit on attempts. **One server that accepts a connection and stays silent then uses up the whole
    /// call, and there is no time left to try again.** In a file: `attempt_timeout = "off"`.
    pub const fn without_attempt_timeout(mut self) -> Self {
        self.attempt_timeout = None;
        self
    }

    /// How long the body of a response may take. Default: 30 s of silence and no other limit, [`BodyLimits::new`].
    pub const fn body(mut self, limits: BodyLimits) -> Self {
        self.body = limits;
        self
    }

    /// When to stop calling a host for a while: each host and port has a circuit. Default: [`BreakerSettings::new`].
    pub fn breaker(mut self, settings: BreakerSettings) -> Self {
        self.breaker = Some(settings);
        self
    }

    /// Call hosts however many calls fail. **Each call to a host that is down then waits for its limit on time.** In a file:
    /// `breaker = "off"`.
    pub fn without_breaker(mut self) -> Self {
        self.breaker = None;
        self
    }

    /// Read the bodies of responses as a part of each attempt, up to so many bytes: one that breaks off is then an attempt
    /// that failed, and the limits on the attempt and on the call cover it. Larger ones are streamed. Default: off; a single
    /// [request](super::RequestBuilder::collect_within) can ask for it, or for none.
    pub const fn collect_within(mut self, bytes: usize) -> Self {
        self.collect_within = Some(bytes);
        self
    }

    /// How many attempts may be in flight at once to each host and port, until the ends of their response bodies. Those for which there
    /// is no room wait as long as [`queue_timeout`](Self::queue_timeout) says. Default: off, since only its owner knows what a host can
    /// serve.
    pub const fn concurrency(mut self, settings: ConcurrencySettings) -> Self {
        self.concurrency = Some(settings);
        self
    }

    /// How long making a connection may take: looking up the name, TCP, a proxy, TLS, and the first settings of a peer over HTTP/2,
    /// together. Default: 5 s. A connection that is being made goes on being made when the request that it was for has given up; then it
    /// is for others.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// For how long a connection is used, less up to a tenth, by chance. Default: 5 min. After that it takes no request any more; those
    /// that it carries go on. The next one looks up the name again, so that a client finds hosts that were added, and leaves those that
    /// were taken away.
    pub const fn connection_lifetime(mut self, lifetime: Duration) -> Self {
        self.connection_lifetime = Some(lifetime);
        self
    }

    /// Use connections for as long as their peers keep them. **A client under steady load then never sees that the name of its host leads
    /// elsewhere.** In a file: `connection_lifetime = "off"`.
    pub const fn without_connection_lifetime(mut self) -> Self {
        self.connection_lifetime = None;
        self
    }

    /// How long a call may take, with all attempts and the pauses between them, until its response head has arrived; with [`BodyLimits::until_deadline`]
    /// its body, too. Default: 30 s; lower [`attempt_timeout`](Self::attempt_timeout) with it. An earlier [`Deadline`](crate::base::Deadline) in scope goes first.
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Do without a limit on the whole call. A deadline in scope still holds. In a file: `deadline = "off"`.
    pub const fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// From how many bytes on a request body waits until the server says that it wants it (`Expect: 100-continue`; RFC 9110, section
    /// 10.1.1), or until it has said nothing for a second. Default: 1 MiB. A server that refuses it has then not been sent it. Only over
    /// HTTP/1.1, and only bodies of known length; a request that says `expect` itself waits whatever its length.
    pub const fn expect_continue(mut self, from: u64) -> Self {
        self.expect_continue = Some(from);
        self
    }

    /// Send every request body at once. In a file: `expect_continue = "off"`.
    pub const fn without_expect_continue(mut self) -> Self {
        self.expect_continue = None;
        self
    }

    /// Ask for encoded responses, and decode them: see the [module](super#decompression). Default: off. In a file:
    /// `decompression = true`.
    #[cfg(feature = "decompression")]
    #[cfg_attr(docsrs, doc(cfg(feature = "decompression")))]
    pub const fn decompression(mut self) -> Self {
        self.decompression = true;
        self
    }

    /// Neither ask for encoded responses nor decode them.
    #[cfg(feature = "decompression")]
    #[cfg_attr(docsrs, doc(cfg(feature = "decompression")))]
    pub const fn without_decompression(mut self) -> Self {
        self.decompression = false;
        self
    }

    /// For which kinds of error to fall back, if the builder is given something to fall back [to](super::ClientBuilder::fallback).
    /// Default: [`FallbackSettings::new`].
    pub fn fallback(mut self, settings: FallbackSettings) -> Self {
        self.fallback = settings;
        self
    }

    /// Speak HTTP/1.1 to every host. Default: HTTP/2 where a host over TLS chooses it, and HTTP/1.1 elsewhere. In a file: `http = "1"`.
    pub const fn http1_only(mut self) -> Self {
        self.http = HttpVersions::Http1;
        self
    }

    /// Speak HTTP/2 to every host, from the first byte where there is no TLS (RFC 9113, section 3.3): for hosts that are known to speak it, as
    /// those of gRPC are. In a file: `http = "2"`.
    pub const fn http2_only(mut self) -> Self {
        self.http = HttpVersions::Http2;
        self
    }

    /// After how much silence a connection over HTTP/2 is asked whether it is still there, also while nobody uses it (a PING; RFC 9113, section
    /// 6.7). One that has not answered within 10 s is closed. Default: 20 s. A connection that is made for a call of gRPC is asked no more
    /// often than every 310 s, and only while calls are under way: its servers close the connections of clients that ask more often than
    /// every 5 min, unless they are told otherwise (gRFC A8). What decides is the request that it is made for: to a server of gRPC that
    /// answers other requests, too, make this longer, or ask it with a client of its own.
    pub const fn http2_keep_alive(mut self, interval: Duration) -> Self {
        self.http2_keep_alive = Some(interval);
        self
    }

    /// Ask no connection whether it is still there. **One that died unheard is then noticed by the calls that get no answer on it.** In a file:
    /// `http2_keep_alive = "off"`.
    pub const fn without_http2_keep_alive(mut self) -> Self {
        self.http2_keep_alive = None;
        self
    }

    /// How long a connection over HTTP/1.1 that nobody uses is kept. Default: 4 s, since many servers close after 5 s, and a request
    /// sent on a connection that is just being closed fails. Lower it below what your servers allow, or raise it to
    /// just below. Where a server says how long it keeps them (`Keep-Alive: timeout=5`), they are let go a second before that.
    ///
    /// Over HTTP/2 a server says goodbye before it closes a connection, so those are kept for 90 s.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Keep no connection that nobody uses, but for a second one that was made for a request which left before it came. In a file: `idle_timeout = "off"`.
    pub const fn without_idle_connections(mut self) -> Self {
        self.idle_timeout = None;
        self
    }

    /// How many connections there may be, those that are being made included, to all hosts. Default: 1024. Where there is no more room,
    /// the one is closed that nobody has used for longest.
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How many connections there may be to each host and port, those that are being made included. Default: 100. Requests for which there
    /// is none wait in the order in which they came, as long as [`pool_timeout`](Self::pool_timeout) says.
    pub const fn max_connections_per_host(mut self, connections: usize) -> Self {
        self.max_connections_per_host = connections;
        self
    }

    /// How many unused connections over HTTP/1.1 to keep for each host and port. Default: 32. It does not limit how many are in use.
    pub const fn max_idle_per_host(mut self, connections: usize) -> Self {
        self.max_idle_per_host = connections;
        self
    }

    /// How many requests may wait for a connection to each host and port, beyond those for whom one can be made. Default: 1000. Others
    /// fail at once, and were not sent.
    pub const fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests;
        self
    }

    /// How long a request may wait for a connection, within the limit on the attempt. Default: 5 s. Then it fails, and was not sent. While a
    /// connection is being made for it, [`connect_timeout`](Self::connect_timeout) counts instead.
    pub const fn pool_timeout(mut self, limit: Duration) -> Self {
        self.pool_timeout = Some(limit);
        self
    }

    /// Wait for a connection as long as the attempt may take. In a file: `pool_timeout = "off"`.
    pub const fn without_pool_timeout(mut self) -> Self {
        self.pool_timeout = None;
        self
    }

    /// The most bytes of a response that [`bytes`](super::Response::bytes), [`text`](super::Response::text) and
    /// [`json`](super::Response::json) read. Default: 10 MiB. A body that is streamed is not limited.
    pub const fn max_response_body(mut self, bytes: usize) -> Self {
        self.max_response_body = bytes;
        self
    }

    /// How long an attempt may wait for its turn under a limit on [concurrency](Self::concurrency) or on the [rate](Self::rate_limit), or
    /// under a [quota](Self::server_quotas) of its server, each, and within the limit on the attempt. Default: 1 s, longer than a burst takes to pass. Where it is longer, the attempt
    /// fails, and was not sent.
    pub const fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Let no attempt wait for its turn: it fails at once, and was not sent. In a file: `queue_timeout = "off"`.
    pub const fn without_queue(mut self) -> Self {
        self.queue_timeout = None;
        self
    }

    /// How many attempts may be made in which time to each host and port: for servers that refuse, or charge for, more. Default: off.
    ///
    /// ```
    /// use stonework::client::ClientSettings;
    /// use stonework::limit::Quota;
    ///
    /// let settings = ClientSettings::new().rate_limit(Quota::per_second(10).burst(1));
    /// # let _ = settings;
    /// ```
    pub const fn rate_limit(mut self, quota: Quota) -> Self {
        self.rate_limit = Some(quota);
        self
    }

    /// How many redirects to follow in one call; one more is an error with [`TooManyRedirects`](super::TooManyRedirects). Default: 10.
    /// The [module](super#redirects) says which are followed, and what goes along.
    pub const fn redirects(mut self, most: u32) -> Self {
        self.redirects = Some(most);
        self
    }

    /// Hand out redirects as any other response. In a file: `redirects = "off"`.
    pub const fn without_redirects(mut self) -> Self {
        self.redirects = None;
        self
    }

    /// Ask for the rest of a large response that breaks off while it is being read, where the server makes that safe: see
    /// [`ResumeLayer`](crate::retry::ResumeLayer). Default: off.
    pub const fn resume(mut self, settings: ResumeSettings) -> Self {
        self.resume = Some(settings);
        self
    }

    /// Send a request that may be repeated a second time when it takes longer than nearly all others: see
    /// [`HedgeLayer`](crate::hedge::HedgeLayer). It shares the budget of the retries, if they have one. All hosts are learned of
    /// together, so this is for a client of one service. Default: off.
    ///
    /// ```
    /// use stonework::client::{Client, ClientSettings};
    /// use stonework::hedge::HedgeSettings;
    ///
    /// let client = Client::builder().settings(ClientSettings::new().hedge(HedgeSettings::new())).build()?;
    /// assert!(client.explain().contains("hedge: up to 2 attempts at once"));
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub fn hedge(mut self, settings: HedgeSettings) -> Self {
        self.hedge = Some(settings);
        self
    }

    /// When and how often to send a request again. Default: [`RetrySettings::new`].
    pub fn retry(mut self, settings: RetrySettings) -> Self {
        self.retry = Some(settings);
        self
    }

    /// Send every request once. Nothing then counts attempts, and an observer hears nothing. In a file:
    /// `retry = "off"`.
    pub fn without_retry(mut self) -> Self {
        self.retry = None;
        self
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_is_refused_by_name_and_with_the_word_for_off() {
        let new = ClientSettings::new;
        for (settings, field, word) in [
            (new().attempt_timeout(Duration::ZERO), "`attempt_timeout`", "`without_attempt_timeout`"),
            (new().collect_within(0), "`collect_within`", ""),
            (new().connect_timeout(Duration::ZERO), "`connect_timeout`", ""),
            (new().deadline(Duration::ZERO), "`deadline`", "`without_deadline`"),
            (new().idle_timeout(Duration::ZERO), "`idle_timeout`", "`without_idle_connections`"),
            (new().max_idle_per_host(0), "`max_idle_per_host`", "`without_idle_connections`"),
            (new().max_response_body(0), "`max_response_body`", ""),
            (new().redirects(0), "`redirects`", "`without_redirects`"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(field) && refused.contains(word), "{refused}");
        }
        assert_eq!(new().check(), Ok(()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn settings_are_read_from_a_file_and_errors_name_the_field() {
        let read =
            |text: &str| serde_json::from_str::<ClientSettings>(text).map_err(|error| error.to_string());
        let new = ClientSettings::new;
        assert_eq!(read("{}").unwrap(), new());
        let off =
            new().without_deadline().without_attempt_timeout().without_retry().without_idle_connections();
        let all_off = r#"{"deadline":"off","attempt_timeout":"off","retry":"off","idle_timeout":"off"}"#;
        assert_eq!(read(all_off).unwrap(), off);
        assert_eq!(read(r#"{"redirects":"off"}"#).unwrap(), new().without_redirects());
        assert_eq!(read(r#"{"redirects":3}"#).unwrap(), new().redirects(3));
        #[cfg(feature = "decompression")]
        assert_eq!(read(r#"{"decompression":true}"#).unwrap(), new().decompression());
        assert_eq!(
            read(r#"{"deadline":"1m","connect_timeout":"2s","max_response_body":7,"retry":{"attempts":2}}"#),
            Ok(new()
                .deadline(Duration::from_secs(60))
                .connect_timeout(Duration::from_secs(2))
                .max_response_body(7)
                .retry(RetrySettings::new().attempts(2)))
        );
        for (text, named) in [
            (r#"{"dedline":"1s"}"#, "`dedline`"),
            (r#"{"deadline":"0s"}"#, "`deadline`"),
            (r#"{"deadline":30}"#, "250ms"),
            (r#"{"deadline":"30"}"#, "250ms"),
            (r#"{"retry":{"attempts":0}}"#, "`attempts`"),
            (r#"{"retry":{"tries":3}}"#, "`tries`"),
            (r#"{"retry":"on"}"#, "retry settings"),
            (r#"{"resume":"on"}"#, "resume settings"),
            (r#"{"body":"off"}"#, "limits on bodies"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
}
