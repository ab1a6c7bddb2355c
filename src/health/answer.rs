//! Decides who is asked, and what the answer looks like. Nothing here waits, locks or reads a clock.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::grpc;
use super::{CheckKind, CheckReport, Impact};
use crate::base::{Asked, GrpcStatus, HealthState};

/// A path that is answered here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target<'a> {
    Probe(Probe),
    /// A method of gRPC's health service, by its name.
    Grpc(&'a str),
}

/// What an HTTP probe asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Probe {
    Live,
    Ready,
    Started,
}

/// How a probe wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Form {
    /// With every check, by name.
    pub(super) verbose: bool,
    /// As `application/health+json`, which always has the checks.
    pub(super) json: bool,
}

/// Whether a request for this path asks how it is.
#[cfg(feature = "server")]
pub(crate) fn is_asked(path: &str) -> bool {
    target(path).is_some()
}

/// Whether a path is one of a probe.
pub(super) fn target(path: &str) -> Option<Target<'_>> {
    match path {
        "/livez" => Some(Target::Probe(Probe::Live)),
        "/readyz" => Some(Target::Probe(Probe::Ready)),
        "/startupz" => Some(Target::Probe(Probe::Started)),
        _ => path.strip_prefix(grpc::PREFIX).map(Target::Grpc),
    }
}

impl Probe {
    /// Whether a check has a say in the answer.
    pub(super) const fn includes(self, kind: CheckKind) -> bool {
        match self {
            Self::Live => matches!(kind, CheckKind::Liveness),
            Self::Ready => !matches!(kind, CheckKind::Liveness),
            Self::Started => matches!(kind, CheckKind::Startup),
        }
    }
}

impl Form {
    pub(super) fn of(query: Option<&str>, headers: &HeaderMap) -> Self {
        let verbose = |part: &str| part.split('=').next() == Some("verbose");
        Self {
            verbose: query.is_some_and(|query| query.split('&').any(verbose)),
            json: headers.get_all(header::ACCEPT).iter().any(asks_for_json),
        }
    }

    /// Whether the answer is more than a word.
    pub(super) const fn has_checks(self) -> bool {
        self.verbose || self.json
    }
}

/// By name: `*/*` is what everybody sends.
fn asks_for_json(accept: &HeaderValue) -> bool {
    let Ok(accept) = accept.to_str() else { return false };
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let is_json = ["application/health+json", "application/json"]
            .iter()
            .any(|json| json.eq_ignore_ascii_case(kind));
        // A weight of zero means: not this (RFC 9110, section 12.4.2).
        let refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')))
        };
        is_json && !parts.any(refused)
    })
}

/// A word.
pub(super) fn word(state: HealthState) -> Bytes {
    Bytes::from_static(match state {
        HealthState::Pass => b"pass\n",
        HealthState::Warn => b"warn\n",
        HealthState::Fail | HealthState::Unknown => b"fail\n",
    })
}

/// A line for each check, and a word.
pub(super) fn lines(state: HealthState, draining: bool, checks: &[CheckReport], show_output: bool) -> Bytes {
    let mut text = String::new();
    for check in checks {
        let CheckReport { name, state, is_stale, output, .. } = check;
        let stale = if *is_stale { ", stale" } else { "" };
        let _ = write!(text, "{name}: {state}{stale} ({})", of_kind(check.kind));
        if let (true, Some(output)) = (show_output, output) {
            // One line each, whatever a check has to say.
            let _ = write!(text, ": {}", output.escape_debug());
        }
        text.push('\n');
    }
    if draining {
        text.push_str("draining\n");
    }
    let _ = writeln!(text, "{state}");
    text.into()
}

/// The same in the form of draft-inadarei-api-health-check-06.
pub(super) fn json(state: HealthState, draining: bool, checks: &[CheckReport], show_output: bool) -> Bytes {
    let mut text = format!(r#"{{"status":"{state}""#);
    if draining {
        text.push_str(r#","output":"draining""#);
    }
    for (index, check) in checks.iter().enumerate() {
        text.push_str(if index == 0 { r#","checks":{"# } else { "," });
        quoted(&mut text, &check.name);
        // The draft knows three words.
        let state = match check.state {
            HealthState::Unknown if check.kind == CheckKind::Readiness(Impact::Soft) => HealthState::Warn,
            HealthState::Unknown => HealthState::Fail,
            state => state,
        };
        let _ = write!(text, r#":[{{"status":"{state}","impact":"{}""#, of_kind(check.kind));
        if let (true, Some(output)) = (show_output, &check.output) {
            text.push_str(r#","output":"#);
            quoted(&mut text, output);
        }
        text.push_str("}]");
    }
    if !checks.is_empty() {
        text.push('}');
    }
    text.push_str("}\n");
    text.into()
}

const fn of_kind(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Liveness => "liveness",
        CheckKind::Startup => "startup",
        CheckKind::Readiness(Impact::Hard) => "hard",
        CheckKind::Readiness(Impact::Shared) => "shared",
        CheckKind::Readiness(Impact::Soft) => "soft",
    }
}

/// A string of JSON (RFC 8259, section 7).
fn quoted(to: &mut String, text: &str) {
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            control if (control as u32) < 0x20 => {
                let _ = write!(to, "\\u{:04x}", control as u32);
            }
            letter => to.push(letter),
        }
    }
    to.push('"');
}

/// The head and the body of the answer to a probe. Of HEAD it has the length of the body that GET would have.
pub(super) fn response(method: &Method, state: HealthState, json: bool, body: Bytes) -> Response<Bytes> {
    let kind = if json { "application/health+json" } else { "text/plain; charset=utf-8" };
    let length = (*method == Method::HEAD).then(|| HeaderValue::from(body.len()));
    let mut response = Response::new(if length.is_none() { body } else { Bytes::new() });
    if !state.is_good() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    response
}

/// For any method but GET and HEAD.
pub(super) fn wrong_method() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Why a request to a path of the gRPC service is none.
pub(super) fn no_grpc(asked: Asked, method: &Method) -> Option<StatusCode> {
    match (method, asked.grpc) {
        (&Method::POST, true) => None,
        (&Method::POST, false) => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        _ => Some(StatusCode::METHOD_NOT_ALLOWED),
    }
}

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A status alone is an answer, and stands in the head.
pub(super) fn trailers_only(status: GrpcStatus) -> HeaderMap {
    let mut headers = grpc_head();
    headers.insert(GRPC_STATUS, HeaderValue::from(status.code()));
    headers
}

pub(super) fn grpc_head() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers
}

/// What ends a stream.
pub(super) fn trailers(status: GrpcStatus) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from(status.code()));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "server")]
    #[test]
    fn only_the_paths_of_probes_ask_how_it_is() {
        for (path, asks) in [
            ("/livez", true),
            ("/grpc.health.v1.Health/Check", true),
            ("/livez/", false),
            ("/grpc.health.v2.Health/Check", false),
            ("/", false),
        ] {
            assert_eq!(is_asked(path), asks, "{path}");
        }
    }

    #[test]
    fn json_is_for_those_who_ask_for_it_by_name() {
        for (accept, json) in [
            ("application/health+json", true),
            ("text/html, Application/JSON;q=0.5", true),
            ("*/*", false),
            ("application/*", false),
            ("application/json;q=0", false),
            ("application/json; q=0.000, text/plain", false),
            ("application/json;q=0.001", true),
            ("", false),
        ] {
            assert_eq!(asks_for_json(&HeaderValue::from_static(accept)), json, "{accept}");
        }
        assert!(!asks_for_json(&HeaderValue::from_bytes(b"application/json\xff").unwrap()));
    }

    #[test]
    fn what_stands_between_quotes_is_read_as_what_it_was() {
        for (text, json) in [
            ("", r#""""#),
            (" ~\u{7f}ä", "\" ~\u{7f}ä\""),
            ("\0\n\u{1f}", r#""\u0000\u000a\u001f""#),
            (r#""\"#, r#""\"\\""#),
        ] {
            let mut quotes = String::new();
            quoted(&mut quotes, text);
            assert_eq!(quotes, json);
        }
    }

    #[test]
    fn details_are_for_those_who_ask_for_them() {
        for (query, verbose) in
            [("verbose", true), ("a=b&verbose=1", true), ("verbosely", false), ("", false)]
        {
            assert_eq!(Form::of(Some(query), &HeaderMap::new()).verbose, verbose, "{query}");
        }
    }

    #[test]
    fn only_the_whole_path_is_that_of_a_probe() {
        assert_eq!(target("/livez"), Some(Target::Probe(Probe::Live)));
        assert_eq!(target("/grpc.health.v1.Health/Check"), Some(Target::Grpc("Check")));
        for other in ["/", "livez", "/livez/", "/livez2", "/api/livez", "/grpc.health.v1.Healthy/Check", "*"]
        {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
