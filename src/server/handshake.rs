use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::bounds::{Sent, Served};
use super::connection::{self, FIRST_REQUEST, stopped, until};
use super::crowd::Place;
use super::shared::Shared;
use super::wire::{Plain, Socket, Wire};
use crate::base::CloseReason;

/// What is encrypted. Boxed, since it is large, and moves whenever a connection is parked.
type Secured<T> = Box<TlsStream<Plain<T>>>;

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for Secured<T> {
    fn shared(&self) -> &Arc<Shared> {
        self.get_ref().0.shared()
    }
}

/// As [`connection::serve`], after a handshake. The place in the crowd is held from the beginning.
pub(super) async fn serve<T, S, B>(socket: Plain<T>, place: Place, config: Arc<ServerConfig>, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Served<B>,
    B: Sent,
{
    // Boxed, so that it takes nothing once it is over.
    let Some(socket) = Box::pin(shake_hands(socket, config)).await else { return };
    socket.shared().pulse.is_secured();
    connection::serve(Wire::new(socket, place), service).await;
}

/// Nothing, if the client does not get through it in time, or at all; then it was told why, if it could be.
async fn shake_hands<T>(socket: Plain<T>, config: Arc<ServerConfig>) -> Option<Secured<T>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::clone(socket.shared());
    let start = connection.pulse.start();
    let limit = start.checked_add(connection.control.settings.handshake_timeout);
    let shaken = tokio::select! {
        biased;
        shaken = TlsAcceptor::from(config).accept(socket) => shaken,
        () = until(limit) => {
            connection.closes(CloseReason::Handshake);
            return None;
        }
        // As patient as with a client that says nothing.
        () = stopped(&connection, start + FIRST_REQUEST) => return None,
    };
    match shaken {
        Ok(stream) => Some(Box::new(stream)),
        Err(error) => {
            // Somebody who speaks no TLS, or trusts us not: frequent in the open, and of no use to be told of.
            tracing::debug!(%error, peer = ?connection.peer.addr(), "a TLS handshake failed");
            None
        }
    }
}
