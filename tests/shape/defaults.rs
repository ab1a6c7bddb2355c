//! The page of defaults against the code: what a row says is given to the setter, and must change nothing.

use std::time::Duration;

use stonework::balance::{BalancerSettings, OutlierSettings, Pick, WhenUnhealthy};
use stonework::base::{Backoff, BudgetSettings, Jitter, KeyFormat, Ratio, TimeoutHeader, TrustedPeers};
use stonework::breaker::BreakerSettings;
use stonework::client::{ClientSettings, UpstreamSettings};
use stonework::coalesce::CoalesceSettings;
use stonework::connect::{DiscoverySettings, TcpSettings};
use stonework::fallback::FallbackSettings;
use stonework::health::{HealthSettings, ProberSettings};
use stonework::hedge::HedgeSettings;
use stonework::idempotency::{AfterCrash, IdempotencySettings, WhenAway as KeysAway};
use stonework::jwt::{IntrospectSettings, IssuerSettings, JwtSettings, RemoteKeysSettings};
use stonework::limit::{
    AdaptiveSettings, Algorithm, ConcurrencySettings, SharedLimitSettings, ThrottleSettings, TrustedProxies,
    WhenAway,
};
use stonework::oauth::TokenSettings;
use stonework::pool::PoolSettings;
use stonework::retry::{ResumeSettings, RetryCosts, RetrySettings};
use stonework::server::ServerSettings;
use stonework::sse::EventSourceSettings;
use stonework::timeout::{BodyLimits, ReceiveDeadlineLayer, SendDeadlineLayer};

use crate::rules::Complaints;

/// A row of a table: its cells, without the bars.
type Row = Vec<String>;

/// The rows under a heading of the page.
pub(crate) fn rows(page: &str, heading: &str) -> Vec<Row> {
    let lines =
        page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let table = lines.filter(|line| line.starts_with('|')).skip(2);
    table.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Settings whose row does not hold, or that nobody compares.
pub(crate) fn wrong(rows: &[Row]) -> Complaints {
    let compare = |row: &Row| match holds(&row[0], &row[1]) {
        Some(true) => None,
        Some(false) => Some(format!("{}: the code says something else than {}", row[0], row[1])),
        None => Some(format!("{}: not compared with the code, or {} cannot be read", row[0], row[1])),
    };
    rows.iter().filter_map(compare).collect()
}

/// Settings of the code (the names in a `Debug` of them) that have no row.
pub(crate) fn missing(rows: &[Row]) -> Complaints {
    let settings = [
        ("adaptive", format!("{:#?}", AdaptiveSettings::new())),
        ("balancer", format!("{:#?}", BalancerSettings::new())),
        ("outliers", format!("{:#?}", OutlierSettings::new())),
        ("breaker", format!("{:#?}", BreakerSettings::new())),
        ("backoff", format!("{:#?}", Backoff::default())),
        ("budget", format!("{:#?}", BudgetSettings::default())),
        ("resume", format!("{:#?}", ResumeSettings::new())),
        ("retry", format!("{:#?}", RetrySettings::new())),
        ("retry costs", format!("{:#?}", RetryCosts::new())),
        ("fallback", format!("{:#?}", FallbackSettings::new())),
        ("coalesce", format!("{:#?}", CoalesceSettings::new())),
        ("hedge", format!("{:#?}", HedgeSettings::new())),
        ("health", format!("{:#?}", HealthSettings::new())),
        ("prober", format!("{:#?}", ProberSettings::new())),
        ("discovery", format!("{:#?}", DiscoverySettings::new())),
        ("body", format!("{:#?}", BodyLimits::new())),
        ("client", format!("{:#?}", ClientSettings::new())),
        ("idempotency", format!("{:#?}", IdempotencySettings::new())),
        ("issuer", format!("{:#?}", IssuerSettings::new())),
        ("jwt", format!("{:#?}", JwtSettings::new())),
        ("remote keys", format!("{:#?}", RemoteKeysSettings::new())),
        ("introspection", format!("{:#?}", IntrospectSettings::new())),
        ("oauth", format!("{:#?}", TokenSettings::new())),
        ("tcp", format!("{:#?}", TcpSettings::new())),
        ("pool", format!("{:#?}", PoolSettings::new())),
        ("server", format!("{:#?}", ServerSettings::new())),
        ("events", format!("{:#?}", EventSourceSettings::new())),
        ("shared limit", format!("{:#?}", SharedLimitSettings::new())),
        ("throttle", format!("{:#?}", ThrottleSettings::new())),
        ("upstream", format!("{:#?}", UpstreamSettings::new())),
    ];
    // Settings within settings have rows of their own.
    let nested = [
        "balancer `outliers`",
        "resume `backoff`",
        "resume `budget`",
        "retry `backoff`",
        "retry `budget`",
        "retry `costs`",
        "client `body`",
        "client `breaker`",
        "client `fallback`",
        "client `retry`",
        "hedge `budget`",
        "upstream `balancer`",
    ];
    let fields = settings.iter().flat_map(|(owner, debug)| {
        let own = debug.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        own.filter_map(|line| line.trim().split_once(':')).map(move |(field, _)| format!("{owner} `{field}`"))
    });
    fields
        .filter(|name| !nested.contains(&name.as_str()) && !rows.iter().any(|row| row[0] == *name))
        .map(|name| format!("{name}: no row"))
        .collect()
}

fn holds(name: &str, value: &str) -> Option<bool> {
    let adaptive = AdaptiveSettings::new();
    let (backoff, budget, costs) = (Backoff::default(), BudgetSettings::default(), RetryCosts::new());
    let (retry, client, server) = (RetrySettings::new(), ClientSettings::new(), ServerSettings::new());
    let body = BodyLimits::new();
    let hedge = HedgeSettings::new();
    // As the page has it: each row leaves the others as they are.
    let hedged = BudgetSettings::default().floor_per_second(0).ratio(Ratio::percent(5));
    let issuer = IssuerSettings::new();
    let remote = RemoteKeysSettings::new();
    let asks = IntrospectSettings::new();
    let (shared, throttle) = (SharedLimitSettings::new(), ThrottleSettings::new());
    let breaker = BreakerSettings::new();
    let (prober, discovery) = (ProberSettings::new(), DiscoverySettings::new());
    let (balancer, outliers) = (BalancerSettings::new(), OutlierSettings::new());
    let keys = IdempotencySettings::new();
    let events = EventSourceSettings::new();
    let (health, pool, tcp) = (HealthSettings::new(), PoolSettings::new(), TcpSettings::new());
    Some(match name {
        // The setters refuse nonsense, so two of the values are needed at a time.
        "backoff `base`" => Backoff::exponential(time(value)?, Duration::from_secs(10)).ok()? == backoff,
        "backoff `cap`" => Backoff::exponential(Duration::from_millis(100), time(value)?).ok()? == backoff,
        "backoff `factor`" => backoff.factor(value.parse().ok()?).ok()? == backoff,
        "backoff `jitter`" => value == "full" && backoff.jitter(Jitter::Full) == backoff,
        "budget `reserve`" => budget.reserve(value.parse().ok()?) == budget,
        "budget `floor_per_second`" => budget.floor_per_second(value.parse().ok()?) == budget,
        "budget `ratio`" => budget.ratio(value.replace(' ', "").parse::<Ratio>().ok()?) == budget,
        "retry `attempt_header`" => {
            retry.clone().attempt_header(value.trim_matches('`').parse().ok()?) == retry
        }
        "retry costs `failure`" => costs.failure(value.parse().ok()?) == costs,
        "retry costs `overload`" => costs.overload(value.parse().ok()?) == costs,
        "retry costs `timeout`" => costs.timeout(value.parse().ok()?) == costs,
        "retry `repeatable_paths`" => value == "none" && retry.clone().repeatable_paths([""; 0]) == retry,
        "resume `resumes`" => ResumeSettings::new().resumes(value.parse().ok()?) == ResumeSettings::new(),
        "resume `in_all`" => ResumeSettings::new().in_all(value.parse().ok()?) == ResumeSettings::new(),
        "retry `attempts`" => retry.clone().attempts(value.parse().ok()?) == retry,
        "retry `key_format`" => value == "quoted" && retry.clone().key_format(KeyFormat::Quoted) == retry,
        "retry `max_retry_after`" => retry.clone().max_retry_after(time(value)?) == retry,
        "retry `replay_cap`" => retry.clone().replay_cap(bytes(value)?) == retry,
        "coalesce `ignored_headers`" => {
            let names = value.split(", ").map(|name| name.trim_matches('`').parse());
            let names: Vec<http::HeaderName> = names.collect::<Result<_, _>>().ok()?;
            CoalesceSettings::new().ignored_headers(names) == CoalesceSettings::new()
        }
        "events `attempts`" => events.clone().attempts(value.parse().ok()?) == events,
        "events `idle_timeout`" => events.clone().idle_timeout(time(value)?) == events,
        "events `max_backoff`" => events.clone().max_backoff(time(value)?) == events,
        "events `max_event`" => events.clone().max_event(bytes(value)?) == events,
        "events `reconnect_after`" => events.clone().reconnect_after(time(value)?) == events,
        "coalesce `max_body`" => CoalesceSettings::new().max_body(bytes(value)?) == CoalesceSettings::new(),
        "hedge `attempt_header`" => {
            hedge.clone().attempt_header(value.trim_matches('`').parse().ok()?) == hedge
        }
        "hedge `attempts`" => hedge.clone().attempts(value.parse().ok()?) == hedge,
        "hedge `fixed_delay`" => value == "off" && hedge.clone().without_fixed_delay() == hedge,
        "hedge `max_retry_after`" => hedge.clone().max_retry_after(time(value)?) == hedge,
        "hedge `min_calls`" => hedge.clone().min_calls(value.parse().ok()?) == hedge,
        "hedge `quantile`" => hedge.clone().quantile(value.replace(' ', "").parse().ok()?) == hedge,
        "hedge `repeatable_paths`" => value == "none" && hedge.clone().repeatable_paths([""; 0]) == hedge,
        "hedge `replay_cap`" => hedge.clone().replay_cap(bytes(value)?) == hedge,
        "hedge `window`" => hedge.clone().window(time(value)?) == hedge,
        "hedge budget `reserve`" => hedge.clone().budget(hedged.reserve(value.parse().ok()?)) == hedge,
        "hedge budget `floor_per_second`" => {
            hedge.clone().budget(hedged.floor_per_second(value.parse().ok()?)) == hedge
        }
        "hedge budget `ratio`" => {
            hedge.clone().budget(hedged.ratio(value.replace(' ', "").parse().ok()?)) == hedge
        }
        "fallback `on`" => {
            let words: Vec<_> = value.split(", ").map(|word| word.trim_matches('`')).collect();
            let read = serde_json::from_value(serde_json::json!({ "on": words }));
            read.ok().is_some_and(|read: FallbackSettings| read == FallbackSettings::new())
        }
        "fallback `replay_cap`" => {
            FallbackSettings::new().replay_cap(bytes(value)?) == FallbackSettings::new()
        }
        "health `failures`" => health.failures(value.parse().ok()?) == health,
        "health `interval`" => health.interval(time(value)?) == health,
        "health `show_output`" => value == "off" && health.show_output(false) == health,
        "health `startup_interval`" => health.startup_interval(time(value)?) == health,
        "health `successes`" => health.successes(value.parse().ok()?) == health,
        "health `timeout`" => health.timeout(time(value)?) == health,
        "health `ttl`" => health.ttl(time(value)?) == health,
        "prober `fall`" => prober.fall(value.parse().ok()?) == prober,
        "prober `interval`" => prober.interval(time(value)?) == prober,
        "prober `max_at_once`" => prober.max_at_once(value.parse().ok()?) == prober,
        "prober `rise`" => prober.rise(value.parse().ok()?) == prober,
        "prober `timeout`" => prober.timeout(time(value)?) == prober,
        "discovery `interval`" => discovery.interval(time(value)?) == discovery,
        "discovery `max_interval`" => discovery.max_interval(time(value)?) == discovery,
        "discovery `min_interval`" => discovery.min_interval(time(value)?) == discovery,
        "discovery `timeout`" => discovery.timeout(time(value)?) == discovery,
        "idempotency `after_crash`" => {
            value == "`fail_closed`" && keys.clone().after_crash(AfterCrash::FailClosed) == keys
        }
        "idempotency `fingerprint_headers`" => {
            keys.clone().fingerprint_headers([value.trim_matches('`').parse().ok()?]) == keys
        }
        "idempotency `lease`" => keys.clone().lease(time(value)?) == keys,
        "idempotency `max_request_body`" => keys.clone().max_request_body(bytes(value)?) == keys,
        "idempotency `max_response_body`" => keys.clone().max_response_body(bytes(value)?) == keys,
        "idempotency `methods`" => {
            let methods: Option<Vec<_>> = value.split(", ").map(|name| name.parse().ok()).collect();
            keys.clone().methods(methods?) == keys
        }
        "idempotency `record`" => keys.clone().record(time(value)?) == keys,
        "idempotency `required`" => value == "off" && keys.clone().required(false) == keys,
        "idempotency `retry_after`" => keys.clone().retry_after(time(value)?) == keys,
        "idempotency `store_timeout`" => keys.clone().store_timeout(time(value)?) == keys,
        "idempotency `wait_up_to`" => value == "off" && keys.clone().wait_up_to(Duration::ZERO) == keys,
        "idempotency `when_away`" => value == "`refuse`" && keys.clone().when_away(KeysAway::Refuse) == keys,
        "introspection `bound_tokens`" => {
            value == "off" && asks.bound_tokens(false) == IntrospectSettings::new()
        }
        "introspection `cache`" => asks.cache(value.parse().ok()?) == IntrospectSettings::new(),
        "introspection `cache_ttl`" => asks.cache_ttl(time(value)?) == IntrospectSettings::new(),
        "introspection `leeway`" => asks.leeway(time(value)?) == IntrospectSettings::new(),
        "introspection `max_at_once`" => asks.max_at_once(value.parse().ok()?) == IntrospectSettings::new(),
        "introspection `max_response`" => asks.max_response(bytes(value)?) == IntrospectSettings::new(),
        "introspection `max_token_size`" => asks.max_token_size(bytes(value)?) == IntrospectSettings::new(),
        "introspection `timeout`" => asks.timeout(time(value)?) == IntrospectSettings::new(),
        "jwt `bound_tokens`" => {
            value == "off" && JwtSettings::new().bound_tokens(false) == JwtSettings::new()
        }
        "jwt `cache`" => value == "off" && JwtSettings::new().without_cache() == JwtSettings::new(),
        "jwt `cache_ttl`" => JwtSettings::new().cache_ttl(time(value)?) == JwtSettings::new(),
        "jwt `leeway`" => JwtSettings::new().leeway(time(value)?) == JwtSettings::new(),
        "jwt `max_token_size`" => JwtSettings::new().max_token_size(bytes(value)?) == JwtSettings::new(),
        "jwt `required_claims`" => {
            value == "none" && JwtSettings::new().require([""; 0]) == JwtSettings::new()
        }
        "issuer `max_age`" => issuer.clone().max_age(time(value)?) == issuer,
        "issuer `publish_ahead`" => issuer.clone().publish_ahead(time(value)?) == issuer,
        "issuer `rotate_every`" => issuer.clone().rotate_every(time(value)?) == issuer,
        "issuer `token_lifetime`" => issuer.clone().token_lifetime(time(value)?) == issuer,
        "remote keys `backoff`" => {
            let (range, jitter) = value.split_once(", ")?;
            let (base, cap) = range.split_once(" to ")?;
            let backoff = Backoff::exponential(time(base)?, time(cap)?).ok()?.jitter(Jitter::Equal);
            jitter == "equal jitter" && remote.clone().backoff(backoff) == remote
        }
        "remote keys `cooldown`" => remote.clone().cooldown(time(value)?) == remote,
        "remote keys `lifetime`" => remote.clone().lifetime(time(value)?) == remote,
        "remote keys `max_lifetime`" => remote.clone().max_lifetime(time(value)?) == remote,
        "remote keys `max_size`" => remote.clone().max_size(bytes(value)?) == remote,
        "remote keys `max_stale`" => remote.clone().max_stale(time(value)?) == remote,
        "remote keys `min_lifetime`" => remote.clone().min_lifetime(time(value)?) == remote,
        "remote keys `missing_ttl`" => remote.clone().missing_ttl(time(value)?) == remote,
        "remote keys `timeout`" => remote.clone().timeout(time(value)?) == remote,
        "remote keys `unknown_wait`" => remote.clone().unknown_wait(time(value)?) == remote,
        "jwt `types`" => value == "none" && JwtSettings::new().types([""; 0]) == JwtSettings::new(),
        "oauth `backoff`" => {
            let (range, jitter) = value.split_once(", ")?;
            let (base, cap) = range.split_once(" to ")?;
            let backoff = Backoff::exponential(time(base)?, time(cap)?).ok()?.jitter(Jitter::Equal);
            jitter == "equal jitter" && TokenSettings::new().backoff(backoff) == TokenSettings::new()
        }
        "oauth `default_lifetime`" => {
            TokenSettings::new().default_lifetime(time(value)?) == TokenSettings::new()
        }
        "oauth `fetch_timeout`" => TokenSettings::new().fetch_timeout(time(value)?) == TokenSettings::new(),
        "oauth `max_lifetime`" => TokenSettings::new().max_lifetime(time(value)?) == TokenSettings::new(),
        "oauth `max_response`" => TokenSettings::new().max_response(bytes(value)?) == TokenSettings::new(),
        "oauth `renewal_pause`" => TokenSettings::new().renewal_pause(time(value)?) == TokenSettings::new(),
        "balancer `backoff`" => {
            let (range, jitter) = value.split_once(", ")?;
            let (base, cap) = range.split_once(" to ")?;
            let backoff = Backoff::exponential(time(base)?, time(cap)?).ok()?.jitter(Jitter::Equal);
            jitter == "equal jitter" && balancer.clone().backoff(backoff) == balancer
        }
        "balancer `check_timeout`" => balancer.clone().check_timeout(time(value)?) == balancer,
        "balancer `decay`" => balancer.clone().decay(time(value)?) == balancer,
        "balancer `failovers`" => balancer.clone().failovers(value.parse().ok()?) == balancer,
        "balancer `overprovision_percent`" => {
            balancer.clone().overprovision_percent(value.parse().ok()?) == balancer
        }
        "balancer `panic_threshold`" => balancer.clone().panic_threshold(ratio(value)?) == balancer,
        "balancer `penalty`" => balancer.clone().penalty(time(value)?) == balancer,
        "balancer `pick`" => value == "`peak_ewma`" && balancer.clone().pick(Pick::PeakEwma) == balancer,
        "balancer `slow_start`" => balancer.clone().slow_start(time(value)?) == balancer,
        "balancer `slow_start_aggression`" => {
            balancer.clone().slow_start_aggression(value.parse().ok()?) == balancer
        }
        "balancer `slow_start_least`" => balancer.clone().slow_start_least(ratio(value)?) == balancer,
        "balancer `wait_for_endpoint`" => balancer.clone().wait_for_endpoint(time(value)?) == balancer,
        "balancer `when_unhealthy`" => {
            value == "`fail_open`" && balancer.clone().when_unhealthy(WhenUnhealthy::FailOpen) == balancer
        }
        "outliers `base_ejection`" => outliers.clone().base_ejection(time(value)?) == outliers,
        "outliers `consecutive_failures`" => {
            outliers.clone().consecutive_failures(value.parse().ok()?) == outliers
        }
        "outliers `failure_share`" => outliers.clone().failure_share(ratio(value)?) == outliers,
        "outliers `failure_share_calls`" => {
            outliers.clone().failure_share_calls(value.parse().ok()?) == outliers
        }
        "outliers `interval`" => outliers.clone().interval(time(value)?) == outliers,
        "outliers `max_ejected`" => outliers.clone().max_ejected(ratio(value)?) == outliers,
        "outliers `max_ejection`" => outliers.clone().max_ejection(time(value)?) == outliers,
        "outliers `min_endpoints`" => outliers.clone().min_endpoints(value.parse().ok()?) == outliers,
        "outliers `success_rate`" => outliers.clone().success_rate(value.parse().ok()?) == outliers,
        "outliers `success_rate_calls`" => {
            outliers.clone().success_rate_calls(value.parse().ok()?) == outliers
        }
        "breaker `window`" => breaker.clone().window(time(value)?) == breaker,
        "breaker `min_calls`" => breaker.clone().min_calls(value.parse().ok()?) == breaker,
        "breaker `failure_rate`" => breaker.clone().failure_rate(ratio(value)?) == breaker,
        "breaker `slow_call`" => value == "off" && breaker.clone().without_slow_calls() == breaker,
        "breaker `slow_rate`" => {
            let slow = Duration::from_secs(1);
            // The share that stands there once a threshold is set, and nothing else is.
            serde_json::from_str::<BreakerSettings>(r#"{"slow_call":"1s"}"#).ok()?
                == breaker.clone().slow_calls(slow, ratio(value)?)
        }
        "breaker `consecutive_failures`" => {
            value == "off" && breaker.clone().without_consecutive_failures() == breaker
        }
        "breaker `open_time`" => {
            let (range, jitter) = value.split_once(", ")?;
            let (base, cap) = range.split_once(" to ")?;
            let backoff = Backoff::exponential(time(base)?, time(cap)?).ok()?.jitter(Jitter::Equal);
            jitter == "equal jitter" && breaker.clone().open_time(backoff) == breaker
        }
        "breaker `probes`" => breaker.clone().probes(value.parse().ok()?) == breaker,
        "breaker `probe_timeout`" => breaker.clone().probe_timeout(time(value)?) == breaker,
        "tcp `attempt_delay`" => tcp.clone().attempt_delay(time(value)?) == tcp,
        "tcp `keepalive`" => tcp.clone().keepalive(time(value)?) == tcp,
        "tcp `keepalive_interval`" => tcp.clone().keepalive_interval(time(value)?) == tcp,
        "tcp `local_v4`" => value == "off" && format!("{tcp:?}").contains("local_v4: None"),
        "tcp `local_v6`" => value == "off" && format!("{tcp:?}").contains("local_v6: None"),
        "tcp `nodelay`" => value == "on" && tcp.clone().nodelay(true) == tcp,
        "tcp `user_timeout`" => tcp.clone().user_timeout(time(value)?) == tcp,
        "pool `backoff`" => {
            let (range, jitter) = value.split_once(", ")?;
            let (base, cap) = range.split_once(" to ")?;
            let backoff = Backoff::exponential(time(base)?, time(cap)?).ok()?.jitter(Jitter::Equal);
            jitter == "equal jitter" && pool.clone().backoff(backoff) == pool
        }
        "pool `check_after`" => pool.clone().check_after(time(value)?) == pool,
        "pool `connect_timeout`" => pool.clone().connect_timeout(time(value)?) == pool,
        "pool `idle_timeout`" => pool.clone().idle_timeout(time(value)?) == pool,
        "pool `lifetime`" => pool.clone().lifetime(time(value)?) == pool,
        "pool `max`" => pool.clone().max(value.parse().ok()?) == pool,
        "pool `max_waiting`" => pool.clone().max_waiting(value.parse().ok()?) == pool,
        "pool `min_idle`" => pool.clone().min_idle(value.parse().ok()?) == pool,
        "pool `wait_timeout`" => pool.clone().wait_timeout(time(value)?) == pool,
        "body `idle`" => body.idle(time(value)?) == body,
        // There is no setter for what is off from the start.
        "body `min_rate`" => value == "off" && format!("{body:?}").contains("min_rate: None"),
        "body `total`" => value == "off" && format!("{body:?}").contains("total: None"),
        "body `until_deadline`" => value == "off" && format!("{body:?}").contains("until_deadline: false"),
        "client `deadline`" => client.clone().deadline(time(value)?) == client,
        "client `deadline_header`" => {
            client.clone().deadline_header(value.trim_matches('`').parse().ok()?) == client
        }
        "client `propagation`" => {
            value == "`pass-on`" && format!("{client:?}").contains("propagation: PassOn")
        }
        "client `attempt_timeout`" => client.clone().attempt_timeout(time(value)?) == client,
        "client `collect_within`" => value == "off" && format!("{client:?}").contains("collect_within: None"),
        "client `hedge`" => value == "off" && format!("{client:?}").contains("hedge: None"),
        "client `resume`" => value == "off" && format!("{client:?}").contains("resume: None"),
        "client `connect_timeout`" => client.clone().connect_timeout(time(value)?) == client,
        "client `connection_lifetime`" => client.clone().connection_lifetime(time(value)?) == client,
        "client `expect_continue`" => client.clone().expect_continue(bytes(value)? as u64) == client,
        "client `http`" => value == "`auto`" && format!("{client:?}").contains("http: Auto"),
        "client `max_connections`" => client.clone().max_connections(value.parse().ok()?) == client,
        "client `max_connections_per_host`" => {
            client.clone().max_connections_per_host(value.parse().ok()?) == client
        }
        "client `max_waiting`" => client.clone().max_waiting(value.parse().ok()?) == client,
        "client `pool_timeout`" => client.clone().pool_timeout(time(value)?) == client,
        "client `http2_keep_alive`" => client.clone().http2_keep_alive(time(value)?) == client,
        "client `idle_timeout`" => client.clone().idle_timeout(time(value)?) == client,
        "client `max_idle_per_host`" => client.clone().max_idle_per_host(value.parse().ok()?) == client,
        "client `max_response_body`" => client.clone().max_response_body(bytes(value)?) == client,
        "server `header_read_timeout`" => server.clone().header_read_timeout(time(value)?) == server,
        "server `age_grace`" => value == "off" && format!("{server:?}").contains("age_grace: None"),
        "server `drain_timeout`" => server.clone().drain_timeout(time(value)?) == server,
        "server `handshake_timeout`" => server.clone().handshake_timeout(time(value)?) == server,
        "server `keep_alive_timeout`" => server.clone().keep_alive_timeout(time(value)?) == server,
        "server `lame_duck`" => server.clone().lame_duck(time(value)?) == server,
        "server `max_age`" => server.clone().max_age(time(value)?) == server,
        "server `max_concurrent_streams`" => {
            server.clone().max_concurrent_streams(value.parse().ok()?) == server
        }
        "server `max_connections`" => server.clone().max_connections(value.parse().ok()?) == server,
        "server `max_connections_per_address`" => {
            server.clone().max_connections_per_address(value.parse().ok()?) == server
        }
        "server `max_head_size`" => {
            server.clone().max_head_size(u32::try_from(bytes(value)?).ok()?) == server
        }
        "server `max_headers`" => server.clone().max_headers(value.parse().ok()?) == server,
        "server `request_body`" => {
            server.clone().request_body(BodyLimits::none().idle(time(value)?)) == server
        }
        "server `stall_timeout`" => server.clone().stall_timeout(time(value)?) == server,
        "server `ping_interval`" => server.clone().ping_interval(time(value)?) == server,
        "server `ping_timeout`" => server.clone().ping_timeout(time(value)?) == server,
        "server `request_id_from`" => {
            value == "nobody" && server.clone().request_id_from(TrustedPeers::nobody()) == server
        }
        "server `trace_from`" => {
            value == "everybody" && server.clone().trace_from(TrustedPeers::everybody()) == server
        }
        "server `access_log`" => value == "off" && server.clone().access_log() != server,
        "server `access_log_paths`" => {
            value == "off" && server.clone().access_log_paths() != server.clone().access_log()
        }
        "server `request_span`" => value == "off" && server.clone().request_span() != server,
        "server `metrics`" => value == "off" && server.clone().metrics() != server,
        "server `deadline`" => value == "off" && format!("{server:?}").contains("deadline: None"),
        "server `deadline_from`" => {
            value == "everybody" && server.clone().deadline_from(TrustedPeers::everybody()) == server
        }
        "server `deadline_header`" => {
            server.clone().deadline_header(value.trim_matches('`').parse().ok()?) == server
        }
        "server `max_request_body`" => {
            value == "off" && format!("{server:?}").contains("max_request_body: None")
        }
        "server `principal_rate_limit`" => {
            value == "off" && format!("{server:?}").contains("principal_rate_limit: None")
        }
        "server `concurrency`" => {
            server.clone().concurrency(ConcurrencySettings::new(value.parse().ok()?)) == server
        }
        "server `overload_queue`" => {
            value == "off" && format!("{server:?}").contains("overload_queue: false")
        }
        "server `queue_timeout`" => value == "off" && format!("{server:?}").contains("queue_timeout: None"),
        "server `rate_limit`" => value == "off" && format!("{server:?}").contains("rate_limit: None"),
        "server `trusted_proxies`" => {
            value == "none" && server.clone().trusted_proxies(TrustedProxies::none()) == server
        }
        "adaptive `algorithm`" => {
            value == "Gradient2" && adaptive.algorithm(Algorithm::Gradient2) == adaptive
        }
        "adaptive `initial`" => adaptive.initial(value.parse().ok()?) == adaptive,
        "adaptive `min`" => adaptive.min(value.parse().ok()?) == adaptive,
        "adaptive `max`" => adaptive.max(value.parse().ok()?) == adaptive,
        "client `concurrency`" => value == "off" && format!("{client:?}").contains("concurrency: None"),
        "client `queue_timeout`" => client.clone().queue_timeout(time(value)?) == client,
        "client `server_quotas`" => value == "off" && format!("{client:?}").contains("server_quotas: false"),
        // Nothing is said of what the program brings the other half of.
        "client `bearer`" => value == "off" && client.clone().bearer(TokenSettings::new()) != client,
        "server `idempotency`" => value == "off" && server.clone().idempotency(keys) != server,
        "server `introspect`" => value == "off" && server.clone().introspect(asks) != server,
        "server `jwt`" => value == "off" && server.clone().jwt(JwtSettings::new()) != server,
        "client `upstreams`" => value == "none" && format!("{client:?}").contains("upstreams: {}"),
        "upstream `members`" => {
            value == "none" && UpstreamSettings::new().members([""; 0]) == UpstreamSettings::new()
        }
        "client `throttle`" => value == "off" && format!("{client:?}").contains("throttle: None"),
        "client `rate_limit`" => value == "off" && format!("{client:?}").contains("rate_limit: None"),
        "client `decompression`" => value == "off" && client.clone().without_decompression() == client,
        "client `redirects`" => client.clone().redirects(value.parse().ok()?) == client,
        "shared limit `pause`" => shared.pause(time(value)?) == shared,
        "shared limit `timeout`" => shared.timeout(time(value)?) == shared,
        "shared limit `when_away`" => value == "`local`" && shared.when_away(WhenAway::Local) == shared,
        "throttle `max_rejection`" => throttle.max_rejection(ratio(value)?) == throttle,
        "throttle `min_requests`" => throttle.min_requests(value.parse().ok()?) == throttle,
        "throttle `multiplier`" => throttle.multiplier(value.parse().ok()?) == throttle,
        "throttle `window`" => throttle.window(time(value)?) == throttle,
        "send deadline `margin`" => {
            let layer = || SendDeadlineLayer::new(TimeoutHeader::Grpc);
            format!("{:?}", layer().margin(time(value)?)) == format!("{:?}", layer())
        }
        "receive deadline `margin`" => {
            let layer = || ReceiveDeadlineLayer::new(TimeoutHeader::Grpc);
            format!("{:?}", layer().margin(time(value)?)) == format!("{:?}", layer())
        }
        _ => return None,
    })
}

fn ratio(text: &str) -> Option<Ratio> {
    text.replace(' ', "").parse().ok()
}

fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_once(' ')?;
    let number = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = text.split_once(' ')?;
    let number: usize = number.parse().ok()?;
    match unit {
        "KiB" => Some(number << 10),
        "MiB" => Some(number << 20),
        _ => None,
    }
}

/// Types of settings in a source text, by their names, that `missing` does not look at.
pub(crate) fn overlooked(source: &str, this: &str) -> Complaints {
    let looked_at =
        this.split("fn missing(").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let ends = ["Settings", "Limits", "Costs"];
    let names =
        source.lines().filter_map(|line| line.strip_prefix("pub struct ")?.split([' ', '<', '(']).next());
    let settings = names.filter(|name| ends.iter().any(|end| name.ends_with(end)));
    let left_out = settings.filter(|name| {
        let excused = WITHOUT_DEFAULTS.iter().any(|(other, _)| other == name);
        !excused && !looked_at.contains(&format!("{name}::"))
    });
    left_out.map(|name| format!("{name}: its defaults are not compared with the page")).collect()
}

/// Types of settings that have no value until somebody says one: name, why.
const WITHOUT_DEFAULTS: &[(&str, &str)] = &[
    ("ConcurrencySettings", "the limit itself has to be said, and there is no queue until that is said"),
    ("Costs", "a limit with a function that says what a call costs"),
];

/// Rows whose last cell names no test of the tree.
pub(crate) fn unheld(rows: &[Row], has_test: impl Fn(&str) -> bool) -> Complaints {
    let name = |row: &Row| row.last().map(|cell| cell.trim_matches('`').to_owned()).unwrap_or_default();
    let unheld = rows.iter().filter(|row| !has_test(&name(row)));
    unheld.map(|row| format!("{}: there is no test `{}`", row[0], name(row))).collect()
}
