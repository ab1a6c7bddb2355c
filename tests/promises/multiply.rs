//! Any stack of retries, handlers and hops: without failures of its own in between, a dead leaf sees three attempts; with
//! them, each retry adds two at most. Attempts never multiply.

use crate::support::{Content, SECOND, answer};
use http::{Request, Response};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use stonework::base::{Backoff, BoxError, Delivery, Error, Jitter, Kind};
use stonework::coalesce::CoalesceLayer;
use stonework::retry::{HopLayer, Policy, RetryLayer, RetrySettings, retry};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

type Boxed = BoxCloneSyncService<Request<Content>, Response<Content>, BoxError>;

#[derive(Clone, Copy, Debug)]
enum Level {
    Retry,
    Alone,
    Handler,
    Hop,
    Wire,
    Timeout,
    Attempt,
    Coalesce,
}

fn quick() -> RetrySettings {
    RetrySettings::new().backoff(Backoff::constant(SECOND).unwrap().jitter(Jitter::None))
}

fn add(level: Level, n: usize, inner: Boxed, own: Arc<Mutex<Vec<bool>>>) -> Boxed {
    match level {
        Level::Retry => BoxCloneSyncService::new(
            RetryLayer::from(quick()).without_budget().layer(inner).map_err(BoxError::from),
        ),
        Level::Alone => BoxCloneSyncService::new(service_fn(move |r: Request<Content>| {
            let inner = inner.clone();
            async move {
                retry(
                    || {
                        let inner = inner.clone();
                        let r = r.clone();
                        async move {
                            let res = inner.oneshot(r).await?;
                            if res.status().is_server_error() {
                                Err::<Response<Content>, BoxError>("failed".into())
                            } else {
                                Ok(res)
                            }
                        }
                    },
                    Policy::new().schedule(Backoff::constant(SECOND).unwrap()),
                )
                .await
            }
        })),
        Level::Handler => BoxCloneSyncService::new(service_fn(move |_: Request<Content>| {
            let inner = inner.clone();
            let fails = own.lock().unwrap().pop().unwrap_or(false);
            async move {
                if fails {
                    return Ok(answer(500));
                }
                let r = Request::get(format!("http://h{n}.test/")).body(Content::default()).unwrap();
                Ok::<_, BoxError>(inner.oneshot(r).await.map_or_else(
                    |_| answer(502),
                    |mut r| {
                        r.extensions_mut().clear();
                        r
                    },
                ))
            }
        })),
        Level::Hop => BoxCloneSyncService::new(HopLayer::new().layer(inner)),
        // Another process: only what is on the wire gets through.
        Level::Wire => BoxCloneSyncService::new(service_fn(move |r: Request<Content>| {
            let (mut head, body) = r.into_parts();
            head.extensions.clear();
            head.uri = head.uri.to_string().parse().unwrap();
            let hop = HopLayer::new().layer(service_fn({
                let inner = inner.clone();
                move |r: Request<Content>| {
                    let inner = inner.clone();
                    async move { Ok::<_, BoxError>(inner.oneshot(r).await.unwrap_or_else(|_| answer(502))) }
                }
            }));
            let w = tokio::spawn(hop.oneshot(Request::from_parts(head, body)));
            async move {
                let mut res =
                    w.await.unwrap().map_err(|_| BoxError::from(Error::new(Kind::Transport, "reset")))?;
                res.extensions_mut().clear();
                Ok(res)
            }
        })),
        Level::Timeout => {
            BoxCloneSyncService::new(TimeoutLayer::new(1000 * SECOND).layer(inner).map_err(BoxError::from))
        }
        Level::Attempt => BoxCloneSyncService::new(
            AttemptTimeoutLayer::new(1000 * SECOND).layer(inner).map_err(BoxError::from),
        ),
        Level::Coalesce => BoxCloneSyncService::new(
            CoalesceLayer::new()
                .layer(inner)
                .map_response(|r| r.map(|_| Content::default()))
                .map_err(BoxError::from),
        ),
    }
}

/// Any levels, but that no plain `retry()` stands before a wire: it sees neither requests nor responses, so it can
/// neither write the header nor read the mark.
fn levels() -> impl Strategy<Value = Vec<Level>> {
    use Level::{Alone, Attempt, Coalesce, Handler, Hop, Retry, Timeout, Wire};
    let level =
        prop::sample::select(vec![Retry, Retry, Alone, Handler, Hop, Wire, Timeout, Attempt, Coalesce]);
    prop::collection::vec(level, 1..9).prop_map(|mut levels| {
        if levels.iter().any(|level| matches!(level, Alone)) {
            levels.iter_mut().filter(|level| matches!(level, Wire)).for_each(|level| *level = Hop);
        }
        levels
    })
}

/// How often the leaf is called, which fails in this way.
fn calls(levels: &[Level], own: Vec<bool>, kind: u8) -> u32 {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let c = Arc::clone(&count);
    let leaf: Boxed = BoxCloneSyncService::new(service_fn(move |_: Request<Content>| {
        c.fetch_add(1, Ordering::Relaxed);
        async move {
            match kind {
                0 => Ok(answer(503)),
                1 => Err(BoxError::from(Error::new(Kind::Transport, "x"))),
                2 => Err(BoxError::from(Error::new(Kind::Connect, "x"))),
                _ => Err(BoxError::from(Error::new(Kind::Transport, "x").with_delivery(Delivery::NotSent))),
            }
        }
    }));
    let own = Arc::new(Mutex::new(own));
    rt.block_on(async {
        let add = |inner, (n, level): (usize, &Level)| add(*level, n, inner, Arc::clone(&own));
        let stack = levels.iter().enumerate().rev().fold(leaf, add);
        let request = Request::get("http://a.test/").body(Content::default()).unwrap();
        let _ = stack.oneshot(request).await;
    });
    count.load(Ordering::Relaxed)
}

#[test]
fn what_a_retry_inside_of_a_shared_call_gave_up_on_is_not_begun_again() {
    for kind in 0..3 {
        assert_eq!(calls(&[Level::Alone, Level::Coalesce, Level::Retry], Vec::new(), kind), 3, "{kind}");
        assert_eq!(
            calls(&[Level::Alone, Level::Coalesce], Vec::new(), kind),
            3,
            "where there is none, {kind}"
        );
    }
}

proptest! {
    #[test]
    fn attempts_add_and_do_not_multiply(
        levels in levels(),
        own in prop::collection::vec(any::<bool>(), 0..8),
        kind in 0..4_u8,
    ) {
        let own_failures = own.contains(&true);
        let n = calls(&levels, own, kind);
        let retries = levels.iter().filter(|l| matches!(l, Level::Retry | Level::Alone)).count() as u32;
        let bound = 1 + 2 * retries;
        let bound = if own_failures { bound } else { 3.min(bound) };
        // What never left is replayed once beside each attempt.
        let bound = bound + if kind == 3 { bound } else { 0 };
        prop_assert!(n <= bound, "{} of {}", n, bound);
    }
}
