//! What must hold of kept answers and of keys, whatever the bytes: as in `parsers.rs`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use stonework::Error;
use stonework::base::IDEMPOTENCY_KEY;
use stonework::base::body::Body;
use stonework::idempotency::{Claim, IdempotencyLayer, IdempotencySettings, MemoryStore, Record};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// A record that somebody has kept. What can be read is written as it was.
pub(crate) fn record(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(record) = Record::decode(&bytes) else { return false };
    let encoded = record.encode();
    assert_eq!(Record::decode(&encoded).as_ref(), Ok(&record));
    // Names in capitals, or with others between two of one name, are put in order; everything else is as it was.
    assert_eq!(encoded.len(), bytes.len());
    let mut again = record.clone();
    let trailers = again.take_trailers();
    let rebuilt = Record::new(&again.response());
    assert!(rebuilt.encode().len() <= encoded.len(), "what is of a hop is left out");
    drop(trailers);
    true
}

/// A field that may be a key, of a request that needs one.
pub(crate) fn key(bytes: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
    let handler = service_fn(|request: Request<Body>| async move {
        assert!(Claim::of(request.extensions()).is_some());
        Ok::<_, Error>(Response::new(Body::empty()))
    });
    let settings = IdempotencySettings::new().required(true);
    let layer = IdempotencyLayer::new(MemoryStore::new()).settings(settings).expect("settings that can be");
    let mut service = layer.layer(handler);
    let mut request = Request::post("/").body(Body::empty()).expect("a request");
    request.headers_mut().insert(IDEMPOTENCY_KEY, value);
    let response = RUNTIME.with(|runtime| runtime.block_on(service.call(request))).expect("an answer");
    match response.status() {
        StatusCode::OK => {
            let text = bytes.trim_ascii();
            assert!(!text.is_empty() && text.len() <= 2 * 255 + 255);
            true
        }
        status => {
            assert_eq!(status, StatusCode::BAD_REQUEST);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = HeaderMap> {
        let line = ("[a-z][a-z0-9-]{0,10}", "[!-~]{0,20}");
        prop::collection::vec(line, 0..8).prop_map(|lines| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::try_from(format!("x-{name}")).unwrap(), value.parse().unwrap());
            }
            headers
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            record(&bytes);
            record(&[&[1, 0, 200], &bytes[..]].concat());
        }

        #[test]
        fn any_answer_is_kept_as_it_was_and_no_part_of_it_is_a_record(
            status in 100_u16..1000,
            headers in headers(),
            body in prop::collection::vec(any::<u8>(), 0..200),
            trailers in prop::option::of(headers()),
            cut: prop::sample::Index,
        ) {
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.headers_mut() = headers;
            let kept = Record::new(&response);
            let kept = if let Some(trailers) = trailers.clone() { kept.trailers(trailers) } else { kept };
            let encoded = kept.encode();
            let mut again = Record::decode(&encoded).unwrap();
            prop_assert_eq!(again.take_trailers(), trailers);
            let again = again.response();
            prop_assert_eq!(again.status(), response.status());
            prop_assert_eq!(again.headers(), response.headers());
            prop_assert_eq!(again.body(), response.body());
            prop_assert!(Record::decode(&encoded.slice(..cut.index(encoded.len()))).is_err());
            prop_assert!(record(&encoded));
        }

        #[test]
        fn any_field_is_a_key_or_none(text in "\"?[ -~]{0,300}\"?") {
            key(text.as_bytes());
        }

        #[test]
        fn what_a_client_of_ours_sends_is_a_key(text in "[!#-+--~]{1,255}") {
            prop_assert!(key(text.as_bytes()));
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\"));
            prop_assert!(key(quoted.as_bytes()));
        }
    }
}
