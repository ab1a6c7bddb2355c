//! What a server says before its answer, and bodies that wait for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stonework::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use super::kit::{Net, SECOND, TURN, head, plain};

const URI: &str = "http://a.test/upload";
const LARGE: usize = 1 << 20;

/// Of a peer that reads a head, says this, and then reads what comes: the heads, and how many bytes came after the last one.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Vec<String>, usize)>>);

impl Seen {
    fn head(&self, head: String) {
        self.0.lock().unwrap().0.push(head);
    }

    fn heads(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    fn expects(&self, nth: usize) -> bool {
        self.0.lock().unwrap().0[nth].contains("\r\nexpect: 100-continue\r\n")
    }

    fn bytes(&self) -> usize {
        self.0.lock().unwrap().1
    }

    async fn body(&self, peer: &mut DuplexStream, of: usize) {
        let mut piece = vec![0; 64 * 1024];
        for _ in 0..of {
            let left = of - self.bytes();
            if left == 0 {
                return;
            }
            let most = left.min(piece.len());
            match peer.read(&mut piece[..most]).await {
                Ok(0) | Err(_) => return,
                Ok(read) => self.0.lock().unwrap().1 += read,
            }
        }
    }
}

fn says(answers: &'static [&'static str]) -> (Net, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let net = Net::new(Duration::ZERO, move |nth, mut peer| {
        let seen = kept.clone();
        async move {
            let Some(head) = head(&mut peer).await else { return };
            seen.head(head);
            let says = answers[nth.min(answers.len() - 1)];
            peer.write_all(says.as_bytes()).await.unwrap();
            seen.body(&mut peer, LARGE).await;
            let _ = peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = peer.read_to_end(&mut Vec::new()).await;
        }
    });
    (net, seen)
}

async fn upload(net: &Net) -> (u16, Duration) {
    let start = Instant::now();
    let answer = net.client(plain()).post(URI).body(vec![b'x'; LARGE]).send().await.unwrap();
    (answer.status().as_u16(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_sent_as_soon_as_the_server_says_that_it_wants_it() {
    let (net, seen) = says(&["HTTP/1.1 100 Continue\r\n\r\n"]);
    assert_eq!(upload(&net).await, (200, Duration::ZERO));
    assert!(seen.expects(0));
    assert_eq!(seen.bytes(), LARGE);
}

#[tokio::test(start_paused = true)]
async fn and_after_a_second_if_the_server_says_nothing() {
    let (net, seen) = says(&[""]);
    assert_eq!(upload(&net).await, (200, SECOND));
    assert_eq!((seen.expects(0), seen.bytes()), (true, LARGE));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_it_is_not_sent_it() {
    let (net, seen) = says(&["HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n"]);
    assert_eq!(upload(&net).await, (413, Duration::ZERO));
    sleep(SECOND * 5).await;
    assert_eq!(
        (seen.bytes(), net.open()),
        (0, 0),
        "and its connection is closed, since it would wait for it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_the_expectation_is_asked_without_it() {
    let (net, seen) = says(&["HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n", ""]);
    assert_eq!(upload(&net).await, (200, Duration::ZERO));
    assert_eq!((seen.heads(), seen.expects(0), seen.expects(1), seen.bytes()), (2, true, false, LARGE));
}

#[tokio::test(start_paused = true)]
async fn a_small_body_one_of_unknown_length_and_one_that_is_not_to_wait_are_sent_at_once() {
    let small = || Body::from(vec![b'x'; LARGE - 1]);
    let stream = || {
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(
            bytes::Bytes::from(vec![b'x'; LARGE]),
        ))]);
        Body::new(http_body_util::StreamBody::new(pieces))
    };
    for (body, settings) in [
        (small(), plain()),
        (stream(), plain()),
        (Body::from(vec![b'x'; LARGE]), plain().without_expect_continue()),
    ] {
        let (net, seen) = says(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]);
        net.client(settings).post(URI).body(body).send().await.unwrap();
        assert!(!seen.expects(0));
    }
    // Whoever says that it expects something gets what it asks for, whatever the length.
    let (net, seen) = says(&["HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"]);
    net.client(plain()).post(URI).header("expect", "100-continue").body("x").send().await.unwrap();
    sleep(TURN).await;
    assert_eq!((seen.expects(0), seen.bytes()), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_before_its_answer_is_heard_by_whoever_asks_for_it() {
    let (net, _) = says(&[
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let hook = move |status: http::StatusCode, headers: &http::HeaderMap| {
        let link = headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        hears.lock().unwrap().push((status.as_u16(), link));
    };
    let answer = net.client(plain()).get(URI).on_informational(hook).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let link = Some("</a.css>; rel=preload".to_owned());
    assert_eq!(*heard.lock().unwrap(), [(102, None), (103, link)]);
}
