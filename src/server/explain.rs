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
        age_grace,
        concurrency: _, // the limiter itself is asked, which may be another
        drain_timeout,
        handshake_timeout,
        header_read_timeout,
        keep_alive_timeout,
        lame_duck,
        max_age,
        max_concurrent_streams,
        max_connections,
        max_connections_per_address,
        max_head_size,
        max_headers,
        ping_interval,
        ping_timeout,
        queue_timeout,
        rate_limit: _, // likewise
        request_body,
        stall_timeout,
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
    writeln!(text, "client address: {trusted_proxies}")?;
    match (&admission.limiter, queue_timeout) {
        (Some(limiter), None) => {
            writeln!(text, "concurrency: {} at once, more are refused", limiter.limit())?
        }
        (Some(limiter), Some(time)) => {
            let (limit, queue) = (limiter.limit(), limiter.longest_queue());
            writeln!(text, "concurrency: {limit} at once, {queue} more wait up to {time:?}")?;
        }
        (None, _) => writeln!(text, "concurrency: off")?,
    }
    match &admission.rates {
        Some(rates) => writeln!(text, "rate limit: {} for each client", rates.quota())?,
        None => writeln!(text, "rate limit: off")?,
    }
    writeln!(text, "request body: {request_body}")?;
    writeln!(text, "service")?;
    writeln!(text, "shutdown: {drain_timeout:?} to finish")
}
