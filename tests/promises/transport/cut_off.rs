//! What a retry is sent over when the connection of the attempt before it had been kept, and broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stonework::base::{Backoff, Delivery, Kind, Rng};
use stonework::client::{Client, ClientSettings, UpstreamSettings};
use stonework::connect::{Connector, Proxy, Target, connect_fn};
use stonework::retry::RetrySettings;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use super::kit::{Net, SECOND, TURN, answer_each, head, plain, told};

const URI: &str = "http://a.test/path";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

/// So many attempts, a few moments apart.
fn attempts(most: u32) -> ClientSettings {
    let backoff = Backoff::constant(TURN * 4).expect("a pause");
    plain().retry(RetrySettings::new().attempts(most).backoff(backoff).without_budget())
}

/// Answers one request after a second, and closes as the next one arrives.
async fn answer_once(mut peer: DuplexStream) {
    if head(&mut peer).await.is_some() {
        sleep(SECOND).await;
        let _ = peer.write_all(OK).await;
        head(&mut peer).await;
    }
}

async fn get(client: &Client, uri: &str) -> u32 {
    let answer = client.get(uri).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let attempts = answer.attempts();
    answer.bytes().await.expect("a body");
    attempts
}

/// Have so many connections lie idle.
async fn leave_idle(client: &Client, many: usize) {
    join_all((0..many).map(|_| get(client, URI))).await;
    sleep(TURN).await;
    assert_eq!(client.connections().idle, many);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_cut_off_on_a_kept_connection_is_answered_over_a_new_one_however_many_others_lie_idle() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_once(peer));
    let client = net.client(attempts(3));
    leave_idle(&client, 5).await;
    let before = net.dialed();
    assert_eq!(get(&client, URI).await, 2);
    assert_eq!(net.dialed(), before + 1);
}

/// Answers one request, and nothing after that: nobody says that the connection is dead.
async fn fall_silent(mut peer: DuplexStream) {
    head(&mut peer).await;
    sleep(SECOND).await;
    peer.write_all(OK).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_no_answer_in_time_on_a_kept_connection_is_answered_over_a_new_one() {
    let net = Net::new(Duration::ZERO, |nth, peer| async move {
        if nth < 5 { fall_silent(peer).await } else { answer_each(peer, SECOND).await }
    });
    let client = net.client(attempts(3).attempt_timeout(SECOND * 2));
    leave_idle(&client, 5).await;
    let start = Instant::now();
    // Before the others are let go for lying idle.
    assert_eq!((get(&client, URI).await, net.dialed()), (2, 6));
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_no_answer_in_time_on_a_new_connection_tries_whichever_is_free() {
    // The first connection serves for as long as anybody likes, the second one says nothing from the beginning.
    let net = Net::new(Duration::ZERO, |nth, peer| async move {
        if nth == 1 { std::future::pending().await } else { answer_each(peer, SECOND).await }
    });
    let client = net.client(attempts(3).attempt_timeout(SECOND * 2));
    let (one, other) = tokio::join!(get(&client, URI), async {
        sleep(TURN).await;
        get(&client, URI).await
    });
    assert_eq!((one, other, net.dialed()), (1, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_of_connections_its_turn_comes_although_others_leave_none_idle() {
    for settings in [
        attempts(2).max_connections_per_host(2),
        attempts(2).max_connections(2),
        attempts(2).max_connections_per_host(2).max_connections(2).max_waiting(8),
    ] {
        // The first is cut off when it is used again; all others serve for as long as anybody likes.
        let net = Net::new(Duration::ZERO, |nth, peer| async move {
            if nth == 0 { answer_once(peer).await } else { answer_each(peer, SECOND).await }
        });
        let client = net.client(settings);
        leave_idle(&client, 1).await;
        let cut_off = async {
            let start = Instant::now();
            (get(&client, URI).await, start.elapsed().as_secs())
        };
        // These take the other place, and the first one's as soon as it is free, and queue for both.
        let busy = join_all((0..8).map(|_| async {
            for _ in 0..20 {
                get(&client, URI).await;
            }
        }));
        let ((attempts, took), _) = tokio::join!(cut_off, busy);
        assert_eq!(attempts, 2);
        // Six wait before it, and two are served each second.
        assert!(took <= 5, "{took}");
        assert_eq!(net.peak(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_of_all_connections_one_that_lies_idle_makes_room_for_a_new_one_to_the_same_host() {
    let net = Net::new(Duration::ZERO, |nth, peer| async move {
        if nth < 3 { answer_once(peer).await } else { answer_each(peer, SECOND).await }
    });
    let client = net.client(attempts(2).max_connections(3));
    leave_idle(&client, 3).await;
    let start = Instant::now();
    // Before the first one comes again, the other one has taken the place of the connection that broke.
    let other = async {
        sleep(TURN).await;
        get(&client, "http://b.test/path").await
    };
    let (cut_off, other) = tokio::join!(get(&client, URI), other);
    assert_eq!((cut_off, other, net.dialed(), net.peak()), (2, 1, 5, 3));
    assert!(start.elapsed() < SECOND + TURN * 10, "nobody waited for the other: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_or_broke_on_a_new_connection_goes_over_whichever_is_free() {
    // The first connection says that it is busy, and keeps on answering.
    let net = Net::new(Duration::ZERO, |_, mut peer| async move {
        for answer in [OK, BUSY, BUSY, OK] {
            head(&mut peer).await;
            peer.write_all(answer).await.unwrap();
        }
        let _ = head(&mut peer).await;
    });
    let client = net.client(attempts(3));
    assert_eq!((get(&client, URI).await, get(&client, URI).await), (1, 3));
    assert_eq!(net.dialed(), 1);

    // The second connection is closed at its first request; the first one lies idle by then.
    let net = Net::new(Duration::ZERO, |nth, mut peer| async move {
        match nth {
            1 => drop(head(&mut peer).await),
            _ => answer_each(peer, Duration::ZERO).await,
        }
    });
    let client = net.client(attempts(3));
    get(&client, URI).await;
    let (one, other) = tokio::join!(get(&client, URI), get(&client, URI));
    assert_eq!((one.min(other), one.max(other), net.dialed()), (1, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn where_no_new_one_can_be_made_an_old_one_is_better_than_none() {
    // Whoever listened has gone. What it accepted is served on, but for the connection that was used last.
    let net = Net::with(|nth, peer| async move {
        match nth {
            0 => drop(tokio::spawn(answer_each(peer, TURN))),
            1 => drop(tokio::spawn(answer_once(peer))),
            _ => return Err(std::io::ErrorKind::ConnectionRefused.into()),
        }
        Ok(())
    });
    let client = net.client(attempts(3));
    leave_idle(&client, 2).await;
    assert_eq!((get(&client, URI).await, net.dialed()), (3, 3), "cut off, refused, answered");
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_cut_off_is_sent_once_all_the_same() {
    let heads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heads);
    let net = Net::new(Duration::ZERO, move |_, mut peer| {
        let heads = Arc::clone(&counted);
        async move {
            head(&mut peer).await;
            peer.write_all(OK).await.unwrap();
            head(&mut peer).await;
            heads.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = net.client(attempts(3));
    get(&client, URI).await;
    let error = client.post(URI).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Transport, Delivery::Unknown));
    assert_eq!((heads.load(Ordering::SeqCst), net.dialed()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_new_one_is_one_that_was_not_idle() {
    // One stream each, so that there are several; each closes as its second stream comes.
    let net = Net::new(Duration::ZERO, |_, peer| async move {
        let Ok(mut connection) =
            h2::server::Builder::new().max_concurrent_streams(1).handshake::<_, bytes::Bytes>(peer).await
        else {
            return;
        };
        let mut first = true;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if !std::mem::take(&mut first) {
                return;
            }
            tokio::spawn(async move {
                sleep(SECOND).await;
                let _ = respond.send_response(http::Response::new(()), true);
            });
        }
    });
    let client = net.client(attempts(3).http2_only());
    leave_idle(&client, 4).await;
    assert_eq!((get(&client, URI).await, net.dialed()), (2, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_peer_ends_alone_costs_no_connection() {
    let net = Net::new(Duration::ZERO, |_, peer| async move {
        let Ok(mut connection) = h2::server::handshake(peer).await else { return };
        let mut number = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            number += 1;
            match number % 3 {
                0 => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                1 => drop(respond.send_response(http::Response::new(()), true)),
                _ => respond.send_reset(h2::Reason::REFUSED_STREAM),
            }
        }
    });
    let client = net.client(attempts(4).http2_only());
    for _ in 0..5 {
        get(&client, URI).await;
    }
    assert_eq!(net.dialed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_holds_for_the_connections_to_a_proxy() {
    let dialed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dialed);
    let transport = connect_fn(move |_: Target| {
        count.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(answer_once(theirs));
        async move { std::io::Result::Ok(ours) }
    });
    let proxy = Proxy::http("http://proxy.test:3128").expect("a proxy");
    let connector = Connector::builder().transport(transport).proxy(proxy).build().expect("a connector");
    let client = Client::builder().settings(attempts(3)).connector(connector).build().expect("a client");
    leave_idle(&client, 5).await;
    let before = dialed.load(Ordering::SeqCst);
    assert_eq!(get(&client, URI).await, 2);
    assert_eq!(dialed.load(Ordering::SeqCst), before + 1);
}

#[cfg(feature = "hedge")]
#[tokio::test(start_paused = true)]
async fn the_same_holds_where_the_attempt_before_it_was_hedged() {
    let net = Net::new(Duration::ZERO, |nth, peer| async move {
        if nth < 5 { fall_silent(peer).await } else { answer_each(peer, SECOND).await }
    });
    let hedge = stonework::hedge::HedgeSettings::new().fixed_delay(SECOND + TURN).without_budget();
    let client = net.client(attempts(3).attempt_timeout(SECOND * 2).hedge(hedge));
    leave_idle(&client, 5).await;
    let start = Instant::now();
    get(&client, URI).await;
    assert_eq!(net.dialed(), 6);
    // The first one and its hedge run out of time, a second apart.
    assert!(start.elapsed() < SECOND * 5, "{:?}", start.elapsed());
}

#[cfg(feature = "balance")]
#[tokio::test(start_paused = true)]
async fn the_same_holds_at_the_endpoint_that_a_balancer_picks_next() {
    let origin = "http://stock.test";
    let net = Net::new(Duration::ZERO, |_, peer| answer_once(peer));
    let members = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(str::to_owned);
    let balancer = stonework::balance::BalancerSettings::new().without_outliers();
    let upstream = UpstreamSettings::new().balancer(balancer).members(members);
    let settings = attempts(3).upstream(origin, upstream);
    let client = net.builder(settings).rng(Rng::seeded(1)).build().expect("a client");
    for _ in 0..3 {
        join_all((0..12).map(|_| get(&client, origin))).await;
        sleep(TURN).await;
    }
    assert!(client.connections().idle >= 6, "{:?}", client.connections());
    assert_eq!(get(&client, origin).await, 2);
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_enough_against_a_server_that_closes_what_lies_idle_at_any_moment() {
    // One time in two it closes as a request comes that is not the first, which is the worst moment.
    let chance = Arc::new(Rng::seeded(7));
    let net = Net::new(TURN, move |_, mut peer| {
        let chance = Arc::clone(&chance);
        async move {
            let mut first = true;
            while head(&mut peer).await.is_some() {
                let closes = chance.duration_below(SECOND) < SECOND / 2;
                if !std::mem::take(&mut first) && closes {
                    return;
                }
                sleep(chance.duration_below(TURN * 10)).await;
                if peer.write_all(OK).await.is_err() {
                    return;
                }
            }
        }
    });
    let rounds = std::env::var("STONEWORK_ROUNDS").map_or(200, |rounds| rounds.parse().expect("a number"));
    for settings in [attempts(3), attempts(3).max_connections_per_host(3)] {
        let client = net.client(settings);
        let callers = (0..8).map(|_| async {
            let mut most = 0;
            for _ in 0..rounds {
                most = most.max(get(&client, URI).await);
            }
            most
        });
        let most = join_all(callers).await.into_iter().max();
        assert_eq!(most, Some(2), "some are cut off, and none twice");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_while_a_new_one_is_made_for_them_take_no_place_with_them() {
    let chance = Arc::new(Rng::seeded(11));
    let dice = Arc::clone(&chance);
    // As above, and a connection takes a while to be made, so that there is somebody to leave.
    let net = Net::new(TURN * 5, move |_, mut peer| {
        let chance = Arc::clone(&dice);
        async move {
            let mut first = true;
            while head(&mut peer).await.is_some() {
                if !std::mem::take(&mut first) && chance.duration_below(SECOND) < SECOND / 2 {
                    return;
                }
                sleep(chance.duration_below(TURN * 10)).await;
                if peer.write_all(OK).await.is_err() {
                    return;
                }
            }
        }
    });
    let client = net.client(attempts(3).max_connections_per_host(3));
    let left = AtomicUsize::new(0);
    join_all((0..8).map(|_| async {
        for _ in 0..100 {
            let patience = chance.duration_below(TURN * 40);
            if timeout(patience, get(&client, URI)).await.is_err() {
                left.fetch_add(1, Ordering::SeqCst);
            }
        }
    }))
    .await;
    assert!(left.load(Ordering::SeqCst) > 100, "many left");
    sleep(SECOND).await;
    let stats = client.connections();
    assert_eq!((stats.waiting, stats.dialing, stats.open, net.peak()), (0, 0, net.open(), 3));
    // All three places are there: a call needs no more than its turn.
    let start = Instant::now();
    join_all((0..30).map(|_| get(&client, URI))).await;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}
