//! Whatever goes wrong, and in whatever order: what may not be repeated is not.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use proptest::prelude::*;
use stonework::base::{Backoff, BoxError, Call, Delivery, Error, Kind};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Scripted, Step};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{ServiceBuilder, ServiceExt};

type Content = Full<Bytes>;

/// One thing that can happen to an attempt.
#[derive(Clone, Debug)]
enum Fate {
    Answer { status: u16, retry_after: Option<u32>, after: u64 },
    Fail { kind: Kind, delivery: Delivery, after: u64, hand_back: bool },
    Hang,
}

impl Fate {
    /// Whether the backend may have done the work. Only an immediate, explicit "no" is proof that it has not.
    fn may_have_been_processed(&self) -> bool {
        match self {
            Self::Answer { status, .. } => *status != 425,
            Self::Fail { delivery, .. } => matches!(delivery, Delivery::Unknown | Delivery::Answered),
            Self::Hang => true,
        }
    }

    fn step(&self) -> Step<Response<Content>, BoxError> {
        match self {
            Self::Answer { status, retry_after, after } => {
                let mut response = Response::builder().status(*status);
                if let Some(seconds) = retry_after {
                    response = response.header("retry-after", *seconds);
                }
                let response = response.body(Content::default()).expect("valid");
                Step::AnswerAfter(Duration::from_millis(*after), response)
            }
            Self::Fail { kind, delivery, after, hand_back } => {
                let mut error = Error::new(*kind, "on purpose");
                if *hand_back && *delivery == Delivery::NotSent {
                    error =
                        error.with_request(Request::post("/").body(Content::from("content")).expect("valid"));
                }
                Step::FailAfter(Duration::from_millis(*after), error.with_delivery(*delivery).into())
            }
            Self::Hang => Step::Hang,
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    let status =
        prop::sample::select(vec![200u16, 204, 301, 400, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504]);
    let kinds = vec![
        Kind::Body,
        Kind::Connect,
        Kind::Invalid,
        Kind::Other,
        Kind::Overload,
        Kind::Timeout,
        Kind::Transport,
    ];
    let deliveries = vec![Delivery::NotSent, Delivery::Refused, Delivery::Unknown, Delivery::Answered];
    prop_oneof![
        (status, prop::option::of(0u32..70), 0u64..3_000)
            .prop_map(|(status, retry_after, after)| Fate::Answer { status, retry_after, after }),
        (prop::sample::select(kinds), prop::sample::select(deliveries), 0u64..3_000, any::<bool>())
            .prop_map(|(kind, delivery, after, hand_back)| Fate::Fail { kind, delivery, after, hand_back }),
        Just(Fate::Hang),
    ]
}

#[derive(Debug)]
struct Sent {
    count: usize,
    /// Attempts after which the work may have been done, by the script alone.
    harmful: usize,
    keys: Vec<Option<http::HeaderValue>>,
    bodies: Vec<Bytes>,
}

/// Run one request against a script of fates, through retries nested in retries, under two limits.
fn run(fates: Vec<Fate>, request: Request<Content>, attempts: u32, nested: bool) -> Sent {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let script = fates.clone();
        let backend = Scripted::<Request<Content>, Response<Content>>::script(move |number, _| {
            script[(number - 1) % script.len()].step()
        });
        let seen = backend.seen();
        let backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(50)).unwrap();
        let retry =
            || RetryLayer::from(RetrySettings::new().attempts(attempts).backoff(backoff).without_budget());
        let inner = ServiceBuilder::new()
            .layer(retry())
            .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
            .service(backend);
        let limit = TimeoutLayer::new(Duration::from_secs(100));
        if nested {
            let _ = ServiceBuilder::new().layer(limit).layer(retry()).service(inner).oneshot(request).await;
        } else {
            let _ = ServiceBuilder::new().layer(limit).service(inner).oneshot(request).await;
        }
        let sent = seen.take();
        let fate_of = |index: usize| &fates[index % fates.len()];
        // An attempt that took longer than its limit was cut off: nobody knows what became of it. What comes with the limit is taken.
        let cut = |index: usize| match fate_of(index) {
            Fate::Answer { after, .. } | Fate::Fail { after, .. } => *after > 1_000,
            Fate::Hang => true,
        };
        Sent {
            count: sent.len(),
            harmful: (0..sent.len())
                .filter(|index| cut(*index) || fate_of(*index).may_have_been_processed())
                .count(),
            keys: sent.iter().map(|sent| sent.headers().get("idempotency-key").cloned()).collect(),
            bodies: sent.into_iter().map(|sent| sent.into_body().into_inner().unwrap_or_default()).collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_unsafe_request_that_may_have_been_received_is_never_sent_twice(
        fates in prop::collection::vec(fate(), 1..8),
        method in prop::sample::select(vec![Method::POST, Method::PATCH]),
        attempts in 1u32..6,
        nested: bool,
        asked in prop::option::of(1u32..6),
    ) {
        let mut request = Request::builder().method(method).uri("/").body(Content::from("content")).unwrap();
        if let Some(asked) = asked {
            Call::edit(request.extensions_mut(), |call| call.attempts(asked));
        }
        let sent = run(fates, request, attempts, nested);
        prop_assert!(sent.harmful <= 1, "{sent:?}");
        prop_assert!(sent.bodies.iter().all(|body| body == "content"));
    }

    #[test]
    fn a_keyed_request_carries_one_key_whatever_happens(
        fates in prop::collection::vec(fate(), 1..8),
        attempts in 1u32..6,
        nested: bool,
    ) {
        // What comes back from the script carries no key, so it is left out here.
        let fates = fates.into_iter().map(|fate| match fate {
            Fate::Fail { kind, delivery, after, .. } => Fate::Fail { kind, delivery, after, hand_back: false },
            other => other,
        }).collect();
        let mut request = Request::post("/").body(Content::from("content")).unwrap();
        Call::edit(request.extensions_mut(), Call::keyed);
        let sent = run(fates, request, attempts, nested);
        prop_assert!(sent.keys[0].is_some());
        prop_assert!(sent.keys.iter().all(|key| key == &sent.keys[0]), "{sent:?}");
    }

    #[test]
    fn no_request_is_sent_more_often_than_allowed(
        fates in prop::collection::vec(fate(), 1..8),
        attempts in 1u32..6,
    ) {
        let request = Request::get("/").body(Content::from("content")).unwrap();
        let sent = run(fates, request, attempts, false);
        // One replay of an attempt that was proved harmless does not count.
        prop_assert!(sent.count <= attempts as usize + usize::from(attempts > 1), "{sent:?}");
    }
}
