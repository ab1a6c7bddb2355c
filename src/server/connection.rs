use std::future::poll_fn;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service;

use super::ServerSettings;
use super::greeting::greeting;
use super::tasks::Tasks;
use crate::Body;
use crate::base::deadline::countable;
use crate::base::{BoxError, Error, Kind};

/// Serves one connection to its end. Once `stop` says so, what was begun is finished and nothing more is taken.
pub(super) async fn serve<S, B>(
    mut stream: TcpStream,
    service: S,
    settings: ServerSettings,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let greeting = tokio::select! {
        biased;
        greeting = timeout(settings.header_read_timeout, greeting(&mut stream)) => greeting,
        () = stopped(&mut stop) => return,
    };
    let greeting = match greeting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(greeting) if greeting.is_empty() => return,
        Ok(greeting) => greeting,
        Err(error) => {
            tracing::debug!(%error, "a connection ended before its first request");
            return;
        }
    };
    let (read, write) = stream.into_split();
    let stream = tokio::io::join(AsyncReadExt::chain(io::Cursor::new(greeting), read), write);

    let tasks = Tasks::default();
    let _owner = tasks.owner();
    let handler = service_fn(move |request: Request<Incoming>| answer(service.clone(), request));
    let hyper = hyper(settings, tasks);
    let mut connection = pin!(hyper.serve_connection_with_upgrades(TokioIo::new(stream), handler));
    // In this order: hyper learns from its first poll that there is a request, and closes at once if there is none.
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// The server that told it may be gone without a word: then this task is about to be dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One request through a clone of the service that was made ready for it.
async fn answer<S, B>(mut service: S, request: Request<Incoming>) -> Result<Response<B>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let request = request.map(|body| {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(body.map_err(|error| Error::new(Kind::Body, error)))
    });
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// Hyper has no clock of its own: without a timer its limits do nothing.
fn hyper(settings: ServerSettings, tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(countable(settings.header_read_timeout));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(countable(settings.ping_interval))
        .keep_alive_timeout(countable(settings.ping_timeout));
    builder
}
