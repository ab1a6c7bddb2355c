use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::answer::{self, Form, Probe, Target};
use super::body::{Answer, Watching};
use super::grpc::{self, Method, Of, Serving};
use super::state::State as Known;
use super::watch::Changes;
use super::{Health, HealthBody};
use crate::base::{Alarm, Asked, GrpcStatus, HealthState, NOBODY, OldAt};

/// How long a gRPC client may take to send its few bytes.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// A call that may be a probe. See the [module](super).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HealthFuture<S: Service<Request<B>>, B> {
    #[pin]
    state: State<S, B, S::Future, S::Error>,
}

#[pin_project(project = StateProjection)]
enum State<S, B, F, E> {
    /// It is known what to say.
    Answered { response: Option<Response<Answer>> },
    /// Reads whom a gRPC client asks about.
    Reading {
        #[pin]
        body: B,
        #[pin]
        alarm: Alarm,
        read: Vec<u8>,
        asks: (Health, Method, Option<OldAt>),
        until: Instant,
    },
    /// The inner service said that it is broken.
    Broken { error: Option<E> },
    /// Waits for the inner service; then calls it, and is `Called`.
    Waiting { service: S, request: Option<Request<B>> },
    /// Waits for its answer.
    Called {
        #[pin]
        answer: F,
    },
}

impl<S: Service<Request<B>>, B: Body> HealthFuture<S, B> {
    /// No probe.
    pub(super) fn other(mut service: S, request: Request<B>) -> Self {
        // Most services are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
        let state = match service.poll_ready(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(Ok(())) => State::Called { answer: service.call(request) },
            Poll::Ready(Err(error)) => State::Broken { error: Some(error) },
            Poll::Pending => State::Waiting { service, request: Some(request) },
        };
        Self { state }
    }

    pub(super) fn probe(health: &Health, request: Request<B>) -> Self {
        let answered =
            |response: Response<Bytes>| State::Answered { response: Some(response.map(Answer::bytes)) };
        let state = match answer::target(request.uri().path()) {
            Some(Target::Probe(probe)) => answered(told(health.state(), probe, &request)),
            Some(Target::Grpc(method)) => {
                let refused = answer::no_grpc(Asked::of(&request), request.method());
                match (refused, Method::named(method)) {
                    (Some(status), _) => {
                        let mut response = Response::new(Bytes::new());
                        *response.status_mut() = status;
                        answered(response)
                    }
                    (None, None) => answered(empty(answer::trailers_only(GrpcStatus::Unimplemented))),
                    (None, Some(method)) => State::Reading {
                        asks: (health.clone(), method, request.extensions().get().copied()),
                        body: request.into_body(),
                        alarm: Alarm::new(),
                        read: Vec::new(),
                        until: Instant::now() + READ_LIMIT,
                    },
                }
            }
            // Nobody calls it so.
            None => answered(answer::wrong_method()),
        };
        Self { state }
    }
}

/// The answer to an HTTP probe.
fn told<B>(known: &Known, probe: Probe, request: &Request<B>) -> Response<Bytes> {
    let method = request.method();
    if !matches!(*method, http::Method::GET | http::Method::HEAD) {
        return answer::wrong_method();
    }
    let good = |good| if good { HealthState::Pass } else { HealthState::Fail };
    let form = Form::of(request.uri().query(), request.headers());
    if !form.has_checks() {
        let state = match probe {
            Probe::Live => good(known.is_live()),
            Probe::Ready => known.readiness(),
            Probe::Started => good(known.is_started()),
        };
        return answer::response(method, state, false, answer::word(state));
    }
    let report = known.report(|kind| probe.includes(kind));
    let (state, draining) = match probe {
        Probe::Live => (good(report.status.live), false),
        Probe::Ready => (report.state, report.status.draining),
        Probe::Started => (good(report.status.started), false),
    };
    let write = if form.json { answer::json } else { answer::lines };
    let body = write(state, draining, &report.checks, known.settings.show_output);
    answer::response(method, state, form.json, body)
}

fn empty<T: Default>(headers: HeaderMap) -> Response<T> {
    let mut response = Response::new(T::default());
    *response.headers_mut() = headers;
    response
}

/// The answer to a gRPC call, of which all was read.
fn said(health: &Health, method: Method, old_at: Option<OldAt>, body: &[u8]) -> Response<Answer> {
    let known = health.state();
    let services = || known.services.iter().map(|name| &**name);
    let fail = |status| empty(answer::trailers_only(status));
    let with = |answer: Answer| {
        let mut response = Response::new(answer);
        *response.headers_mut() = answer::grpc_head();
        response
    };
    let asked = if method == Method::List { grpc::unframed(body).map(|_| "") } else { grpc::asked_for(body) };
    let name = match asked {
        Ok(name) => name,
        Err(status) => return fail(status),
    };
    let of = Of::named(name, services());
    match method {
        Method::List => {
            let status = known.status();
            let all = [""].into_iter().chain(grpc::KNOWN).chain(services());
            let serving = |name| Some((name, Of::named(name, services())?.serving(status)));
            with(Answer::message(grpc::list(all.filter_map(serving))))
        }
        Method::Check => match of {
            Some(of) => with(Answer::message(of.serving(known.status()).frame())),
            None => fail(GrpcStatus::NotFound),
        },
        Method::Watch => {
            let Some(place) = known.watcher() else { return fail(GrpcStatus::ResourceExhausted) };
            // Before the first look, so that no change is missed.
            let changes = Changes::new(health.watch());
            let stopped = known.is_stopped();
            let last = of.map_or(Serving::Unknown, |of| of.serving(known.status()));
            with(Answer {
                data: Some(last.frame()),
                watching: (!stopped).then(|| Watching::new(changes, of, last, old_at, place)),
                trailers: Some(answer::trailers(GrpcStatus::Unavailable)),
            })
        }
    }
}

impl<S, B, R> Future for HealthFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<HealthBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Called { answer } => {
                    return answer.poll(cx).map_ok(|response| response.map(HealthBody::inner));
                }
                StateProjection::Waiting { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    // `Waiting` is left in the very step that takes the request.
                    let request = request.take().expect("a request is handed on once");
                    State::Called { answer: service.call(request) }
                }
                StateProjection::Broken { error } => {
                    return Poll::Ready(Err(error.take().expect("a future is polled until it is ready")));
                }
                StateProjection::Answered { response } => {
                    let response = response.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Ok(response.map(HealthBody::answer)));
                }
                StateProjection::Reading { mut body, alarm, read, asks: (health, method, old_at), until } => {
                    let ended = loop {
                        let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                            ready!(alarm.poll_until(cx, *until));
                            break Err(GrpcStatus::DeadlineExceeded);
                        };
                        let Some(frame) = frame else { break Ok(()) };
                        let Ok(frame) = frame else { break Err(GrpcStatus::Cancelled) };
                        let Ok(mut data) = frame.into_data() else { continue };
                        if data.remaining() > grpc::LARGEST - read.len() {
                            break Err(GrpcStatus::ResourceExhausted);
                        }
                        while data.has_remaining() {
                            let chunk = data.chunk();
                            read.extend_from_slice(chunk);
                            let size = chunk.len();
                            data.advance(size);
                        }
                    };
                    let response = match ended {
                        Ok(()) => said(health, *method, *old_at, read),
                        Err(status) => empty(answer::trailers_only(status)),
                    };
                    State::Answered { response: Some(response) }
                }
            };
            state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for HealthFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Answered { .. } | State::Reading { .. } => "HealthFuture(a probe)",
            State::Broken { .. } | State::Waiting { .. } | State::Called { .. } => "HealthFuture(no probe)",
        })
    }
}
