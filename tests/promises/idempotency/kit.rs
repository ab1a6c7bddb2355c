//! What these tests need: a shop that is asked for something, and a store that can be taken away.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::Error;
use stonework::base::{BoxError, Kind};
use stonework::idempotency::{
    Begun, Claim, Final, Held, IdempotencyLayer, IdempotencyService, IdempotencySettings, MemoryStore,
    NewClaim, Scope, Store,
};
use stonework::testing::{Scripted, Step};
use tower::{Layer, Service, ServiceExt};

pub(super) type Shop = Scripted<Request<Body>, Response<Body>, Error>;
pub(super) type Served<S> =
    IdempotencyService<Shop, S, stonework::idempotency::ByPath, stonework::base::Problem>;

/// What the shop does with each request, by its number.
pub(super) fn shop(does: impl Fn(usize) -> Step<Response<Body>, Error> + Send + 'static) -> Shop {
    Scripted::script(move |number, _| does(number))
}

/// It fails, and says this.
pub(super) fn fails(why: &'static str) -> Step<Response<Body>, Error> {
    Step::Fail(Error::new(Kind::Other, why))
}

/// One that always takes so long, and says how often it was asked.
pub(super) fn slow(time: Duration) -> Shop {
    shop(move |number| Step::AnswerAfter(time, response(200, format!("number {number}"))))
}

pub(super) fn response(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// A body in these pieces.
pub(super) fn pieces(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Body {
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

pub(super) fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

pub(super) fn over<S: Store>(shop: &Shop, store: S) -> Served<S> {
    IdempotencyLayer::new(store).layer(shop.clone())
}

pub(super) fn with<S: Store + Clone>(shop: &Shop, store: S, settings: IdempotencySettings) -> Served<S> {
    IdempotencyLayer::new(store).settings(settings).unwrap().layer(shop.clone())
}

/// A request for something, with this key.
pub(super) fn keyed(key: &str) -> Request<Body> {
    Request::post("/charges").header("idempotency-key", key).body(Body::from("5 EUR")).unwrap()
}

/// An answer, read to its end.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

impl Said {
    pub(super) fn replayed(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// Of a refusal: which problem it is.
    pub(super) fn problem(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(json["status"], self.status);
        json["type"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()
    }
}

pub(super) async fn said<B>(response: Response<B>) -> Said
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    Said { status: head.status.as_u16(), headers: head.headers, body: collected.to_bytes(), trailers }
}

pub(super) async fn ask<S, B>(service: &S, request: Request<Body>) -> Said
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    said(service.clone().oneshot(request).await.unwrap()).await
}

/// A store that can be taken away.
#[derive(Clone, Default)]
pub(super) struct Moody(Arc<MoodyState>);

#[derive(Default)]
struct MoodyState {
    store: MemoryStore,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Mood {
    #[default]
    Well,
    Fails,
    Hangs,
    /// Does what it is asked, and does not say so.
    Mute,
    /// It takes so long.
    Slow(Duration),
}

impl Moody {
    pub(super) fn be(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(SeqCst)
    }

    pub(super) fn store(&self) -> &MemoryStore {
        &self.0.store
    }

    async fn moody<T>(&self, does: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
        self.0.asked.fetch_add(1, SeqCst);
        let mood = *self.0.mood.lock().unwrap();
        match mood {
            Mood::Well => does.await,
            Mood::Fails => Err("no route to host".into()),
            Mood::Hangs => std::future::pending().await,
            Mood::Mute => {
                does.await?;
                std::future::pending().await
            }
            Mood::Slow(time) => {
                tokio::time::sleep(time).await;
                does.await
            }
        }
    }
}

impl Store for Moody {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        self.moody(self.0.store.begin(scope, claim)).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.moody(self.0.store.renew(claim)).await
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        self.moody(self.0.store.complete(claim, end)).await
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        self.moody(self.0.store.release(claim)).await
    }
}
