//! Endpoints in memory, which do what they are told.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use stonework::Error;
use stonework::balance::{Balancer, BalancerBuilder, BalancerSettings};
use stonework::base::{Delivery, EndpointId, EndpointReason, EndpointState, Event, Kind, Rng};
use stonework::testing::Recorder;
use tokio::sync::Notify;
use tokio::time::sleep;
use tower::{Service, ServiceExt};

use crate::support::{Content, answer, request};

/// What an endpoint does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Does {
    /// It answers with this status, after so long.
    Answer(u16, Duration),
    /// Nobody listens: the request comes back.
    Refuse,
    /// The connection breaks once the request was sent.
    Break,
    /// It never answers.
    Hang,
    /// It is busy until it does something else.
    Busy,
    /// It fails to become ready.
    Broken,
}

pub(crate) const OK: Does = Does::Answer(200, Duration::ZERO);

#[derive(Debug)]
struct Peer {
    does: Does,
    calls: u64,
    changed: Arc<Notify>,
}

/// All endpoints, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers(Arc<Mutex<BTreeMap<String, Peer>>>);

impl Peers {
    fn with<R>(&self, name: &str, look: impl FnOnce(&mut Peer) -> R) -> R {
        let mut peers = self.0.lock().unwrap();
        let new = || Peer { does: OK, calls: 0, changed: Arc::default() };
        look(peers.entry(name.to_owned()).or_insert_with(new))
    }

    /// From now on this endpoint does that.
    pub(crate) fn tell(&self, name: &str, does: Does) {
        self.with(name, |peer| {
            peer.does = does;
            peer.changed.notify_waiters();
        });
    }

    /// How many requests have reached it.
    pub(crate) fn calls(&self, name: &str) -> u64 {
        self.with(name, |peer| peer.calls)
    }

    pub(crate) fn all_calls(&self) -> Vec<u64> {
        self.0.lock().unwrap().values().map(|peer| peer.calls).collect()
    }

    fn does(&self, name: &str) -> Does {
        self.with(name, |peer| peer.does)
    }

    /// With so many endpoints, "a" and so on.
    pub(crate) fn named(&self, names: &[&str]) -> BalancerBuilder<AtPeer> {
        names.iter().for_each(|name| self.with(name, |_| {}));
        self.balancer().members(names.iter().copied())
    }

    pub(crate) fn balancer(&self) -> BalancerBuilder<AtPeer> {
        let peers = self.clone();
        let make = move |id: &EndpointId| AtPeer { name: id.to_string(), peers: peers.clone(), waits: None };
        Balancer::builder(make).rng(Rng::seeded(1))
    }
}

/// The service of one endpoint.
pub(crate) struct AtPeer {
    name: String,
    peers: Peers,
    waits: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// Not what it waits for.
impl Clone for AtPeer {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), peers: self.peers.clone(), waits: None }
    }
}

impl AtPeer {
    /// Whether somebody listens.
    pub(crate) async fn connects(self) -> Result<(), Error> {
        match self.peers.does(&self.name) {
            Does::Refuse => Err(Error::new(Kind::Connect, "refused")),
            Does::Hang => std::future::pending().await,
            Does::Broken => panic!("on purpose"),
            _ => Ok(()),
        }
    }
}

impl<B: Send + 'static> Service<Request<B>> for AtPeer {
    type Response = Response<Content>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Content>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.peers.does(&self.name) {
                Does::Broken => return Poll::Ready(Err(Error::new(Kind::Other, "broken"))),
                Does::Busy => {}
                _ => return Poll::Ready(Ok(())),
            }
            let changed = self.peers.with(&self.name, |peer| Arc::clone(&peer.changed));
            let waits = self.waits.get_or_insert_with(|| Box::pin(async move { changed.notified().await }));
            std::task::ready!(waits.as_mut().poll(cx));
            self.waits = None;
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let does = self.peers.with(&self.name, |peer| {
            peer.calls += u64::from(peer.does != Does::Refuse);
            peer.does
        });
        let name = self.name.clone();
        Box::pin(async move {
            match does {
                Does::Answer(status, after) => {
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    let mut answer = answer(status);
                    answer.headers_mut().insert("from", name.parse().expect("a name"));
                    Ok(answer)
                }
                Does::Refuse => Err(Error::new(Kind::Connect, "refused").with_request(request)),
                Does::Break => Err(Error::new(Kind::Transport, "broken").with_delivery(Delivery::Unknown)),
                Does::Hang => std::future::pending().await,
                Does::Busy | Does::Broken => panic!("called without being ready"),
            }
        })
    }
}

/// One call, and who answered it.
pub(crate) async fn ask<S, B>(service: &S) -> Result<String, Error>
where
    S: Service<Request<Content>, Response = Response<B>, Error = Error> + Clone,
{
    service.clone().oneshot(request(Method::GET)).await.map(|answer| from(&answer))
}

pub(crate) fn from<B>(answer: &Response<B>) -> String {
    answer.headers()["from"].to_str().expect("a name").to_owned()
}

/// Without what grows slowly or leaves out, where a test is about something else.
pub(crate) fn plain() -> BalancerSettings {
    BalancerSettings::new().without_slow_start().without_outliers()
}

/// The states that this endpoint went through, and why.
pub(crate) fn changes(events: &Recorder, name: &str) -> Vec<(EndpointState, EndpointReason)> {
    let change = |event: &Event| match event {
        Event::EndpointChanged { endpoint, to, why, .. } if endpoint.as_str() == name => Some((*to, *why)),
        _ => None,
    };
    events.events().iter().filter_map(change).collect()
}

pub(crate) fn state<S: Clone + Send + Sync + 'static>(balancer: &Balancer<S>, name: &str) -> EndpointState {
    let stats = balancer.stats();
    let found = stats.endpoints().iter().find(|endpoint| endpoint.id().as_str() == name);
    found.expect("such an endpoint").state()
}

pub(crate) fn failovers(events: &Recorder) -> usize {
    events.events().iter().filter(|event| matches!(event, Event::FailedOver { .. })).count()
}
