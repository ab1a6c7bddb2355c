//! Which connections are used again, and which are thrown away.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, mem};

use http::{Method, Request};
use http_body_util::BodyExt;
use stonework::Body;
use stonework::base::{Backoff, Delivery, Event, Kind};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::retry::RetrySettings;
use stonework::testing::{Recorder, ScriptedServer, close_on_next_head, respond};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

use super::kit::{Net, SECOND, TURN, answer_each, head, plain, told};
use crate::support::polled;

const URI: &str = "http://a.test/path";

async fn get(client: &Client) -> String {
    client.get(URI).send().await.unwrap().text().await.unwrap()
}

/// Answer each request with this head and body.
fn always(answer: &'static str) -> Net {
    Net::new(Duration::ZERO, move |_, mut peer| async move {
        while head(&mut peer).await.is_some() {
            if peer.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_lies_idle_is_closed_with_its_client() {
    let net = always("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let client = net.client(plain());
    let other = client.clone();
    let answer = client.get(URI).send().await.unwrap().into_body();
    assert_eq!(http_body::Body::size_hint(&answer).exact(), Some(5));
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "hello");
    drop(client);
    sleep(TURN).await;
    assert_eq!(net.open(), 1);
    drop(other);
    sleep(TURN).await;
    assert_eq!(net.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_lies_idle_for_too_long_is_closed_when_it_is_time() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, Duration::ZERO));
    let client = net.client(plain());
    get(&client).await;
    sleep(SECOND * 4 - TURN).await;
    assert_eq!(net.open(), 1);
    sleep(TURN * 2).await;
    assert_eq!((net.open(), client.connections().open), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_is_let_go_before_its_server_says_that_it_closes_it() {
    let net = always("HTTP/1.1 200 OK\r\nkeep-alive: timeout=2, max=100\r\ncontent-length: 0\r\n\r\n");
    let client = net.client(plain());
    for (pause, dialed) in [(0, 1), (900, 1), (900, 1), (1100, 2), (900, 2)] {
        sleep(Duration::from_millis(pause)).await;
        get(&client).await;
        assert_eq!(net.dialed(), dialed, "after {pause} ms");
    }
    // It is not even kept that long.
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(net.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_server_says_of_its_end_holds_also_when_somebody_had_it_who_left() {
    let net = always("HTTP/1.1 200 OK\r\nkeep-alive: timeout=2\r\ncontent-length: 1\r\n\r\nx");
    let client = net.client(plain().max_connections_per_host(1));
    let answer = client.get(URI).send().await.unwrap();
    let mut left = Box::pin(client.get(URI).send());
    assert!(polled(&mut left).await.is_pending());
    // It is handed over, and comes back.
    answer.text().await.unwrap();
    sleep(SECOND / 2).await;
    drop(left);
    assert_eq!((client.connections().idle, net.open()), (1, 1));
    sleep(SECOND / 2 + TURN).await;
    assert_eq!(net.open(), 0, "a second before its server closes it");
}

#[tokio::test(start_paused = true)]
async fn one_that_closes_makes_room_for_its_own_host_before_another_has_to_give() {
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        while let Some(head) = head(&mut peer).await {
            let close = if head.contains("a.test") { "close" } else { "keep-alive" };
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: {close}\r\ncontent-length: 1\r\n\r\nx");
            if peer.write_all(answer.as_bytes()).await.is_err() || close == "close" {
                return;
            }
        }
    });
    let client = net.client(plain().max_connections_per_host(1).max_connections(2));
    let other = || async { client.get("http://b.test/").send().await.unwrap().text().await.unwrap() };
    other().await;
    let calls = (0..5).map(|_| get(&client));
    assert_eq!(futures_util::future::join_all(calls).await.len(), 5);
    other().await;
    assert_eq!(net.dialed(), 6, "one for each call to the one, and one for all to the other");
}

#[tokio::test(start_paused = true)]
async fn one_that_either_side_means_to_close_is_used_once() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=0\r\ncontent-length: 1\r\n\r\nx",
    ] {
        let net = always(answer);
        let client = net.client(plain());
        for nth in 1..4 {
            get(&client).await;
            assert_eq!(net.dialed(), nth, "{answer}");
        }
    }
    let net = always("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
    let client = net.client(plain());
    for nth in 1..4 {
        let closing = client.get(URI).header("connection", "close").send().await.unwrap();
        assert_eq!((closing.text().await.unwrap(), net.dialed()), ("x".to_owned(), nth));
        sleep(TURN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn none_is_kept_where_none_is_to_be() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, Duration::ZERO));
    let client = net.client(plain().without_idle_connections());
    for nth in 1..4 {
        get(&client).await;
        sleep(TURN).await;
        assert_eq!((net.dialed(), net.open()), (nth, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_has_served_for_long_enough_is_replaced_and_not_all_at_once() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, Duration::from_millis(100)));
    let client = net.client(plain().connection_lifetime(SECOND * 100).max_connections_per_host(20));
    let start = Instant::now();
    let mut made = Vec::new();
    // Twenty at a time, without a pause.
    let callers = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            while start.elapsed() < SECOND * 120 {
                assert_eq!(get(&client).await, "/path");
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    while start.elapsed() < SECOND * 119 {
        sleep(SECOND).await;
        made.push(net.dialed());
    }
    for caller in callers {
        caller.await.unwrap();
    }
    // Each of them was let go somewhere in the last tenth of its time.
    let at = |second: usize| made[second - 1];
    assert_eq!((at(88), at(102)), (20, 40));
    assert!((22..=38).contains(&at(95)), "{}", at(95));
    assert_eq!(net.peak(), 20);
}

/// Its peer has closed it when it is looked at for the second time, which is when a request is handed to it.
struct Closes {
    looked: bool,
}

impl AsyncRead for Closes {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if mem::replace(&mut self.looked, true) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Closes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        panic!("nothing is sent")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_unsent_again_and_again_is_handed_back() {
    let transport = connect_fn(|_: Target| async { Ok(Closes { looked: false }) });
    let connector = Connector::builder().transport(transport).build().unwrap();
    let client = Client::builder().settings(plain()).connector(connector).build().unwrap();
    let mut error = client.post(URI).body("work").send().await.unwrap_err();
    assert_eq!((error.delivery(), client.connections().replayed), (Delivery::NotSent, 2), "{error:?}");
    let request = error.take_request::<Request<Body>>().expect("somebody may know another host");
    assert_eq!(request.uri(), URI);
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "work");
}

#[tokio::test]
async fn what_comes_back_unsent_goes_out_again_whatever_the_method() {
    // The server closes at the very moment at which the next request leaves: on one thread nobody has seen it yet.
    let (close, closes) = std::sync::mpsc::channel::<DuplexStream>();
    let net = Net::with(move |nth, mut peer| {
        let close = close.clone();
        async move {
            tokio::spawn(async move {
                if nth == 0 {
                    head(&mut peer).await;
                    peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    close.send(peer).unwrap();
                } else {
                    answer_each(peer, Duration::ZERO).await;
                }
            });
            Ok(())
        }
    });
    let heard = Recorder::new();
    let client = net.builder(plain()).observer(heard.clone()).build().unwrap();
    get(&client).await;
    while client.connections().idle == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    drop(closes.recv().unwrap());
    let answer = client.post(URI).body("work").send().await.unwrap();
    assert_eq!((answer.attempts(), answer.text().await.unwrap()), (1, "/path".to_owned()));
    assert_eq!((net.dialed(), client.connections().replayed), (2, 1));
    assert!(heard.events().iter().any(|event| matches!(event, Event::RequestReplayed { .. })));
}

#[tokio::test]
async fn a_server_that_closes_with_each_second_request_costs_a_get_nothing_and_a_post_is_sent_once() {
    let server = ScriptedServer::start(close_on_next_head()).await;
    let backoff = Backoff::constant(Duration::from_millis(1)).unwrap();
    let settings =
        ClientSettings::new().without_breaker().retry(RetrySettings::new().backoff(backoff).without_budget());
    let client = Client::builder().settings(settings).build().unwrap();
    // Ten thousand times in `.ci/run full`.
    let rounds = std::env::var("STONEWORK_ROUNDS").map_or(300, |rounds| rounds.parse().unwrap());
    let (mut lost, mut posts) = (0, 0);
    for nth in 0..rounds {
        let answer = client.get(server.uri("/")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{nth}");
        drop(answer);
        if nth % 10 == 0 {
            posts += 1;
            match client.post(server.uri("/")).body("work").send().await {
                Ok(answer) => assert_eq!(answer.status(), 200),
                Err(error) => {
                    assert_eq!(told(&error), (Kind::Transport, Delivery::Unknown), "{error:#}");
                    lost += 1;
                }
            }
        }
    }
    assert_eq!(server.heads_of(&Method::POST), posts, "none twice");
    assert!(lost > 0, "the race was run");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_drained_if_it_is_short_and_else_its_connection_is_closed() {
    for (length, kept) in [(10, true), (60_000, true), (70_000, false)] {
        let server = ScriptedServer::start(move |_| respond(200).body(vec![b'x'; length]).keep_alive()).await;
        let client = Client::builder().settings(plain()).build().unwrap();
        for nth in 0..3 {
            drop(client.get(server.uri("/")).send().await.unwrap());
            if kept {
                while client.connections().idle == 0 {
                    sleep(TURN).await;
                }
            } else {
                server.wait_until("it is closed", |server| server.open() == 0).await;
            }
            assert_eq!(server.connections(), if kept { 1 } else { nth + 1 }, "{length} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_drained_in_time_closes_its_connection() {
    let net = always("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx");
    let client = net.client(plain());
    drop(client.get(URI).send().await.unwrap());
    sleep(Duration::from_millis(99)).await;
    assert_eq!(net.open(), 1);
    sleep(TURN * 2).await;
    assert_eq!(net.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_lets_go_of_its_connection_at_once_although_its_peer_reads_nothing() {
    let net = Net::new(Duration::ZERO, |_, peer| async move {
        sleep(SECOND * 1000).await;
        drop(peer);
    });
    let client = net.client(plain().without_expect_continue());
    let call = client.post(URI).body(vec![b'x'; 1 << 20]).send();
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    sleep(TURN).await;
    assert_eq!((net.open(), client.connections().open), (0, 0));
}

#[tokio::test]
async fn the_late_bytes_of_an_answer_that_nobody_waits_for_never_reach_the_next() {
    // Each answer comes in two halves, and carries the path of its request.
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        while let Some(head) = head(&mut peer).await {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            for half in answer.as_bytes().chunks(answer.len().div_ceil(2)) {
                tokio::task::yield_now().await;
                if peer.write_all(half).await.is_err() {
                    return;
                }
            }
        }
    });
    let client = net.client(plain().max_connections_per_host(2));
    let rounds = std::env::var("STONEWORK_ROUNDS").map_or(2_000, |rounds| rounds.parse().unwrap());
    for nth in 0..rounds {
        let dropped = client.get(format!("http://a.test/dropped/{nth}")).send();
        let mut dropped = Box::pin(dropped);
        // Left at any point: before it is sent, while it is answered, with half a body.
        for _ in 0..nth % 13 {
            if futures_util::poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        let expected = format!("/kept/{nth}");
        let answer = client.get(format!("http://a.test{expected}")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), expected);
    }
    assert!(net.dialed() > 1, "connections were thrown away");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_the_request_is_sent_is_the_answer_and_the_connection_is_closed() {
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        head(&mut peer).await;
        peer.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 3\r\n\r\nbig").await.unwrap();
        let _ = peer.read_to_end(&mut Vec::new()).await;
    });
    let client = net.client(plain());
    let (mut sender, body) =
        http_body_util::channel::Channel::<bytes::Bytes, std::convert::Infallible>::new(1);
    sender.send_data("first".into()).await.unwrap();
    let answer = client.post(URI).body(Body::new(body)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (413, "big".to_owned()));
    sleep(TURN).await;
    assert_eq!(net.open(), 0, "nobody knows when the rest of the request will have been sent");
    assert!(sender.send_data("second".into()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_longer_than_its_caller_said_is_an_error_and_not_the_next_request() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
    let client = net.client(plain());
    let long = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(
        ["12345", "GET /smuggled HTTP/1.1\r\n\r\n"]
            .map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(part)))),
    )));
    let error = client.post(URI).header("content-length", "5").body(long).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Body, Delivery::Unknown), "{error:#}");
    sleep(TURN).await;
    assert_eq!(net.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_belongs_to_whoever_upgraded_it() {
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        head(&mut peer).await;
        peer.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello",
        )
        .await
        .unwrap();
        let (mut read, mut write) = tokio::io::split(peer);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let client = net.client(plain());
    let request = http::Request::get(URI).header("connection", "upgrade").header("upgrade", "echo");
    let mut service = client.clone();
    let answer = tower::Service::call(&mut service, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut upgraded = hyper_util::rt::TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut said = [0; 5];
    upgraded.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    upgraded.write_all(b"again").await.unwrap();
    upgraded.read_exact(&mut said).await.unwrap();
    assert_eq!((&said, client.connections().idle), (b"again", 0));
    drop(upgraded);
    sleep(TURN).await;
    assert_eq!((net.open(), client.connections().open), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn against_a_server_that_closes_after_a_second_none_of_two_hundred_tries_fails() {
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        while let Ok(Some(_)) = tokio::time::timeout(SECOND, head(&mut peer)).await {
            let answer = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n";
            peer.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = net.client(plain());
    for nth in 0..200 {
        // From before the server's time, and from after it.
        sleep(Duration::from_millis(200 + 10 * (nth % 110))).await;
        let answer = client.post(URI).body("work").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{nth}");
    }
    assert!(net.dialed() > 50, "{}", net.dialed());
}

#[tokio::test(start_paused = true)]
async fn no_more_are_kept_idle_than_the_settings_say_and_the_newest_are() {
    for (most, kept) in [(2, 2), (9, 5)] {
        let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
        let client = net.client(plain().max_idle_per_host(most));
        // What the host speaks is known from the first.
        get(&client).await;
        futures_util::future::join_all((0..5).map(|_| get(&client))).await;
        sleep(TURN).await;
        assert_eq!((net.dialed(), net.open(), client.connections().idle), (5, kept, kept), "at most {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_wedges_is_left_after_one_attempt_and_all_else_goes_over_another() {
    let net = Net::new(Duration::ZERO, |nth, mut peer| async move {
        if nth == 0 {
            head(&mut peer).await;
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            head(&mut peer).await;
            sleep(SECOND * 1000).await;
        }
        answer_each(peer, Duration::ZERO).await;
    });
    let client = net.client(plain().attempt_timeout(SECOND));
    get(&client).await;
    let error = client.get(URI).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Timeout, Delivery::Unknown));
    for _ in 0..10 {
        assert_eq!(get(&client).await, "/path");
    }
    assert_eq!((net.dialed(), net.open()), (2, 1));
}
