//! Settings that are written to a file and read again are the same, and what is impossible is refused by its name.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::HeaderName;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stonework::balance::{BalancerSettings, OutlierSettings, Pick, WhenUnhealthy};
use stonework::base::{Backoff, BudgetSettings, Jitter, KeyFormat, Kind, Ratio};
use stonework::breaker::BreakerSettings;
use stonework::client::ClientSettings;
use stonework::coalesce::CoalesceSettings;
use stonework::connect::{DiscoverySettings, TcpSettings};
use stonework::fallback::FallbackSettings;
use stonework::health::{HealthSettings, ProberSettings};
use stonework::hedge::HedgeSettings;
use stonework::jwt::IntrospectSettings;
use stonework::limit::{ConcurrencySettings, ForwardingHeader, Quota, ThrottleSettings, TrustedProxies};
use stonework::oauth::TokenSettings;
use stonework::pool::PoolSettings;
use stonework::retry::{ResumeSettings, RetryCosts, RetrySettings};
use stonework::server::ServerSettings;
use stonework::sse::EventSourceSettings;
use stonework::timeout::BodyLimits;

/// More than zero, to the nanosecond, and up to some years.
fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1_u64..10_000).prop_map(Duration::from_millis),
        (0_u64..100_000_000, 1_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

fn backoff() -> impl Strategy<Value = Backoff> {
    let jitter = prop::sample::select(vec![Jitter::Decorrelated, Jitter::Equal, Jitter::Full, Jitter::None]);
    // In sixteenths: not every reader of JSON is exact in the last digit of a fraction.
    let factor = (16_u32..160).prop_map(|sixteenths| f64::from(sixteenths) / 16.0);
    (time(), time(), factor, jitter).prop_map(|(one, other, factor, jitter)| {
        let backoff = Backoff::exponential(one.min(other), one.max(other)).expect("in order");
        backoff.factor(factor).expect("at least one").jitter(jitter)
    })
}

fn budget() -> impl Strategy<Value = BudgetSettings> {
    (any::<u32>(), any::<u32>(), 0_u32..=1_000_000).prop_map(|(reserve, floor, parts)| {
        let ratio = Ratio::per_million(parts).expect("at most one");
        BudgetSettings::default().reserve(reserve).floor_per_second(floor).ratio(ratio)
    })
}

fn costs() -> impl Strategy<Value = RetryCosts> {
    any::<[u32; 3]>().prop_map(|[a, b, c]| RetryCosts::new().failure(a).overload(b).timeout(c))
}

prop_compose! {
    fn retry()(
        (attempts, cap, ceiling) in (1_u32.., 0_usize..1 << 40, time()),
        (backoff, budget, costs) in (backoff(), prop::option::of(budget()), costs()),
        header in prop::option::of("[a-z][a-z-]{0,20}"),
        bare: bool,
        paths in prop::collection::vec("/[ -~]{0,12}\\*?", 0..3),
    ) -> RetrySettings {
        let settings = RetrySettings::new().attempts(attempts).replay_cap(cap).max_retry_after(ceiling);
        let settings = settings.backoff(backoff).costs(costs).repeatable_paths(paths);
        let settings = settings.key_format(if bare { KeyFormat::Bare } else { KeyFormat::Quoted });
        let settings = match header {
            Some(name) => settings.attempt_header(HeaderName::try_from(name).expect("a name")),
            None => settings.without_attempt_header(),
        };
        match budget {
            Some(budget) => settings.budget(budget),
            None => settings.without_budget(),
        }
    }
}

prop_compose! {
    fn body()(
        idle in prop::option::of(time()), total in prop::option::of(time()),
        rate in prop::option::of((1_u64..1 << 50, time())), until: bool,
    ) -> BodyLimits {
        let limits = BodyLimits::none();
        let limits = idle.map_or(limits, |idle| limits.idle(idle));
        let limits = total.map_or(limits, |total| limits.total(total));
        let limits = rate.map_or(limits, |(bytes, per)| limits.min_rate(bytes, per));
        if until { limits.until_deadline() } else { limits }
    }
}

fn hedge() -> impl Strategy<Value = HedgeSettings> {
    let learning =
        (1_u32..=5, any::<u32>(), 0_u8..=100, 0_u64..1_000_000, prop::option::of(0_u64..1_000_000));
    (learning, prop::option::of(budget()), any::<usize>()).prop_map(
        |((attempts, min_calls, percent, window, delay), budget, replay_cap)| {
            let settings =
                HedgeSettings::new().attempts(attempts).min_calls(min_calls).replay_cap(replay_cap);
            let settings = settings.quantile(Ratio::percent(percent)).window(Duration::from_millis(window));
            let settings = match delay {
                Some(delay) => settings.fixed_delay(Duration::from_millis(delay)),
                None => settings,
            };
            match budget {
                Some(budget) => settings.budget(budget),
                None => settings.without_budget().without_attempt_header().repeatable_paths(["/a/*"]),
            }
        },
    )
}

fn resume() -> impl Strategy<Value = ResumeSettings> {
    (1_u32.., 1_u32.., backoff(), budget()).prop_map(|(resumes, in_all, backoff, budget)| {
        ResumeSettings::new().resumes(resumes).in_all(in_all).backoff(backoff).budget(budget)
    })
}

prop_compose! {
    fn breaker()(
        (min_calls, more) in (1_u32..1 << 18, 0_u32..1 << 18),
        by_calls in any::<bool>(),
        [window, threshold, probe_timeout] in [time(), time(), time()],
        [failed, slow] in [1_u32..=1_000_000, 1_u32..=1_000_000],
        (in_a_row, probes) in (1_u32.., 1_u32..),
        open_time in backoff(),
        on in any::<[bool; 2]>(),
    ) -> BreakerSettings {
        let share = |parts| Ratio::per_million(parts).expect("up to a million");
        let settings = BreakerSettings::new().min_calls(min_calls).failure_rate(share(failed));
        let settings = settings.open_time(open_time).probes(probes).probe_timeout(probe_timeout);
        let settings = if by_calls { settings.window_of_calls(min_calls + more) } else { settings.window(window) };
        let settings = if on[0] { settings.slow_calls(threshold, share(slow)) } else { settings };
        if on[1] { settings.consecutive_failures(in_a_row) } else { settings }
    }
}

prop_compose! {
    fn outliers()(
        [base, interval, longest] in [time(), time(), time()],
        (in_a_row, failed, share) in (1_u32.., 1_u32..=1_000_000, 1_u32..=1_000_000),
        (few, many, endpoints) in (1_u32.., 1_u32.., 0_usize..1 << 40),
        // Exact in a text of few digits.
        deviations in 1_u32..10_000,
        on in any::<[bool; 3]>(),
    ) -> OutlierSettings {
        let ratio = |parts| Ratio::per_million(parts).expect("up to a million");
        let settings = OutlierSettings::new().base_ejection(base).interval(interval).max_ejection(longest);
        let settings = settings.max_ejected(ratio(share)).min_endpoints(endpoints);
        let settings = settings.failure_share_calls(few).success_rate_calls(many);
        let settings = if on[0] { settings.consecutive_failures(in_a_row) } else { settings.without_consecutive_failures() };
        let settings = if on[1] { settings.failure_share(ratio(failed)) } else { settings.without_failure_share() };
        if on[2] { settings.success_rate(f64::from(deviations) / 1_000.0) } else { settings.without_success_rate() }
    }
}

prop_compose! {
    fn balancer()(
        [check, decay, penalty, slow, wait] in [time(), time(), time(), time(), time()],
        (backoff, outliers) in (backoff(), prop::option::of(outliers())),
        (failovers, percent) in (any::<u32>(), 100_u32..),
        [threshold, least] in [0_u32..=1_000_000, 1_u32..=1_000_000],
        aggression in 1_u32..10_000,
        pick in prop::sample::select(vec![Pick::LeastLoaded, Pick::PeakEwma, Pick::WeightedRoundRobin]),
        on in any::<[bool; 3]>(),
    ) -> BalancerSettings {
        let ratio = |parts| Ratio::per_million(parts).expect("up to a million");
        let when = if on[0] { WhenUnhealthy::FailOpen } else { WhenUnhealthy::FailFast };
        let settings = BalancerSettings::new().backoff(backoff).check_timeout(check).decay(decay);
        let settings = settings.penalty(penalty).failovers(failovers).overprovision_percent(percent);
        let settings = settings.panic_threshold(ratio(threshold)).pick(pick).when_unhealthy(when);
        let settings = settings.slow_start_least(ratio(least));
        let settings = settings.slow_start_aggression(f64::from(aggression) / 1_000.0);
        let settings = if on[1] { settings.slow_start(slow) } else { settings.without_slow_start() };
        let settings = if on[2] { settings.wait_for_endpoint(wait) } else { settings.without_wait_for_endpoint() };
        match outliers {
            Some(outliers) => settings.outliers(outliers),
            None => settings.without_outliers(),
        }
    }
}

prop_compose! {
    fn client()(
        [connect, deadline, attempt, idle] in [time(), time(), time(), time()],
        off in any::<[bool; 4]>(),
        (hosts, largest) in (1_usize..1 << 40, 1_usize..1 << 40),
        (body, collect) in (body(), prop::option::of(1_usize..1 << 40)),
        resume in prop::option::of(resume()),
        hedge in prop::option::of(hedge()),
        (breaker, fallback) in (prop::option::of(breaker()), fallback()),
        retry in retry(),
    ) -> ClientSettings {
        let settings = ClientSettings::new().connect_timeout(connect).max_idle_per_host(hosts);
        let settings = settings.max_response_body(largest).body(body).fallback(fallback);
        let settings = match breaker {
            Some(breaker) => settings.breaker(breaker),
            None => settings.without_breaker(),
        };
        let settings = if let Some(bytes) = collect { settings.collect_within(bytes) } else { settings };
        let settings = if let Some(resume) = resume { settings.resume(resume) } else { settings };
        let settings = if let Some(hedge) = hedge { settings.hedge(hedge) } else { settings };
        let settings = if off[0] { settings.without_deadline() } else { settings.deadline(deadline) };
        let settings = if off[1] { settings.without_attempt_timeout() } else { settings.attempt_timeout(attempt) };
        let settings = if off[2] { settings.without_idle_connections() } else { settings.idle_timeout(idle) };
        if off[3] { settings.without_retry() } else { settings.retry(retry) }
    }
}

fn fallback() -> impl Strategy<Value = FallbackSettings> {
    use Kind::{Body, CircuitOpen, Connect, Invalid, NoEndpoint, Other, Overload, Timeout, Transport};
    let all = vec![Body, CircuitOpen, Connect, Invalid, NoEndpoint, Other, Overload, Timeout, Transport];
    (prop::sample::subsequence(all, 1..=8), 0_usize..1 << 40)
        .prop_map(|(kinds, cap)| FallbackSettings::new().on(kinds).replay_cap(cap))
}

fn server() -> impl Strategy<Value = ServerSettings> {
    let times = [time(), time(), time(), time(), time(), time(), time(), time(), time(), time()];
    let counts = [1_usize..=6_000, 1_usize..=1 << 40, 1_usize..=1 << 40];
    let off = [any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()];
    (times, counts, [1_u32.., 1_u32..], off).prop_map(|(times, counts, small, off)| {
        let [head, idle, drain, lame, interval, timeout, handshake, age, grace, stall] = times;
        let settings = ServerSettings::new().header_read_timeout(head).keep_alive_timeout(idle);
        let settings =
            settings.drain_timeout(drain).lame_duck(lame).ping_interval(interval).ping_timeout(timeout);
        let settings = settings.handshake_timeout(handshake).max_headers(counts[0]).max_head_size(small[0]);
        let settings = settings.max_concurrent_streams(small[1]).request_body(BodyLimits::new().idle(stall));
        let settings =
            if off[0] { settings.without_max_age() } else { settings.max_age(age).age_grace(grace) };
        let settings = if off[1] { settings.without_stall_timeout() } else { settings.stall_timeout(stall) };
        let settings =
            if off[2] { settings.without_max_connections() } else { settings.max_connections(counts[1]) };
        if off[3] {
            settings.without_max_connections_per_address()
        } else {
            settings.max_connections_per_address(counts[2])
        }
    })
}

prop_compose! {
    fn health()(
        [timeout, more, startup] in [time(), time(), time()],
        (failures, successes) in (1_u32.., 1_u32..),
        show: bool,
    ) -> HealthSettings {
        let settings = HealthSettings::new().failures(failures).successes(successes).show_output(show);
        let interval = timeout + more;
        settings.timeout(timeout).interval(interval).startup_interval(startup).ttl(3 * interval)
    }
}

prop_compose! {
    fn prober()(
        [timeout, more] in [time(), time()],
        (rise, fall, at_once) in (1_u32.., 1_u32.., 1_usize..1_000_000),
    ) -> ProberSettings {
        let settings = ProberSettings::new().rise(rise).fall(fall).max_at_once(at_once);
        settings.timeout(timeout).interval(timeout + more)
    }
}

fn discovery() -> impl Strategy<Value = DiscoverySettings> {
    let secs = |from: u64| (from..43_200).prop_map(Duration::from_secs);
    [secs(1), secs(0), secs(0), secs(1)].prop_map(|[least, more, most, timeout]| {
        let settings = DiscoverySettings::new().min_interval(least).timeout(timeout);
        settings.interval(least + more).max_interval(least + most)
    })
}

fn tokens() -> impl Strategy<Value = TokenSettings> {
    let life = || (1_u64..100_000_000).prop_map(Duration::from_secs);
    (backoff(), [life(), life()], time(), time(), 1_usize..1_000_000).prop_map(
        |(backoff, lives, fetch, pause, bytes)| {
            let settings = TokenSettings::new().backoff(backoff).default_lifetime(lives[0]);
            settings.max_lifetime(lives[1]).fetch_timeout(fetch).renewal_pause(pause).max_response(bytes)
        },
    )
}

fn introspection() -> impl Strategy<Value = IntrospectSettings> {
    let counts = (2_usize.., 1_usize.., 1_usize..1_000_000, 1_usize..65_536);
    (counts, time(), (1_u64..600).prop_map(Duration::from_secs), time(), any::<bool>()).prop_map(
        |((cache, at_once, response, token), ttl, leeway, timeout, off)| {
            let settings = IntrospectSettings::new().max_at_once(at_once).max_response(response);
            let settings = settings.max_token_size(token).cache_ttl(ttl).leeway(leeway).timeout(timeout);
            if off { settings.without_cache() } else { settings.cache(cache) }
        },
    )
}

fn tcp() -> impl Strategy<Value = TcpSettings> {
    let secs = || (1_u64..86_400, 0_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos));
    let local = (any::<Option<Ipv4Addr>>(), any::<Option<Ipv6Addr>>());
    let delay = (10_u64..2_000).prop_map(Duration::from_millis);
    ([secs(), secs(), secs()], delay, local, any::<[bool; 3]>()).prop_map(|(times, delay, (v4, v6), on)| {
        let settings = TcpSettings::new().attempt_delay(delay).keepalive_interval(times[0]).nodelay(on[0]);
        let settings = if on[1] { settings.keepalive(times[1]) } else { settings.without_keepalive() };
        let settings = if on[2] { settings.user_timeout(times[2]) } else { settings.without_user_timeout() };
        let settings = v4.map_or(settings.clone(), |address| settings.local_v4(address));
        v6.map_or(settings.clone(), |address| settings.local_v6(address))
    })
}

fn quota() -> impl Strategy<Value = Quota> {
    // Together not more than ten years.
    let per = prop_oneof![time().prop_map(|time| time.min(Duration::from_secs(1_000_000)))];
    (1_u32.., per, prop::option::of(1_u32..200), any::<bool>()).prop_map(|(amount, per, burst, strict)| {
        let quota = Quota::new(amount, per);
        match burst {
            Some(burst) => quota.burst(burst),
            None if strict => quota.strict(),
            None => quota,
        }
    })
}

fn throttle() -> impl Strategy<Value = ThrottleSettings> {
    // In sixteenths, as above.
    (16_u32..1_600, time(), any::<u32>(), 0_u32..1_000_000).prop_map(|(sixteenths, window, least, most)| {
        let most = Ratio::per_million(most).expect("at most a whole");
        let settings = ThrottleSettings::new().multiplier(f64::from(sixteenths) / 16.0).max_rejection(most);
        settings.window(window.max(Duration::from_secs(1))).min_requests(least)
    })
}

fn concurrency() -> impl Strategy<Value = ConcurrencySettings> {
    (1_usize..1 << 31, prop::option::of(0_usize..1 << 40)).prop_map(|(limit, queue)| {
        let settings = ConcurrencySettings::new(limit);
        if let Some(queue) = queue { settings.queue(queue) } else { settings }
    })
}

prop_compose! {
    fn pool()(
        (max, waiting, connect, backoff) in (1_usize..1 << 40, 0_usize..1 << 40, time(), backoff()),
        part in 0.0..=1.0,
        [check, idle, life, wait] in [prop::option::of(time()), prop::option::of(time()), prop::option::of(time()), prop::option::of(time())],
    ) -> PoolSettings {
        let settings = PoolSettings::new().max(max).min_idle((max as f64 * part) as usize).max_waiting(waiting);
        let settings = settings.connect_timeout(connect).backoff(backoff);
        let settings = check.map_or(settings.clone().without_checks(), |after| settings.check_after(after));
        let settings = idle.map_or(settings.clone().without_idle_timeout(), |limit| settings.idle_timeout(limit));
        let settings = life.map_or(settings.clone().without_lifetime(), |limit| settings.lifetime(limit));
        wait.map_or(settings.clone().without_wait_timeout(), |limit| settings.wait_timeout(limit))
    }
}

/// A network as it is written, also as it is not written again.
fn network() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<u32>(), 0_u32..=32).prop_map(|(bits, length)| {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or_default();
            format!("{}/{length}", Ipv4Addr::from_bits(bits & mask))
        }),
        (any::<u128>(), 0_u32..=128).prop_map(|(bits, length)| {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or_default();
            format!("{}/{length}", Ipv6Addr::from_bits(bits & mask))
        }),
        any::<Ipv4Addr>().prop_map(|ip| format!("::ffff:{ip}")),
        any::<Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ]
}

fn proxies() -> impl Strategy<Value = TrustedProxies> {
    let header = prop::sample::select(vec![ForwardingHeader::Forwarded, ForwardingHeader::XForwardedFor]);
    let trust = prop_oneof![
        Just(TrustedProxies::none()),
        (1_u32..).prop_map(|count| TrustedProxies::hops(count).expect("at least one")),
        prop::collection::vec(network(), 1..4)
            .prop_map(|all| TrustedProxies::networks(all).expect("without bits beyond")),
    ];
    (trust, header).prop_map(|(proxies, header)| proxies.header(header))
}

/// Settings that are a word or a table are a field of others.
#[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
struct Holds {
    trusted_proxies: TrustedProxies,
}

/// Through both of the forms that people keep settings in.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(settings: &T) {
    let json = serde_json::to_string(settings).expect("settings are data");
    assert_eq!(&serde_json::from_str::<T>(&json).expect(&json), settings, "{json}");
    let toml = toml::to_string(settings).expect("settings are data");
    assert_eq!(&toml::from_str::<T>(&toml).expect(&toml), settings, "{toml}");
}

proptest! {
    #[test]
    fn settings_of_retry_come_back_from_a_file_as_they_were_written(settings in retry()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_tokens_come_back_from_a_file_as_they_were_written(one in tokens(), other in introspection()) {
        comes_back(&one);
        comes_back(&other);
    }

    #[test]
    fn settings_of_the_client_come_back_from_a_file_as_they_were_written(settings in client()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_the_server_come_back_from_a_file_as_they_were_written(settings in server()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_health_come_back_from_a_file_as_they_were_written(settings in health()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_probers_come_back_from_a_file_as_they_were_written(settings in prober()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_discoveries_come_back_from_a_file_as_they_were_written(settings in discovery()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_pools_come_back_from_a_file_as_they_were_written(settings in pool()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_balancers_come_back_from_a_file_as_they_were_written(settings in balancer()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_tcp_come_back_from_a_file_as_they_were_written(settings in tcp()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_fallback_come_back_from_a_file_as_they_were_written(settings in fallback()) {
        comes_back(&settings);
    }

    #[test]
    fn settings_of_breakers_come_back_from_a_file_as_they_were_written(settings in breaker()) {
        comes_back(&settings);
    }

    #[test]
    fn trusted_proxies_come_back_from_a_file_as_they_were_written(trusted_proxies in proxies()) {
        comes_back(&Holds { trusted_proxies });
    }

    #[test]
    fn quotas_and_limits_on_calls_in_flight_come_back_from_a_file_as_they_were_written(
        quota in quota(), concurrency in concurrency(),
    ) {
        comes_back(&quota);
        comes_back(&concurrency);
    }

    #[test]
    fn settings_of_throttles_come_back_from_a_file_as_they_were_written(settings in throttle()) {
        comes_back(&settings);
    }

    #[test]
    fn limits_of_a_server_and_a_client_come_back_from_a_file_as_they_were_written(
        quota in quota(), concurrency in concurrency(), trusted in proxies(), wait in time(), off in any::<[bool; 3]>(),
    ) {
        let (mut server, mut client) = (ServerSettings::new().trusted_proxies(trusted), ClientSettings::new());
        if off[0] {
            (server, client) = (server.rate_limit(quota), client.rate_limit(quota).without_queue());
        }
        if off[1] {
            server = server.without_concurrency();
        } else {
            (server, client) = (server.concurrency(concurrency), client.concurrency(concurrency));
        }
        if off[2] && !off[1] {
            (server, client) = (server.queue_timeout(wait), client.queue_timeout(wait));
        }
        comes_back(&server);
        comes_back(&client);
    }

    #[test]
    fn limits_of_bodies_come_back_from_a_file_as_they_were_written(limits in body()) {
        comes_back(&limits);
    }

    #[test]
    fn backoff_and_budget_come_back_from_a_file_as_they_were_written(backoff in backoff(), budget in budget()) {
        comes_back(&backoff);
        comes_back(&budget);
    }
}

fn refused<T: DeserializeOwned + Debug>(text: &str) -> String {
    serde_json::from_str::<T>(text).expect_err(text).to_string()
}

#[test]
fn a_throttle_that_cannot_be_is_refused_by_the_name_of_the_field() {
    for (text, named) in [
        (r#"{ "multiplier": 0.5 }"#, "`multiplier`"),
        (r#"{ "max_rejection": "100%" }"#, "`max_rejection`"),
        (r#"{ "window": "10ms" }"#, "`window`"),
        (r#"{ "k": 2 }"#, "`k`"),
    ] {
        let message = refused::<ThrottleSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
}

#[test]
fn what_is_impossible_in_a_file_is_refused_by_the_name_of_the_field() {
    // The client's settings hold those of retry, and those hold all the others: the name has to come out from within.
    for (text, named) in [
        // Unknown, at every level.
        (r#"{ "attempt": 3 }"#, "`attempt`"),
        (r#"{ "backoff": { "bse": "1s" } }"#, "`bse`"),
        (r#"{ "budget": { "reserves": 1 } }"#, "`reserves`"),
        (r#"{ "costs": { "failed": 1 } }"#, "`failed`"),
        // Out of range.
        (r#"{ "attempts": 0 }"#, "`attempts`"),
        (r#"{ "backoff": { "base": "0s" } }"#, "`base`"),
        (r#"{ "backoff": { "factor": 0.5 } }"#, "`factor`"),
        (r#"{ "budget": { "ratio": 1.5 } }"#, "1"),
        (r#"{ "budget": { "ratio": "150%" } }"#, "100"),
        (r#"{ "attempt_header": "not a header" }"#, "`attempt_header`"),
        (r#"{ "attempt_header": "" }"#, "`attempt_header`"),
        // Impossible together.
        (r#"{ "backoff": { "base": "20s" } }"#, "`cap`"),
        (r#"{ "backoff": { "cap": "1ms" } }"#, "`base`"),
        // Of another type.
        (r#"{ "attempts": -1 }"#, "-1"),
        (r#"{ "attempts": 4294967296 }"#, "4294967296"),
        (r#"{ "max_retry_after": 60 }"#, "250ms"),
        (r#"{ "max_retry_after": "off" }"#, "250ms"),
        (r#"{ "key_format": "naked" }"#, "`naked`"),
        (r#"{ "backoff": { "jitter": "some" } }"#, "`some`"),
        (r#"{ "budget": "on" }"#, "on"),
        (r#"{ "repeatable_paths": "/all" }"#, "/all"),
    ] {
        let message = refused::<RetrySettings>(text);
        assert!(message.contains(named), "{text}: {message}");
        let message = refused::<ClientSettings>(&format!(r#"{{ "retry": {text} }}"#));
        assert!(message.contains(named), "retry {text}: {message}");
    }
    for (text, named) in [
        (r#"{ "attempt_timeout": "0s" }"#, "`attempt_timeout`"),
        (r#"{ "connect_timeout": "0s" }"#, "`connect_timeout`"),
        (r#"{ "connect_timeout": "off" }"#, "250ms"),
        (r#"{ "deadline": "0ms" }"#, "`deadline`"),
        (r#"{ "deadline": "-1s" }"#, "-1s"),
        (r#"{ "idle_timeout": "0s" }"#, "`idle_timeout`"),
        (r#"{ "max_idle_per_host": 0 }"#, "`max_idle_per_host`"),
        (r#"{ "max_response_body": 0 }"#, "`max_response_body`"),
        (r#"{ "collect_within": 0 }"#, "`collect_within`"),
        (r#"{ "collect_within": "all" }"#, "all"),
        (r#"{ "resume": { "resumes": 0 } }"#, "resumes"),
        (r#"{ "hedge": { "attempts": 6 } }"#, "attempts"),
        (r#"{ "hedge": { "quantile": "198%" } }"#, "1"),
        (r#"{ "hedge": { "delay": "1s" } }"#, "delay"),
        (r#"{ "resume": { "in_all": 0 } }"#, "in_all"),
        (r#"{ "body": { "idle": "0s" } }"#, "`idle`"),
        (r#"{ "body": "off" }"#, "off"),
        (r#"{ "breaker": { "probe": 1 } }"#, "`probe`"),
        (r#"{ "breaker": { "probes": 0 } }"#, "`probes`"),
        (r#"{ "breaker": { "window": 10 } }"#, "`min_calls`"),
        (r#"{ "fallback": { "on": ["monday"] } }"#, "`monday`"),
    ] {
        let message = refused::<ClientSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "fetch_timeout": "0s" }"#, "`fetch_timeout`"),
        (r#"{ "max_lifetime": "100years" }"#, "`max_lifetime`"),
        (r#"{ "fetch": "1s" }"#, "`fetch`"),
    ] {
        let message = refused::<TokenSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "cache": 1 }"#, "`cache`"),
        (r#"{ "timeout": "0s" }"#, "`timeout`"),
        (r#"{ "ttl": "1s" }"#, "`ttl`"),
    ] {
        let message = refused::<IntrospectSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "ignored_headers": ["not a header"] }"#, "`ignored_headers`"),
        (r#"{ "max_body": "all" }"#, "all"),
        (r#"{ "max": 1 }"#, "`max`"),
    ] {
        let message = refused::<CoalesceSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "attempts": 0 }"#, "`attempts`"),
        (r#"{ "idle_timeout": 30 }"#, "250ms"),
        (r#"{ "reconnect": "1s" }"#, "`reconnect`"),
    ] {
        let message = refused::<EventSourceSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "on": [] }"#, "`on`"),
        (r#"{ "on": ["sunday"] }"#, "`on` knows no kind of error `sunday`"),
        (r#"{ "on": ["connect", "Connect"] }"#, "`Connect`"),
        (r#"{ "on": "connect" }"#, "connect"),
        (r#"{ "at": ["connect"] }"#, "`at`"),
        (r#"{ "replay_cap": -1 }"#, "-1"),
    ] {
        let message = refused::<FallbackSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "attempt_delay": "9ms" }"#, "`attempt_delay`"),
        (r#"{ "attempt_delay": "off" }"#, "250ms"),
        (r#"{ "keepalive": "0s" }"#, "`keepalive`"),
        (r#"{ "user_timeout": 30 }"#, "250ms"),
        (r#"{ "local_v4": "::1" }"#, "IPv4"),
        (r#"{ "delay": "1s" }"#, "`delay`"),
    ] {
        let message = refused::<TcpSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "pick": "best" }"#, "`best`"),
        (r#"{ "decay": "0s" }"#, "`decay`"),
        (r#"{ "decay": "off" }"#, "250ms"),
        (r#"{ "slow_start": "0s" }"#, "without_slow_start"),
        (r#"{ "slow_start_aggression": 0 }"#, "`slow_start_aggression`"),
        (r#"{ "wait_for_endpoint": "0s" }"#, "without_wait_for_endpoint"),
        (r#"{ "overprovision_percent": 99 }"#, "`overprovision_percent` is 99"),
        (r#"{ "outliers": { "interval": "0s" } }"#, "`interval`"),
        (r#"{ "outliers": { "success_rate": -1.5 } }"#, "`success_rate`"),
        (r#"{ "outliers": { "max_ejected": "0%" } }"#, "`max_ejected`"),
        (r#"{ "outliers": { "often": 1 } }"#, "`often`"),
        (r#"{ "endpoints": 1 }"#, "`endpoints`"),
    ] {
        let message = refused::<BalancerSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "max": 0 }"#, "`max`"),
        (r#"{ "min_idle": 11 }"#, "`min_idle` is 11"),
        (r#"{ "connect_timeout": "0s" }"#, "`connect_timeout`"),
        (r#"{ "connect_timeout": "off" }"#, "250ms"),
        (r#"{ "idle_timeout": "0s" }"#, "without_idle_timeout"),
        (r#"{ "lifetime": "0s" }"#, "without_lifetime"),
        (r#"{ "size": 1 }"#, "`size`"),
    ] {
        let message = refused::<PoolSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "header_read_timeout": "0s" }"#, "`header_read_timeout`"),
        (r#"{ "ping_interval": "0s" }"#, "`ping_interval`"),
        (r#"{ "ping_timeout": "0s" }"#, "`ping_timeout`"),
        (r#"{ "graze": "1s" }"#, "`graze`"),
    ] {
        let message = refused::<ServerSettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "idle": "0s" }"#, "`idle`"),
        (r#"{ "total": "0s" }"#, "`total`"),
        (r#"{ "min_rate": { "bytes": 0, "per": "1s" } }"#, "`min_rate`"),
        (r#"{ "min_rate": { "bytes": 1, "per": "0s" } }"#, "`min_rate`"),
        (r#"{ "min_rate": { "bytes": 1 } }"#, "`per`"),
        (r#"{ "min_rate": { "bytes": 1, "per": "1s", "for": 1 } }"#, "`for`"),
        (r#"{ "until_deadline": "yes" }"#, "yes"),
        (r#"{ "rate": 1 }"#, "`rate`"),
    ] {
        let message = refused::<BodyLimits>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "amount": 0, "per": "1s" }"#, "`amount`"),
        (r#"{ "amount": 1, "per": "0s" }"#, "`per`"),
        (r#"{ "amount": 1, "per": "1s", "burst": 0 }"#, "`burst`"),
        (r#"{ "amount": 1, "per": "1s", "burst": 1, "strict": true }"#, "`burst`"),
        (r#"{ "amount": 1, "per": "11y" }"#, "ten years"),
        (r#"{ "amount": 1 }"#, "`per`"),
        (r#"{ "per": "1s" }"#, "`amount`"),
        (r#"{ "amount": 1, "per": 1 }"#, "250ms"),
        (r#"{ "amount": 1, "per": "1s", "window": true }"#, "`window`"),
    ] {
        let message = refused::<Quota>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#"{ "limit": 0 }"#, "`limit`"),
        (r#"{ "limit": 2147483648 }"#, "`limit`"),
        (r#"{ "queue": 1 }"#, "`limit`"),
        (r#"{ "limit": 1, "queue": -1 }"#, "-1"),
        (r#"{ "limit": 1, "que": 1 }"#, "`que`"),
    ] {
        let message = refused::<ConcurrencySettings>(text);
        assert!(message.contains(named), "{text}: {message}");
    }
    for (text, named) in [
        (r#""some""#, "\"some\""),
        ("2", "\"none\""),
        ("{}", "`hops` and `networks`"),
        (r#"{ "header": "forwarded" }"#, "`hops` and `networks`"),
        (r#"{ "hops": 1, "networks": ["10.0.0.0/8"] }"#, "`hops` and `networks`"),
        (r#"{ "hops": 0 }"#, "`hops`"),
        (r#"{ "hops": -1 }"#, "-1"),
        (r#"{ "hop": 1 }"#, "`hop`"),
        (r#"{ "networks": [] }"#, "`networks`"),
        (r#"{ "networks": ["10.0.0.0/8", "10.0.0.0/33"] }"#, "`networks` has \"10.0.0.0/33\""),
        (r#"{ "networks": ["10.1.2.3/8"] }"#, "`networks` has \"10.1.2.3/8\""),
        (r#"{ "hops": 1, "header": "x-real-ip" }"#, "`x-real-ip`"),
        (r#"{ "hops": 1, "headers": "forwarded" }"#, "`headers`"),
    ] {
        let message = refused::<Holds>(&format!(r#"{{ "trusted_proxies": {text} }}"#));
        assert!(message.contains(named), "{text}: {message}");
    }
}

#[test]
fn a_quota_is_read_as_its_documentation_shows_it() {
    let read = |text: &str| toml::from_str::<Quota>(text).expect(text);
    assert_eq!(read("amount = 600\nper = \"1m\"\nburst = 20"), Quota::per_minute(600).burst(20));
    assert_eq!(read("amount = 600\nper = \"1m\"\nstrict = true"), Quota::per_minute(600).strict());
    assert_eq!(
        toml::from_str::<ConcurrencySettings>("limit = 7").expect("valid"),
        ConcurrencySettings::new(7)
    );
}

#[test]
fn trusted_proxies_are_a_word_or_a_table() {
    let read = |text: &str| serde_json::from_str::<TrustedProxies>(text).expect(text);
    assert_eq!(read(r#""none""#), TrustedProxies::none());
    assert_eq!(read(r#"{ "hops": 2 }"#), TrustedProxies::hops(2).unwrap());
    let networks = TrustedProxies::networks(["10.0.0.0/8", "fd00::/8"]).unwrap();
    assert_eq!(read(r#"{ "networks": ["10.0.0.0/8", "fd00::/8"] }"#), networks);
    assert_eq!(
        read(r#"{ "hops": 2, "header": "forwarded" }"#),
        TrustedProxies::hops(2).unwrap().header(ForwardingHeader::Forwarded)
    );
    assert_eq!(serde_json::to_string(&TrustedProxies::none()).unwrap(), r#""none""#);
}

/// Two limits of which one makes the other pointless are no mistake: the earlier one holds, and `explain` says so.
#[test]
fn limits_that_overlap_are_possible_and_told() {
    let settings: ClientSettings =
        serde_json::from_str(r#"{ "deadline": "2s", "attempt_timeout": "10s" }"#).expect("possible");
    let client = stonework::client::Client::builder().settings(settings).build().expect("possible");
    assert!(client.explain().contains("2s (10s, cut to the deadline)"), "{}", client.explain());
}
