//! The call that is made for all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::{Coalesced, to_bytes};
use super::decide::may_share;
use super::flight::{End, Flight, Whole};
use crate::base::{BoxError, Delivery, Error, Kind};

pub(super) async fn work<S, ReqBody, B>(
    mut service: S,
    request: Request<ReqBody>,
    max_body: usize,
    flight: Weak<Flight<B>>,
) -> End<B>
where
    S: Service<Request<ReqBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let failed = |error: Error| End::Failed(Arc::new(error));
    if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
        return failed(Error::wrap(error).with_delivery(Delivery::NotSent));
    }
    let (head, mut body) = match service.call(request).await {
        Ok(response) => response.into_parts(),
        Err(error) => return failed(Error::wrap(error)),
    };
    let live = |head, front, body| End::Live(Some(Response::from_parts(head, Coalesced::live(front, body))));
    let is_for_one = !may_share(&head) || body.size_hint().lower() > max_body as u64;
    // Who comes from now on, while nobody but its first caller waits for it, has a call of their own: it is passed on as it comes.
    let is_closed =
        flight.upgrade().is_none_or(|flight| flight.close_if(|members| is_for_one || members <= 1));
    if is_closed {
        return live(head, Bytes::new(), body);
    }
    let (mut data, mut trailers) = (BytesMut::new(), None);
    while !body.is_end_stream() {
        let frame = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => to_bytes(frame),
            None => break,
            Some(Err(error)) => return failed(broken(error.into())),
        };
        match frame.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if data.len() > max_body {
            return live(head, data.freeze(), body);
        }
    }
    End::Whole(Arc::new(Whole { head, data: data.freeze(), trailers }))
}

/// The body broke off. It is of the kind that it says it is, if it says so.
fn broken(error: BoxError) -> Error {
    let error = match Error::kind_in(&*error) {
        Some(_) => Error::wrap(error),
        None => Error::new(Kind::Body, error),
    };
    error.with_delivery(Delivery::Answered)
}
