//! What is known of a request, and what its answer becomes.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use httpdate::fmt_http_date;
use hyper::body::Incoming;

use super::arriving::{Arrival, Arriving};
use super::bounds::Sent;
use super::outgoing::Outgoing;
use super::pieces::InPieces;
use super::shared::{InFlight, Shared};
use super::shutdown::Shutdown;
use crate::Body;
use crate::base::body::{BodyEnd, Guard, Held, HoldUntil};
use crate::base::{
    Asked, Error, Event, Kind, Misaddressed, Problem, Refuse, ServerPhase, X_REQUEST_ID, message, says_grpc,
};

/// What is known of a request from its beginning.
pub(super) struct Exchange {
    head: bool,
    http1: bool,
    asked: Asked,
    arrival: Option<Arrival>,
    /// Nothing, when it was answered.
    in_flight: Option<InFlight>,
}

impl Exchange {
    /// What a request is, and the request as the service sees it.
    pub(super) fn of(connection: &Arc<Shared>, request: Request<Incoming>) -> (Self, Request<Body>) {
        let (head, http1) = (*request.method() == Method::HEAD, request.version() < Version::HTTP_2);
        let asked = asked_of(&request);
        let (request, arrival) = arrived(request, connection);
        let in_flight = InFlight::begin(Arc::clone(connection), !http1, arrival.is_some());
        (Self { head, http1, asked, arrival, in_flight: Some(in_flight) }, request)
    }

    /// It is in flight for as long as its body is. With its answer goes what the server has to say.
    fn end(&mut self) -> (InFlight, Parting) {
        let in_flight = self.in_flight.take().expect("a future is polled until it is ready");
        let connection = in_flight.connection();
        let last = self.http1
            && (connection.control.phase() >= ServerPhase::Draining
                || connection.is_old()
                || self.arrival.as_ref().is_some_and(Arrival::is_not_wanted));
        let date = connection.control.wall.as_ref().map(|wall| fmt_http_date(wall.now()));
        (in_flight, Parting { last, date, http1: self.http1 })
    }

    pub(super) fn answered<B: Sent>(&mut self, response: Response<B>) -> Response<Outgoing<B>> {
        let (in_flight, mut parting) = self.end();
        if let Some(arrival) =
            self.arrival.as_ref().filter(|_| self.asked.grpc && says_grpc(response.headers()))
        {
            arrival.streams();
        }
        // The rest of a body that did not come in time may come yet, and would be taken for a request.
        parting.last |= self.http1
            && response.status() == StatusCode::REQUEST_TIMEOUT
            && self.arrival.as_ref().is_some_and(Arrival::is_late);
        // What else it says is not to be believed.
        parting.last |= self.http1 && response.extensions().get::<Misaddressed>().is_some();
        let response = response.map(|body| InPieces::new(body, !self.http1));
        parting.told(outgoing(self.head, self.asked, response, in_flight).map(Outgoing::Service))
    }

    pub(super) fn probed<B>(&mut self, response: Response<Body>) -> Response<Outgoing<B>> {
        let (in_flight, parting) = self.end();
        let response = outgoing(self.head, self.asked, response, in_flight).map(Outgoing::Own);
        Parting { last: false, ..parting }.told(response)
    }

    /// The service said that it cannot.
    pub(super) fn failed(&mut self) {
        self.end().0.settle(BodyEnd::Failed);
    }

    /// A probe that does not say whom it is for as it has to. Over HTTP/1 it is the last one, as any other would be.
    pub(super) fn misaddressed<B: Sent>(&mut self, how: &'static str) -> Response<Outgoing<B>> {
        let (in_flight, mut parting) = self.end();
        parting.last |= self.http1;
        parting.told(refusal(self.asked, &Error::new(Kind::Invalid, Misaddressed(how)), in_flight))
    }

    /// What gives requests their names panicked; a service that does is answered for inside of it.
    pub(super) fn panicked<B: Sent>(&mut self, panic: &(dyn Any + Send)) -> Response<Outgoing<B>> {
        let (in_flight, parting) = self.end();
        report(in_flight.connection(), panic);
        parting.told(refusal(self.asked, &Error::new(Kind::Other, "the handler panicked"), in_flight))
    }
}

/// What a client is told with an answer, beside what the service says.
struct Parting {
    /// It was the last one on its connection.
    last: bool,
    /// Where the clock is not the system's, hyper does not say it.
    date: Option<String>,
    http1: bool,
}

impl Parting {
    fn told<B>(self, mut response: Response<B>) -> Response<B> {
        if self.last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(Ok(date)) = self.date.map(HeaderValue::try_from) {
            response.headers_mut().entry(DATE).or_insert(date);
        }
        if !self.http1
            && let Some(id) = response.headers_mut().get_mut(X_REQUEST_ID)
        {
            // No two answers have the same. In the table of HTTP/2 (RFC 7541, section 6.2) it would take the place of what comes again, and
            // to be called sensitive is what keeps it out.
            id.set_sensitive(true);
        }
        response
    }
}

/// How the answer to a request is read.
pub(super) fn asked_of<B>(request: &Request<B>) -> Asked {
    // There is no gRPC over HTTP/1.
    if request.version() < Version::HTTP_2 { Asked::of_method(request.method()) } else { Asked::of(request) }
}

/// The request as the service sees it, and what becomes of its body, if it has one.
fn arrived(request: Request<Incoming>, connection: &Arc<Shared>) -> (Request<Body>, Option<Arrival>) {
    let mut arrival = None;
    let http2 = request.version() == Version::HTTP_2;
    let awaited = request.headers().contains_key(EXPECT);
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            return Body::empty();
        }
        let (body, arriving) = Arriving::new(body, http2, awaited, connection);
        arrival = Some(arriving);
        Body::new(body)
    });
    let extensions = request.extensions_mut();
    extensions.insert(connection.peer);
    extensions.insert(Shutdown { connection: Arc::clone(connection) });
    if let Some(arrival) = arrival.clone() {
        extensions.insert(arrival);
    }
    (request, arrival)
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
    // An upgraded connection (101) is no content, whatever stands in the body.
    let without_content =
        status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
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

pub(super) fn report(connection: &Shared, panic: &(dyn Any + Send)) {
    let message = message(panic);
    tracing::error!(panic = message, "a handler panicked");
    connection.control.tell(|| Event::HandlerPanicked { message: message.into() });
}
