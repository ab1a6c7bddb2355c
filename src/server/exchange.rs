//! One request and its answer.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use httpdate::fmt_http_date;
use hyper::body::Incoming;
use tower_service::Service;

use super::arriving::{Arrival, Arriving};
use super::bounds::{Sent, Served};
use super::outgoing::Outgoing;
use super::pieces::InPieces;
use super::shared::{InFlight, Shared};
use super::shutdown::Shutdown;
use crate::Body;
use crate::base::body::{BodyEnd, Guard, Held, HoldUntil};
use crate::base::{Asked, BodyTooSlow, Caught, Error, Event, Kind, Problem, Refuse, ServerPhase, message};
use crate::health;

/// One request through a clone of the service that was made ready for it.
pub(super) async fn answer<S, B>(
    mut service: S,
    connection: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing<B>>, S::Error>
where
    S: Served<B>,
    B: Sent,
{
    let (head, http1) = (*request.method() == Method::HEAD, request.version() < Version::HTTP_2);
    // There is no gRPC over HTTP/1.
    let asked = if http1 { Asked::of_method(request.method()) } else { Asked::of(&request) };
    let (request, arrival) = arrived(request, asked, &connection);
    let in_flight = InFlight::begin(Arc::clone(&connection), !http1, arrival.is_some());
    let health = connection.control.health.as_ref().filter(|_| health::is_asked(request.uri().path()));
    if let Some(health) = health {
        let Ok(response) = health.service().call(request).await;
        let mut response = outgoing(head, asked, response.map(Body::new), in_flight).map(Outgoing::Own);
        dated(&connection, &mut response);
        return Ok(response);
    }
    let called = async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    let too_late = || arrival.as_ref().is_some_and(Arrival::is_late);
    let mut last = false;
    let mut response = match Caught(called).await {
        // What a handler makes of a body that breaks off is some error of its own; the client is told what it was.
        Ok(Ok(response)) if is_general(response.status()) && too_late() => {
            last = true;
            refusal(asked, &Error::new(Kind::Body, BodyTooSlow), in_flight)
        }
        Ok(Ok(response)) => {
            let response = response.map(|body| InPieces::new(body, !http1));
            outgoing(head, asked, response, in_flight).map(Outgoing::Service)
        }
        Ok(Err(error)) => {
            in_flight.settle(BodyEnd::Failed);
            return Err(error);
        }
        Err(panic) => {
            report(&connection, &*panic);
            refusal(asked, &Error::new(Kind::Other, "the handler panicked"), in_flight)
        }
    };
    last |= connection.control.phase() >= ServerPhase::Draining;
    last |= http1 && connection.is_old();
    last |= arrival.as_ref().is_some_and(Arrival::is_not_wanted);
    if http1 && last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    dated(&connection, &mut response);
    Ok(response)
}

/// Where the clock is not the system's, hyper does not say the date.
fn dated<B>(connection: &Shared, response: &mut Response<B>) {
    let Some(wall) = &connection.control.wall else { return };
    if let Ok(date) = HeaderValue::try_from(fmt_http_date(wall.now())) {
        response.headers_mut().entry(DATE).or_insert(date);
    }
}

/// The request as the service sees it, and what becomes of its body, if it has one.
fn arrived(
    request: Request<Incoming>,
    asked: Asked,
    connection: &Arc<Shared>,
) -> (Request<Body>, Option<Arrival>) {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(connection.peer);
    parts.extensions.insert(Shutdown { connection: Arc::clone(connection) });
    if body.is_end_stream() {
        return (Request::from_parts(parts, Body::empty()), None);
    }
    let awaited = parts.headers.contains_key(EXPECT);
    let (body, arrival) = Arriving::new(body, asked.grpc, awaited, connection);
    (Request::from_parts(parts, Body::new(body)), Some(arrival))
}

/// It says nothing but that something went wrong.
fn is_general(status: StatusCode) -> bool {
    status == StatusCode::BAD_REQUEST || status == StatusCode::INTERNAL_SERVER_ERROR
}

fn outgoing<B>(
    head: bool,
    asked: Asked,
    mut response: Response<B>,
    in_flight: InFlight,
) -> Response<Held<B, InFlight>>
where
    B: http_body::Body<Data = Bytes>,
{
    let status = response.status();
    let without_content = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        // An upgraded connection is no content, whatever stands in the body.
        && status != StatusCode::SWITCHING_PROTOCOLS;
    if head {
        promise_length(&mut response);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, section 8.6, and RFC 9112, section 6.1.
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(TRANSFER_ENCODING);
    }
    if head || without_content {
        in_flight.settle(BodyEnd::Complete);
        return response.map(|_| Held::bytes(Bytes::new()));
    }
    let until = HoldUntil::of_response(asked.without_body, &response);
    response.map(|body| Held::new(body, in_flight, until))
}

/// The answer to HEAD has the fields of the one to GET, as far as they are known (RFC 9110, section 9.3.2).
fn promise_length<B: http_body::Body>(response: &mut Response<B>) {
    let known = response.body().size_hint().exact().filter(|length| *length > 0);
    let headers = response.headers_mut();
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return;
    }
    if let Some(length) = known {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

fn refusal<B>(asked: Asked, error: &Error, in_flight: InFlight) -> Response<Outgoing<B>>
where
    B: http_body::Body<Data = Bytes>,
{
    let response = Problem.refuse(asked, error);
    in_flight.settle(BodyEnd::Complete);
    response.map(|bytes| Outgoing::Own(Held::bytes(bytes)))
}

fn report(connection: &Shared, panic: &(dyn Any + Send)) {
    let message = message(panic);
    tracing::error!(panic = message, "a handler panicked");
    connection.control.tell(|| Event::HandlerPanicked { message: message.into() });
}
