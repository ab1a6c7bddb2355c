//! Connections over HTTP/2: how many, for how long, and what they say of requests that failed.

use std::error::Error as _;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::base::{Backoff, BoxError, Delivery, Event, Kind};
use stonework::client::{Client, ClientSettings, RequestBodyFailed};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::retry::RetrySettings;
use stonework::testing::Recorder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

use super::kit::{Net, SECOND, TURN, plain, told};

const URI: &str = "http://a.test/path";

fn settings() -> ClientSettings {
    plain().http2_only()
}

/// Serve each stream with this; so many at once are allowed.
async fn serve<F>(
    peer: DuplexStream,
    streams: u32,
    answer: impl Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = Builder::new().max_concurrent_streams(streams).handshake(peer).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

fn ok(mut respond: SendResponse<Bytes>, text: &'static str) {
    if let Ok(mut body) = respond.send_response(Response::new(()), false) {
        let _ = body.send_data(text.into(), true);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_peers_limit_on_streams_get_connections_of_their_own_and_those_go_again() {
    let net = Net::new(TURN, |_, peer| {
        serve(peer, 10, |_, respond| async {
            sleep(SECOND * 10).await;
            ok(respond, "long");
        })
    });
    let client = net.client(settings());
    let start = Instant::now();
    let calls = (0..35).map(|_| async { client.get(URI).send().await.unwrap().text().await.unwrap() });
    assert!(join_all(calls).await.into_iter().all(|text| text == "long"));
    assert!(start.elapsed() < SECOND * 11, "all at once: {:?}", start.elapsed());
    assert_eq!((net.dialed(), net.peak()), (4, 4));
    // One at a time is carried by the first, and the others are let go when they have lain idle for ninety seconds.
    for _ in 0..12 {
        client.get(URI).send().await.unwrap().text().await.unwrap();
    }
    assert_eq!((net.dialed(), net.open(), client.connections().open), (4, 1, 1));
    sleep(SECOND * 91).await;
    assert_eq!(net.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_lets_in_the_one_that_waits_for_longest() {
    let net = Net::new(TURN, |_, peer| {
        serve(peer, 2, |_, respond| async {
            sleep(SECOND).await;
            ok(respond, "x");
        })
    });
    let client = net.client(settings().max_connections_per_host(1));
    let start = Instant::now();
    let calls = (0..6).map(|_| async {
        client.get(URI).send().await.unwrap().text().await.unwrap();
        start.elapsed().as_secs()
    });
    assert_eq!(join_all(calls).await, [1, 1, 2, 2, 3, 3]);
    assert_eq!(net.dialed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_for_fewer_than_was_thought_keeps_nobody_waiting_for_long() {
    // It takes three seconds to connect; the server allows ten streams, and then one.
    let net = Net::new(SECOND * 3, |nth, peer| {
        serve(peer, if nth == 0 { 10 } else { 1 }, move |_, respond| async move {
            if nth > 0 {
                sleep(SECOND * 600).await;
            }
            ok(respond, "x");
        })
    });
    let client = net
        .client(settings().max_connections_per_host(1).pool_timeout(SECOND * 2).without_idle_connections());
    client.get(URI).send().await.unwrap().text().await.unwrap();
    sleep(TURN).await;
    assert_eq!(net.open(), 0);
    let start = Instant::now();
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(client.get(URI).send())).collect();
    sleep(SECOND * 8).await;
    assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), 2, "one is being answered");
    for call in calls {
        if call.is_finished() {
            assert_eq!(told(&call.await.unwrap().unwrap_err()), (Kind::Timeout, Delivery::NotSent));
        }
    }
    assert_eq!((start.elapsed(), net.dialed()), (SECOND * 8, 2));
}

/// So many streams are allowed (RFC 9113, section 6.5.2).
const fn allows(streams: u8) -> [u8; 15] {
    [0, 0, 6, SET, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_as_soon_as_the_peer_allows_more_streams() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let net = Net::new(TURN, move |_, peer| {
        let begun = Arc::clone(&counted);
        async move {
            let (mut from, mut to) = tokio::io::split(peer);
            from.read_exact(&mut [0; 24]).await.unwrap();
            to.write_all(&allows(1)).await.unwrap();
            tokio::spawn(async move {
                sleep(SECOND).await;
                to.write_all(&allows(3)).await.unwrap();
                pending::<()>().await;
            });
            let mut head = [0; 9];
            while from.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                from.read_exact(&mut vec![0; length]).await.unwrap();
                begun.fetch_add(usize::from(head[3] == HEADERS), Ordering::SeqCst);
            }
        }
    });
    let client = net.client(settings().max_connections_per_host(1));
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(client.get(URI).send())).collect();
    sleep(SECOND / 2).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    sleep(SECOND).await;
    assert_eq!((begun.load(Ordering::SeqCst), client.connections().waiting), (3, 1));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_ends_its_stream_and_nobody_elses() {
    let net = Net::new(TURN, |_, peer| {
        serve(peer, 1, |_, respond| async {
            sleep(SECOND).await;
            ok(respond, "x");
        })
    });
    let client = net.client(settings().max_connections_per_host(1));
    for _ in 0..20 {
        assert!(timeout(SECOND / 2, client.get(URI).send()).await.is_err());
        assert_eq!(client.get(URI).send().await.unwrap().text().await.unwrap(), "x");
    }
    assert_eq!(net.dialed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_over_a_connection_is_told_that_it_is_new_and_all_others_that_it_is_not() {
    let net = Net::new(TURN, |_, peer| serve(peer, 10, |_, respond| async { ok(respond, "x") }));
    let recorder = Recorder::new();
    let client = net.builder(settings()).observer(recorder.clone()).build().unwrap();
    // Three at once, and then one more.
    join_all((0..3).map(|_| client.get(URI).send()))
        .await
        .into_iter()
        .for_each(|answer| drop(answer.unwrap()));
    client.get(URI).send().await.unwrap();
    let reused = |event| match event {
        Event::ConnectionTaken { reused, http2: true, .. } => Some(reused),
        _ => None,
    };
    let reused: Vec<_> = recorder.take().into_iter().filter_map(reused).collect();
    assert_eq!((reused, net.dialed()), (vec![false, true, true, true], 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_goodbye_finishes_what_it_has_and_takes_nothing_new() {
    let net = Net::new(TURN, |nth, peer| async move {
        let mut connection = Builder::new().handshake::<_, Bytes>(peer).await.unwrap();
        let mut leaves = nth == 0;
        while let Some(Ok((_, respond))) = connection.accept().await {
            if std::mem::take(&mut leaves) {
                connection.graceful_shutdown();
            }
            tokio::spawn(async move {
                sleep(SECOND).await;
                ok(respond, if nth == 0 { "old" } else { "new" });
            });
        }
    });
    let client = net.client(settings());
    let get = || async { client.get(URI).send().await.unwrap().text().await.unwrap() };
    let old = get();
    let new = async {
        sleep(SECOND / 2).await;
        get().await
    };
    assert_eq!(tokio::join!(old, new), ("old".to_owned(), "new".to_owned()));
    sleep(TURN).await;
    assert_eq!((net.dialed(), net.open()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_refused_go_out_again_whatever_the_method() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&handled);
    let net = Net::new(TURN, move |_, peer| {
        let (handled, refused) = (Arc::clone(&counts), AtomicUsize::new(0));
        serve(peer, 100, move |_, mut respond| {
            let refuse = refused.fetch_add(1, Ordering::SeqCst) % 3 == 1;
            let handled = Arc::clone(&handled);
            async move {
                if refuse {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                handled.fetch_add(1, Ordering::SeqCst);
                ok(respond, "done");
            }
        })
    });
    let backoff = Backoff::constant(TURN).unwrap();
    let retry = RetrySettings::new().backoff(backoff).attempts(9).without_budget();
    let client = net.client(settings().retry(retry));
    let posts =
        (0..30).map(|_| async { client.post(URI).body("work").send().await.unwrap().text().await.unwrap() });
    assert!(join_all(posts).await.into_iter().all(|text| text == "done"));
    assert_eq!((handled.load(Ordering::SeqCst), net.dialed()), (30, 1));
}

// ───────────────────────────────────────────────────────────────────────────── goodbyes, frame by frame

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

fn goaway(last: u32, reason: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend(last.to_be_bytes());
    frame.extend(reason.to_be_bytes());
    frame
}

/// Read until the headers of so many streams have come.
async fn streams(peer: &mut DuplexStream, mut wanted: usize) {
    peer.read_exact(&mut [0; 24]).await.unwrap();
    peer.write_all(&SETTINGS).await.unwrap();
    while wanted > 0 {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        peer.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 1 {
            wanted -= 1;
        }
    }
}

/// The kinds of frames, and the one setting, that say what may be sent unread (RFC 9113, sections 6.5.2 and 6.9).
const HEADERS: u8 = 1;
const SET: u8 = 4;
const UPDATE: u8 = 8;
const FIRST_WINDOW: u16 = 4;

#[tokio::test(start_paused = true)]
async fn a_server_may_send_two_mebibytes_of_a_stream_and_five_in_all_before_they_are_read() {
    // Of a stream, and of the connection; both begin with what the standard says.
    let said = Arc::new([65_535, 65_535].map(AtomicUsize::new));
    let hears = Arc::clone(&said);
    let net = Net::new(TURN, move |_, mut peer| {
        let hears = Arc::clone(&hears);
        async move {
            peer.read_exact(&mut [0; 24]).await.unwrap();
            peer.write_all(&SETTINGS).await.unwrap();
            loop {
                let mut head = [0; 9];
                peer.read_exact(&mut head).await.unwrap();
                let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let mut payload = vec![0; number(&head[..3])];
                peer.read_exact(&mut payload).await.unwrap();
                match head[3] {
                    SET => {
                        let first = payload.chunks(6).find(|entry| entry[..2] == FIRST_WINDOW.to_be_bytes());
                        first.inspect(|entry| hears[0].store(number(&entry[2..]), Ordering::SeqCst));
                    }
                    UPDATE if head[5..] == [0; 4] => {
                        _ = hears[1].fetch_add(number(&payload), Ordering::SeqCst)
                    }
                    HEADERS => break,
                    _ => {}
                }
            }
            sleep(SECOND * 60).await;
        }
    });
    let client = net.client(settings());
    timeout(SECOND, client.get(URI).send()).await.expect_err("there is no answer");
    assert_eq!([&said[0], &said[1]].map(|window| window.load(Ordering::SeqCst)), [2 << 20, 5 << 20]);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_proves_of_the_streams_beyond_its_last_that_they_were_not_processed_and_of_no_other() {
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::REFUSED_STREAM] {
        let code: u32 = reason.into();
        let net = Net::new(TURN, move |_, mut peer| async move {
            streams(&mut peer, 3).await;
            // Streams 1, 3 and 5 are open; of the first it says that it may have been processed.
            peer.write_all(&goaway(1, code)).await.unwrap();
            sleep(SECOND).await;
        });
        let client = net.client(settings());
        let posts = join_all((0..3).map(|_| client.post(URI).body("work").send())).await;
        let mut deliveries: Vec<_> = posts.into_iter().map(|post| told(&post.unwrap_err())).collect();
        deliveries.sort_by_key(|(_, delivery)| format!("{delivery:?}"));
        let (refused, unknown) = ((Kind::Transport, Delivery::Refused), (Kind::Transport, Delivery::Unknown));
        assert_eq!(deliveries, [refused, refused, unknown], "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_its_connection_without_a_goodbye_proves_nothing() {
    let net = Net::new(TURN, |_, mut peer| async move { streams(&mut peer, 2).await });
    let client = net.client(settings());
    for post in join_all((0..2).map(|_| client.post(URI).body("work").send())).await {
        assert_eq!(told(&post.unwrap_err()), (Kind::Transport, Delivery::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_another_connection_once_one_has_said_goodbye() {
    let net = Net::new(TURN, |nth, mut peer| async move {
        if nth == 0 {
            streams(&mut peer, 0).await;
            sleep(SECOND).await;
            peer.write_all(&goaway(0, 0)).await.unwrap();
            sleep(SECOND * 60).await;
        } else {
            serve(peer, 10, |_, respond| async { ok(respond, "x") }).await;
        }
    });
    let client = net.client(settings());
    assert!(timeout(SECOND * 2, client.post(URI).send()).await.unwrap().is_err());
    assert_eq!(client.post(URI).send().await.unwrap().text().await.unwrap(), "x");
    assert_eq!(net.dialed(), 2);
}

// ───────────────────────────────────────────────────────────────────────────── request bodies

/// How a body ends that does not end well.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Fails,
    TooEarly,
    WithTrailers,
    Panics,
}

/// Half of ten bytes, if it begins at all; and then that.
fn body(begins: bool, ends: Ends) -> Body {
    let half = begins.then(|| Ok(Frame::data(Bytes::from_static(b"12345"))));
    let end = stream::once(async move {
        if begins {
            sleep(SECOND / 10).await;
        }
        match ends {
            Ends::Fails => Some(Err(BoxError::from("the disk is gone"))),
            Ends::TooEarly => None,
            Ends::WithTrailers => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Ends::Panics => panic!("on purpose"),
        }
    });
    let frames = stream::iter(half).chain(end.filter_map(|frame| async move { frame }));
    Body::new(StreamBody::new(Box::pin(frames)))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_badly_is_told_as_that_and_ends_no_other_call() {
    let net = Net::new(TURN, |_, peer| {
        serve(peer, 10, |request, respond| async move {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.data().await {}
            sleep(SECOND).await;
            ok(respond, "x");
        })
    });
    let client = net.client(settings());
    for begins in [true, false] {
        for (ends, why) in [
            (Ends::Fails, "the disk is gone"),
            (Ends::TooEarly, "the body is shorter than the header `content-length` says"),
            (Ends::WithTrailers, "the body is shorter than the header `content-length` says"),
            (Ends::Panics, "the work did not come to its end"),
        ] {
            let other = tokio::spawn(client.get(URI).send());
            sleep(SECOND / 2).await;
            let post = client.post(URI).header("content-length", "10").body(body(begins, ends));
            let error = timeout(SECOND / 4, post.send()).await.expect("it is told at once").unwrap_err();
            let failed = error.cause::<RequestBodyFailed>().and_then(|failed| failed.source());
            assert_eq!(
                failed.map(ToString::to_string).as_deref(),
                Some(why),
                "{begins}, {ends:?}: {error:?}"
            );
            assert_eq!(told(&error), (Kind::Body, Delivery::Unknown), "{begins}, {ends:?}");
            assert_eq!(other.await.unwrap().unwrap().text().await.unwrap(), "x", "{begins}, {ends:?}");
        }
    }
    assert_eq!(net.dialed(), 1);
}

/// A piece, and then nothing, for as long as anybody waits for it: half of a call of gRPC that goes both ways.
fn endless() -> (Body, std::sync::Weak<()>) {
    let kept = Arc::new(());
    let watch = Arc::downgrade(&kept);
    let piece = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"piece")))]);
    let rest = stream::once(async move {
        pending::<()>().await;
        drop(kept);
        Err(BoxError::from("nobody comes here"))
    });
    (Body::new(StreamBody::new(Box::pin(piece.chain(rest)))), watch)
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_request_goes_with_its_answer_and_the_server_is_told() {
    for (whole, read) in [(true, true), (false, false)] {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let net = Net::new(TURN, move |_, peer| {
            let tell = tell.clone();
            serve(peer, 10, move |request, mut respond| {
                let tell = tell.clone();
                async move {
                    let mut answer = respond.send_response(Response::new(()), false).unwrap();
                    answer.send_data("x".into(), whole).unwrap();
                    let mut body = request.into_body();
                    while let Some(piece) = body.data().await {
                        if let Err(error) = piece {
                            tell.send(error.reason()).unwrap();
                            break;
                        }
                    }
                }
            })
        });
        let client = net.client(settings());
        let (body, watch) = endless();
        let answer = client.post(URI).body(body).send().await.unwrap();
        sleep(SECOND * 5).await;
        assert!(watch.upgrade().is_some() && told.try_recv().is_err(), "the answer is not over");
        if read {
            assert_eq!(answer.text().await.unwrap(), "x");
        } else {
            drop(answer);
        }
        let reason = timeout(SECOND, told.recv()).await.expect("it is told at once").unwrap();
        assert_eq!((reason, watch.upgrade()), (Some(Reason::CANCEL), None), "{whole}, {read}");
        assert_eq!((net.dialed(), net.open()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_over_stays_so_though_the_rest_of_its_request_is_taken_back() {
    for text in ["", "x"] {
        let net = Net::new(TURN, move |_, peer| {
            serve(peer, 10, move |_request, mut respond| async move {
                let mut answer = respond.send_response(Response::new(()), text.is_empty()).unwrap();
                if !text.is_empty() {
                    answer.send_data(text.into(), true).unwrap();
                }
                pending::<()>().await;
            })
        });
        let client = net.client(settings());
        let (body, _watch) = endless();
        let mut answer = client.post(URI).body(body).send().await.unwrap().into_body();
        if !text.is_empty() {
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece, text);
        }
        // Meanwhile the stream is reset.
        sleep(SECOND).await;
        assert!(answer.is_end_stream());
        assert!(answer.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_reset_before_its_end_is_not_whole_though_that_is_called_no_error() {
    for (data, length, whole) in [
        ("he", None, false),
        ("he", Some(5), false),
        ("", None, false),
        ("hello", None, true),
        ("hello", Some(5), true),
    ] {
        let tried = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&tried);
        let net = Net::new(TURN, move |_, peer| {
            let tried = Arc::clone(&counts);
            serve(peer, 10, move |_request, mut respond| {
                tried.fetch_add(1, Ordering::SeqCst);
                async move {
                    let head = Response::builder();
                    let head =
                        if let Some(length) = length { head.header("content-length", length) } else { head };
                    let mut answer = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    answer.send_data(data.into(), whole).unwrap();
                    // It goes out; nothing of it has been read.
                    sleep(TURN).await;
                    answer.send_reset(Reason::NO_ERROR);
                }
            })
        });
        let client = net.client(settings());
        // Whether or not all of the request was sent.
        for waits in [false, true] {
            let call = client.post(URI);
            let call = if waits { call.body(endless().0) } else { call };
            let answer = call.send().await.unwrap();
            sleep(SECOND).await;
            let read = answer.text().await;
            let Err(error) = read else {
                assert_eq!((read.unwrap(), whole), (data.to_owned(), true), "{length:?}, {waits}");
                continue;
            };
            assert!(!whole, "{data}, {length:?}, {waits}: {error:?}");
            assert_eq!(told(&error), (Kind::Body, Delivery::Answered), "{data}, {length:?}, {waits}");
            let why = "the stream was reset before the end of the body";
            assert!(format!("{error:#}").ends_with(why), "{error:#}");
        }
        assert_eq!((tried.swap(0, Ordering::SeqCst), net.dialed()), (2, 1));
    }
}

// ───────────────────────────────────────────────────────────────────────────── silence

/// Answers once, and then neither says nor takes anything.
async fn wedges(peer: DuplexStream) {
    let mut connection = Builder::new().handshake::<_, Bytes>(peer).await.unwrap();
    let (_, respond) = connection.accept().await.unwrap().unwrap();
    ok(respond, "x");
    let _ = timeout(TURN, connection.accept()).await;
    sleep(SECOND * 3600).await;
    drop(connection);
}

async fn get(client: &Client) -> Result<String, stonework::Error> {
    client.get(URI).send().await?.text().await
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_silent_is_left_after_one_attempt() {
    let net = Net::new(TURN, |nth, peer| async move {
        if nth == 0 {
            wedges(peer).await;
        } else {
            serve(peer, 10, |_, respond| async { ok(respond, "y") }).await;
        }
    });
    let client = net.client(settings().attempt_timeout(SECOND));
    assert_eq!(get(&client).await.unwrap(), "x");
    sleep(TURN * 5).await;
    assert_eq!(told(&get(&client).await.unwrap_err()), (Kind::Timeout, Delivery::Unknown));
    for _ in 0..10 {
        assert_eq!(get(&client).await.unwrap(), "y");
    }
    assert_eq!(net.dialed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_does_not_cost_its_connection() {
    let net = Net::new(TURN, |_, peer| {
        serve(peer, 10, |request, respond| async move {
            if request.method() == "POST" {
                sleep(SECOND * 10).await;
            }
            ok(respond, "y");
        })
    });
    let client = net.client(settings().attempt_timeout(SECOND));
    let slow = client.post(URI).send();
    let quick = async {
        sleep(SECOND / 2).await;
        get(&client).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(told(&slow.unwrap_err()), (Kind::Timeout, Delivery::Unknown));
    assert_eq!(
        (quick.unwrap(), get(&client).await.unwrap(), net.dialed()),
        ("y".to_owned(), "y".to_owned(), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_while_it_lies_idle_is_noticed_within_thirty_seconds() {
    let net = Net::new(TURN, |_, peer| wedges(peer));
    let client = net.client(settings());
    assert_eq!(get(&client).await.unwrap(), "x");
    sleep(SECOND * 19).await;
    assert_eq!(net.open(), 1);
    sleep(SECOND * 12).await;
    assert_eq!((net.open(), client.connections().open), (0, 0));
}

/// Answers pings, which it counts, and requests if it `answers`.
async fn pinged(mut peer: DuplexStream, answers: bool, pings: Arc<AtomicUsize>) {
    const PING: u8 = 6;
    peer.read_exact(&mut [0; 24]).await.unwrap();
    peer.write_all(&SETTINGS).await.unwrap();
    let mut head = [0; 9];
    while peer.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        peer.read_exact(&mut payload).await.unwrap();
        match (head[3], head[4]) {
            (PING, 0) => {
                pings.fetch_add(1, Ordering::SeqCst);
                peer.write_all(&[&[0, 0, 8, PING, 1, 0, 0, 0, 0], &payload[..]].concat()).await.unwrap();
            }
            // `:status` is 200, and that is all.
            (HEADERS, _) if answers => {
                peer.write_all(&[&[0, 0, 1, HEADERS, 5], &head[5..], &[0x88]].concat()).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn servers_of_grpc_are_asked_whether_they_are_there_no_more_often_than_they_permit() {
    // While one call goes on for a thousand seconds, and while none does until the connection is let go.
    for (kind, on, busy, idle) in
        [("text/plain", true, 49, 4), ("application/grpc+proto", true, 3, 0), ("text/plain", false, 0, 0)]
    {
        for (answers, expected) in [(false, busy), (true, idle)] {
            let pings = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&pings);
            let net = Net::new(TURN, move |_, peer| pinged(peer, answers, Arc::clone(&counts)));
            let settings = settings().without_deadline().without_attempt_timeout();
            let client = net.client(if on { settings } else { settings.without_http2_keep_alive() });
            let call = client.post(URI).header("content-type", kind).send();
            let call = tokio::spawn(async move { call.await.map(drop) });
            sleep(SECOND * 1000).await;
            let told = (pings.load(Ordering::SeqCst), net.open(), call.is_finished());
            assert_eq!(told, (expected, usize::from(!answers), answers), "{kind}, {on}");
            call.abort();
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── what is sent

#[tokio::test(start_paused = true)]
async fn a_request_says_its_host_once_and_trailers_arrive() {
    let (tell, told) = std::sync::mpsc::channel();
    let net = Net::new(TURN, move |_, peer| {
        let tell = tell.clone();
        serve(peer, 10, move |request, mut respond| {
            tell.send((request.uri().clone(), request.headers().clone())).unwrap();
            async move {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data("x".into(), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        })
    });
    let client = net.client(settings());
    for (host, authority) in [(None, "a.test"), (Some("b.test:81"), "b.test:81")] {
        let mut request = Request::get("http://a.test/path?query");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer =
            tower::Service::call(&mut client.clone(), request.body(Body::empty()).unwrap()).await.unwrap();
        let all = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        assert_eq!(all.trailers().unwrap()["grpc-status"], "0");
        let (uri, headers) = told.recv().unwrap();
        assert_eq!(
            (uri.authority().unwrap().as_str(), uri.path_and_query().unwrap().as_str()),
            (authority, "/path?query")
        );
        assert!(!headers.contains_key("host"));
    }
}

/// Counts how often it is looked for something to read.
struct Looks {
    io: DuplexStream,
    looks: Arc<AtomicUsize>,
}

impl AsyncRead for Looks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        assert!(looks < 1_000, "it goes round and round");
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl AsyncWrite for Looks {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_come_byte_by_byte_are_waited_for_in_peace() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let slow = connect_fn(move |_: Target| {
        let (io, mut peer) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            // Empty settings, and an acknowledgement of ours; then nothing (RFC 9113, section 4.1).
            for byte in [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0] {
                sleep(TURN * 100).await;
                let _ = peer.write_all(&[byte]).await;
            }
            pending::<()>().await;
        });
        let looks = Arc::clone(&counted);
        async move { Ok(Looks { io, looks }) }
    });
    let connector = Connector::builder().transport(slow).build().unwrap();
    let client = Client::builder().settings(settings()).connector(connector).build().unwrap();
    let call = tokio::spawn(client.get(URI).send());
    sleep(TURN * 850).await;
    assert_eq!((client.connections().dialing, client.connections().open), (1, 0), "half of them say nothing");
    sleep(TURN * 100).await;
    assert_eq!((client.connections().dialing, client.connections().open), (0, 1));
    let looks = looks.load(Ordering::SeqCst);
    assert!((9..100).contains(&looks), "{looks}");
    call.abort();
}
