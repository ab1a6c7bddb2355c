//! What retries tell each other across a hop.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::refuse::is_grpc;
use super::retry_after::{PUSHBACK, digits};

/// The header in which `retry` says which attempt a request is, from the second on. The name can be set:
/// [`RetrySettings::attempt_header`](crate::retry::RetrySettings::attempt_header).
pub const ATTEMPT: HeaderName = HeaderName::from_static("stonework-attempt");

/// The response header that asks not to be tried again here: the server has retried itself and given up, or refused
/// the request without saying when to come back. [`retry`](crate::retry) obeys it. A gRPC response says the same with a
/// negative `grpc-retry-pushback-ms` (gRFC A6).
pub const DO_NOT_RETRY: HeaderName = HeaderName::from_static("stonework-do-not-retry");

/// The header in which a gRPC client says how often it has tried before (gRFC A6).
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Write down that this is the attempt of this number: in `name`, or as gRPC does for a gRPC call.
pub(crate) fn write_attempt(headers: &mut HeaderMap, name: &HeaderName, attempt: u32) {
    if says_grpc(headers) {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt.saturating_sub(1)));
    } else {
        headers.insert(name, HeaderValue::from(attempt));
    }
}

/// Take back what [`write_attempt`] wrote.
pub(crate) fn erase_attempt(headers: &mut HeaderMap, name: &HeaderName) {
    if says_grpc(headers) {
        headers.remove(PREVIOUS_ATTEMPTS);
    } else {
        headers.remove(name);
    }
}

/// Whether a message is one of gRPC, by its `content-type`.
pub(crate) fn says_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| is_grpc(kind.as_bytes()))
}

/// The number of the attempt that a request says it is: 1 if it does not say, or nothing that can be read.
pub(crate) fn read_attempt(headers: &HeaderMap, name: &HeaderName) -> u32 {
    let number = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { digits(value.as_bytes()) }
    };
    let own = number(name).unwrap_or(1);
    let previous = number(&PREVIOUS_ATTEMPTS).unwrap_or(0);
    let attempt = own.max(previous.saturating_add(1));
    // More than fits is a number all the same.
    u32::try_from(attempt).unwrap_or(u32::MAX).max(1)
}

/// Ask not to be tried again here.
pub(crate) fn forbid_retry(headers: &mut HeaderMap, grpc: bool) {
    if grpc {
        headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
    } else {
        headers.insert(DO_NOT_RETRY, HeaderValue::from_static("1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_attempt_is_read_as_it_was_written_by_http_and_by_grpc() {
        for kind in ["application/json", "application/grpc"] {
            let mut sent = headers(&[(CONTENT_TYPE, kind)]);
            write_attempt(&mut sent, &ATTEMPT, 3);
            assert_eq!(read_attempt(&sent, &ATTEMPT), 3);
            assert_eq!(sent.contains_key(ATTEMPT), kind == "application/json");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_first_attempt() {
        assert_eq!(read_attempt(&HeaderMap::new(), &ATTEMPT), 1);
        for (value, attempt) in [
            ("", 1),
            ("0", 1),
            ("1", 1),
            ("007", 7),
            ("-1", 1),
            ("+2", 1),
            ("2.5", 1),
            ("99999999999", u32::MAX),
        ] {
            assert_eq!(read_attempt(&headers(&[(ATTEMPT, value)]), &ATTEMPT), attempt, "{value:?}");
        }
        let twice = {
            let mut twice = headers(&[(ATTEMPT, "2")]);
            twice.append(ATTEMPT, HeaderValue::from_static("2"));
            twice
        };
        assert_eq!(read_attempt(&twice, &ATTEMPT), 1);
        assert_eq!(read_attempt(&headers(&[(PREVIOUS_ATTEMPTS, "99999999999")]), &ATTEMPT), u32::MAX);
    }
}
