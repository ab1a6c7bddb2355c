use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::decode::{Decoder, Piece};
use super::head::{Head, take_head};
use super::listener::Shared;
use super::reaction::Action;
use super::{Digest, Reaction, Reception, SeenBody, SeenRequest};

/// How many bytes are read ahead of what the script asked for, at most.
const READ_AHEAD: usize = 64 * 1024;
/// An orderly close discards no more than this, and for no longer.
const DISCARDED: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

/// Why a connection ends. The script or the client decided, or the socket failed: all are ordinary here.
#[derive(Debug)]
pub(super) struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    number: usize,
    shared: Arc<Shared>,
    /// Read from the socket and not yet taken apart.
    buffer: BytesMut,
    idle_limit: Option<Duration>,
}

/// The request that is being read.
struct Current {
    index: usize,
    decoder: Decoder,
    digest: Digest,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        let number = shared.record.change(|log| {
            log.connections += 1;
            log.open += 1;
            log.peak = log.peak.max(log.open);
            log.connections
        });
        Self { stream, number, shared, buffer: BytesMut::new(), idle_limit: None }
    }

    pub(super) async fn serve(mut self) {
        let reception = self.shared.receive(self.number);
        // `Over` carries nothing: whatever was worth knowing stands in the record.
        let _ = self.follow(reception).await;
    }

    async fn follow(&mut self, reception: Reception) -> Result<(), Over> {
        match reception {
            Reception::Serve => {}
            Reception::Close => return self.close().await,
            Reception::Mute => return pending().await,
            Reception::Reset => return self.reset(),
        }
        let mut on_connection = 0;
        while let Some(head) = self.next_head().await? {
            on_connection += 1;
            let (seen, mut current) = self.enter(head, on_connection);
            let reaction = self.shared.react(&seen);
            self.perform(reaction, &seen, &mut current).await?;
            self.read_body(&mut current, u64::MAX).await?;
        }
        Ok(())
    }

    async fn next_head(&mut self) -> Result<Option<Head>, Over> {
        loop {
            match take_head(&mut self.buffer) {
                Ok(Some(head)) => {
                    self.idle_limit = None;
                    return Ok(Some(head));
                }
                Ok(None) => {}
                Err(fault) => {
                    self.shared.record.fault(self.number, &fault);
                    return Err(Over);
                }
            }
            let more = match self.idle_limit {
                None => self.read_more().await,
                Some(limit) => match tokio::time::timeout(limit, self.read_more()).await {
                    Ok(more) => more,
                    Err(_) => {
                        self.close().await?;
                        return Ok(None);
                    }
                },
            };
            if !more? {
                if !self.buffer.is_empty() {
                    let fault = format!("the client closed after {} bytes of a head", self.buffer.len());
                    self.shared.record.fault(self.number, &fault);
                }
                return Ok(None);
            }
        }
    }

    fn enter(&self, head: Head, on_connection: usize) -> (SeenRequest, Current) {
        let decoder = Decoder::new(head.framing);
        let body = SeenBody { complete: decoder.is_done(), ..SeenBody::default() };
        let seen = self.shared.record.change(|log| {
            let seen = SeenRequest {
                number: log.requests.len() + 1,
                connection: self.number,
                on_connection,
                method: head.method,
                target: head.target,
                headers: head.headers,
                raw_head: head.raw,
                body,
            };
            log.requests.push(seen.clone());
            seen
        });
        let current = Current { index: seen.number - 1, decoder, digest: Digest::new() };
        (seen, current)
    }

    async fn perform(
        &mut self,
        reaction: Reaction,
        seen: &SeenRequest,
        current: &mut Current,
    ) -> Result<(), Over> {
        for action in reaction.actions {
            match action {
                Action::Abandon => return Err(Over),
                Action::Close => {
                    self.close().await?;
                    return Err(Over);
                }
                Action::Hang => self.pause(current, pending()).await?,
                Action::HalfReply(reply) => {
                    let (wire, body) = reply.render(&seen.method);
                    let half = body + (wire.len() - body) / 2;
                    self.stream.write_all(&wire[..half]).await?;
                }
                Action::KeepAliveFor(limit) => self.idle_limit = Some(limit),
                Action::Read(bytes) => self.read_body(current, bytes).await?,
                Action::Reply(reply) => self.stream.write_all(&reply.render(&seen.method).0).await?,
                Action::Reset => {
                    self.reset()?;
                    return Err(Over);
                }
                Action::Send(bytes) => self.stream.write_all(&bytes).await?,
                Action::Stall(limit) => self.pause(current, tokio::time::sleep(limit)).await?,
                Action::Wait(latch) => self.pause(current, latch.opened()).await?,
            }
        }
        Ok(())
    }

    /// Reads this many bytes of the body, or up to its end.
    async fn read_body(&mut self, current: &mut Current, mut bytes: u64) -> Result<(), Over> {
        while bytes > 0 && !current.decoder.is_done() {
            match current.decoder.next(&mut self.buffer, bytes) {
                Ok(Piece::Data(data)) => {
                    bytes -= data.len() as u64;
                    current.digest.update(&data);
                    let digest = current.digest.finish();
                    let complete = current.decoder.is_done();
                    self.shared.record.change(|log| {
                        let body = &mut log.requests[current.index].body;
                        body.keep(&data);
                        body.digest = digest;
                        body.complete = complete;
                    });
                }
                Ok(Piece::End) => {}
                Ok(Piece::More) => {
                    if !self.read_more().await? {
                        return Err(Over); // the request stays incomplete in the record
                    }
                }
                Err(fault) => {
                    self.shared.record.fault(self.number, &fault);
                    return Err(Over);
                }
            }
        }
        if current.decoder.is_done() {
            self.shared.record.change(|log| {
                let body = &mut log.requests[current.index].body;
                body.complete = true;
                body.trailers.clone_from(current.decoder.trailers());
            });
        }
        Ok(())
    }

    /// Waits, and ends the connection if the client does so first. An unread body stays unread, so that the client
    /// feels it; then the client's close cannot be seen either.
    async fn pause(&mut self, current: &Current, wait: impl Future<Output = ()>) -> Result<(), Over> {
        if !current.decoder.is_done() {
            wait.await;
            return Ok(());
        }
        tokio::select! {
            () = wait => Ok(()),
            () = self.client_gone() => Err(Over),
        }
    }

    async fn client_gone(&mut self) {
        while self.buffer.len() < READ_AHEAD {
            if !self.read_more().await.unwrap_or(false) {
                return;
            }
        }
        pending().await
    }

    /// False at the end of what the client sends.
    async fn read_more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_AHEAD);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    async fn close(&mut self) -> Result<(), Over> {
        self.stream.shutdown().await?;
        let discard = async {
            let mut discarded = 0;
            while discarded < DISCARDED {
                self.buffer.clear();
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => discarded += read,
                }
                self.buffer.reserve(READ_AHEAD);
            }
        };
        // A client that never closes is none of our business: the connection ends either way.
        let _ = tokio::time::timeout(LINGER, discard).await;
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Over> {
        // With no time to linger, the drop that follows sends a reset and throws unsent bytes away.
        self.stream.set_zero_linger()?;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.record.change(|log| log.open -= 1);
    }
}
