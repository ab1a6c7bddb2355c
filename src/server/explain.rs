//! Puts what a request meets into words.

use std::fmt::{Result, Write};

use super::ServerSettings;
use super::admission::Admission;
use super::control::Control;

pub(super) fn stack(control: &Control, admission: &Admission) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = lines(&mut text, control, admission);
    text
}

fn lines(text: &mut String, control: &Control, admission: &Admission) -> Result {
    // Destructured, so that a new setting cannot be forgotten here.
    let ServerSettings {
        access_log,
        access_log_paths,
        age_grace,
        concurrency: _, // the limiter itself is asked, which may be another
        deadline,
        deadline_from,
        deadline_header,
        drain_timeout,
        handshake_timeout,
        header_read_timeout,
        #[cfg(feature = "idempotency")]
            idempotency: _, // the layer is asked that goes by it
        #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            introspect: _, // likewise
        #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            jwt: _, // likewise
        keep_alive_timeout,
        lame_duck,
        max_age,
        max_concurrent_streams,
        max_connections,
        max_connections_per_address,
        max_head_size,
        max_headers,
        max_request_body: _, // what stands there is asked
        #[cfg(feature = "metrics")]
        metrics,
        overload_queue,
        ping_interval,
        ping_timeout,
        principal_rate_limit: _, // likewise
        queue_timeout,
        rate_limit: _, // likewise
        request_body,
        request_id_from,
        request_span,
        stall_timeout,
        trace_from,
        trusted_proxies,
    } = &control.settings;
    let most = |most: &Option<usize>| most.map_or("any number".to_owned(), |most| most.to_string());
    write!(
        text,
        "connections: {}, {} from one address, ",
        most(max_connections),
        most(max_connections_per_address)
    )?;
    match max_age {
        Some(age) => write!(text, "each for about {age:?}")?,
        None => write!(text, "of any age")?,
    }
    match age_grace {
        Some(grace) if max_age.is_some() => writeln!(text, ", and {grace:?} to finish")?,
        _ => writeln!(text)?,
    }
    if control.tls.is_some() {
        writeln!(text, "tls: {handshake_timeout:?} for the handshake")?;
    } else {
        writeln!(text, "tls: off")?;
    }
    writeln!(
        text,
        "head: {header_read_timeout:?} for up to {max_head_size} bytes or {max_headers} fields; {keep_alive_timeout:?} until the next"
    )?;
    writeln!(
        text,
        "http/2: {max_concurrent_streams} requests at once on a connection; a ping each {ping_interval:?}, answered in {ping_timeout:?}"
    )?;
    match stall_timeout {
        Some(limit) => writeln!(text, "answers: taken within {limit:?} of silence")?,
        None => writeln!(text, "answers: taken at any time")?,
    }
    match &control.health {
        Some(_) => writeln!(text, "health: answered here; {lame_duck:?} of warning before a shutdown")?,
        None => writeln!(text, "health: off")?,
    }
    match request_id_from {
        Some(peers) => writeln!(text, "request id: that of {peers}, or a new one")?,
        None => writeln!(text, "request id: off")?,
    }
    match trace_from {
        Some(peers) => writeln!(text, "trace: that of {peers}, or a new one")?,
        None => writeln!(text, "trace: off")?,
    }
    let observes: &[(bool, &str)] = &[
        (*request_span, "a span"),
        (*access_log, if *access_log_paths { "a line with its path" } else { "a line" }),
        #[cfg(feature = "metrics")]
        (*metrics, "metrics"),
    ];
    let observes: Vec<_> = observes.iter().filter(|(on, _)| *on).map(|(_, what)| *what).collect();
    if observes.is_empty() {
        writeln!(text, "observe: off")?;
    } else {
        writeln!(text, "observe: {} of each request", observes.join(", "))?;
    }
    writeln!(text, "client address: {trusted_proxies}")?;
    match deadline {
        Some(limit) => write!(text, "deadline: {limit:?}")?,
        None => write!(text, "deadline: none of the server")?,
    }
    match deadline_from {
        Some(peers) => writeln!(
            text,
            ", or what {peers} says in {deadline_header}, in gRPC in grpc-timeout, if that is less"
        )?,
        None => writeln!(text)?,
    }
    match &admission.rates {
        Some(rates) => writeln!(text, "rate limit: {} for each client", rates.quota())?,
        None => writeln!(text, "rate limit: off")?,
    }
    match &admission.limiter {
        Some(limiter) => {
            let (limit, queue) = (limiter.limit(), limiter.longest_queue());
            write!(text, "concurrency: {limit} at once")?;
            if limiter.is_adaptive() {
                write!(text, " just now, as latency allows")?;
            }
            match queue_timeout {
                _ if *overload_queue => writeln!(text, "; more wait in a queue that never gets old")?,
                Some(time) => writeln!(text, ", {queue} more wait up to {time:?}")?,
                None => writeln!(text, ", more are refused")?,
            }
        }
        None => writeln!(text, "concurrency: off")?,
    }
    writeln!(text, "request body: {request_body}")?;
    for layer in admission.inside.told() {
        writeln!(text, "{layer}")?;
    }
    writeln!(text, "service")?;
    writeln!(text, "shutdown: {drain_timeout:?} to finish")
}
