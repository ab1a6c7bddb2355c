use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tower_service::Service;

use super::connection;
use super::listener::accept;
use super::{BindError, ServerBuilder, ServerSettings};
use crate::Body;
use crate::base::BoxError;

/// An open port, and how it will be served. See the [module](super).
#[derive(Debug)]
#[must_use = "a server does nothing until it serves"]
pub struct Server {
    pub(super) listener: TcpListener,
    pub(super) local_addr: SocketAddr,
    pub(super) settings: ServerSettings,
}

impl Server {
    /// Begin with the defaults.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Open the port, with the defaults. The same as [`Server::builder`] and [`ServerBuilder::bind`], which say more.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address.
    pub async fn bind(addr: impl ToSocketAddrs + fmt::Debug) -> Result<Self, BindError> {
        Self::builder().bind(addr).await
    }

    /// Where it listens, with the port that was taken if 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serve until the future is dropped, which drops every connection, too: see the [module](super).
    pub async fn serve<S, B>(self, service: S) -> Infallible
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.run(service, pending::<Infallible>()).await.0
    }

    /// Serve until `shutdown` is done, then stop without cutting off what was begun:
    ///
    /// 1. The port is closed. Idle connections are closed; the others are told that this is their last request, with
    ///    `Connection: close` or GOAWAY.
    /// 2. Requests that have begun get their answers, for as long as the [grace](ServerSettings::grace) lasts.
    /// 3. What is left is dropped, and counted in the [`Report`].
    ///
    /// A request that was sent and not yet read when `shutdown` was done is lost: its client sees the connection closed
    /// or reset, and nothing was done.
    ///
    /// Dropping the future at any point drops everything at once.
    pub async fn serve_until<S, B>(self, service: S, shutdown: impl Future) -> Report
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.run(service, shutdown).await.1
    }

    async fn run<S, B, F>(self, service: S, shutdown: F) -> (F::Output, Report)
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future,
    {
        let Self { listener, settings, .. } = self;
        let (stop, stopped) = watch::channel(false);
        // Owns every task, so that dropping this future ends them all.
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let output = loop {
            tokio::select! {
                biased;
                output = shutdown.as_mut() => break output,
                Some(ended) = connections.join_next() => note(ended),
                stream = accept(&listener) => {
                    connections.spawn(connection::serve(stream, service.clone(), settings, stopped.clone()));
                }
            }
        };
        drop(listener);
        stop.send_replace(true);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
            }
        };
        let _ = timeout(settings.grace, all).await;
        while let Some(ended) = connections.try_join_next() {
            note(ended);
        }
        let aborted = connections.len();
        connections.shutdown().await;
        (output, Report { aborted })
    }
}

/// Errors of a connection are its own affair; a panic is a bug of the service.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection was lost");
    }
}

/// What a shutdown came to. See [`Server::serve_until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many connections were still busy at the end of the grace, and were dropped. Each may have cut off an answer.
    pub aborted: usize,
}
