//! Connections that are being made, and those who wait for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stonework::Error;
use stonework::base::{Delivery, Elapsed, Event, Kind, Phase};
use stonework::client::{Client, NotConnected};
use stonework::connect::ConnectError;
use stonework::testing::Recorder;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::kit::{Net, SECOND, TURN, answer_each, plain, told};

fn ask(client: &Client, deadline: Duration) -> JoinHandle<Result<String, Error>> {
    let call = client.get("http://a.test/path").deadline(deadline);
    tokio::spawn(async move { call.send().await?.text().await })
}

fn phase(error: &Error) -> Option<Phase> {
    error.cause::<Elapsed>().map(Elapsed::phase)
}

#[tokio::test(start_paused = true)]
async fn the_first_callers_own_limit_never_fails_the_others() {
    let net = Net::new(SECOND * 3, |_, peer| answer_each(peer, Duration::ZERO));
    let client = net.client(plain());
    let start = Instant::now();
    let (first, second) = (ask(&client, SECOND), ask(&client, SECOND * 10));
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), SECOND, "exactly at its deadline");
    assert_eq!(told(&error), (Kind::Timeout, Delivery::NotSent));
    assert_eq!(phase(&error), Some(Phase::Connect), "{error:#}");
    second.await.unwrap().unwrap();
    assert_eq!((start.elapsed(), net.dialed()), (SECOND * 3, 1), "the dial went on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_caller_gave_up_on_is_there_for_the_next() {
    let net = Net::new(SECOND * 3, |_, peer| answer_each(peer, Duration::ZERO));
    let client = net.client(plain());
    ask(&client, SECOND).await.unwrap().unwrap_err();
    sleep(SECOND * 3).await;
    assert_eq!(client.connections().idle, 1);
    let start = Instant::now();
    ask(&client, SECOND).await.unwrap().unwrap();
    assert_eq!((start.elapsed(), net.dialed()), (Duration::ZERO, 1));
}

/// Takes any number of streams over HTTP/2, and answers none.
async fn speaks_http2(peer: DuplexStream) {
    let Ok(mut connection) = h2::server::handshake(peer).await else { return };
    let mut streams = Vec::new();
    while let Some(Ok(stream)) = connection.accept().await {
        streams.push(stream);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_made_when_its_client_is_gone_is_closed_whatever_it_speaks() {
    for http2 in [false, true] {
        let net = Net::new(SECOND * 3, move |_, peer| async move {
            if http2 { speaks_http2(peer).await } else { answer_each(peer, Duration::ZERO).await }
        });
        let client = net.client(if http2 { plain().http2_only() } else { plain() });
        ask(&client, SECOND).await.unwrap().unwrap_err();
        drop(client);
        sleep(SECOND * 3).await;
        assert_eq!((net.dialed(), net.open()), (1, 0), "http2: {http2}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_caller_gave_up_on_is_kept_for_a_second_where_none_is_to_be_kept() {
    for http2 in [false, true] {
        let net = Net::new(SECOND * 3, move |_, peer| async move {
            if http2 { speaks_http2(peer).await } else { answer_each(peer, Duration::ZERO).await }
        });
        let settings = plain().without_idle_connections();
        let client = net.client(if http2 { settings.http2_only() } else { settings });
        ask(&client, SECOND).await.unwrap().unwrap_err();
        sleep(SECOND * 5 / 2).await;
        assert_eq!((net.open(), client.connections().idle), (1, 1), "http2: {http2}");
        sleep(SECOND).await;
        assert_eq!((net.open(), client.connections().idle), (0, 0), "http2: {http2}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_of_which_nothing_is_known_is_dialed_once_and_what_failed_is_told_to_all() {
    let net = Net::with(|_, _| async {
        sleep(SECOND).await;
        Err(io::ErrorKind::ConnectionRefused.into())
    });
    let heard = Recorder::new();
    let client = net.builder(plain()).observer(heard.clone()).build().unwrap();
    let calls: Vec<_> = (0..50).map(|_| ask(&client, SECOND * 10)).collect();
    let start = Instant::now();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(told(&error), (Kind::Connect, Delivery::NotSent));
        assert!(error.cause::<NotConnected>().is_some() && error.cause::<ConnectError>().is_some());
        let why = error.cause::<io::Error>().map(io::Error::kind);
        assert_eq!(why, Some(io::ErrorKind::ConnectionRefused), "{error:#}");
    }
    assert_eq!((start.elapsed(), net.dialed()), (SECOND, 1));
    let failures = heard.events().iter().filter(|event| matches!(event, Event::ConnectFailed { .. })).count();
    assert_eq!(failures, 1);
}

#[tokio::test(start_paused = true)]
async fn of_connections_that_are_made_at_once_one_that_fails_fails_one_caller() {
    // The first tells what the host speaks. Of the ten after it the third fails.
    let net = Net::with(|nth, peer| async move {
        sleep(SECOND).await;
        if nth == 3 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        tokio::spawn(answer_each(peer, SECOND));
        Ok(())
    });
    let client = net.client(plain().max_connections_per_host(11));
    ask(&client, SECOND * 10).await.unwrap().unwrap();
    let answers = join_all((0..11).map(|_| ask(&client, SECOND * 10))).await;
    let failed = answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_err()).count();
    assert!(failed <= 1, "{failed} failed");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_is_told_to_all_who_wait_as_soon_as_nothing_is_left() {
    let alive = Arc::new(AtomicUsize::new(1));
    let judge = Arc::clone(&alive);
    let net = Net::with(move |_, peer| {
        let alive = judge.load(Ordering::SeqCst) == 1;
        async move {
            sleep(SECOND).await;
            if !alive {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            tokio::spawn(answer_each(peer, Duration::ZERO));
            Ok(())
        }
    });
    let client = net.client(plain().max_connections_per_host(4).without_idle_connections());
    ask(&client, SECOND * 10).await.unwrap().unwrap();
    alive.store(0, Ordering::SeqCst);
    sleep(TURN).await;
    let before = net.dialed();
    let start = Instant::now();
    for call in (0..200).map(|_| ask(&client, SECOND * 100)).collect::<Vec<_>>() {
        assert_eq!(told(&call.await.unwrap().unwrap_err()), (Kind::Connect, Delivery::NotSent));
    }
    assert_eq!((start.elapsed(), net.dialed() - before), (SECOND, 4), "as many dials as there was room for");
}

#[tokio::test(start_paused = true)]
async fn one_limit_covers_all_of_connecting_and_the_error_says_what_was_waited_for() {
    let never = Net::with(|_, _| std::future::pending());
    let client = never.client(plain().connect_timeout(SECOND * 5));
    let start = Instant::now();
    let error = ask(&client, SECOND * 60).await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), SECOND * 5);
    assert_eq!((told(&error), phase(&error)), ((Kind::Connect, Delivery::NotSent), Some(Phase::Connect)));
    assert_eq!(never.open(), 0, "it is given up");

    // Accepts, takes what is said, and says nothing: over HTTP/2 its settings are missing.
    let mute = Net::new(SECOND * 2, |_, mut peer| async move {
        let _ = peer.read_to_end(&mut Vec::new()).await;
    });
    let client = mute.client(plain().http2_only().connect_timeout(SECOND * 5));
    let start = Instant::now();
    let error = ask(&client, SECOND * 60).await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), SECOND * 5);
    assert_eq!((told(&error), phase(&error)), ((Kind::Connect, Delivery::NotSent), Some(Phase::Preface)));
    sleep(TURN).await;
    assert_eq!((mute.open(), client.connections().open), (0, 0), "its socket is closed");
    // And a call that has less time ends when that is over, with the same to say.
    let error = ask(&client, SECOND * 3).await.unwrap().unwrap_err();
    assert_eq!((told(&error), phase(&error)), ((Kind::Timeout, Delivery::NotSent), Some(Phase::Preface)));
}

#[tokio::test(start_paused = true)]
async fn connecting_is_observed_with_the_time_of_each_step() {
    let net = Net::new(SECOND * 2, |_, peer| answer_each(peer, Duration::ZERO));
    let heard = Recorder::new();
    let client = net.builder(plain()).observer(heard.clone()).build().unwrap();
    for _ in 0..2 {
        ask(&client, SECOND * 10).await.unwrap().unwrap();
    }
    let events = heard.events();
    let mut opened = events.iter().filter_map(|event| match event {
        Event::ConnectionOpened { host, http2, timings, took, .. } => {
            Some((&**host, *http2, timings.connect, *took))
        }
        _ => None,
    });
    assert_eq!(opened.next(), Some(("a.test:80", false, Some(SECOND * 2), SECOND * 2)));
    assert_eq!(opened.next(), None);
    let taken: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::ConnectionTaken { reused, waited, .. } => Some((*reused, *waited)),
            _ => None,
        })
        .collect();
    assert_eq!(taken, [(false, SECOND * 2), (true, Duration::ZERO)]);
}
