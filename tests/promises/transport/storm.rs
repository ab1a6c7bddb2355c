//! Callers who give up, hosts that break, and at the end everything is as at the beginning.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stonework::base::Rng;
use stonework::client::ClientSettings;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

use super::kit::{Net, SECOND, TURN, answer_each, head, plain};

const CAP: usize = 8;

/// Up to so many milliseconds.
fn millis(rng: &Rng, most: u64) -> Duration {
    Duration::from_millis(rng.below(most))
}

/// Answers slowly, half, wrongly or not at all, and closes when it likes.
async fn moody(mut peer: DuplexStream, rng: Rng) {
    while let Some(head) = head(&mut peer).await {
        sleep(millis(&rng, 30)).await;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        let sent = match rng.below(12) {
            0 => return,
            1 => peer.write_all(b"HTTP/1.1 2").await,
            2 => peer.write_all(b"nonsense\r\n\r\n").await,
            3 => {
                let _ = peer.write_all(&answer.as_bytes()[..answer.len() - 1]).await;
                sleep(millis(&rng, 200)).await;
                peer.write_all(&answer.as_bytes()[answer.len() - 1..]).await
            }
            4 => {
                let _ = peer.write_all(answer.as_bytes()).await;
                return;
            }
            5 => {
                sleep(SECOND * 3).await;
                continue;
            }
            _ => peer.write_all(answer.as_bytes()).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn over_http2(peer: DuplexStream, rng: Rng, calm: bool) {
    let mut server = h2::server::Builder::new();
    let Ok(mut connection) = server.max_concurrent_streams(4).handshake::<_, bytes::Bytes>(peer).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mood = if calm { 99 } else { rng.below(12) };
        if mood == 0 {
            return;
        }
        if mood == 1 {
            connection.graceful_shutdown();
        }
        let wait = millis(&rng, 30);
        tokio::spawn(async move {
            sleep(wait).await;
            if mood == 2 {
                return respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
            if mood == 3 {
                sleep(SECOND * 3).await;
            }
            let path = request.uri().path().to_owned();
            if let Ok(mut body) = respond.send_response(http::Response::new(()), false) {
                sleep(wait).await;
                let _ = body.send_data(path.into(), true);
            }
        });
    }
}

async fn storm(settings: ClientSettings, http2: bool, seed: u64) {
    let calm = Arc::new(AtomicBool::new(false));
    let rng = Rng::seeded(seed);
    let (mood, dice) = (Arc::clone(&calm), rng.clone());
    let net = Net::with(move |_, peer| {
        let (rng, calm) = (dice.clone(), mood.load(Ordering::SeqCst));
        async move {
            sleep(millis(&rng, 40)).await;
            if !calm && rng.below(10) == 0 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            match (http2, calm) {
                (true, calm) => drop(tokio::spawn(over_http2(peer, rng, calm))),
                (false, false) => drop(tokio::spawn(moody(peer, rng))),
                (false, true) => drop(tokio::spawn(answer_each(peer, TURN))),
            }
            Ok(())
        }
    });
    let settings = settings.max_connections_per_host(CAP).max_connections(CAP + 2).attempt_timeout(SECOND);
    let client = net.builder(settings).rng(rng.clone()).build().unwrap();
    let callers = (0..64).map(|caller| {
        let (client, rng) = (client.clone(), rng.clone());
        tokio::spawn(async move {
            for nth in 0..60 {
                let path = format!("/{caller}/{nth}");
                // Now and then another host, so that there is not always room.
                let host = if rng.below(8) == 0 { "b" } else { "a" };
                let call = async {
                    let answer = client.get(format!("http://{host}.test{path}")).send().await?;
                    if rng.below(5) == 0 { Ok(path.clone()) } else { answer.text().await }
                };
                if let Ok(Ok(text)) = timeout(millis(&rng, 400), call).await {
                    assert_eq!(text, path, "the answer to another request");
                }
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    sleep(SECOND * 6).await;
    calm.store(true, Ordering::SeqCst);
    // What is left of the bad time is gone after a while, and then there is room for as many as ever.
    sleep(SECOND * 100).await;
    let stats = client.connections();
    assert_eq!(
        (stats.waiting, stats.dialing, stats.open, net.open()),
        (0, 0, 0, 0),
        "seed {seed}: {stats:?}"
    );
    assert!(net.peak() <= CAP + 2, "{}", net.peak());
    for host in ["a", "b"] {
        let calls = (0..CAP * 4).map(|_| async {
            client.get(format!("http://{host}.test/calm")).send().await.unwrap().text().await.unwrap()
        });
        assert!(join_all(calls).await.into_iter().all(|text| text == "/calm"), "seed {seed}");
    }
    assert_eq!(client.connections().waiting, 0);
}

/// How many storms there are; by hand as many as one likes.
fn seeds() -> u64 {
    std::env::var("STONEWORK_STORMS").map_or(6, |storms| storms.parse().expect("a number of storms"))
}

#[tokio::test(start_paused = true)]
async fn after_a_storm_over_http1_no_place_is_lost_and_no_answer_was_anothers() {
    for seed in 0..seeds() {
        storm(plain(), false, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_storm_over_http2_no_place_is_lost_and_no_answer_was_anothers() {
    for seed in 0..seeds() {
        storm(plain().http2_only(), true, seed).await;
    }
}
