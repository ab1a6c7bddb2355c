//! What must hold of what a server says of its limits, whatever the bytes: as in `parsers.rs`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use stonework::Error;
use stonework::limit::{QuotaUsedUp, ServerQuotaLayer};
use tower::{Layer, Service, service_fn};

/// Both fields of an answer, which says nothing else. Says whether nothing was left by it.
pub(crate) fn limits(bytes: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
    let said = value.clone();
    let server = service_fn(move |_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        response.headers_mut().insert("ratelimit", said.clone());
        response.headers_mut().insert("ratelimit-policy", said.clone());
        std::future::ready(Ok::<_, Error>(response))
    });
    let mut service = ServerQuotaLayer::new().layer(server);
    let mut ask = || {
        let call = pin!(service.call(Request::new(Empty::new())));
        match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.map(drop),
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    };
    ask().expect("nothing is known yet");
    let Err(refused) = ask() else { return false };
    let used_up = refused.cause::<QuotaUsedUp>().expect("no other reason");
    let after = used_up.retry_after();
    assert!(!after.is_zero() && after.as_secs() <= 60, "{after:?}");
    assert_eq!(refused.retry_after(), Some(after));
    // A quota with nothing left has a name, in quotes, and a zero.
    let text = String::from_utf8_lossy(bytes);
    assert!(text.contains('"') && text.contains("r=") && text.contains('0'), "{text}");
    assert!(used_up.policy().is_some_and(str::is_ascii));
    assert!(value.to_str().is_ok(), "nothing but ASCII can be read");
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_read_is() {
        assert!(limits(br#""a";r=0;t=10"#));
        assert!(limits(br#""a";r=5;t=10, "b";r=0;t=1"#));
        assert!(!limits(br#""a";r=1;t=10"#) && !limits(br#""a";r=0;t=0"#) && !limits(b"a;r=0;t=10"));
    }

    proptest! {
        #[test]
        fn any_bytes_say_something_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            limits(&bytes);
        }

        #[test]
        fn nearly_a_list_says_something_or_nothing(text in r#"("[a-z]{0,3}"(;[rtqw]=-?[0-9]{0,16}){0,4},? ?){0,4}"#) {
            limits(text.as_bytes());
        }
    }
}
