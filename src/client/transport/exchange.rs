use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connection::Connection;
use super::expect::{Held, hold};
use super::head::Head;
use super::host::{Asked, Host};
use super::keep_alive::idle_after;
use super::lease::Lease;
use super::sender::{Answer, Lost};
use super::service::Owner;
use super::upload::{Upload, Watch};
use super::wired::{Rest, Wired};
use super::wish::Wish;
use crate::base::body::Body;
use crate::base::{Call, Delivery, Elapsed, Error, Event, HostPort, Kind, Phase, nesting, says_grpc, scope};
use crate::client::Informational;

/// How often a request that came back unsent goes out again within one attempt. It came back since its connection was closed; the
/// next one is rather a new one.
const REPLAYS: u32 = 2;

/// One request over one connection; over another one if the first gives it back.
pub(super) async fn exchange(
    owner: Arc<Owner>,
    place: Option<Arc<HostPort>>,
    mut request: Request<Body>,
) -> Result<Response<Wired>, Error> {
    let host = owner.0.host(&request, place.as_ref());
    let mut wish = Wish::of(Call::of(request.extensions()).wants_new_connection());
    let hook = request.extensions_mut().remove::<Informational>();
    let mut request = Upload::of(request);
    let mut head = Head::default();
    let mut expects = true;
    let mut replays = 0;
    loop {
        let mut lease = match connection(&host, wish, request.headers()).await {
            Ok(lease) => lease,
            Err(error) => return Err(unsent(error, request, hook)),
        };
        let mut held = None;
        match lease.connection() {
            Connection::Http1(connection) => {
                head.over_http1(&mut request, &host, connection.forwards.as_deref());
                held = hold(&mut request, hook.clone(), &host, expects);
            }
            Connection::Http2(_) => head.over_http2(&mut request),
        }
        let kept = lease.connection().is_kept();
        let upload = request.body().watch();
        match send(&mut lease, kept, request, held.as_ref()).await {
            Ok(response) => {
                // RFC 9110, section 15.5.18: it may do without the expectation.
                if response.status() == StatusCode::EXPECTATION_FAILED {
                    if let Some(again) = held.and_then(Held::take_back) {
                        request = again;
                        head.undo(&mut request);
                        expects = false;
                        continue;
                    }
                }
                return Ok(wired(lease, response, upload));
            }
            Err(lost) => {
                let (came_back, error) = lost.judge(kept);
                let Some(came_back) = came_back else {
                    return Err(match upload.failed() {
                        Some(failed) if error.kind() != Kind::Body => {
                            Error::new(Kind::Body, failed).with_delivery(error.delivery())
                        }
                        _ => error,
                    });
                };
                lease.came_back();
                request = came_back;
                head.undo(&mut request);
                if replays == REPLAYS {
                    return Err(unsent(error, request, hook));
                }
            }
        }
        replays += 1;
        wish = wish.came_back();
        host.core.replayed.fetch_add(1, Ordering::Relaxed);
        host.core.observe.note(|| Event::RequestReplayed { host: Arc::clone(&host.name) });
    }
}

/// There is no connection. The request goes back with the error as its caller wrote it: somebody may know another host.
#[cold]
fn unsent(error: Error, request: Request<Upload>, hook: Option<Informational>) -> Error {
    if error.delivery() != Delivery::NotSent {
        return error;
    }
    let mut request = request.map(Upload::into_body);
    if let Some(hook) = hook {
        request.extensions_mut().insert(hook);
    }
    error.with_request(request)
}

/// A connection that is ready for a request.
async fn connection(host: &Arc<Host>, wish: Wish, headers: &HeaderMap) -> Result<Lease, Error> {
    let observed = host.core.observe.is_on();
    let mut since = observed.then(Instant::now);
    loop {
        // In a box, as whatever is rare and large: it would be a part of every request.
        let mut lease = match host.ask(wish, || says_grpc(headers))? {
            Asked::Has(lease) => lease,
            Asked::Waits(waiting) => Box::pin(waiting.wait(*since.get_or_insert_with(Instant::now))).await?,
        };
        let (reused, http2) = match lease.connection() {
            Connection::Http1(connection) => (!connection.is_fresh(), false),
            Connection::Http2(connection) => (!connection.is_fresh(), true),
        };
        if let Connection::Http1(connection) = lease.connection() {
            // The end of an answer is read a moment before its connection is ready again.
            let ready = poll_fn(|cx| match connection.sender.poll_ready(cx) {
                Poll::Pending if scope::expired() => Poll::Ready(None),
                polled => polled.map(Some),
            });
            match ready.await {
                Some(Ok(())) => {}
                None => {
                    return Err(
                        Error::from(Elapsed::before_deadline(Phase::Pool)).with_delivery(Delivery::NotSent)
                    );
                }
                // It was closed while it lay idle.
                Some(Err(_)) if reused => {
                    lease.came_back();
                    continue;
                }
                Some(Err(ended)) => {
                    lease.came_back();
                    return Err(Error::new(Kind::Connect, ended).with_delivery(Delivery::NotSent));
                }
            }
        }
        host.core.observe.note(|| Event::ConnectionTaken {
            host: Arc::clone(&host.name),
            http2,
            reused,
            waited: since.map_or_else(Default::default, |since| since.elapsed()),
        });
        return Ok(lease);
    }
}

async fn send(
    lease: &mut Lease,
    kept: bool,
    request: Request<Upload>,
    held: Option<&Held>,
) -> Result<Response<Incoming>, Lost> {
    lease.begin();
    let answer = match lease.connection() {
        Connection::Http1(connection) => {
            let answer = connection.sender.send(request)?;
            match held {
                Some(held) => Box::pin(held.with(watched(lease, kept, answer))).await,
                None => watched(lease, kept, answer).await,
            }
        }
        Connection::Http2(connection) => {
            let answer = connection.sender.send(request)?;
            watched(lease, kept, answer).await
        }
    };
    answer.map_err(|failed| Lost::Failed(Box::new(failed)))
}

/// Notes when time runs out, which whoever limits the call lets be seen before it ends it. `kept`: what it is sent over had been used
/// before, or had lain idle.
async fn watched(lease: &mut Lease, kept: bool, answer: impl Future<Output = Answer>) -> Answer {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        let polled = Pin::new(&mut answer).poll(cx);
        if polled.is_pending() && scope::expired() {
            lease.times_out();
            if kept && lease.is_silent() {
                nesting::tell_silent();
            }
        }
        polled
    })
    .await
}

fn wired(mut lease: Lease, response: Response<Incoming>, upload: Watch) -> Response<Wired> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        lease.leave();
        return response.map(|body| Wired::new(body, None));
    }
    let own = lease.host.core.settings.idle_timeout;
    let idle = match lease.connection() {
        Connection::Http1(_) => own.and_then(|own| idle_after(response.version(), response.headers(), own)),
        // What its host does with it does not depend on the answer.
        Connection::Http2(_) => own,
    };
    response.map(|body| Wired::new(body, Some(Rest { lease, upload, idle })))
}
