//! Two attempts at once read one recorded body, whatever becomes of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use proptest::prelude::*;
use stonework::Error;
use stonework::base::body::{Body, ReplayBody, ReplayLimit};
use stonework::hedge::{HedgeLayer, HedgeSettings};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

const CAP: usize = 64;

/// What an attempt does with its request: so long between two frames, and whether it stops after some.
#[derive(Clone, Copy, Debug)]
struct Reads {
    pause: u64,
    stops_after: Option<usize>,
    fails: bool,
}

fn reads() -> impl Strategy<Value = Reads> {
    (0_u64..40, prop::option::of(0_usize..6), any::<bool>()).prop_map(|(pause, stops_after, fails)| Reads {
        pause,
        stops_after,
        fails,
    })
}

/// What an attempt has read, and how that ended: well, or since it was too far behind.
#[derive(Debug, Default)]
struct Read {
    bytes: Vec<u8>,
    at_end: bool,
    over_the_limit: bool,
}

async fn read(
    mut body: ReplayBody<Body>,
    how: Reads,
    heard: &Mutex<Read>,
) -> Result<Response<String>, Error> {
    for number in 0.. {
        if how.stops_after == Some(number) {
            return match how.fails {
                true => Err(Error::wrap("stopped reading")),
                false => Ok(Response::new(String::new())),
            };
        }
        sleep(Duration::from_millis(how.pause)).await;
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let mut heard = heard.lock().unwrap();
        match frame {
            Some(Ok(frame)) => heard.bytes.extend_from_slice(&frame.into_data().expect("data")),
            Some(Err(error)) => {
                heard.over_the_limit = error.downcast_ref::<ReplayLimit>().is_some();
                return Err(Error::wrap(error));
            }
            None => {
                heard.at_end = true;
                return Ok(Response::new(String::new()));
            }
        }
    }
    unreachable!("a body ends")
}

async fn run(
    pieces: Vec<Vec<u8>>,
    source_pause: u64,
    delay: u64,
    attempts: Vec<Reads>,
) -> Vec<Arc<Mutex<Read>>> {
    let heard: Arc<Mutex<Vec<Arc<Mutex<Read>>>>> = Arc::default();
    let all = Arc::clone(&heard);
    let backend = service_fn(move |request: Request<ReplayBody<Body>>| {
        let own = Arc::new(Mutex::new(Read::default()));
        let number = {
            let mut all = all.lock().unwrap();
            all.push(Arc::clone(&own));
            all.len() - 1
        };
        let how = attempts[number];
        async move { read(request.into_body(), how, &own).await }
    });
    let settings = HedgeSettings::new().fixed_delay(Duration::from_millis(delay)).attempts(3).replay_cap(CAP);
    let service = HedgeLayer::from(settings).layer(backend);
    let frames = futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        sleep(Duration::from_millis(source_pause)).await;
        let piece = pieces.next()?;
        Some((Ok::<_, Error>(Frame::data(Bytes::from(piece))), pieces))
    });
    let body = ReplayBody::new(Body::new(StreamBody::new(Box::pin(frames))));
    let call = service.oneshot(Request::put("/").body(body).expect("valid"));
    let _ = tokio::time::timeout(Duration::from_secs(600), call).await.expect("it ends");
    let heard = heard.lock().unwrap();
    heard.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attempts_at_once_read_the_same_body_from_its_start_and_one_gets_all_of_it_or_as_much_as_it_wants(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        source_pause in 0_u64..30,
        delay in 0_u64..60,
        attempts in prop::collection::vec(reads(), 3),
    ) {
        let whole: Vec<u8> = pieces.concat();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let heard = runtime.block_on(run(pieces, source_pause, delay, attempts));
        prop_assert!((1..=3).contains(&heard.len()));
        for one in &heard {
            let one = one.lock().unwrap();
            prop_assert!(whole.starts_with(&one.bytes), "spliced: {one:?}");
            prop_assert!(!one.at_end || one.bytes.len() == whole.len(), "cut short without an error: {one:?}");
            prop_assert!(!one.over_the_limit || whole.len() > CAP, "{one:?}");
        }
        let limited = heard.iter().filter(|one| one.lock().unwrap().over_the_limit).count();
        prop_assert!(limited < heard.len(), "the one in front goes on");
    }
}
