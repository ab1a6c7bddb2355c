//! Decides from a transport error what went wrong and how far the request got. Nothing here waits, locks or reads a
//! clock; and nothing looks at a message.

use std::error::Error as StdError;

use h2::Reason;
#[cfg(any(feature = "reqwest", test))]
use hyper_util::client::legacy;

use super::outgoing::RequestBodyFailed;
use crate::base::{Delivery, Kind};

/// What is known about a failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The pool could not make or find a connection.
    connect: bool,
    /// The request had been handed to a connection.
    connected: bool,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The pool itself refused the request.
    #[cfg_attr(not(any(feature = "reqwest", test)), allow(dead_code, reason = "ours refuses none"))]
    None,
    /// The connection ended with the request still in its queue.
    Unwritten,
    /// The peer reset the stream with `REFUSED_STREAM`.
    Refused,
    /// The request body failed, or was not as long as announced.
    RequestBody,
    /// The connection broke, or the peer broke the protocol.
    Broken,
}

impl Facts {
    #[cfg(any(feature = "reqwest", test))]
    pub(crate) fn of(error: &legacy::Error) -> Self {
        let cause = match error.source() {
            None => Cause::None,
            Some(source) => source.downcast_ref::<hyper::Error>().map_or(Cause::Broken, Cause::of),
        };
        // The information about the connection is attached to every error from the moment the request is handed to
        // one, and to none before.
        Self { connect: error.is_connect(), connected: error.connect_info().is_some(), cause }
    }

    /// What is known once the request was handed to a connection, from the error of that.
    ///
    /// Of a connection over HTTP/2 that was driven by one task: h2 ends a stream with the error of a GOAWAY only if it is beyond the last one that
    /// the peer has processed, or was never sent. But if the two halves of hyper's client run side by side, a request that has just
    /// become a stream may be handed the error of its connection, which is the same, and be processed all the same.
    #[cfg(feature = "client")]
    pub(crate) fn sent(error: &hyper::Error) -> Self {
        let cause = match Cause::of(error) {
            Cause::Broken if is_goodbye(error) => Cause::Refused,
            other => other,
        };
        Self { connect: false, connected: true, cause }
    }

    /// Whether the connection broke, or was gone before the request was written to it; no peer has said that it did not process it.
    #[cfg(feature = "client")]
    pub(crate) fn is_broken(self) -> bool {
        matches!(self.cause, Cause::Broken | Cause::Unwritten)
    }

    pub(crate) fn judge(self) -> (Kind, Delivery) {
        match (self.connected, self.cause) {
            _ if self.connect => (Kind::Connect, Delivery::NotSent),
            (_, Cause::None) => (Kind::Invalid, Delivery::NotSent),
            // The connection was made and broke before the request was handed to it.
            (false, _) => (Kind::Connect, Delivery::NotSent),
            (true, Cause::Unwritten) => (Kind::Transport, Delivery::NotSent),
            (true, Cause::Refused) => (Kind::Transport, Delivery::Refused),
            (true, Cause::RequestBody) => (Kind::Body, Delivery::Unknown),
            // A connection that closed before the response is no proof of anything: the peer may have read the
            // request, done what it asked, and died.
            (true, Cause::Broken) => (Kind::Transport, Delivery::Unknown),
        }
    }
}

impl Cause {
    /// Only the error itself and its direct source speak of this exchange. What lies deeper may come from another one:
    /// a request body that is the response body of a different call fails with errors of that call.
    fn of(error: &hyper::Error) -> Self {
        let source = error.source();
        if error.is_canceled() {
            Self::Unwritten
        } else if error.is_body_write_aborted() || source.is_some_and(is_of_request_body) {
            Self::RequestBody
        } else if source.and_then(|s| s.downcast_ref()).is_some_and(is_refusal) {
            Self::Refused
        } else {
            Self::Broken
        }
    }
}

/// Reqwest puts one error of its own around that of a body.
fn is_of_request_body(error: &(dyn StdError + 'static)) -> bool {
    let failed = |error: &(dyn StdError + 'static)| error.is::<RequestBodyFailed>();
    failed(error) || error.source().is_some_and(failed)
}

/// RFC 9113, section 8.7: `REFUSED_STREAM` from the peer guarantees that the request was not processed.
///
/// A GOAWAY gives the same guarantee to the streams beyond its last one: see [`Facts::sent`].
fn is_refusal(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)
}

#[cfg(feature = "client")]
fn is_goodbye(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_remote() && cause.is_go_away())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{Empty, StreamBody};
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::base::BoxError;
    use crate::base::body::Body;
    use crate::exchange::Outgoing;

    const CONNECTED: Facts = Facts { connect: false, connected: true, cause: Cause::Broken };

    #[test]
    fn what_is_not_proved_to_be_unsent_counts_as_unknown() {
        use Cause::{Broken, None, Refused, RequestBody, Unwritten};
        for (facts, expected) in [
            (Facts { connect: true, connected: false, cause: Broken }, (Kind::Connect, Delivery::NotSent)),
            (Facts { connect: true, connected: false, cause: None }, (Kind::Connect, Delivery::NotSent)),
            (Facts { connected: false, ..CONNECTED }, (Kind::Connect, Delivery::NotSent)),
            (Facts { connected: false, cause: None, ..CONNECTED }, (Kind::Invalid, Delivery::NotSent)),
            (Facts { cause: None, ..CONNECTED }, (Kind::Invalid, Delivery::NotSent)),
            (Facts { cause: Unwritten, ..CONNECTED }, (Kind::Transport, Delivery::NotSent)),
            (Facts { cause: Refused, ..CONNECTED }, (Kind::Transport, Delivery::Refused)),
            (Facts { cause: RequestBody, ..CONNECTED }, (Kind::Body, Delivery::Unknown)),
            (CONNECTED, (Kind::Transport, Delivery::Unknown)),
        ] {
            assert_eq!(facts.judge(), expected, "{facts:?}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_connection_is_gone_if_nothing_else_explains_the_failure() {
        use Cause::{Broken, None, Refused, RequestBody, Unwritten};
        for (cause, is_broken) in
            [(Broken, true), (Unwritten, true), (None, false), (Refused, false), (RequestBody, false)]
        {
            assert_eq!(Facts { cause, ..CONNECTED }.is_broken(), is_broken, "{cause:?}");
        }
    }

    #[cfg(feature = "client")]
    #[tokio::test]
    async fn a_stream_that_was_reset_is_none_of_a_connection_that_says_goodbye() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut connection = h2::server::handshake(theirs).await.unwrap();
            let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_reset(Reason::CANCEL);
            while connection.accept().await.is_some() {}
        });
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get("http://host/").body(Outgoing(Body::empty())).unwrap();
        let error = sender.send_request(request).await.map(drop).unwrap_err();
        assert_eq!(Facts::sent(&error).judge(), (Kind::Transport, Delivery::Unknown));
        server.abort();
        connection.abort();
    }

    #[tokio::test]
    async fn a_goodbye_with_the_reason_of_a_refused_stream_is_none_of_that_stream() {
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // After stream 0; reason 7.
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let (mut sender, connection) = h2::client::handshake(ours).await.unwrap();
        let request = Request::get("http://host/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        theirs.write_all(&[&SETTINGS[..], &GOAWAY].concat()).await.unwrap();
        let connection = tokio::spawn(connection);
        let error = response.await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error:?}");
        assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
        assert!(!is_refusal(&error));
        connection.abort();
    }

    /// What a client over HTTP/2 makes of a server that does this to the first stream.
    async fn over_http2<F: Future<Output = ()> + Send + 'static>(
        body: Body,
        mut serve: impl FnMut(h2::server::Connection<TcpStream, Bytes>) -> F + Send + 'static,
    ) -> (Kind, Delivery) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(h2::server::handshake(stream).await.unwrap()).await;
        });
        let client: legacy::Client<HttpConnector, Outgoing> =
            legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let request = Request::post(uri).body(Outgoing(body)).unwrap();
        let error = client.request(request).await.map(drop).unwrap_err();
        server.abort();
        Facts::of(&error).judge()
    }

    async fn reset_with(reason: Reason) -> (Kind, Delivery) {
        over_http2(Body::empty(), move |mut connection| async move {
            let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_reset(reason);
            while connection.accept().await.is_some() {}
        })
        .await
    }

    #[tokio::test]
    async fn a_stream_that_the_peer_refused_was_not_processed_and_one_that_it_reset_may_have_been() {
        assert_eq!(reset_with(Reason::REFUSED_STREAM).await, (Kind::Transport, Delivery::Refused));
        for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
            assert_eq!(reset_with(reason).await, (Kind::Transport, Delivery::Unknown), "{reason:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_says_goodbye_during_a_call_proves_nothing() {
        for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::REFUSED_STREAM] {
            let judged = over_http2(Body::empty(), move |mut connection| async move {
                let _first = connection.accept().await.unwrap().unwrap();
                connection.abrupt_shutdown(reason);
                let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
            })
            .await;
            assert_eq!(judged, (Kind::Transport, Delivery::Unknown), "{reason:?}");
        }
    }

    /// A body that fails with an error of another exchange: a proxy that passes on what it receives.
    fn failing(error: impl Into<BoxError>) -> Body {
        let error = error.into();
        let frame = std::future::ready(Err::<http_body::Frame<Bytes>, BoxError>(error));
        Body::new(StreamBody::new(futures_util::stream::once(frame)))
    }

    #[tokio::test]
    async fn what_refused_another_request_does_not_speak_for_this_one() {
        // The other exchange: a client over HTTP/1 cannot be refused, so one over HTTP/2 lends its error.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_reset(Reason::REFUSED_STREAM);
            while connection.accept().await.is_some() {}
        });
        let other: legacy::Client<HttpConnector, Empty<Bytes>> =
            legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let refused =
            other.request(Request::get(uri).body(Empty::new()).unwrap()).await.map(drop).unwrap_err();
        assert_eq!(Facts::of(&refused).judge().1, Delivery::Refused);
        server.abort();

        // This one: its body fails with that error after the head was sent.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", silent.local_addr().unwrap());
        let client: legacy::Client<HttpConnector, Outgoing> =
            legacy::Client::builder(TokioExecutor::new()).build_http();
        let request = Request::post(uri).body(Outgoing(failing(refused))).unwrap();
        let error = client.request(request).await.map(drop).unwrap_err();
        assert_eq!(Facts::of(&error).judge(), (Kind::Body, Delivery::Unknown));
    }

    #[tokio::test]
    async fn a_request_that_still_waits_in_the_queue_of_a_closed_connection_was_not_sent() {
        let (ours, _theirs) = tokio::io::duplex(1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        drop(connection);
        let request = Request::get("/").body(Outgoing(Body::empty())).unwrap();
        let error = sender.send_request(request).await.map(drop).unwrap_err();
        assert_eq!(Cause::of(&error), Cause::Unwritten);
    }
}
