//! Puts a stack into words.

use std::fmt::{Result, Write};
use std::time::Duration;

use super::service::Parts;
use super::{ClientSettings, HttpVersions};

pub(super) fn stack(parts: &Parts) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = lines(&mut text, parts);
    text
}

fn lines(text: &mut String, parts: &Parts) -> Result {
    let Parts {
        settings,
        auth,
        breakers: _,
        shares_breakers,
        hedge: _, // its settings are told
        shared_budget,
        fallback: instead,
        limits,
        restraint,
        transport: _,
        #[cfg(feature = "balance")]
        upstreams,
        wall: _,
    } = parts;
    let shared_budget = *shared_budget;
    // Destructured, so that a new setting cannot be forgotten here.
    let ClientSettings {
        attempt_timeout,
        #[cfg(feature = "oauth")]
            bearer: _, // the layer is asked that goes by it
        body,
        breaker,
        collect_within,
        concurrency: _, // the limiter itself is asked, which may be another
        connect_timeout,
        connection_lifetime,
        deadline,
        deadline_header,
        expect_continue,
        #[cfg(feature = "decompression")]
        decompression,
        fallback,
        hedge,
        http,
        http2_keep_alive,
        idle_timeout,
        max_connections,
        max_connections_per_host,
        max_idle_per_host,
        max_response_body: _, // no layer: it limits the helpers that collect
        max_waiting,
        pool_timeout,
        propagation,
        queue_timeout,
        rate_limit: _, // likewise
        redirects,
        resume,
        retry,
        server_quotas: _, // likewise
        throttle: _,      // likewise
        #[cfg(feature = "balance")]
            upstreams: _, // the balancers themselves are asked
    } = settings;
    #[cfg(feature = "decompression")]
    if *decompression {
        writeln!(text, "decompression: zstd, br, gzip, deflate")?;
    }
    match resume {
        Some(resume) if shared_budget => writeln!(text, "resume: {}", resume.sharing_a_budget())?,
        Some(resume) => writeln!(text, "resume: {resume}")?,
        None => {}
    }
    match deadline {
        Some(limit) => writeln!(text, "deadline: {limit:?} for the whole call, until its answer begins")?,
        None => writeln!(text, "deadline: off")?,
    }
    if let Some(instead) = instead {
        writeln!(text, "fallback: to {instead}, {fallback}")?;
    }
    match redirects {
        Some(most) => writeln!(text, "redirects: up to {most}")?,
        None => writeln!(text, "redirects: not followed")?,
    }
    match retry {
        Some(retry) if shared_budget => writeln!(text, "retry: {}", retry.sharing_a_budget())?,
        Some(retry) => writeln!(text, "retry: {retry}")?,
        None => writeln!(text, "retry: off")?,
    }
    match hedge {
        // It shares that of the retries too, which may be the client's own.
        Some(hedge) if shared_budget || retry.as_ref().is_some_and(|retry| retry.own_budget().is_some()) => {
            writeln!(text, "hedge: {}", hedge.sharing_a_budget())?;
        }
        Some(hedge) => writeln!(text, "hedge: {hedge}")?,
        None => {}
    }
    writeln!(text, "names: {propagation}")?;
    if let Some(told) = auth.told() {
        writeln!(text, "auth: {told}")?;
    }
    match (attempt_timeout, deadline) {
        (Some(limit), Some(deadline)) if deadline < limit => {
            writeln!(text, "attempt timeout: {deadline:?} ({limit:?}, cut to the deadline)")?;
        }
        (Some(limit), _) => writeln!(text, "attempt timeout: {limit:?}")?,
        (None, _) => writeln!(text, "attempt timeout: off")?,
    }
    match deadline_header {
        Some(name) => writeln!(text, "time left: told in {name}, by gRPC in grpc-timeout")?,
        None => writeln!(text, "time left: not told")?,
    }
    match collect_within {
        Some(bytes) => writeln!(text, "collect: bodies of up to {bytes} bytes, within the attempt")?,
        None => writeln!(text, "collect: only where a request asks")?,
    }
    if let Some(throttle) = &restraint.throttle {
        writeln!(text, "throttle: by host and port; {}", throttle.settings())?;
    }
    if restraint.quotas.is_some() {
        write!(text, "server quotas: by host and port; as many as each says")?;
        turn(text, *queue_timeout)?;
    }
    #[cfg(feature = "balance")]
    for upstream in upstreams.told() {
        writeln!(text, "upstream: {upstream}")?;
    }
    match breaker {
        Some(_) if *shares_breakers => writeln!(text, "breaker: by host and port; circuits that are shared")?,
        Some(breaker) => writeln!(text, "breaker: by host and port; {breaker}")?,
        None => writeln!(text, "breaker: off")?,
    }
    if let Some(limiter) = &limits.concurrency {
        write!(text, "concurrency: by host and port; {}", limiter.settings())?;
        turn(text, *queue_timeout)?;
    }
    if let Some(limiter) = &limits.rates {
        write!(text, "rate limit: by host and port; {}", limiter.quota())?;
        turn(text, *queue_timeout)?;
    }
    writeln!(text, "response body: {body}")?;
    write!(text, "transport: {}; {connect_timeout:?} to connect; ", speaks(*http))?;
    write!(text, "up to {max_connections_per_host} connections per host and {max_connections} in all")?;
    if let Some(lifetime) = connection_lifetime {
        write!(text, ", each for {lifetime:?}")?;
    }
    idle(text, *idle_timeout, *max_idle_per_host)?;
    if let (Some(silence), HttpVersions::Auto | HttpVersions::Http2) = (http2_keep_alive, http) {
        write!(text, "; HTTP/2 is asked after {silence:?} of silence whether it is there")?;
    }
    write!(text, "; up to {max_waiting} requests per host wait for one")?;
    if let Some(limit) = pool_timeout {
        write!(text, ", up to {limit:?}")?;
    }
    match expect_continue {
        Some(from) => writeln!(text, "; bodies from {from} bytes on are sent when they are wanted"),
        None => writeln!(text, "; bodies are sent at once"),
    }
}

const fn speaks(http: HttpVersions) -> &'static str {
    match http {
        HttpVersions::Auto => "HTTP/2 where a host over TLS chooses it, else HTTP/1.1",
        HttpVersions::Http1 => "HTTP/1.1",
        HttpVersions::Http2 => "HTTP/2",
    }
}

fn turn(text: &mut String, queue_timeout: Option<Duration>) -> Result {
    match queue_timeout {
        Some(time) => writeln!(text, ", others wait up to {time:?}"),
        None => writeln!(text, ", others are refused"),
    }
}

fn idle(text: &mut String, timeout: Option<Duration>, most: usize) -> Result {
    match timeout {
        Some(timeout) => write!(text, "; up to {most} idle ones per host, for {timeout:?} (HTTP/2: 90s)"),
        None => write!(text, "; no idle ones"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Client;
    use super::super::auth::Auth;
    use super::super::limits::Limits;
    use super::super::restraint::Restraint;
    use super::super::transport::Transport;
    use super::*;
    use crate::base::{Observe, Rng, WallClock};
    use crate::breaker::Breakers;
    use crate::connect::Connector;
    use crate::hedge::HedgeSettings;
    use crate::retry::{ResumeSettings, RetrySettings};

    fn stack(settings: &ClientSettings, shared_budget: bool) -> String {
        super::stack(&Parts {
            settings: settings.clone(),
            auth: Auth::default(),
            breakers: None,
            shares_breakers: false,
            hedge: None,
            shared_budget,
            fallback: None,
            limits: Limits::new(settings, None, None),
            restraint: Restraint::default(),
            transport: Transport::new(settings, Connector::new(), Observe::default(), Rng::seeded(1)),
            #[cfg(feature = "balance")]
            upstreams: Default::default(),
            wall: WallClock::default(),
        })
    }

    #[test]
    fn the_stack_is_told_outermost_first_with_the_settings_in_force() {
        assert_eq!(
            stack(&ClientSettings::new(), false),
            "deadline: 30s for the whole call, until its answer begins\n\
             redirects: up to 10\n\
             retry: up to 3 attempts, pauses with full jitter from 100ms to 10s; \
             budget of 10 retries + 1/s + 10% of requests; Retry-After up to 60s; bodies up to 65536 bytes\n\
             names: request id and trace are passed on\n\
             attempt timeout: 10s\n\
             time left: told in stonework-timeout-ms, by gRPC in grpc-timeout\n\
             collect: only where a request asks\n\
             breaker: by host and port; opens at 50% failures, of at least 20 calls in 10s; \
             open times with equal jitter from 5s to 30s; 1 at a time to probe, each up to 10s\n\
             response body: 30s of silence\n\
             transport: HTTP/2 where a host over TLS chooses it, else HTTP/1.1; 5s to connect; \
             up to 100 connections per host and 1024 in all, each for 300s; up to 32 idle ones per host, for 4s (HTTP/2: 90s); \
             HTTP/2 is asked after 20s of silence whether it is there; \
             up to 1000 requests per host wait for one, up to 5s; bodies from 1048576 bytes on are sent when they are wanted\n"
        );
    }

    #[test]
    fn what_is_off_is_told_too() {
        let settings = ClientSettings::new()
            .without_deadline()
            .without_attempt_timeout()
            .without_deadline_header()
            .propagation(crate::observe::Propagation::Off)
            .without_breaker()
            .without_idle_connections()
            .without_connection_lifetime()
            .without_pool_timeout()
            .without_expect_continue()
            .http1_only()
            .without_redirects()
            .body(crate::timeout::BodyLimits::none())
            .retry(RetrySettings::new().without_budget());
        assert_eq!(
            stack(&settings, false),
            "deadline: off\n\
             redirects: not followed\n\
             retry: up to 3 attempts, pauses with full jitter from 100ms to 10s; \
             no budget; Retry-After up to 60s; bodies up to 65536 bytes\n\
             names: off\n\
             attempt timeout: off\n\
             time left: not told\n\
             collect: only where a request asks\n\
             breaker: off\n\
             response body: any silence\n\
             transport: HTTP/1.1; 5s to connect; up to 100 connections per host and 1024 in all; no idle ones; \
             up to 1000 requests per host wait for one; bodies are sent at once\n"
        );
        assert!(stack(&settings, true).contains("; a budget that is shared; "));
        assert!(stack(&settings.without_retry(), true).contains("retry: off\n"));
        let asked = ClientSettings::new().collect_within(1024).resume(ResumeSettings::new());
        let told = stack(&asked, false);
        assert!(
            told.starts_with("resume: up to 3 times without progress and 10 in all, pauses with full jitter")
        );
        let budget = |told: &str| told.lines().next().map(|line| line.ends_with("; a budget that is shared"));
        assert_eq!((budget(&told), budget(&stack(&asked, true))), (Some(false), Some(true)));
        assert!(told.contains("collect: bodies of up to 1024 bytes, within the attempt\n"));
    }

    #[test]
    fn an_attempt_that_may_take_longer_than_its_call_is_told_to_be_cut() {
        let limited = ClientSettings::new().attempt_timeout(Duration::from_secs(10));
        for (deadline, line) in [
            (9, "attempt timeout: 9s (10s, cut to the deadline)\n"),
            (10, "attempt timeout: 10s\n"),
            (11, "attempt timeout: 10s\n"),
        ] {
            let told = stack(&limited.clone().deadline(Duration::from_secs(deadline)), false);
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_hedge_is_told_inside_of_retry_and_whose_budget_it_has() {
        let asked = ClientSettings::new().hedge(HedgeSettings::new());
        let told = stack(&asked, false);
        let line = "bodies up to 65536 bytes\n\
                    hedge: up to 2 attempts at once, another after what 98% of at least 100 calls in 10s took; \
                    a budget that is shared; bodies up to 65536 bytes\n\
                    names: request id and trace are passed on\n\
                    attempt timeout: ";
        assert!(told.contains(line), "{told}");
        let alone = stack(&asked.without_retry(), false);
        assert!(alone.contains("took; budget of 10 retries + 0/s + 5% of requests; "), "{alone}");
    }

    #[test]
    fn a_fallback_and_circuits_that_are_shared_are_told() {
        let told = |client: Client| client.explain();
        let client = |builder: super::super::ClientBuilder| told(builder.build().expect("valid settings"));
        let value = client(Client::builder().fallback_value(|_| http::Response::default()));
        let line = "fallback: to a value, on circuit_open, connect, no_endpoint, overload, timeout, transport; bodies up to 65536 bytes\n\
                    redirects: up to 10\n\
                    retry: ";
        assert!(value.contains(line), "{value}");
        let other = client(Client::builder().fallback(Client::new()).breakers(Breakers::default()));
        assert!(other.contains("fallback: to another service, on "), "{other}");
        assert!(other.contains("breaker: by host and port; circuits that are shared\n"), "{other}");
    }
}
