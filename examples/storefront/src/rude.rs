//! Clients as nobody wants them, over sockets of their own, a new one for each request.

use std::net::SocketAddr;
use std::time::Duration;

use stonework::base::BoxError;
use storefront::customer::Tally;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Longer than the server lets anybody dawdle.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two requests of one of them, so that there is something left of a small machine for the good ones.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two bytes of one who dawdles: ten seconds are over before the hundredth.
const DAWDLES: Duration = Duration::from_millis(100);

/// What all of them need.
#[derive(Clone)]
pub(crate) struct Rude {
    pub(crate) shop: SocketAddr,
    /// Of somebody who may buy.
    pub(crate) token: String,
    pub(crate) tally: Tally,
    /// True at the end.
    pub(crate) over: watch::Receiver<bool>,
    /// Makes the keys of one part of the soak differ from those of the others.
    pub(crate) part: &'static str,
}

/// How many requests were sent by clients who had gone when they were answered, if they were.
#[derive(Clone, Copy, Default)]
pub(crate) struct Unheard {
    /// Whole orders.
    pub(crate) orders: u64,
    /// Such as broke off in the middle.
    pub(crate) halves: u64,
}

impl Rude {
    /// All kinds of them, until it is over. What nobody has heard the answers of.
    pub(crate) async fn all(self) -> Result<Unheard, BoxError> {
        let mut everybody = JoinSet::new();
        for _ in 0..5 {
            everybody.spawn(self.clone().dawdles());
        }
        everybody.spawn(self.clone().babbles());
        everybody.spawn(self.clone().asks_for_what_cannot_be());
        everybody.spawn(self.clone().guesses());
        everybody.spawn(self.clone().breaks_off());
        everybody.spawn(self.leaves());
        let mut unheard = Unheard::default();
        while let Some(ended) = everybody.join_next().await {
            let Unheard { orders, halves } = ended??;
            unheard.orders += orders;
            unheard.halves += halves;
        }
        Ok(unheard)
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Sends a head byte by byte, until the server has enough of it.
    async fn dawdles(mut self) -> Result<Unheard, BoxError> {
        while !self.is_over() {
            let mut stream = TcpStream::connect(self.shop).await?;
            for byte in b"GET /products HTTP/1.1\r\nhost: ".iter().chain(std::iter::repeat(&b'x')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::select! {
                    () = sleep(DAWDLES) => {}
                    _ = self.over.wait_for(|over| *over) => break,
                }
            }
        }
        Ok(Unheard::default())
    }

    /// What is no HTTP at all. It is answered before it is a request, or not at all, so nobody counts it.
    async fn babbles(self) -> Result<Unheard, BoxError> {
        let babble: [&[u8]; 5] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /products HTTP/1.1\r\nno colon\r\n\r\n",
            b"POST /orders HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nhello",
            b"\0\0\0\0\r\n\r\n",
        ];
        for words in babble.iter().cycle() {
            if self.is_over() {
                break;
            }
            let mut stream = TcpStream::connect(self.shop).await?;
            let _ = stream.write_all(words).await;
            let _ = stream.shutdown().await;
            let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await?;
            sleep(PAUSE).await;
        }
        Ok(Unheard::default())
    }

    /// Each of these has its answer, and the right one.
    async fn asks_for_what_cannot_be(self) -> Result<Unheard, BoxError> {
        let may = format!("authorization: Bearer {}", self.token);
        let json = "content-type: application/json";
        let large =
            format!("{{\"product\": \"bread\", \"quantity\": 1, \"note\": \"{}\"}}", "x".repeat(8_000));
        for round in 0.. {
            let key = format!("idempotency-key: \"wrong in the {}, {round}\"", self.part);
            let cases = [
                (404, request("GET /nowhere", &[], "")),
                (405, request("DELETE /products", &[], "")),
                (401, request("GET /orders", &[], "")),
                (401, request("GET /orders", &["authorization: Bearer aaaa.bbbb.cccc"], "")),
                (400, request("POST /orders", &[&may, json], "{}")),
                (413, request("POST /orders", &[&may, json, &key], &large)),
                (
                    422,
                    request("POST /orders", &[&may, json, &key], "{\"product\": \"gold\", \"quantity\": 1}"),
                ),
                // The key is that of the order for gold by now.
                (
                    422,
                    request("POST /orders", &[&may, json, &key], "{\"product\": \"bread\", \"quantity\": 1}"),
                ),
                (504, request("GET /products", &["stonework-timeout-ms: 0"], "")),
            ];
            for (status, request) in &cases {
                if self.is_over() {
                    return Ok(Unheard::default());
                }
                let answered = self.ask(request).await?;
                // Too much to do is an answer, too, on a small machine.
                if answered != *status && answered != 503 {
                    return Err(format!("answered with {answered}: {request}").into());
                }
                sleep(PAUSE).await;
            }
        }
        Ok(Unheard::default())
    }

    /// Tries one password after the other, and is told no, or to wait.
    async fn guesses(self) -> Result<Unheard, BoxError> {
        let json = "content-type: application/json";
        for guess in 0.. {
            if self.is_over() {
                break;
            }
            let credentials = format!("{{\"user\": \"ann\", \"password\": \"{guess}\"}}");
            let answered = self.ask(&request("POST /login", &[json], &credentials)).await?;
            if !matches!(answered, 401 | 429 | 503 | 504) {
                return Err(format!("a guess was answered with {answered}").into());
            }
            sleep(PAUSE).await;
        }
        Ok(Unheard::default())
    }

    /// Hangs up in the middle of an order. It is none.
    async fn breaks_off(self) -> Result<Unheard, BoxError> {
        let may = format!("authorization: Bearer {}", self.token);
        let mut halves = 0;
        while !self.is_over() {
            let key = format!("idempotency-key: \"broken off in the {}, {halves}\"", self.part);
            let order = "{\"product\": \"bread\", \"quantity\": 1, \"note\": \"broken off\"}";
            let whole = request("POST /orders", &[&may, "content-type: application/json", &key], order);
            let mut stream = TcpStream::connect(self.shop).await?;
            stream.write_all(&whole.as_bytes()[..whole.len() - 10]).await?;
            drop(stream);
            halves += 1;
            sleep(PAUSE).await;
        }
        Ok(Unheard { orders: 0, halves })
    }

    /// Orders, and does not wait to hear of it.
    async fn leaves(self) -> Result<Unheard, BoxError> {
        let may = format!("authorization: Bearer {}", self.token);
        let mut left = 0;
        while !self.is_over() {
            let key = format!("idempotency-key: \"left in the {}, {left}\"", self.part);
            let order = format!(
                "{{\"product\": \"bread\", \"quantity\": 1, \"note\": \"left in the {}, {left}\"}}",
                self.part
            );
            let whole = request("POST /orders", &[&may, "content-type: application/json", &key], &order);
            let mut stream = TcpStream::connect(self.shop).await?;
            stream.write_all(whole.as_bytes()).await?;
            drop(stream);
            left += 1;
            sleep(PAUSE).await;
        }
        Ok(Unheard { orders: left, halves: 0 })
    }

    /// The status of the answer, which is counted.
    pub(crate) async fn ask(&self, request: &str) -> Result<u16, BoxError> {
        let (status, _) = ask(self.shop, request).await?;
        self.tally.add(status);
        Ok(status)
    }
}

/// A request on a connection of its own.
pub(crate) fn request(line: &str, fields: &[&str], body: &str) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{fields}{length}\r\n{body}")
}

/// The status and the whole answer.
pub(crate) async fn ask(shop: SocketAddr, request: &str) -> Result<(u16, String), BoxError> {
    let asked = async {
        let mut stream = TcpStream::connect(shop).await?;
        // It may be refused before it has been read.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        match (status, read) {
            (Some(status), _) => Ok((status, answer)),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Err(BoxError::from("there was no answer")),
        }
    };
    timeout(PATIENCE, asked).await?
}
