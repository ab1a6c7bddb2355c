//! Whoever asks, and what they make of the answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use stonework::Error;
use stonework::base::Delivery;
use stonework::client::{Client, RequestBuilder, Response};
use tokio::time::{Instant, sleep, timeout};

use super::asks::{Ask, Kind, Patience};
use super::shop::{Books, LATE, in_pieces};

/// How often somebody presses the button who was not told how it went.
const PRESSES: usize = 3;

/// How a call ended, for its caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Done,
    /// The first piece of an answer, which says that it was done.
    Begun,
    Status(StatusCode),
    Failed(Delivery),
    Left,
}

#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) books: Books,
    pub(super) deadline: Duration,
    /// Whether bodies have to be there by the deadline, too.
    pub(super) bodies_in_time: bool,
}

impl Caller {
    /// Asks these, one after the other.
    pub(super) async fn asks(self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let ask = self.books.ask(id);
            sleep(ask.pause).await;
            let presses = if ask.kind == Kind::Keyed { PRESSES } else { 1 };
            let mut told = Told::Left;
            for _ in 0..presses {
                told = self.call(&ask).await;
                if matches!(told, Told::Done | Told::Begun) {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
            self.audit(&ask, &told);
        }
    }

    /// What was told has to be what was done.
    fn audit(&self, ask: &Ask, told: &Told) {
        let (id, done) = (ask.id, self.books.effects(ask.id));
        let right = match (ask.kind, told) {
            (_, Told::Done | Told::Begun) if done == 0 => false,
            (Kind::Bare, Told::Failed(Delivery::NotSent | Delivery::Refused)) => done == 0,
            (Kind::Bare | Kind::Keyed, _) => done <= 1,
            (Kind::Get | Kind::Put, _) => true,
        };
        if !right {
            self.books.broken(format_args!("{:?} {id} was told {told:?}, and done {done} times", ask.kind));
        }
    }

    pub(super) async fn call(&self, ask: &Ask) -> Told {
        let (id, begun) = (ask.id, Instant::now());
        self.books.note(format_args!("{:?} {id} is asked for", ask.kind));
        let told = match ask.patience {
            Patience::Leaves(after) => {
                timeout(after, self.answered(ask, begun)).await.unwrap_or(Ok(Told::Left))
            }
            _ => self.answered(ask, begun).await,
        };
        let told = told.unwrap_or_else(|error| {
            let (kind, attempts) = (error.kind(), error.attempts());
            self.books.note(format_args!("{:?} {id} failed: {kind:?}, {attempts} attempts", ask.kind));
            Told::Failed(error.delivery())
        });
        self.books.note(format_args!("{:?} {id} ended: {told:?}", ask.kind));
        self.books.ended(format!("{told:?}"));
        told
    }

    async fn answered(&self, ask: &Ask, begun: Instant) -> Result<Told, Error> {
        let response = self.request(ask).send().await;
        self.in_time(ask, "the head", begun);
        let response = response?;
        let status = response.status();
        if !status.is_success() {
            return Ok(Told::Status(status));
        }
        if response
            .headers()
            .get("x-answer-to")
            .is_none_or(|to| to.as_bytes() != ask.id.to_string().as_bytes())
        {
            self.books.broken(format_args!("{} got {:?}", ask.id, response.headers()));
        }
        let piece = ask.patience == Patience::ReadsAPiece;
        let (read, ended) = read(response, piece).await;
        let meant = ask.download();
        if !meant.starts_with(&read) || (ended.is_ok() && !piece && read.len() < meant.len()) {
            let story = String::from_utf8_lossy(&read[..read.len().min(80)]).into_owned();
            self.books.broken(format_args!("{} read {} of {}: {story}", ask.id, read.len(), meant.len()));
        }
        if self.bodies_in_time {
            self.in_time(ask, "the body", begun);
        }
        ended.map(|()| if piece { Told::Begun } else { Told::Done })
    }

    fn in_time(&self, ask: &Ask, what: &str, begun: Instant) {
        let took = begun.elapsed();
        if took > self.deadline + LATE {
            self.books.broken(format_args!("{what} of {} took {took:?} of {:?}", ask.id, self.deadline));
        }
    }

    fn request(&self, ask: &Ask) -> RequestBuilder {
        let method = match ask.kind {
            Kind::Get => Method::GET,
            Kind::Put => Method::PUT,
            Kind::Bare | Kind::Keyed => Method::POST,
        };
        let request = self.client.request(method, format!("http://shop.test/{}", ask.id));
        let request = match ask.kind {
            Kind::Keyed => request.idempotency_key(format!("key-{}", ask.id).as_str()),
            _ => request,
        };
        match ask.kind {
            Kind::Get => request,
            _ if ask.streams_up => request.body(in_pieces(ask.upload())),
            _ => request.body(ask.upload()),
        }
    }
}

/// What came of it, to its end or, if that is enough, to the end of its first piece; and how that ended.
async fn read(response: Response, piece: bool) -> (Bytes, Result<(), Error>) {
    let mut body = response.into_body();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => return (read.freeze(), Err(Error::wrap(error))),
        }
        if piece {
            break;
        }
    }
    (read.freeze(), Ok(()))
}
